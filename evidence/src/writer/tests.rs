//! The writer on real stores: what it promises is looked up in what stands there afterwards.

mod commits;
mod failures;
mod keys;
mod leases;
mod marks;
mod openings;
mod rig;
mod sweeps;
mod unanswered;

use rig::Rig;

use crate::sample::postgres::Postgres;

/// What must hold on either database, on PostgreSQL with many logs in one.
#[tokio::test]
async fn the_same_holds_on_postgresql() {
    let server = Postgres::start(&[]);
    let rig = |name: &str| {
        // Shown where it fails.
        tracing::info!(name);
        Rig::postgres(&server, name)
    };
    commits::everything_is_signed_at_the_end(rig("end")).await;
    commits::others_rows_are_taken_into_the_tree(rig("guest")).await;
    leases::two_processes_write_while_one_hands_over(rig("overlap")).await;
    leases::a_fenced_writer_comes_back_when_the_other_ends(rig("fenced")).await;
    leases::a_silent_holder_elsewhere_is_relieved(rig("silent")).await;
    sweeps::exactly_the_dead_exchanges_are_closed(rig("dead")).await;
    sweeps::what_a_predecessor_has_open_is_its_own_until_it_dies(rig("previous")).await;
    keys::a_new_epoch_is_taken_up_and_announced_once(rig("epoch")).await;
    Box::pin(keys::a_new_log_key_signs_once_it_is_announced(rig("key"))).await;
    marks::on_postgres(rig("marks")).await;
    unanswered::a_commit_without_an_answer_is_looked_up(rig("unanswered")).await;
}
