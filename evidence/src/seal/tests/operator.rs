//! What an operator's word can do, and two at once.

use std::cell::Cell;

use super::*;

#[tokio::test]
async fn an_operator_cannot_seal_what_lives() {
    let mut rig = Rig::new().await;
    let own = own(&rig.b);
    let (reader, clock) = (rig.reader.clone(), clock());
    let ask = async |store: &mut Store, origin: &str| {
        Box::pin(seal_watching(store, &reader, origin, &own, &"x".repeat(5000), &clock, WATCH)).await
    };
    assert!(matches!(ask(&mut rig.b.store, "ura.test/b").await, Err(SealError::Own(_))));
    assert!(matches!(ask(&mut rig.b.store, "ura.test/z").await, Err(SealError::NoLog(_))));
    // Held by a process of this machine: this one.
    let seen = rig.row(&rig.c).await;
    let holder = Holder::own().to_string();
    let lease = NewLease { token: 2, holder, previous_token: 0, previous_holder: String::new() };
    assert!(rig.c.store.take(rig.c.log, &seen, &lease).await.expect("asked"));
    assert!(matches!(ask(&mut rig.b.store, "ura.test/c").await, Err(SealError::InUse { .. })));
    // It hands over to one elsewhere, and still drains.
    let seen = rig.row(&rig.c).await;
    let (holder, previous_holder) = (ELSEWHERE.to_owned(), Holder::own().to_string());
    let lease = NewLease { token: 3, holder, previous_token: 2, previous_holder };
    assert!(rig.c.store.take(rig.c.log, &seen, &lease).await.expect("asked"));
    assert!(matches!(ask(&mut rig.b.store, "ura.test/c").await, Err(SealError::InUse { .. })));
    // One elsewhere that beats: time goes on only behind a beat.
    let mut beating = Store::open(&rig.a.address).await.expect("opens");
    let is_over = Cell::new(false);
    let beats = async {
        while !is_over.get() {
            beating.beat(rig.a.log, 1, BEGIN_US).await.expect("asked");
            tokio::time::advance(WATCH.poll).await;
        }
    };
    let asked = async {
        let refused = ask(&mut rig.b.store, "ura.test/a").await;
        is_over.set(true);
        refused
    };
    tokio::time::pause();
    let (refused, ()) = patient(async { tokio::join!(asked, beats) }).await;
    tokio::time::resume();
    assert!(matches!(refused, Err(SealError::InUse { .. })), "{refused:?}");
    patient(ask(&mut rig.b.store, "ura.test/a")).await.expect("sealed, now that it is silent");
    rig.assert_sealed(&rig.a).await;
    assert_eq!(rig.end_of(&rig.a).await.0[0].reason.len(), REASON_BYTES_MAX);
    assert!(matches!(ask(&mut rig.b.store, "ura.test/a").await, Err(SealError::Already(_))));
    rig.reader.close().await;
}

#[tokio::test]
async fn entries_that_somebody_with_the_database_inserted_are_not_sealed_over() {
    let mut rig = Rig::new().await;
    let (own, clock) = (own(&rig.b), clock());
    let row = rig.row(&rig.a).await;
    let mut append = rig.a.store.begin(rig.a.log, Appender::Guest, 2, BEGIN_US).await.expect("begun");
    append.insert(&Sample::gaps(2)).await.expect("inserted");
    append.mark(&row.mark.try_into().expect("32 bytes")).await.expect("a mark from before");
    append.commit().await.expect("committed");
    let sealing = seal_watching(&mut rig.b.store, &rig.reader, "ura.test/a", &own, "gone", &clock, WATCH);
    let refused = Box::pin(sealing).await.expect_err("refused");
    assert!(matches!(refused, SealError::Unsound { .. }), "{refused}");
    assert!(refused.to_string().contains("not written by this bus"), "{refused}");
    let now = rig.row(&rig.a).await;
    assert_eq!((now.sealed, now.size, now.token), (false, row.size + 2, row.token));
    rig.reader.close().await;
}

#[tokio::test]
async fn of_two_who_seal_a_log_one_wins() {
    let mut rig = Rig::new().await;
    let (b, c) = (own(&rig.b), own(&rig.c));
    let (reader, clock) = (rig.reader.clone(), clock());
    let mut other = Store::open(&rig.c.address).await.expect("opens");
    let (one, two) = patient(async {
        tokio::join!(
            Box::pin(seal_watching(&mut rig.b.store, &reader, "ura.test/a", &b, "by b", &clock, WATCH)),
            Box::pin(seal_watching(&mut other, &reader, "ura.test/a", &c, "by c", &clock, WATCH)),
        )
    })
    .await;
    let (seals, unknown) = rig.end_of(&rig.a).await;
    assert_eq!((seals.len(), unknown), (1, 1));
    let (won, lost) = if seals[0].by == "ura.test/b" { (one, two) } else { (two, one) };
    let row = rig.row(&rig.a).await;
    assert_eq!(won.expect("sealed"), Sealed { size: row.size, closed: 1 });
    let is_later = |error: &SealError| {
        matches!(error, SealError::Taken(_) | SealError::Already(_) | SealError::InUse { .. })
    };
    assert!(lost.as_ref().is_err_and(is_later), "{lost:?}");
    assert_eq!(verify_registry(&rig.reader, &[]).await.expect("readable").problems, []);
    rig.reader.close().await;
}
