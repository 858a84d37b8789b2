//! Calls: what goes in, what comes out, and how they end.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::{
    gateway::{STREAM_WINDOW_BYTES, exchange},
    world::{
        COUNT, CountRequest, CountResponse, ECHO, PADDING_BYTES, SAY, SayRequest, SayResponse, World, say,
    },
};

#[tokio::test]
async fn a_unary_call_and_its_context() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let reply: SayResponse = plug.unary(SAY, say("Përshëndetje, žena")).await.expect("answered");
    assert_eq!(reply.text, "Përshëndetje, žena");
    assert_eq!(reply.consumer, "ais/portal");
}

#[tokio::test]
async fn gzip_is_understood() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let mut grpc = plug.grpc().send_compressed(tonic::codec::CompressionEncoding::Gzip);
    grpc.ready().await.expect("ready");
    let codec: tonic_prost::ProstCodec<SayRequest, SayResponse> = Default::default();
    let path = http::uri::PathAndQuery::from_static(SAY);
    let reply = grpc.unary(exchange(say("ngjeshur")), path, codec).await.expect("answered");
    assert_eq!(reply.into_inner().text, "ngjeshur");
}

#[tokio::test]
async fn failures_carry_their_reason_and_keep_their_detail() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    for (text, code, reason) in
        [("fail", Code::NotFound, "NOT_FOUND"), ("mismatch", Code::DataLoss, "CONTRACT_MISMATCH")]
    {
        let status = plug.unary::<_, SayResponse>(SAY, say(text)).await.expect_err("failed");
        assert_eq!(status.code(), code);
        let info = status.get_details_error_info().expect("details");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "arc/echo"));
        assert!(!format!("{status:?}").contains("returned no row"));
    }
}

#[tokio::test]
async fn what_is_no_exchange_of_the_contract_is_refused() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let nameless = plug.raw_unary::<_, SayResponse>(SAY, Request::new(say("hello"))).await;
    let status = nameless.expect_err("nobody asks");
    assert_eq!(status.code(), Code::InvalidArgument);
    let info = status.get_details_error_info().expect("details");
    assert_eq!(info.reason, "REQUEST_INVALID");

    for method in ["/test.v1.EchoService/Shout", "/test.v1.Other/Say", "/x"] {
        let status = plug.unary::<_, SayResponse>(method, say("x")).await.expect_err("unknown");
        assert_eq!(status.code(), Code::Unimplemented, "{method}");
    }
    // Field 1 as a number, where the contract has a string.
    let numbers = CountRequest { numbers: 7 };
    let status = plug.unary::<_, SayResponse>(SAY, numbers).await.expect_err("malformed");
    assert_eq!(status.code(), Code::InvalidArgument);
    let large = say(&"a".repeat(70 * 1024));
    let status = plug.unary::<_, SayResponse>(SAY, large).await.expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_slow_reader_slows_the_register_down_and_nobody_else() {
    const NUMBERS: u64 = 1000;
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let request = exchange(CountRequest { numbers: NUMBERS });
    let mut stream = plug.stream::<_, CountResponse>(COUNT, request).await.expect("a stream");
    let first = stream.message().await.expect("sent").expect("a message");
    assert_eq!(first.number, 0);
    for _ in 0..50 {
        let reply: SayResponse = plug.unary(SAY, say("hello")).await.expect("answered");
        assert_eq!(reply.text, "hello");
    }
    // What windows and buffers hold, generously: a fraction of the 16 MB to come.
    let held = u64::from(STREAM_WINDOW_BYTES) + 1024 * 1024;
    let most = held / u64::try_from(PADDING_BYTES).expect("small");
    let produced = world.echo.produced.load(Ordering::SeqCst);
    assert!(produced <= most, "{produced} messages made, nobody reads");

    let mut next = 1;
    while let Some(message) = stream.message().await.expect("sent") {
        assert_eq!(message.number, next);
        assert_eq!(message.padding.len(), PADDING_BYTES);
        next += 1;
    }
    assert_eq!(next, NUMBERS);
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_the_call() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let mut waiting = world.echo.waiting.subscribe();
    let mut given_up = world.echo.given_up.subscribe();
    {
        let call = plug.unary::<_, SayResponse>(SAY, say("wait"));
        tokio::select! {
            _ = call => unreachable!("nobody released it"),
            _ = waiting.wait_for(|count| *count == 1) => {}
        }
    }
    given_up.wait_for(|count| *count == 1).await.expect("counted");
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_the_stream() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let mut given_up = world.echo.given_up.subscribe();
    let mut request = exchange(say("wait"));
    request.set_timeout(Duration::from_millis(50));
    let status = plug.raw_unary::<_, SayResponse>(SAY, request).await.expect_err("late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    given_up.wait_for(|count| *count == 1).await.expect("counted");

    // Zero numbers stand for a stream that never says anything.
    let mut request = exchange(CountRequest { numbers: 0 });
    request.set_timeout(Duration::from_millis(50));
    let mut stream = plug.stream::<_, CountResponse>(COUNT, request).await.expect("a stream");
    let status = stream.message().await.expect_err("late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn reflection_lists_the_contracts_in_both_versions() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    macro_rules! list {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let origin = "http://adapter".parse().expect("a URI");
            let mut client = ServerReflectionClient::with_origin(plug.conn.clone(), origin);
            let ask =
                |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
            let asked = tokio_stream::iter([
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol(ECHO.to_owned())),
            ]);
            let answers = client.server_reflection_info(asked).await.expect("a stream");
            let mut answers = answers.into_inner();
            let list = answers.message().await.expect("sent").expect("an answer");
            let Some(MessageResponse::ListServicesResponse(list)) = list.message_response else {
                unreachable!("asked for the list");
            };
            let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            assert_eq!(names, [ECHO]);
            let file = answers.message().await.expect("sent").expect("an answer");
            assert!(matches!(file.message_response, Some(MessageResponse::FileDescriptorResponse(_))));
        }};
    }
    list!(v1);
    list!(v1alpha);
}

#[tokio::test]
async fn every_call_in_flight_finds_its_own_answer() {
    let mut world = World::new().await;
    let plug = world.gateway.plug().await;
    let calls = (0..200).map(|number| {
        let plug = &plug;
        async move {
            let text = number.to_string();
            let reply: SayResponse = plug.unary(SAY, say(&text)).await.expect("answered");
            (text, reply.text)
        }
    });
    let answers: HashMap<String, String> = futures_util::future::join_all(calls).await.into_iter().collect();
    assert_eq!(answers.len(), 200);
    assert!(answers.iter().all(|(asked, answered)| asked == answered));
}
