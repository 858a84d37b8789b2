//! How calls end before they are answered.

use ura_proto::v1::Outcome;

use crate::{
    desk::{Answer, Answers, Desk, Language, path, until_serving, wish},
    world::{client::framed, patient},
};

pub async fn a_caller_that_gives_up_ends_the_call(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    // Before there is an answer.
    let mut started = client.start(&path("Ask"), &[]);
    started.bytes(framed(&wish("wait", 0))).await;
    started.close();
    desk.server().says(&["waiting Ask"]).await;
    started.abandon();
    desk.server().says(&["ended Ask"]).await;
    // In the middle of an answer.
    let mut started = client.start(&path("List"), &[]);
    started.bytes(framed(&wish("wait", 0))).await;
    started.close();
    let mut answers = Answers::of(patient(started.answer()).await.expect("answered").into_body());
    assert_eq!(answers.next().await.expect("a row").text, "first");
    desk.server().says(&["waiting List"]).await;
    drop(answers);
    desk.server().says(&["ended List"]).await;
    // In the middle of an upload.
    let mut started = client.start(&path("Sum"), &[]);
    started.bytes(framed(&wish("add", 5))).await;
    desk.server().says(&["got 5"]).await;
    started.reset(h2::Reason::CANCEL).await;
    desk.server().says(&["ended Sum"]).await;
    desk.end().await;
}

pub async fn an_upload_that_nobody_reads_ends_with_its_caller(language: Language) {
    let desk = Desk::new(language).await;
    let mut started = desk.world.portal().await.start(&path("Sum"), &[]);
    started.bytes(framed(&wish("stall", 0))).await;
    desk.server().says(&["waiting Sum"]).await;
    // Until nothing moves any more, all the way from the server's window to this side's queue.
    let large = framed(&wish(&"x".repeat(60_000), 0));
    let full = async {
        for _ in 0..1_000 {
            started.bytes(large.clone()).await;
        }
    };
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(2), full).await.is_err(),
        "60 MB went somewhere"
    );
    started.abandon();
    desk.server().says(&["ended Sum"]).await;
    desk.end().await;
}

pub async fn a_deadline_reaches_the_server(language: Language) {
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    for method in ["Ask", "List"] {
        let ended = client.call(&path(method), &[("grpc-timeout", "700m")], &wish("wait", 0)).await;
        assert_eq!(ended.status(), 4, "{method}: {ended:?}");
        let line = desk.server().says(&["waiting", method]).await;
        let left: i64 = line.rsplit('=').next().expect("a time").parse().expect("milliseconds");
        assert!((1..=700).contains(&left), "the server knows how long it has: {line}");
        desk.server().says(&["ended", method]).await;
    }
    desk.end().await;
}

pub async fn a_reader_that_does_not_read_slows_the_server_and_nobody_else(language: Language) {
    const ROWS: i32 = 2_000;
    let desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    let mut started = client.start(&path("List"), &[]);
    started.bytes(framed(&wish("large", ROWS))).await;
    started.close();
    let mut answers = Answers::of(patient(started.answer()).await.expect("answered").into_body());
    assert_eq!(answers.next().await.expect("a row").number, 0);
    let other = desk.world.client("ais/portal").await;
    let mut made = 0;
    for _ in 0..50 {
        let ended = other.call(&path("Ask"), &[], &wish("produced", 0)).await;
        made = ended.decode::<Answer>(0).number;
    }
    // What all the windows and buffers between hold: a few MB of the 130 that are to come.
    assert!(made < ROWS / 4, "{made} rows of 64 KiB were made while nobody read");
    for number in 1..ROWS {
        assert_eq!(answers.next().await.expect("a row").number, number);
    }
    assert_eq!(answers.next().await, None);
    desk.end().await;
}

pub async fn a_server_that_dies_in_a_write_leaves_it_open(language: Language) {
    let mut desk = Desk::new(language).await;
    let client = desk.world.portal().await;
    let mut started = client.start(&path("File"), &[("idempotency-key", "file-9")]);
    started.bytes(framed(&wish("wait", 0))).await;
    started.close();
    desk.server().says(&["waiting Ask"]).await;
    desk.server.take().expect("it runs").kill();
    let ended = patient(started.ended()).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{ended:?}");
    assert_eq!(ended.outcome(), "maybe_executed");
    let records = desk.world.evidence(ended.exchange()).await;
    assert_eq!(records.closing.expect("a closing").outcome(), Outcome::MaybeExecuted);
    // And what comes afterwards was never sent.
    until_serving(&client, false).await;
    let ended = client.call(&path("File"), &[("idempotency-key", "file-10")], &wish("file", 0)).await;
    assert_eq!((ended.reason().as_str(), ended.outcome().as_str()), ("REGISTER_UNAVAILABLE", "never_sent"));
    desk.end().await;
}
