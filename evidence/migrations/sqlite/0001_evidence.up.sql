-- The tables of the evidence store; the PostgreSQL ones beside it have the same names and columns. A store
-- in SQLite holds one log, number 1, so that the index of an entry can be the row's own number.

-- A log and its lease. Tokens are numbered upwards and never given twice; 0: nobody. `mark` is an HMAC, under an epoch
-- key, over the log's size and root: who appends makes it, and who only has the database cannot.
create table log (
    log              integer primary key check (log = 1),
    origin           text not null unique,
    gateway          text not null,
    token            integer not null default 0,
    holder           text not null default '',
    previous_token   integer not null default 0,
    previous_holder  text not null default '',
    last_token       integer not null default 0,
    beat             integer not null default 0,
    renewed_us       integer not null default 0,
    size             integer not null default 0,
    swept            integer not null default 0,
    sealed           integer not null default 0,
    mark             blob not null default x''
) strict;

-- One row per entry. `leaf` is SHA-256 of the body; the columns from `kind` on, but for `removed_by`, repeat what the
-- body says, for searching only. `removed_by` is the index of the entry that tells of the body's removal, plus 1.
create table entry (
    log         integer not null check (log = 1),
    log_index   integer primary key,
    leaf        blob not null check (length(leaf) = 32),
    kind        integer not null,
    exchange_id blob not null,
    recorded_us integer not null,
    consumer    text not null,
    provider    text not null,
    method      text not null,
    reason      text not null,
    trace_id    blob not null,
    removed_by  integer not null default 0
) strict;

create index entry_exchange on entry (exchange_id);
-- By time: openings (kind 10) and what the log says of itself (kinds from 13), not what follows an opening.
create index entry_recorded on entry (recorded_us, log) where kind = 10 or kind >= 13;
-- By what only an opening says.
create index entry_consumer on entry (consumer, recorded_us, log) where kind = 10;
create index entry_provider on entry (provider, recorded_us, log) where kind = 10;
create index entry_method on entry (method, recorded_us, log) where kind = 10;
create index entry_trace on entry (trace_id) where kind = 10;
create index entry_reason on entry (reason, recorded_us, log) where reason <> '';
-- Entries of the log itself: few.
create index entry_kind on entry (kind, recorded_us, log) where kind >= 13;

-- The entry itself, apart from its leaf, so that retention can remove it and the tree still stands.
create table body (
    log         integer not null check (log = 1),
    log_index   integer primary key,
    bytes       blob not null
) strict;

-- What opens the commitments of an entry's subjects, in their order.
create table subject (
    log         integer not null check (log = 1),
    log_index   integer not null,
    ordinal     integer not null,
    kind        text not null,
    pseudonym   blob not null,
    blind       blob not null,
    primary key (log, log_index, ordinal)
) strict, without rowid;

create index subject_pseudonym on subject (pseudonym, log_index);

-- Roots of the full subtrees of 256^level leaves, from level 1: the hashes of the tiles of that level.
create table subtree (
    log         integer not null check (log = 1),
    level       integer not null,
    idx         integer not null,
    hash        blob not null check (length(hash) = 32),
    primary key (log, level, idx)
) strict, without rowid;

-- Checkpoints as signed notes with the log's own signature. `kept` ones stay when old ones are thinned out.
create table checkpoint (
    log         integer not null check (log = 1),
    size        integer not null,
    note        text not null,
    signed_us   integer not null,
    kept        integer not null,
    primary key (log, size)
) strict, without rowid;

-- What others signed of a checkpoint: one line of the note each.
create table cosignature (
    log         integer not null check (log = 1),
    size        integer not null,
    name        text not null,
    line        text not null,
    time_s      integer not null,
    primary key (log, size, name)
) strict, without rowid;

-- Versions of the signed list of all logs of the store.
create table registry (
    version     integer primary key,
    note        text not null
) strict;
