//! Leases: who may write, and who may no longer.

use super::*;

/// Whether the token may append.
async fn may(store: &mut Store, log: i64, token: i64) -> bool {
    match append(store, log, Appender::Holder(token), &[gap(1)]).await {
        Ok(_) => true,
        Err(StoreError::Fenced { log: of, .. }) => {
            assert_eq!(of, log);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

pub(super) async fn a_lease_is_taken_once(address: Address) {
    let mut store = Store::open(&address).await.expect("opens");
    let mut other = Store::open(&address).await.expect("opens");
    let seen = store.log(ORIGIN, GATEWAY).await.expect("registers");
    assert_eq!((seen.token, seen.previous_token, seen.last_token, seen.size), (0, 0, 0, 0));
    assert_eq!(other.log(ORIGIN, GATEWAY).await.expect("finds"), seen);
    assert!(!may(&mut store, seen.log, 0).await, "nobody's token is no token");
    assert!(!store.beat(seen.log, 0, 1).await.expect("asks"));
    assert!(store.take(seen.log, &seen, &lease(1, 0)).await.expect("takes"));
    // Both saw the same; the second comes too late.
    assert!(!other.take(seen.log, &seen, &lease(1, 0)).await.expect("asks"));
    assert!(may(&mut store, seen.log, 1).await);
    let now = other.log(ORIGIN, GATEWAY).await.expect("finds");
    assert_eq!((now.token, now.holder.as_str(), now.last_token), (1, "process 1", 1));
    assert!(now.beat > seen.beat);
}

pub(super) async fn a_token_that_is_no_longer_valid_is_fenced(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut other = Store::open(&address).await.expect("opens");
    assert!(other.take(log.log, &log, &lease(2, 0)).await.expect("takes"));
    assert!(!may(&mut store, log.log, 1).await);
    let fenced = store.begin(log.log, Appender::Holder(1), 1, 9).await.err().expect("fenced").to_string();
    assert!(fenced.contains("`process 2` has taken it over"), "{fenced}");
    assert!(!store.beat(log.log, 1, 9).await.expect("asks"));
    // Giving back what is gone changes nothing.
    let before = store.log(ORIGIN, GATEWAY).await.expect("finds");
    store.release(log.log, 1).await.expect("no error");
    assert_eq!(store.log(ORIGIN, GATEWAY).await.expect("finds"), before);
    assert!(may(&mut other, log.log, 2).await);
}

pub(super) async fn the_one_before_may_write_to_its_end(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut other = Store::open(&address).await.expect("opens");
    assert!(other.take(log.log, &log, &lease(2, 1)).await.expect("takes"));
    assert!(may(&mut store, log.log, 1).await && may(&mut other, log.log, 2).await);
    assert!(store.beat(log.log, 1, 33).await.expect("asks"));
    let now = other.log(ORIGIN, GATEWAY).await.expect("finds");
    assert_eq!((now.token, now.previous_token, now.renewed_us), (2, 1, 33));
    store.release(log.log, 1).await.expect("releases");
    let now = other.log(ORIGIN, GATEWAY).await.expect("finds");
    assert_eq!((now.token, now.previous_token, now.previous_holder.as_str()), (2, 0, ""));
    assert!(!may(&mut store, log.log, 1).await);
    assert!(may(&mut other, log.log, 2).await);
}

pub(super) async fn a_sealed_log_is_fenced_for_all(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut batch = store.begin(log.log, Appender::Holder(1), 1, 9).await.expect("begins");
    batch.insert(&[gap(1)]).await.expect("inserts");
    batch.mark(&[8; 32]).await.expect("marks");
    batch.seal().await.expect("seals");
    batch.commit().await.expect("commits");
    let sealed = store.log(ORIGIN, GATEWAY).await.expect("finds");
    assert!(sealed.sealed && sealed.size == 1);
    for by in [Appender::Holder(1), Appender::Guest] {
        let error = store.begin(log.log, by, 1, 9).await.err().expect("fenced");
        assert!(matches!(error, StoreError::Fenced { sealed: true, .. }), "{error}");
    }
    assert!(!store.beat(log.log, 1, 9).await.expect("asks"));
    assert!(!store.take(log.log, &sealed, &lease(2, 0)).await.expect("asks"));
    assert_eq!(store.log(ORIGIN, GATEWAY).await.expect("finds"), sealed);
}

pub(super) async fn a_token_is_never_given_twice(address: Address) {
    let (mut store, log) = held(&address).await;
    store.release(log.log, 1).await.expect("releases");
    let released = store.log(ORIGIN, GATEWAY).await.expect("finds");
    assert_eq!((released.token, released.holder.as_str(), released.last_token), (0, "", 1));
    let again = store.take(log.log, &released, &lease(1, 0)).await;
    assert!(matches!(again, Err(StoreError::Misuse(_))), "{again:?}");
    assert!(store.take(log.log, &released, &lease(2, 0)).await.expect("takes"));
    assert!(!may(&mut store, log.log, 1).await, "a process that slept over it stays fenced");
}

pub(super) async fn what_was_swept_is_noted_by_the_holder_only(address: Address) {
    let (mut store, log) = held(&address).await;
    store.set_swept(log.log, 1, 12).await.expect("notes");
    let other = store.set_swept(log.log, 2, 13).await;
    assert!(matches!(other, Err(StoreError::Fenced { sealed: false, .. })), "{other:?}");
    assert!(matches!(store.set_swept(log.log, 1, u64::MAX).await, Err(StoreError::Misuse(_))));
    assert_eq!(store.log(ORIGIN, GATEWAY).await.expect("finds").swept, 12);
}
