//! Every reason by which the bus refuses, provoked by a real call: what the caller is told, in three
//! languages, what evidence says, and that nothing reached the register where that is claimed.
//!
//! `case` names each reason of the catalogue without a wildcard: a new one does not compile until it
//! has its case.

use bytes::Bytes;
use tonic_types::ErrorDetails;
use ura_proto::refusal::{DOMAIN, Language, Mender, Reason};

use crate::world::{
    Plan, World,
    client::{Client, Ended, Started, framed},
    directory, issue, patient,
    probe::Ask,
    store::Store,
};

const SYSTEMS: &str = r#"  { id = "ais/none", roles = ["consumer"] },
  { id = "ais/both", roles = ["consumer"] },
  { id = "ais/narrow", roles = ["consumer"] },
  { id = "ais/early", roles = ["consumer"] },
  { id = "ais/late", roles = ["consumer"] },
]
contracts"#;

const MORE: &str = r#"
[[grants]]
id = "g-both-1"
consumer = "ais/both"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]
[[grants]]
id = "g-both-2"
consumer = "ais/both"
provider = "arc/second"
contract = "test.v1.Probe"
methods = ["*"]
[[grants]]
id = "g-narrow"
consumer = "ais/narrow"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["Read"]
purposes = ["test"]
[[grants]]
id = "g-early"
consumer = "ais/early"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]
from = 2027-01-01T00:00:00Z
[[grants]]
id = "g-late"
consumer = "ais/late"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]
until = 2026-01-01T00:00:00Z
"#;

/// A call that is refused for one reason.
struct Case {
    /// What the gateway's `[limits]` must say; cases that share it share a gateway.
    limits: &'static str,
    consumer: &'static str,
    method: &'static str,
    metadata: &'static [(&'static str, &'static str)],
    wish: &'static str,
    /// Instead of a message.
    bytes: Option<&'static [u8]>,
}

fn case(reason: Reason) -> Case {
    const KEY: &[(&str, &str)] = &[("idempotency-key", "k-1")];
    let usual = Case {
        limits: "plug_wait_ms = 0",
        consumer: "ais/portal",
        method: "Read",
        metadata: &[],
        wish: "",
        bytes: None,
    };
    match reason {
        Reason::CallerUnknown => Case { consumer: "ais/stranger", ..usual },
        Reason::CallerNotConsumer => Case { consumer: "arc/probe", ..usual },
        Reason::ServiceUnknown => Case { method: "/test.v9.Absent/Read", ..usual },
        Reason::MethodUnknown => Case { method: "Absent", ..usual },
        Reason::ProviderUnknown => Case { metadata: &[("ura-provider", "ais/portal")], ..usual },
        Reason::ProviderAmbiguous => Case { consumer: "ais/both", ..usual },
        Reason::GrantMissing => Case { consumer: "ais/none", ..usual },
        Reason::GrantExpired => Case { consumer: "ais/late", ..usual },
        Reason::GrantNotYetValid => Case { consumer: "ais/early", ..usual },
        Reason::MethodNotGranted => Case { consumer: "ais/narrow", method: "Down", ..usual },
        Reason::PurposeMissing => Case { consumer: "ais/narrow", ..usual },
        Reason::PurposeNotGranted => {
            Case { consumer: "ais/narrow", metadata: &[("ura-purpose", "curiosity")], ..usual }
        }
        Reason::IdempotencyKeyMissing => Case { method: "Write", ..usual },
        Reason::MetadataInvalid => Case { metadata: &[("ura-provider", "ARC/PROBE")], ..usual },
        Reason::EncodingUnsupported => Case { metadata: &[("grpc-encoding", "br")], ..usual },
        Reason::RequestMalformed => Case { bytes: Some(&[9, 0, 0, 0, 0]), ..usual },
        Reason::MessageTooLarge => Case { bytes: Some(&[0, 0, 0x50, 0, 0]), ..usual },
        Reason::RegisterUnavailable => {
            Case { consumer: "ais/both", metadata: &[("ura-provider", "arc/second")], ..usual }
        }
        Reason::EvidenceUnavailable => Case { limits: "# evidence", method: "Write", metadata: KEY, ..usual },
        Reason::Overloaded => Case { limits: "calls_in_flight_max = 1", ..usual },
        Reason::DeadlineExceeded => Case { metadata: &[("grpc-timeout", "50m")], wish: "hang", ..usual },
        Reason::StreamIdle => {
            Case { limits: "stream_idle_ms = 50", method: "Down", wish: "hang-after:1", ..usual }
        }
        Reason::ContractMismatch => Case { wish: "no-status", ..usual },
    }
}

async fn world(limits: &str) -> World {
    let second = r#"services = [{ contract = "test.v1.Probe", provider = "arc/second" }, "#;
    let text = directory().replacen("]\ncontracts", SYSTEMS, 1).replacen("services = [", second, 1);
    assert!(text.contains("ais/narrow"), "the usual directory has its systems before its contracts");
    let plan = Plan { directory: text + MORE, limits: limits.to_owned(), ..Plan::default() };
    let world = World::with(plan).await;
    for system in ["ais/none", "ais/both", "ais/narrow", "ais/early", "ais/late", "ais/stranger"] {
        issue(&world.authority, world.dir.path(), system, &[]);
    }
    world
}

async fn provoke(world: &World, case: &Case, accept_language: &str) -> Ended {
    let client = world.client(case.consumer).await;
    let mut metadata = case.metadata.to_vec();
    metadata.push(("accept-language", accept_language));
    let ask = Ask { personal_number: "1234567892".into(), wish: case.wish.into(), ..Ask::default() };
    let bytes = case.bytes.map_or_else(|| framed(&ask), Bytes::from_static);
    client.send(case.method, &metadata, &[bytes]).await
}

const LANGUAGES: [(&str, Language); 3] = [
    ("sq-XK, en;q=0.5", Language::Albanian),
    ("sr-Latn", Language::Serbian),
    ("de, *;q=0.1", Language::English),
];

/// Provokes a reason in each language; returns how often it was refused.
async fn prove(world: &World, reason: Reason) {
    let case = case(reason);
    let mut texts = Vec::new();
    for (accept_language, language) in LANGUAGES {
        let ended = provoke(world, &case, accept_language).await;
        let details = ended.details();
        told(reason, &ended, &details);
        texts.push(localized(reason, language, &details));
        let outcome = ended.outcome();
        if outcome == "never_sent" {
            let id = ended.exchange().to_string();
            let reached =
                |headers: &http::HeaderMap| headers.get("ura-exchange-id").is_some_and(|v| v == id.as_str());
            assert!(!world.probe.calls().iter().any(|call| reached(&call.headers)), "{reason} was sent");
        }
        if reason == Reason::EvidenceUnavailable {
            continue;
        }
        let records = world.evidence(ended.exchange()).await;
        let opening = records.opening();
        let closed = records.closing.as_ref().map(|closing| closing.refusal.as_str()).unwrap_or_default();
        assert_eq!(format!("{}{closed}", opening.refusal), reason.as_str(), "recorded once: {records:?}");
        assert_eq!(opening.consumer, case.consumer, "{reason}");
        let method = case.method.strip_prefix('/').unwrap_or(opening.method.as_str());
        assert!(
            opening.method == method && method.ends_with(case.method.trim_start_matches('/')),
            "{reason}"
        );
        if let Some(closing) = &records.closing {
            assert_eq!(closing.status, u32::try_from(i32::from(reason.status())).unwrap(), "{reason}");
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 3, "{reason} has a text of its own in each language: {texts:?}");
}

/// Status, reason and what a program reads of them.
fn told(reason: Reason, ended: &Ended, details: &ErrorDetails) {
    assert_eq!(ended.status(), i32::from(reason.status()), "{reason}: {ended:?}");
    assert_eq!(ended.reset, None, "{reason}");
    let info = details.error_info().unwrap_or_else(|| panic!("{reason} has no ErrorInfo: {ended:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), DOMAIN), "{ended:?}");
    let of = |key: &str| info.metadata.get(key).map(String::as_str).unwrap_or_default();
    assert_eq!(of("mender"), reason.mender().as_str(), "{reason}");
    assert_eq!(of("exchange_id"), ended.exchange().to_string(), "{reason}");
    assert!(["never_sent", "maybe_executed", "executed"].contains(&of("outcome")), "{reason}: {info:?}");
    let unavailable = reason.status() == tonic::Code::Unavailable;
    assert_eq!(details.retry_info().is_some(), unavailable, "{reason} says when to try again, or never");
    let message = ended.trailers["grpc-message"].to_str().unwrap();
    assert!(message.starts_with(reason.as_str()), "{message}");
    assert!(
        message.contains(&ended.exchange().to_string()),
        "the text alone leads to the exchange: {message}"
    );
    assert_eq!(info.metadata.contains_key("provider"), names_provider(reason), "{reason}: {info:?}");
    assert!(!message.contains('{') && !message.contains("%7B"), "{message}");
}

/// Whether it can be known whose register is asked. What the mender has to be told stands in the details.
fn names_provider(reason: Reason) -> bool {
    reason.mender() == Mender::Provider
        || matches!(reason, Reason::ProviderUnknown | Reason::DeadlineExceeded | Reason::StreamIdle)
}

/// The sentence for a person: the catalogue's, its details filled in.
fn localized(reason: Reason, language: Language, details: &ErrorDetails) -> String {
    let localized = details.localized_message().expect("a text");
    assert_eq!(localized.locale, language.tag(), "{reason}");
    let mut rest = localized.message.as_str();
    assert!(!rest.contains(['{', '}']), "{reason} in {language:?}: {rest}");
    let exchange = &details.error_info().expect("an ErrorInfo").metadata["exchange_id"];
    assert!(rest.ends_with(&format!(" {exchange}]")), "{reason} in {language:?}: {rest}");
    for part in reason.template(language).split('{') {
        let fixed = part.split_once('}').map_or(part, |(_, fixed)| fixed);
        let at = rest.find(fixed).unwrap_or_else(|| panic!("{reason} in {language:?}: `{fixed}` in {rest}"));
        rest = rest.get(at + fixed.len()..).unwrap();
    }
    localized.message.clone()
}

/// Reasons by what their gateway must be limited to.
fn reasons(usual: bool) -> impl Iterator<Item = Reason> {
    Reason::ALL.iter().copied().filter(move |reason| (case(*reason).limits == "plug_wait_ms = 0") == usual)
}

#[tokio::test]
async fn every_reason_is_told_in_three_languages_and_recorded() {
    let world = world("plug_wait_ms = 0").await;
    for reason in reasons(true) {
        prove(&world, reason).await;
    }
    world.end().await;
}

#[tokio::test]
async fn reasons_that_need_a_gateway_of_their_own_are_told_and_recorded_too() {
    for reason in reasons(false) {
        let world = world(case(reason).limits).await;
        match reason {
            Reason::Overloaded => {
                let busy = occupy(&world, &world.portal().await).await;
                prove(&world, reason).await;
                world.probe.release();
                assert_eq!(patient(busy.ended()).await.status(), 0, "the call in hand was not hurt");
            }
            Reason::EvidenceUnavailable => {
                let mut store = Store::open(&world.store).await;
                store.hinder().await;
                prove(&world, reason).await;
                assert!(world.probe.calls().is_empty(), "no write without its record");
                store.mend().await;
                let gaps = store.gap().await;
                assert_eq!((gaps.len(), gaps[0].refused, gaps[0].closings_lost), (1, 3, 0));
            }
            _ => prove(&world, reason).await,
        }
        world.end().await;
    }
}

/// A call that waits at the adapter until the probe lets it go.
async fn occupy(world: &World, client: &Client) -> Started {
    let mut started = client.start("Read", &[]);
    started.message(&Ask { wish: "wait".into(), ..Ask::default() }).await;
    started.close();
    world.probe.until(|calls| calls.iter().any(|call| call.messages == 1)).await;
    started
}

#[tokio::test]
async fn request_bytes_count_until_the_call_no_longer_holds_them() {
    let world = world("held_bytes_max = 140000").await;
    let client = world.portal().await;
    let large = |wish: &str| Ask { wish: wish.into(), data: vec![1; 140_000].into(), ..Ask::default() };
    let mut busy = client.start("Read", &[]);
    busy.message(&large("wait")).await;
    busy.close();
    world.probe.until(|calls| calls.iter().any(|call| call.messages == 1)).await;
    // It still holds what it asked, so another like it finds no room; small calls are not counted.
    let ended = client.call("Read", &[], &large("")).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "OVERLOADED"));
    assert_eq!(client.call("Read", &[], &Ask::default()).await.status(), 0);
    world.probe.release();
    assert_eq!(patient(busy.ended()).await.status(), 0);
    // What a call held is free again when it has ended, call after call.
    for _ in 0..5 {
        let ended = client.call("Read", &[], &large("")).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
    }
    // Alone it would hold more than all together may.
    let ended = client.call("Read", &[], &Ask { data: vec![1; 400_000].into(), ..Ask::default() }).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "OVERLOADED"));
    world.end().await;
}
