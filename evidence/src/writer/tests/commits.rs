//! Commits, checkpoints, and when they come.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use ura_log::tree;
use ura_proto::v1::{Gap, entry::Kind};

use super::rig::{Rig, patient, some, until};
use crate::{
    entry::Row,
    store::Appender,
    writer::{
        Evidence, EvidenceError,
        log_state::{LogState, Signing},
    },
};

#[tokio::test]
async fn everything_is_signed_at_the_end_on_sqlite() {
    everything_is_signed_at_the_end(Rig::sqlite()).await;
}

pub(super) async fn everything_is_signed_at_the_end(rig: Rig) {
    let running = rig.start().await;
    let tickets: Vec<_> = (0..700)
        .map(|at| running.evidence.submit(some(at), &Arc::default()).expect("a place in the queue"))
        .collect();
    for (index, ticket) in (1..).zip(tickets) {
        let recorded = patient(ticket).await.expect("on disk");
        assert_eq!((recorded.index, &*recorded.origin), (index, rig.config.origin.as_str()));
        assert_eq!(*running.evidence.origin(), *rig.config.origin);
    }
    // Rows that nobody waits for are written too.
    drop(running.evidence.submit(some(701), &Arc::default()));
    running.end().await;
    let whole = rig.whole().await;
    assert_eq!(whole.rows.len(), 702);
    assert!(whole.is_signed());
    assert!(matches!(whole.entries[0].kind, Some(Kind::Started(_))));
    let row = rig.row().await;
    assert_eq!((row.token, row.holder.as_str(), row.previous_token), (0, "", 0), "the lease is given back");
    // The next process goes on where this one stopped.
    let running = rig.start().await;
    assert_eq!(running.record(some(702)).await, Some(703));
    running.end().await;
    assert!(rig.whole().await.is_signed());
}

#[tokio::test]
async fn others_rows_are_taken_into_the_tree_on_sqlite() {
    others_rows_are_taken_into_the_tree(Rig::sqlite()).await;
}

pub(super) async fn others_rows_are_taken_into_the_tree(rig: Rig) {
    let running = rig.start().await;
    let log = rig.row().await.log;
    let guest = rig.reader().await;
    for round in 0..3 {
        let mut store = rig.store().await;
        let tree = guest.frontier(log, rig.row().await.size).await.expect("an edge");
        let epochs = crate::keys::EpochKeys::read(&rig.config.keys).expect("keys");
        let origin = rig.config.origin.as_str().into();
        let mut state = LogState::new(log, origin, Appender::Guest, epochs, (tree, None), u64::MAX);
        let mut rows: Vec<_> = (0..300).map(|at| some(round * 1000 + at)).collect();
        let signer = rig.log_keys().newest();
        let signing = Signing { signer, interval: Duration::MAX, now: false, keep: false };
        let appended = state.append(&mut store, &mut rows, &signing, 1, |_| ()).await.expect("appended");
        assert_eq!(running.record(some(round * 1000 + 999)).await, Some(appended.first + 300));
    }
    running.end().await;
    let whole = rig.whole().await;
    assert_eq!(whole.rows.len(), 1 + 3 * 301);
    assert!(whole.is_signed());
}

#[tokio::test]
async fn an_idle_writer_commits_at_once_and_no_timer_is_waited_for() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    tokio::time::pause();
    let begin = Instant::now();
    for at in 0..20 {
        // Time stands still: whoever waited for it would wait for ever.
        assert_eq!(running.record(some(at)).await, Some(1 + at.unsigned_abs()));
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    tokio::time::resume();
    running.end().await;
}

#[tokio::test]
async fn what_gathers_while_a_commit_syncs_is_committed_together() {
    let mut rig = Rig::sqlite();
    rig.config.batch_entries_max = 512;
    let running = rig.start().await;
    let before = rig.row().await.beat;
    let tickets: Vec<_> = (0..400).map(|at| running.evidence.submit(some(at), &Arc::default())).collect();
    for ticket in tickets {
        patient(ticket.expect("a place")).await.expect("on disk");
    }
    let commits = rig.row().await.beat - before;
    assert!(commits < 40, "{commits} commits for 400 rows");
    running.end().await;
}

#[tokio::test]
async fn a_checkpoint_comes_a_second_after_the_one_before_and_only_for_new_entries() {
    let mut rig = Rig::sqlite();
    rig.pace.upkeep = Duration::from_secs(1);
    tokio::time::pause();
    let sizes = patient(Box::pin(async {
        let running = rig.start().await;
        let status = || running.evidence.status();
        assert_eq!((status().size, status().signed_size), (1, 1), "the start is signed");
        running.record(some(1)).await.expect("on disk");
        assert_eq!((status().size, status().signed_size), (2, 1), "too soon after the last one");
        tokio::time::advance(Duration::from_millis(990)).await;
        running.record(some(2)).await.expect("on disk");
        assert_eq!((status().size, status().signed_size), (3, 1), "still too soon");
        // Timers are good to a millisecond.
        tokio::time::advance(Duration::from_millis(12)).await;
        until(async || status().signed_size == 3).await;
        for _ in 0..5 {
            let beat = rig.row().await.beat;
            // The writer may still be at work on the beat that was read: what is due is reckoned from when it ends,
            // and time stands still unless it is moved again.
            until(async || {
                tokio::time::advance(Duration::from_secs(3)).await;
                rig.row().await.beat > beat
            })
            .await;
        }
        running.record(some(3)).await.expect("on disk");
        assert_eq!(status().signed_size, 4, "signed in the transaction of the row itself");
        running.end().await;
        rig.whole().await.checkpoints.iter().map(|(row, _)| row.size).collect::<Vec<_>>()
    }))
    .await;
    assert_eq!(sizes, [1, 3, 4], "nothing new, nothing to sign");
}

#[tokio::test]
async fn a_writer_has_a_thread_of_its_own_and_ends_with_the_last_handle() {
    let rig = Rig::sqlite();
    let opened = Evidence::open(&rig.config, Rig::who(false), rig.clock.clone()).await;
    let (evidence, writer) = opened.expect("opens");
    let second = Evidence::open(&rig.config, Rig::who(false), rig.clock.clone()).await;
    assert!(matches!(second.err(), Some(EvidenceError::Lease(_))), "it says why it does not begin");
    let another = evidence.clone();
    drop(evidence);
    let ticket = another.submit(some(1), &Arc::default()).expect("a place");
    let recorded = patient(ticket).await.expect("on disk");
    let found = another.reader().entries(1, recorded.index, 1).await.expect("readable");
    assert_eq!(tree::leaf_hash(&found[0].leaf), recorded.leaf_hash);
    let last = another.submit(some(2), &Arc::default()).expect("a place");
    drop(another);
    let joined = tokio::task::spawn_blocking(|| writer.join());
    patient(joined).await.expect("it ends");
    assert_eq!(patient(last).await.map(|recorded| recorded.index), Some(recorded.index + 1));
    assert!(rig.whole().await.is_signed());
    assert_eq!(rig.row().await.token, 0);
}

#[tokio::test]
async fn nothing_of_a_dropped_append_stays() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    let mut store = rig.store().await;
    let log = rig.row().await.log;
    let rows: Vec<_> = (0..10).map(some).collect();
    let mut append = store.begin(log, Appender::Guest, 10, 1).await.expect("begun");
    append.insert(&rows[..6]).await.expect("inserted");
    append.subtrees(&[(1, 0, [1; 32])]).await.expect("inserted");
    drop(append);
    assert_eq!(running.record(some(99)).await, Some(1));
    running.end().await;
    let whole = rig.whole().await;
    assert_eq!(whole.rows.len(), 2);
    assert!(whole.is_signed());
    assert_eq!(rig.reader().await.strays(log, 2, 10).await.expect("readable"), []);
}

#[tokio::test]
async fn a_clock_that_is_set_back_changes_times_and_nothing_else() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    running.evidence.submit_kept(Row::new(
        None,
        running.evidence.clock().unix_us(),
        Kind::Gap(Gap::default()),
    ));
    rig.hand.advance_us(-3_600_000_000);
    for at in 0..5 {
        running.record(some(at)).await.expect("on disk");
    }
    running.end().await;
    let running = rig.start().await;
    running.record(some(9)).await.expect("on disk");
    running.end().await;
    assert!(rig.whole().await.is_signed());
}

#[tokio::test]
async fn old_checkpoints_are_thinned_out_to_one_an_hour() {
    let rig = Rig::sqlite();
    for _ in 0..3 {
        for at in 0..4 {
            let running = rig.start().await;
            running.record(some(at)).await.expect("on disk");
            running.end().await;
        }
        rig.hand.advance_us(3_600_000_000);
    }
    let kept: Vec<_> =
        rig.whole().await.checkpoints.iter().filter(|(row, _)| row.kept).map(|(row, _)| row.size).collect();
    assert!(kept.len() >= 3, "each hour has one: {kept:?}");
    let many = rig.whole().await.checkpoints.len();
    rig.hand.advance_us(2 * 86_400_000_000);
    let running = rig.start().await;
    until(async || rig.whole().await.checkpoints.len() < many).await;
    running.end().await;
    let left: Vec<_> = rig.whole().await.checkpoints.iter().map(|(row, _)| row.size).collect();
    assert!(kept.iter().all(|size| left.contains(size)), "{kept:?} in {left:?}");
}
