//! Servers of others behind the bridge: a Python (grpcio) and a Node (@grpc/grpc-js) program that know nothing
//! of the bus answer over it, all four kinds of method.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, clippy::print_stderr)]

#[path = "bridge/calls.rs"]
mod calls;
#[path = "bridge/contracts.rs"]
mod contracts;
#[path = "bridge/desk.rs"]
mod desk;
#[path = "bridge/ends.rs"]
mod ends;
#[path = "bridge/life.rs"]
mod life;
#[allow(dead_code)] // Of another target; this one uses a part.
#[path = "processes/process.rs"]
mod process;
#[path = "bridge/program.rs"]
mod program;
mod world;

/// Each of these against both servers.
macro_rules! in_both_languages {
    ($($part:ident::$name:ident),+ $(,)?) => {
        mod python {
            $(#[tokio::test] async fn $name() { crate::$part::$name(crate::desk::Language::Python).await; })+
        }
        mod node {
            $(#[tokio::test] async fn $name() { crate::$part::$name(crate::desk::Language::Node).await; })+
        }
    };
}

in_both_languages!(
    calls::a_unary_call_with_all_that_goes_with_it,
    calls::rows_come_one_by_one,
    calls::an_upload_is_added_up,
    calls::a_talk_goes_to_and_fro,
    calls::errors_keep_their_details,
    calls::a_failing_stream_keeps_its_rows,
    calls::a_write_carries_its_key,
    ends::a_caller_that_gives_up_ends_the_call,
    ends::a_deadline_reaches_the_server,
    ends::an_upload_that_nobody_reads_ends_with_its_caller,
    ends::a_reader_that_does_not_read_slows_the_server_and_nobody_else,
    ends::a_server_that_dies_in_a_write_leaves_it_open,
    life::a_server_that_goes_comes_back,
    life::health_is_what_the_server_says,
    life::a_server_that_stands_still_is_not_well,
    life::connections_that_the_server_retires_cost_no_call,
    contracts::a_server_without_reflection_and_health_is_described_by_a_file,
);
