//! Calls of all four kinds: what goes in, what comes out.

use tonic_types::StatusExt as _;

use crate::{
    desk::{Answer, Answers, Desk, Language, path, wish},
    world::{
        client::{Ended, framed},
        patient,
    },
};

/// What the desk's refusals carry beside their code and message.
fn violations(ended: &Ended) -> Vec<(String, String)> {
    let status = tonic::Status::from_header_map(&ended.trailers).expect("a status");
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    fields.into_iter().map(|field| (field.field, field.description)).collect()
}

fn message(ended: &Ended) -> String {
    tonic::Status::from_header_map(&ended.trailers).expect("a status").message().to_owned()
}

pub async fn a_unary_call_with_all_that_goes_with_it(language: Language) {
    let desk = Desk::new(language).await;
    let metadata = [("ura-case", "C. 17"), ("x-own", "kept"), ("grpc-timeout", "30S")];
    let ended = desk.world.portal().await.call(&path("Ask"), &metadata, &wish("Përshëndetje, žena", 7)).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    let answer: Answer = ended.decode(0);
    assert_eq!((answer.text.as_str(), answer.number), ("Përshëndetje, žena", 7));
    assert_eq!(ended.headers["x-desk"], "open");
    assert_eq!(ended.trailers["x-desk-trailer"], "closed");
    assert_eq!(ended.trailers["x-desk-bin"].to_str().expect("text").trim_end_matches('='), "AAEC/w");
    // What the gateway has verified reaches the server, and nobody can write it but the gateway.
    let exchange = ended.exchange().to_string();
    for (key, value) in [
        ("ura-consumer", "ais/portal"),
        ("ura-provider", "arc/probe"),
        ("ura-case", "C. 17"),
        ("ura-exchange-id", exchange.as_str()),
        ("x-own", "kept"),
    ] {
        assert_eq!(answer.seen.get(key).map(String::as_str), Some(value), "{key}: {:?}", answer.seen);
    }
    assert!(answer.seen.contains_key("traceparent"), "{:?}", answer.seen);
    desk.end().await;
}

pub async fn rows_come_one_by_one(language: Language) {
    let desk = Desk::new(language).await;
    let ended = desk.world.portal().await.call(&path("List"), &[], &wish("rows", 500)).await;
    assert_eq!((ended.status(), ended.messages.len()), (0, 500), "{:?}", ended.trailers);
    for (at, number) in (0..500).enumerate() {
        assert_eq!(ended.decode::<Answer>(at).number, number);
    }
    assert_eq!(ended.trailers["x-desk-trailer"], "closed");
    desk.end().await;
}

pub async fn an_upload_is_added_up(language: Language) {
    let desk = Desk::new(language).await;
    let questions: Vec<_> = (1..=200).map(|number| framed(&wish("add", number))).collect();
    let ended = desk.world.portal().await.send(&path("Sum"), &[], &questions).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    assert_eq!(ended.decode::<Answer>(0).number, 200 * 201 / 2);
    let nothing = desk.world.portal().await.send(&path("Sum"), &[], &[]).await;
    assert_eq!((nothing.status(), nothing.decode::<Answer>(0).number), (0, 0));
    desk.end().await;
}

pub async fn a_talk_goes_to_and_fro(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    let mut started = client.start(&path("Talk"), &[]);
    assert!(started.bytes(framed(&wish("po 0", 0))).await);
    let upload = started.upload.take().expect("open");
    let mut answers = Answers::of(patient(started.answer()).await.expect("answered").into_body());
    // Each answer is waited for before the next question is asked.
    for number in 0..50 {
        let answer = answers.next().await.expect("an answer");
        assert_eq!((answer.text, answer.number), (format!("PO {number}"), number));
        let next = http_body::Frame::data(framed(&wish(&format!("po {}", number + 1), number + 1)));
        assert!(upload.send(Ok(next)).await.is_ok());
    }
    drop(upload);
    assert_eq!(answers.next().await.expect("the last answer").number, 50);
    assert_eq!(answers.next().await, None);
    assert_eq!(
        (&answers.trailers["grpc-status"], &answers.trailers["x-desk-trailer"]),
        (&"0".parse().expect("a value"), &"closed".parse().expect("a value"))
    );
    desk.end().await;
}

pub async fn errors_keep_their_details(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    for method in ["Ask", "Talk"] {
        let ended = client.call(&path(method), &[], &wish("missing", 0)).await;
        assert_eq!(
            (ended.status(), message(&ended).as_str()),
            (5, "nuk u gjet: ë ç š"),
            "{method} {ended:?}"
        );
        assert_eq!(violations(&ended), [("wish".to_owned(), "e panjohur: ë ç š".to_owned())], "{method}");
        assert_eq!(ended.trailers["x-desk-trailer"], "refused", "{method}");
        assert_eq!(ended.reason(), "", "the bus has nothing to add");
    }
    // What the server's own library makes of a fault in its code.
    let ended = client.call(&path("Ask"), &[], &wish("crash", 0)).await;
    assert_eq!(ended.status(), 2, "{ended:?}");
    assert!(message(&ended).contains("the desk is broken"), "{ended:?}");
    let ended = client.call(&path("Ask"), &[("content-type", "application/grpc+json")], &wish("x", 0)).await;
    assert_ne!(ended.status(), 0, "{ended:?}");
    desk.end().await;
}

pub async fn a_failing_stream_keeps_its_rows(language: Language) {
    let desk = Desk::new(language).await;
    let ended = desk.world.portal().await.call(&path("List"), &[], &wish("fail", 3)).await;
    assert_eq!((ended.status(), ended.messages.len()), (15, 3), "{ended:?}");
    assert_eq!(message(&ended), "u ndërpre");
    assert_eq!(violations(&ended).len(), 1);
    desk.end().await;
}

pub async fn a_write_carries_its_key(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    let refused = client.call(&path("File"), &[], &wish("file", 1)).await;
    assert_eq!(refused.reason(), "IDEMPOTENCY_KEY_MISSING");
    let ended = client.call(&path("File"), &[("idempotency-key", "file-1")], &wish("file", 1)).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    let answer: Answer = ended.decode(0);
    assert_eq!(answer.seen.get("idempotency-key").map(String::as_str), Some("file-1"));
    desk.end().await;
}
