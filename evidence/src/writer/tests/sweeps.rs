//! Exchanges that nobody closes any more are closed as unknown, and nobody else's are.

use std::process::{Child, Command, Stdio};

use ura_proto::{
    ExchangeId,
    v1::{Outcome, entry::Kind},
};

use super::{
    leases::{dead, steal},
    rig::{Rig, closing, opening, patient, refused, until},
};
use crate::{
    lease::Holder,
    store::{Appender, NewLease},
    writer::log_state::{LogState, Signing},
};

/// Waits until nothing is left to be swept: the place is noted at the end only, so by its effect.
async fn closed(rig: &Rig, ids: &[ExchangeId]) {
    until(async || {
        let whole = rig.whole().await;
        ids.iter().all(|id| !whole.closings(*id).is_empty())
    })
    .await;
}

#[tokio::test]
async fn exactly_the_dead_exchanges_are_closed_on_sqlite() {
    exactly_the_dead_exchanges_are_closed(Rig::sqlite()).await;
}

pub(super) async fn exactly_the_dead_exchanges_are_closed(rig: Rig) {
    let before = rig.start().await;
    let mut exchanges = Vec::new();
    for at in 0..1300 {
        let (id, fate) = (ExchangeId::at(at), std::sync::Arc::default());
        exchanges.push((id, before.evidence.submit(opening(id), &fate).expect("a place"), fate));
    }
    let turned_away = ExchangeId::at(5000);
    before.record(refused(turned_away)).await.expect("on disk");
    let mut open = Vec::new();
    for (position, (id, ticket, fate)) in exchanges.into_iter().enumerate() {
        patient(ticket).await.expect("on disk");
        if position % 2 == 0 {
            patient(before.close_exchange(&(id, fate))).await.expect("on disk");
        } else {
            open.push(id);
        }
    }
    before.die().await;
    steal(&rig, &dead()).await;
    let running = rig.start().await;
    let mine = running.open_exchange(9000).await;
    closed(&rig, &open).await;
    running.record(closing(mine.0)).await.expect("on disk");
    running.end().await;
    let whole = rig.whole().await;
    assert!(whole.is_signed());
    for id in &open {
        assert_eq!(whole.closings(*id), [Outcome::Unknown]);
    }
    assert_eq!(whole.closings(mine.0), [Outcome::Answered], "an exchange of a living process");
    assert_eq!(whole.closings(turned_away), [], "refused exchanges have no closing");
    let unknown = whole.all(|kind| match kind {
        Kind::Closing(closing) if closing.outcome() == Outcome::Unknown => Some(closing.status),
        _ => None,
    });
    assert_eq!((unknown.len(), unknown[0]), (650, 2));
    assert_eq!(rig.row().await.swept, whole.rows.len() as u64, "the next start need not look");
}

/// A process that does nothing, ended and waited for when dropped.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep");
        Self(child)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

#[tokio::test]
async fn what_a_predecessor_has_open_is_its_own_until_it_dies_on_sqlite() {
    what_a_predecessor_has_open_is_its_own_until_it_dies(Rig::sqlite()).await;
}

pub(super) async fn what_a_predecessor_has_open_is_its_own_until_it_dies(rig: Rig) {
    rig.start().await.end().await;
    // The predecessor: a real process, for which this one appends.
    let process = Idle::start();
    let row = rig.row().await;
    let token = row.last_token + 1;
    let holder = Holder::of(process.0.id()).to_string();
    let lease = NewLease { token, holder, previous_token: 0, previous_holder: String::new() };
    let mut store = rig.store().await;
    assert!(store.take(row.log, &row, &lease).await.expect("the store answers"));
    let tree = rig.reader().await.frontier(row.log, row.size).await.expect("an edge");
    let by = Appender::Holder(token);
    let epochs = crate::keys::EpochKeys::read(&rig.config.keys).expect("keys");
    let mut predecessor =
        LogState::new(row.log, rig.config.origin.as_str().into(), by, epochs, (tree, None), u64::MAX);
    let signing = Signing {
        signer: rig.log_keys().newest(),
        interval: std::time::Duration::MAX,
        now: false,
        keep: false,
    };
    let ids = [1, 2, 3].map(ExchangeId::at);
    let mut rows = ids[..2].iter().map(|id| opening(*id)).collect::<Vec<_>>();
    predecessor.append(&mut store, &mut rows, &signing, 1, |_| ()).await.expect("appended");
    let running = rig.take_over().await;
    assert_eq!(rig.row().await.previous_token, token);
    // It goes on: one more is opened behind the new one's start, and one is closed.
    let mut rows = vec![opening(ids[2]), closing(ids[0])];
    predecessor.append(&mut store, &mut rows, &signing, 1, |_| ()).await.expect("appended");
    let beat = rig.row().await.beat;
    until(async || rig.row().await.beat > beat + 3).await;
    let whole = rig.whole().await;
    assert_eq!(ids.map(|id| whole.closings(id).len()), [1, 0, 0], "it lives");
    let mine = running.open_exchange(9).await;
    drop(process);
    closed(&rig, &ids).await;
    assert_eq!(rig.row().await.previous_token, 0);
    assert!(
        predecessor.append(&mut store, &mut [opening(ExchangeId::at(4))], &signing, 1, |_| ()).await.is_err(),
        "fenced"
    );
    patient(running.close_exchange(&mine)).await.expect("on disk");
    running.end().await;
    let whole = rig.whole().await;
    assert_eq!(whole.closings(ids[0]), [Outcome::Answered]);
    assert_eq!(
        (whole.closings(ids[1]), whole.closings(ids[2])),
        (vec![Outcome::Unknown], vec![Outcome::Unknown])
    );
    assert_eq!(whole.closings(mine.0), [Outcome::Answered]);
    assert!(whole.is_signed());
}

#[tokio::test]
async fn what_a_predecessor_closes_itself_is_not_closed_again() {
    let rig = Rig::sqlite();
    let old = rig.start().await;
    let exchange = old.open_exchange(1).await;
    let new = rig.take_over().await;
    let beat = rig.row().await.beat;
    until(async || rig.row().await.beat > beat + 4).await;
    assert_eq!(rig.whole().await.closings(exchange.0), []);
    patient(old.close_exchange(&exchange)).await.expect("on disk");
    old.end().await;
    until(async || new.evidence.status().size == rig.row().await.size).await;
    new.end().await;
    assert_eq!(rig.whole().await.closings(exchange.0), [Outcome::Answered]);
}
