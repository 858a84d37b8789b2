//! Plugs that fail, and services all of whose plugs do.

use super::{register::Conduct, rig::Rig};
use crate::world::{client::Ended, patient};

/// What a refusal tells of the service.
fn told(ended: &Ended, key: &str) -> String {
    let details = ended.details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {ended:?}"));
    info.metadata.get(key).cloned().unwrap_or_default()
}

/// The pause of a refusal, which stands in three places; milliseconds.
fn pause_ms(ended: &Ended) -> u128 {
    let number = |key: &str| -> u128 {
        let value = ended.trailers.get(key).unwrap_or_else(|| panic!("no {key}: {ended:?}"));
        value.to_str().expect("text").parse().expect("a number")
    };
    let retry = ended.details().retry_info().and_then(|retry| retry.retry_delay).expect("RetryInfo");
    assert_eq!(number("grpc-retry-pushback-ms"), retry.as_millis());
    assert_eq!(number("retry-after"), retry.as_millis().div_ceil(1000));
    retry.as_millis()
}

#[tokio::test]
async fn a_failing_plug_beside_a_healthy_one_is_left_alone_and_comes_back() {
    let rig = Rig::of(&[Conduct::Unavailable, Conduct::Well]).await;
    let mut failed = 0;
    for number in 0..200 {
        // Writes, which are never sent twice: each failure shows.
        let ended = rig.call("Write", &number.to_string()).await;
        failed += usize::from(ended.status() == 14);
        assert!(ended.reason().is_empty(), "the bus refuses none: {ended:?}");
    }
    assert_eq!(failed, rig.registers[0].count());
    // Five on each of its two connections, and few before its failures weigh enough.
    assert!((1..=25).contains(&failed), "{failed} of 200 calls were given to it");

    rig.registers[0].set(Conduct::Well);
    patient(async {
        let mut number = 1000;
        while rig.registers[0].count() < failed + 20 {
            number += 1;
            let ended = rig.call("Write", &number.to_string()).await;
            assert_eq!(ended.status(), 0, "{ended:?}");
        }
    })
    .await;
    rig.end().await;
}

#[tokio::test]
async fn a_frozen_plug_beside_a_healthy_one_is_left_alone() {
    let rig = Rig::of(&[Conduct::Frozen, Conduct::Well]).await;
    // As long as its calls hang it looks busy, and those that are answered do not.
    let mut hanging = Vec::new();
    for _ in 0..60 {
        let call = rig.begin("arc/probe").await;
        let stuck = rig.registers[0].count();
        tokio::select! {
            () = rig.registers[0].until(stuck + 1) => hanging.push(call),
            ended = async {
                while !call.is_answered() {
                    tokio::task::yield_now().await;
                }
            } => ended,
        }
    }
    // Only where both its connections were drawn, one time in six.
    assert!(hanging.len() <= 22, "{} of 60 hang", hanging.len());
    rig.registers[0].set(Conduct::Well);
    for call in hanging {
        assert_eq!(patient(call.ended()).await.status(), 0);
    }
    rig.end().await;
}

#[tokio::test]
async fn a_service_that_fails_is_shut_for_a_while_and_says_when_to_return() {
    let rig = Rig::of(&[Conduct::Unavailable]).await;
    let mut own = 0;
    let refused = loop {
        let ended = rig.call("Write", &own.to_string()).await;
        assert_eq!(ended.status(), 14, "{ended:?}");
        if !ended.reason().is_empty() {
            break ended;
        }
        own += 1;
        assert!(own <= 40, "it is asked for ever");
    };
    assert_eq!(rig.asked(), own, "what is refused reaches nobody");
    assert_eq!(
        (refused.reason().as_str(), refused.outcome().as_str()),
        ("REGISTER_UNAVAILABLE", "never_sent")
    );
    assert_eq!(told(&refused, "health"), "failing");
    assert!(told(&refused, "since").starts_with("20"), "{refused:?}");
    assert!(pause_ms(&refused) <= 90_000, "half more than the longest");

    // It is tried by single calls, and open again with the first that is answered.
    rig.registers[0].set(Conduct::Well);
    patient(async {
        let mut number = 1000;
        while rig.call("Write", &number.to_string()).await.status() != 0 {
            number += 1;
        }
    })
    .await;
    for number in 0..20 {
        assert_eq!(rig.call("Write", &format!("after-{number}")).await.status(), 0);
    }
    rig.end().await;
}

#[tokio::test]
async fn of_a_shut_service_one_call_at_a_time_is_tried() {
    let rig = Rig::of(&[Conduct::Unavailable]).await;
    patient(async { while rig.call("Write", "k").await.reason().is_empty() {} }).await;
    rig.registers[0].set(Conduct::Frozen);
    let before = rig.asked();
    // One goes through after the pause, and hangs; on either of its connections.
    let mut tried = Vec::new();
    patient(async {
        while rig.asked() < before + 2 {
            let call = rig.begin("arc/probe").await;
            let asked = rig.asked();
            tokio::select! {
                () = rig.registers[0].until(asked + 1) => tried.push(call),
                ended = async { while !call.is_answered() { tokio::task::yield_now().await } } => ended,
            }
        }
    })
    .await;
    for _ in 0..20 {
        let ended = rig.call("Write", "later").await;
        assert_eq!(ended.reason(), "REGISTER_UNAVAILABLE", "{ended:?}");
        assert_eq!(told(&ended, "health"), "trying", "{ended:?}");
        assert!(pause_ms(&ended) >= 1000);
    }
    assert_eq!(rig.asked(), before + 2);
    rig.registers[0].set(Conduct::Well);
    drop(tried);
    patient(async { while rig.call("Write", "at last").await.status() != 0 {} }).await;
    rig.end().await;
}

#[tokio::test]
async fn a_service_without_adapters_says_so_and_when_to_return() {
    let rig = Rig::with(&[], "", "plug_wait_ms = 0").await;
    let ended = rig.call("Write", "k").await;
    assert_eq!((ended.reason().as_str(), ended.outcome().as_str()), ("REGISTER_UNAVAILABLE", "never_sent"));
    assert_eq!(told(&ended, "health"), "no-adapter");
    assert!((1000..=1500).contains(&pause_ms(&ended)));
    rig.end().await;
}
