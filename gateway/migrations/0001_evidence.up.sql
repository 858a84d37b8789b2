-- The log: one row per entry, in the order of its leaves. `leaf_hash` commits to the entry; the
-- entry's own bytes lie apart in `body`, so that retention can remove them and the log still stands.
-- The other columns repeat what the entry says, for searching only.
create table entry (
    log_index   integer primary key,
    leaf_hash   blob    not null check (length(leaf_hash) = 32),
    kind        integer not null,
    exchange_id blob    not null,
    recorded_us integer not null,
    consumer    text    not null,
    provider    text    not null,
    method      text    not null,
    reason      text    not null,
    trace_id    blob    not null
) strict;

create index entry_exchange on entry (exchange_id);

create table body (
    log_index integer primary key,
    bytes     blob    not null
) strict;
