-- Recent spans. `notable`: 1 where a span of the same trace had an error or was slow.
create table trace_span (
    id integer primary key,
    trace_id blob not null,
    span_id blob not null,
    system text not null,
    received_us integer not null,
    notable integer not null,
    bytes integer not null,
    body blob not null
);
create unique index trace_span_once on trace_span (trace_id, system, span_id);
create index trace_span_oldest on trace_span (system, notable, received_us, bytes);
