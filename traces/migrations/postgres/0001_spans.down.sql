drop table trace_span;
