//! The path of an exchange: all kinds of method, metadata both ways, what evidence says of it.

use bytes::Bytes;
use sha2_of::sha256;
use ura_proto::v1::Outcome;

use crate::world::{
    World,
    client::framed,
    probe::{Answer, Ask},
};

mod sha2_of {
    /// SHA-256 by the library that the tests' TLS uses, apart from the gateway's own use of it.
    pub(crate) fn sha256(parts: &[&[u8]]) -> Vec<u8> {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }
}

fn ask(number: &str) -> Ask {
    Ask { personal_number: number.to_owned(), ..Ask::default() }
}

#[tokio::test]
async fn a_unary_read_is_answered_and_recorded() {
    let world = World::new().await;
    let client = world.portal().await;
    let request = Ask { data: Bytes::from("ë ç š č ž đ"), ..ask("123 456 7892") };
    let ended =
        client.call("Read", &[("ura-purpose", "test"), ("ura-case", "C. nr. 1136/19")], &request).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    assert_eq!(ended.decode::<Answer>(0).data, request.data);

    let records = world.evidence(ended.exchange()).await;
    let opening = records.opening();
    assert_eq!(opening.consumer, "ais/portal");
    assert_eq!(opening.provider, "arc/probe");
    assert_eq!(opening.method, "test.v1.Probe/Read");
    assert_eq!((opening.purpose.as_str(), opening.case_number.as_str()), ("test", "C. nr. 1136/19"));
    assert_eq!((opening.grant.as_str(), opening.directory_version.as_str()), ("g-portal", "test-1"));
    assert_eq!((opening.refusal.as_str(), opening.subjects.len()), ("", 1));
    assert_eq!(opening.subjects[0].kind, "person");
    // The party that holds the salt and the bytes can show what was asked and answered.
    let salt = ended.salt();
    assert_eq!(opening.request_digest, sha256(&[&salt, &framed(&request)]));
    let closing = records.closing();
    assert_eq!((closing.status, closing.outcome()), (0, Outcome::Answered));
    assert_eq!(closing.reply_digest, sha256(&[&salt, &framed(&ended.decode::<Answer>(0))]));
    assert_eq!(ended.receipt("index"), records.indexes[0].to_string());
    assert_eq!(ended.receipt("log"), "ura.test/gateway");
    world.end().await;
}

#[tokio::test]
async fn all_four_kinds_of_method_work() {
    let world = World::new().await;
    let client = world.portal().await;
    let key = [("idempotency-key", "k-1")];

    let down = client.call("Down", &[], &Ask { wish: "down:5,10".to_owned(), ..ask("1") }).await;
    assert_eq!((down.status(), down.messages.len()), (0, 5));
    assert_eq!(down.decode::<Answer>(4).text, "4");

    let frames: Vec<_> = (0..7).map(|n| framed(&ask(&n.to_string()))).collect();
    for method in ["Up", "UpRead"] {
        let up = client.send(method, &key, &frames).await;
        assert_eq!((up.status(), up.decode::<Answer>(0).text.as_str()), (0, "7"), "{method}");
    }

    let mut chat = client.start("Chat", &[]);
    chat.message(&ask("11")).await;
    let upload = chat.upload.take().expect("open");
    let mut response = chat.answer().await.expect("answered").into_body();
    for number in ["11", "12", "13"] {
        use http_body_util::BodyExt as _;
        let data = response.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        let answer: Answer = prost::Message::decode(data.slice(5..)).expect("a message");
        assert_eq!(answer.text, number);
        let next = (number.parse::<u32>().expect("a number") + 1).to_string();
        if next != "14" {
            upload.send(Ok(http_body::Frame::data(framed(&ask(&next))))).await.expect("taken");
        }
    }
    drop((upload, response));
    world.end().await;
}

#[tokio::test]
async fn metadata_and_trailers_pass_both_ways_except_the_bus_s_own() {
    let world = World::new().await;
    let client = world.portal().await;
    let metadata = [
        ("x-custom", "value"),
        ("x-custom-bin", "AAECAw"),
        ("ura-purpose", "test"),
        ("ura-consumer", "mpb/police"),
        ("ura-user", "somebody"),
        ("ura-exchange-id", "0190163d-8694-7b3e-8000-000000000000"),
        ("ura-salt", "forged"),
        ("ura-anything", "forged"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("grpc-timeout", "5S"),
    ];
    let ended = client.call("Read", &metadata, &ask("1")).await;
    assert_eq!(ended.status(), 0);
    assert_eq!(ended.headers["x-probe-header"], "head");
    assert_eq!(
        (&ended.trailers["x-probe-trailer"], &ended.trailers["x-probe-bin"]),
        (&"tail".parse().unwrap(), &"AAEC".parse().unwrap())
    );
    assert!(!ended.trailers["ura-receipt"].to_str().unwrap().contains("forged"));

    let seen = world.probe.calls().pop().expect("one call");
    let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
    assert_eq!(header("x-custom").as_deref(), Some("value"));
    assert_eq!(header("x-custom-bin").as_deref(), Some("AAECAw"));
    assert_eq!(header("ura-consumer").as_deref(), Some("ais/portal"));
    assert_eq!(header("ura-provider").as_deref(), Some("arc/probe"));
    assert_eq!(header("ura-purpose").as_deref(), Some("test"));
    assert_eq!(header("ura-exchange-id"), Some(ended.exchange().to_string()));
    assert_ne!(header("ura-exchange-id").as_deref(), Some("0190163d-8694-7b3e-8000-000000000000"));
    assert_eq!(header("ura-salt"), Some(ended.receipt("salt")));
    assert_eq!((header("ura-user"), header("ura-anything")), (None, None));
    assert!(header("traceparent").expect("continued").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_eq!(header("tracestate").as_deref(), Some("vendor=1"));
    let left = header("grpc-timeout").expect("a deadline");
    let left_us: u64 = left.trim_end_matches('u').parse().expect("microseconds");
    assert!((1..5_000_000).contains(&left_us), "rewritten to the time left: {left}");
    world.end().await;
}
