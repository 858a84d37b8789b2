-- Recent spans. `notable`: 1 where a span of the same trace had an error or was slow.
create table trace_span (
    id bigint generated always as identity primary key,
    trace_id bytea not null,
    span_id bytea not null,
    system text not null,
    received_us bigint not null,
    notable bigint not null,
    bytes bigint not null,
    body bytea not null
);
create unique index trace_span_once on trace_span (trace_id, system, span_id);
create index trace_span_oldest on trace_span (system, notable, received_us, bytes);
