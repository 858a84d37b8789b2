-- An institution's register as it grew: codes, dates and amounts as text, NULLs, a BLOB.
create table KARTELAT (
  KRT_NR integer primary key, NRP text unique, EMRI_P text, MBIEMRI_P text, GJIN integer, DTLIND text, DTVDEK text,
  PESHA text, SIGURIM text, SHENIM text, ADR_RR text, ADR_QYT text, ADR_KOD text, ALERGJI text, GJUHET text,
  NDRYSHUAR text, GRGJAK text);
create table KONTAKTET (KRT_NR integer, LLOJI text, VLERA text);
create table VIZITAT (
  NR_VIZ integer primary key autoincrement, KRT_NR integer not null references KARTELAT (KRT_NR), LLV text,
  DT_VIZ text not null, REGJ text, SHUMA text, MJEKU text, SPEC text, KONS text, CELESI text, unique (KONS, CELESI));
create table DIAGNOZAT (DG_ID integer primary key, NR_VIZ integer, KODI text, PERSHK text);
create table BARNAT (DG_ID integer, BARI text, DOZA text, DERI text);
create table VAKSINAT (KRT_NR integer, VAKS text, DOZA_NR integer, DT text);
create table DOKUMENTET (NR_VIZ integer, LLOJI text, TIPI text, MADH integer, PERMB blob, NENSHKR text);

insert into KARTELAT values
  (9007199254740993, '1000000001', 'Çlirim', 'Krasniqi', 2, '05.03.1961', null, '81', null, null, 'Rr. Nënë Tereza 5',
   'Prishtinë', '10000', '{"penicilinë": 3, "qumësht": 1}', '["sq","sr"]', '21.11.2026 14:05:09', '0'),
  (1002, '1000000002', 'Ëngjëll', 'Šabanović', 1, '29.02.2000', '31.12.2025', null, 'J', 'Diabet – e përcjellë', '',
   'Pejë', null, null, null, null, null),
  (1003, '1000000003', 'Blerta', 'Gashi', 1, '31.02.1999', null, null, 'N', null, null, null, null, null, null, null, 'AB'),
  (1004, '1000000004', 'Arbër', 'Hoxha', 9, '01.01.1980', null, null, 'N', null, null, null, null, null, null, null, 'A');
insert into KONTAKTET values
  (9007199254740993, 'tel', '+383 44 000 001'), (9007199254740993, 'email', 'clirim@example.test');
insert into VIZITAT (KRT_NR, LLV, DT_VIZ, REGJ, SHUMA, MJEKU, SPEC) values
  (9007199254740993, 'S', '10.12.2025', '10.12.2025 08:30:00', '4.00', 'Dr. Špresë Çela', 'Kardiologji'),
  (9007199254740993, 'U', '11.01.2026', '11.01.2026 23:30:00', '12.5', 'Dr. Špresë Çela', null),
  (9007199254740993, 'A', '02.02.2026', '02.02.2026 00:30:00', '0', null, null),
  (9007199254740993, 'U', '01.03.2026', null, '99999999.99', null, null);
insert into DIAGNOZAT values (1, 1, 'I10', 'Hipertension'), (2, 1, 'E11', 'Diabet – tipi 2'), (3, 2, 'J00', 'Ftohje');
insert into BARNAT values
  (1, 'Lisinopril', '10.5', '01.02.2027'), (1, 'Aspirinë', null, null), (2, 'Metformin', '850', '31.12.2026');
insert into VAKSINAT
  with recursive n (i) as (select 0 union all select i + 1 from n where i < 599)
  select 1000000 + i, iif(i % 3 = 0, 'Fruth', 'Tetanos'), i % 4 + 1,
         format('%02d.%02d.%d', i % 28 + 1, i % 12 + 1, 2020 + i % 6) from n;
insert into DOKUMENTET values
  (1, 'FL', 'application/pdf', 5, x'255044462d', '02.12.2025 09:00:00'),
  (1, 'RTG', 'image/png', 200000, cast(replace(hex(zeroblob(50000)), '0', 'ç') as blob), null),
  (2, 'FL', 'application/pdf', 0, x'', null);
