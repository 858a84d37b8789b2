//! An adapter that answers nonsense: the caller is told so, evidence says it, and nobody else notices.

use prost::Message as _;
use tonic_types::Status;
use ura_proto::v1::Outcome;

use super::subjects::Plate;
use crate::world::{
    Plan, World,
    client::framed,
    probe::{Answer, Ask, forged},
};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

#[tokio::test]
async fn an_answer_that_no_contract_says_is_told_recorded_and_survived() {
    let world = World::new().await;
    let client = world.portal().await;
    let cases = [
        ("Read", "no-status", "its grpc-status is not a status code"),
        ("Read", "odd-status", "its grpc-status is not a status code"),
        ("Read", "twice", "here are several"),
        ("Read", "nothing", "it has no message"),
        ("Read", "error:0", "it has no message"),
        ("Read", "half", "inside a message"),
        ("Read", "bad-flag", "flag 7"),
        ("Read", "content-type", "content-type is not application/grpc"),
        ("Read", "encoding", "neither identity nor gzip"),
        ("Read", "http:502", "HTTP status 502"),
        ("Read", "http:404", "HTTP status 404"),
        ("Write", "no-status", "its grpc-status is not a status code"),
        ("Write", "twice", "here are several"),
        ("Write", "http:500", "HTTP status 500"),
        ("Put", "nothing", "it has no message"),
        ("Down", "no-status:3", "its grpc-status is not a status code"),
        ("Down", "half:1", "inside a message"),
        ("Down", "bad-flag:1", "flag 7"),
        ("Owner", "bad-proto:5", "not a protobuf message"),
        ("Owner", "half:5", "inside a message"),
        ("Owner", "twice:5", "here are several"),
        ("Owner", "nothing:5", "it has no message"),
        ("Owner", "no-status:5", "its grpc-status is not a status code"),
    ];
    for (method, wish, problem) in cases {
        let ask = framed(&Ask { wish: wish.into(), ..Ask::default() });
        let plate = framed(&Plate { plate: "1".into(), wish: wish.into() });
        let ended = client.send(method, &KEY, &[if method == "Owner" { plate } else { ask }]).await;
        let what = format!("{method} {wish}: {ended:?}");
        assert_eq!((ended.status(), ended.reason().as_str()), (13, "CONTRACT_MISMATCH"), "{what}");
        let details = ended.details();
        let info = details.error_info().unwrap();
        assert!(info.metadata["problem"].contains(problem), "{what}");
        assert_eq!(info.metadata["provider"], "arc/probe");
        assert_eq!(info.metadata["mender"], "provider");
        assert_ne!(ended.outcome(), "never_sent", "the adapter had it: {what}");
        if method == "Owner" {
            let whole = usize::from(["twice:5", "no-status:5"].contains(&wish));
            assert_eq!(ended.messages.len(), whole, "nothing unread leaves: {what}");
        }
        let records = world.evidence(ended.exchange()).await;
        let closing = records.closing();
        assert_eq!((closing.status, closing.refusal.as_str()), (13, "CONTRACT_MISMATCH"), "{what}");
        assert_eq!(closing.outcome(), Outcome::MaybeExecuted, "{what}");
        assert!(!ended.receipt("index").is_empty());
        let next = client.call("Read", &[], &Ask::default()).await;
        assert_eq!(next.status(), 0, "the gateway goes on after {what}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_reply_above_the_limit_ends_with_its_reason() {
    let limits = "message_bytes_max = 2000".to_owned();
    let world = World::with(Plan { limits, ..Plan::default() }).await;
    let client = world.portal().await;
    for (method, wish) in
        [("Read", "bad-length"), ("Write", "bad-length"), ("Down", "down:2,3000"), ("Down", "bad-length:1")]
    {
        let ended = client.call(method, &KEY, &Ask { wish: wish.into(), ..Ask::default() }).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (8, "MESSAGE_TOO_LARGE"), "{method} {wish}");
        let details = ended.details();
        assert_eq!(details.error_info().unwrap().metadata["direction"], "reply");
        assert_eq!(world.evidence(ended.exchange()).await.closing().refusal, "MESSAGE_TOO_LARGE");
        assert!(ended.messages.is_empty());
    }
    let fits = client.call("Down", &[], &Ask { wish: "down:5,1500".into(), ..Ask::default() }).await;
    assert_eq!((fits.status(), fits.messages.len()), (0, 5), "each message has the limit, not the stream");
    world.end().await;
}

fn details_of(ended: &crate::world::client::Ended) -> Status {
    use base64::Engine as _;
    let value = ended.trailers["grpc-status-details-bin"].to_str().unwrap().trim_end_matches('=');
    Status::decode(base64::engine::general_purpose::STANDARD_NO_PAD.decode(value).unwrap().as_slice())
        .unwrap()
}

#[tokio::test]
async fn errors_of_an_adapter_pass_as_they_are_but_never_in_the_bus_s_name() {
    let world = World::new().await;
    let client = world.portal().await;
    for code in [1, 2, 5, 7, 9, 14, 16] {
        let ended =
            client.call("Write", &KEY, &Ask { wish: format!("error:{code}"), ..Ask::default() }).await;
        assert_eq!(ended.status(), code);
        let message = ended.trailers["grpc-message"].to_str().unwrap();
        assert_eq!(message.replace("%20", " "), "the register says no: %C3%AB %C3%A7 %C5%A1");
        let details = ended.details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("REGISTER_SAYS_NO", "arc/probe"));
        assert_eq!(info.metadata["k"], "v");
        let records = world.evidence(ended.exchange()).await;
        assert_eq!(
            (records.closing().status.to_string(), records.closing().outcome()),
            (code.to_string(), Outcome::Answered)
        );
        assert_eq!(records.closing().refusal, "");
    }
    for method in ["Read", "Write", "Down"] {
        let ended = client.call(method, &KEY, &Ask { wish: "forged:7".into(), ..Ask::default() }).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (7, ""), "{method}");
        let status = details_of(&ended);
        assert_eq!((status.code, status.message.as_str()), (7, "the register says no: ë ç š"));
        assert_eq!(status.details, forged::details()[1..3], "the adapter's own remain, in their order");
        assert_eq!(ended.trailers["grpc-message"], "the register says no: %C3%AB %C3%A7 %C5%A1");
        assert_eq!(world.evidence(ended.exchange()).await.closing().refusal, "");
    }
    // The adapter's head and trailers claim things of the bus as well.
    let ended = client.call("Read", &[], &Ask::default()).await;
    assert!(ended.headers["ura-exchange-id"].to_str().unwrap() != "forged by the adapter");
    assert_eq!(ended.headers.get_all("ura-exchange-id").iter().count(), 1);
    assert_eq!(ended.trailers.get_all("ura-receipt").iter().count(), 1);
    assert!(ended.receipt("log") == "ura.test/gateway" && ended.decode::<Answer>(0).text.is_empty());
    world.end().await;
}
