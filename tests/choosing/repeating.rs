//! What is sent again, and what never is.

use std::collections::BTreeSet;

use ura_proto::v1::Outcome;

use super::{register::Conduct, rig::Rig};

#[tokio::test]
async fn reads_and_idempotent_writes_that_fail_are_sent_to_another_plug() {
    let rig = Rig::of(&[Conduct::Unavailable, Conduct::Well]).await;
    for number in 0..60 {
        for method in ["Read", "Put"] {
            let ended = rig.call(method, &format!("{method}-{number}")).await;
            assert_eq!(ended.status(), 0, "{method}: {ended:?}");
        }
    }
    let failed: BTreeSet<String> = rig.registers[0].headers("idempotency-key").into_iter().collect();
    assert!(!failed.is_empty(), "the failing one was asked");
    let answered: BTreeSet<String> = rig.registers[1].headers("idempotency-key").into_iter().collect();
    assert!(failed.is_subset(&answered), "with the same key");
    // Each attempt says how many there were before it.
    let attempts = rig.registers[1].headers("grpc-previous-rpc-attempts");
    assert_eq!(attempts.len(), failed.len(), "{attempts:?}");
    assert!(attempts.iter().all(|before| before == "1" || before == "2"), "{attempts:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_sent_again_only_where_that_does_no_harm() {
    let rig = Rig::of(&[Conduct::Reset, Conduct::Well]).await;
    for number in 0..60 {
        let ended = rig.call("Put", &format!("put-{number}")).await;
        // Its head may have come before it broke: then the bus may not send it again.
        let lost = ended.reason() == "REGISTER_UNAVAILABLE" && ended.outcome() == "maybe_executed";
        assert!(ended.status() == 0 || lost, "{ended:?}");
        let ended = rig.call("Write", &format!("write-{number}")).await;
        if ended.status() != 0 {
            assert_eq!(ended.outcome(), "maybe_executed", "{ended:?}");
            let records = rig.world.evidence(ended.exchange()).await;
            assert_eq!(records.closing().outcome(), Outcome::MaybeExecuted);
        }
    }
    assert!(rig.registers[0].count() > 0);
    at_most_once(&rig, "write-");
    rig.end().await;
}

#[tokio::test]
async fn a_write_is_sent_at_most_once_whatever_fails() {
    for conduct in [Conduct::Unavailable, Conduct::Reset, Conduct::EachThird] {
        let rig = Rig::of(&[conduct, Conduct::EachThird]).await;
        for number in 0..60 {
            rig.call("Write", &format!("write-{number}")).await;
        }
        at_most_once(&rig, "write-");
        assert!(rig.asked() > 10, "{conduct:?}");
        rig.end().await;
    }
}

/// No key of this kind was seen twice.
fn at_most_once(rig: &Rig, prefix: &str) {
    let keys = rig.registers.iter().flat_map(|register| register.headers("idempotency-key"));
    let keys: Vec<String> = keys.filter(|key| key.starts_with(prefix)).collect();
    let once: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(once.len(), keys.len(), "{keys:?}");
}

#[tokio::test]
async fn an_adapter_that_says_no_is_believed() {
    let rig = Rig::of(&[Conduct::Final, Conduct::Final]).await;
    let ended = rig.call("Read", "k").await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, ""), "{ended:?}");
    assert_eq!(ended.trailers["grpc-retry-pushback-ms"], "-1", "its word is for the caller");
    assert_eq!(rig.asked(), 1);
    rig.end().await;
}

#[tokio::test]
async fn a_budget_bounds_what_is_sent_again() {
    const CALLS: usize = 600;
    let rig = Rig::of(&[Conduct::EachThird, Conduct::EachThird]).await;
    let mut failed = 0;
    for number in 0..CALLS {
        failed += usize::from(rig.call("Read", &number.to_string()).await.status() != 0);
    }
    let again = rig.registers.iter().map(|register| register.headers("grpc-previous-rpc-attempts").len());
    let again: usize = again.sum();
    // A third of 600 fails, and a third of what is sent again. The bucket has 50 to give away.
    assert!((30..=120).contains(&again), "{again} were sent again");
    assert!(failed > 50, "{failed} failed");
    rig.end().await;
}
