//! A register in trouble keeps it to itself.

use super::{register::Conduct, rig::Rig};
use crate::world::{
    client::{Ended, Started},
    patient,
    probe::Ask,
};

const LIMIT: &str = ", calls_in_flight_max = 2, queue_max = 1, wait_ms = 60000";

fn detail(ended: &Ended, key: &str) -> String {
    ended.details().error_info().and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}

#[tokio::test]
async fn a_service_has_so_many_calls_in_hand_so_many_wait_and_the_rest_is_told_to_return() {
    let rig = Rig::with(&[Conduct::Frozen], LIMIT, "").await;
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(rig.begin("arc/probe").await);
    }
    // Whichever comes last.
    patient(async {
        while !calls.iter().any(Started::is_answered) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let last = calls.iter().position(Started::is_answered).expect("one is answered");
    let refused = patient(calls.remove(last).ended()).await;
    assert_eq!(refused.reason(), "OVERLOADED", "{refused:?}");
    rig.registers[0].until(2).await;
    assert_eq!(detail(&refused, "queue"), "full");
    assert_eq!(detail(&refused, "limit"), "calls in hand at this register");
    assert_eq!(detail(&refused, "health"), "serving");
    assert_eq!(refused.outcome(), "never_sent");
    assert!(refused.trailers.contains_key("retry-after"));
    assert_eq!(rig.asked(), 2, "the third waits");
    rig.registers[0].set(Conduct::Well);
    for call in calls {
        assert_eq!(patient(call.ended()).await.status(), 0);
    }
    assert_eq!(rig.asked(), 3);
    rig.end().await;
}

#[tokio::test]
async fn who_waits_too_long_for_a_place_is_told_to_return() {
    let limit = LIMIT.replace("60000", "20");
    let rig = Rig::with(&[Conduct::Frozen], &limit, "").await;
    let calls = [rig.begin("arc/probe").await, rig.begin("arc/probe").await];
    rig.registers[0].until(2).await;
    let refused = rig.call("Write", "k").await;
    assert_eq!((refused.reason().as_str(), detail(&refused, "queue").as_str()), ("OVERLOADED", "too slow"));
    // A changed limit counts at once.
    let text = std::fs::read_to_string(rig.world.path("directory.toml")).expect("the directory");
    rig.world.write_directory(
        &text.replace("calls_in_flight_max = 2", "calls_in_flight_max = 9").replace("test-1", "test-2"),
    );
    let mut more = Vec::new();
    patient(async {
        while rig.asked() < 3 {
            more.push(rig.begin("arc/probe").await);
            tokio::task::yield_now().await;
        }
    })
    .await;
    rig.registers[0].set(Conduct::Well);
    for call in calls {
        assert_eq!(patient(call.ended()).await.status(), 0);
    }
    drop(more);
    rig.end().await;
}

#[tokio::test]
async fn a_service_has_its_own_time() {
    let limits = "unary_timeout_ms = 3600000";
    let rig = Rig::with(&[Conduct::Frozen], ", timeout_ms = 300", limits).await;
    for method in ["Read", "Write"] {
        let ended = rig.call(method, "k").await;
        assert_eq!((ended.status(), ended.reason().as_str()), (4, "DEADLINE_EXCEEDED"), "{ended:?}");
        assert_eq!(ended.outcome(), "maybe_executed");
    }
    assert_eq!(rig.asked(), 2);
    // A register that takes longer than it may, again and again, is shut like one that fails.
    patient(async { while rig.call("Read", "k").await.reason() != "REGISTER_UNAVAILABLE" {} }).await;
    rig.end().await;
}

#[tokio::test]
async fn a_caller_without_patience_shuts_no_service() {
    let rig = Rig::of(&[Conduct::Frozen]).await;
    for _ in 0..40 {
        let ended = rig.client.call("Read", &[("grpc-timeout", "5m")], &Ask::default()).await;
        assert_eq!(ended.reason(), "DEADLINE_EXCEEDED", "{ended:?}");
    }
    rig.registers[0].set(Conduct::Well);
    for _ in 0..10 {
        assert_eq!(rig.call("Read", "k").await.status(), 0);
    }
    rig.end().await;
}

/// A second provider of the contract, and a grant for it.
const SECOND: &str = r#"
[[grants]]
id = "g-second"
consumer = "ais/portal"
provider = "arc/second"
contract = "test.v1.Probe"
methods = ["*"]
"#;

#[tokio::test]
async fn a_frozen_register_takes_neither_the_connection_nor_the_gateway_from_another() {
    let mut rig = Rig::with(&[Conduct::Frozen], "", "streams_per_connection_max = 16").await;
    let text = std::fs::read_to_string(rig.world.path("directory.toml")).expect("the directory");
    let both = r#"services = [{ contract = "test.v1.Probe", provider = "arc/second" }, "#;
    let text = text.replace("services = [", both).replace("test-1", "test-2");
    rig.world.write_directory(&format!("{text}{SECOND}"));
    rig.plug("arc/second", Conduct::Well).await;
    let mut hanging = Vec::new();
    let refused = loop {
        let call = rig.begin("arc/probe").await;
        let asked = hanging.len();
        tokio::select! {
            () = rig.registers[0].until(asked + 1) => hanging.push(call),
            () = async { while !call.is_answered() { tokio::task::yield_now().await } } => {
                break patient(call.ended()).await;
            }
        }
        assert!(hanging.len() <= 8, "it has more than half of the connection");
    };
    assert_eq!((refused.reason().as_str(), hanging.len()), ("OVERLOADED", 8), "{refused:?}");
    for _ in 0..50 {
        let ended = rig.client.call("Read", &[("ura-provider", "arc/second")], &Ask::default()).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
    }
    rig.registers[0].set(Conduct::Well);
    for call in hanging {
        assert_eq!(patient(call.ended()).await.status(), 0);
    }
    rig.end().await;
}
