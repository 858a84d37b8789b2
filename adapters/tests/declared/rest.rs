//! REST with JSON.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use tonic::Code;
use ura_adapters::register::Reply;

use crate::{
    fixture::{Folder, Subject, bytes_of, json},
    http::{Answer, Asked, Server},
};

const METHODS: &str = r#"
[methods.Get]
rest = { path = "/v2/njerez/{number}", query = { k = "{consumer}", mungon = "{case}" }, headers = { "X-Case" = "{case}", "X-Nr" = "nr" } }
at = "te_dhenat.njeriu"
errors = { "410" = { code = "FAILED_PRECONDITION", message = "This person is dead." }, "E17" = "PERMISSION_DENIED" }
error_at = "gabimi.kodi"
fields.given_name = "emri"
fields.debt = { from = "borxhi", money = "EUR" }
fields.address = { from = "adresa", fields = { city = "qyteti" } }
fields.labels = { each = "emertime", key = "gjuha", from = "teksti" }
fields.nicknames = { each = "ofiqe", from = "o" }
fields.born_on = { from = "dl" }

[methods.List]
answer = "many"
rest = { path = "/njerez", query = { faqja = "{page_cursor}", nr = "{numbers}", prej = "{since}" } }
at = "lista"
page = { size_default = 2, size_max = 10, next = "tjetra" }
parameters.since = { from = "since", date = "%d.%m.%Y" }
reply.total = "numri"
fields.given_name = { value = "$consumer" }

[methods.Document]
answer = "chunks"
rest = { path = "/dok/{number}" }
fields.media_type = "content-type"
chunk.bytes_max = 1000

[methods.Pay]
rest = { method = "POST", path = "/pagesa", headers = { "Idempotency-Key" = "{idempotency_key}" }, body = { shuma = "{amount}", tekst = "nr {number}!", kanali = "ura", lista = ["{number}", 1, true], bosh = "{case}" } }
parameters.amount = { from = "amount", money = "EUR" }
fields.amount = { from = "shuma", money = "EUR" }
"#;

async fn subject(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Folder, Server, Subject) {
    let server = Server::start(answer).await;
    let folder = Folder::new();
    let register = format!(
        "kind = \"rest\"\nurl = \"{}/baza\"\nanswer_bytes_max = 100000\nprobe_ms = 20\nheaders = {{ \"X-Api-Key\" = \"sekret\" }}",
        server.url
    );
    let declared = folder.load_some(&register, METHODS, "rest = { path = \"/export\" }");
    (folder, server, Subject::new(declared).await)
}

fn ok(body: &str) -> Answer {
    (200, body.as_bytes().to_vec())
}

#[tokio::test]
async fn a_request_is_made_of_templates_and_an_answer_mapped() {
    let (_folder, server, subject) = subject(|_| {
        ok(r#"{"te_dhenat":{"njeriu":{"number":"7","emri":"Çlirim Đ","borxhi":1234567890123.45,"adresa":{"qyteti":"Pejë"},
            "emertime":[{"gjuha":"sq","teksti":"një"},{"gjuha":"en","teksti":"one"}],"ofiqe":[{"o":"a"},{"o":null}],
            "dl":"1980-04-03T00:00:00+01:00","phones":[{"number":"1","mobile":true}],"heightCm":180,"mother":{"givenName":"Zana","mother":null}}}}"#)
    })
    .await;
    let reply: serde_json::Value =
        serde_json::from_str(&subject.json("Get", r#"{"number":"a/ë"}"#).await).expect("JSON");
    let expected = serde_json::json!({
        "number": "7", "given_name": "Çlirim Đ", "debt": {"currency_code": "EUR", "minor_units": "123456789012345"},
        "address": {"city": "Pejë"}, "labels": {"sq": "një", "en": "one"}, "nicknames": ["a"],
        "born_on": {"year": 1980, "month": 4, "day": 3}, "phones": [{"number": "1", "mobile": true}], "height_cm": 180,
        "mother": {"given_name": "Zana"},
    });
    assert_eq!(reply, expected);
    let asked = server.last();
    assert_eq!(asked.line, "GET /baza/v2/njerez/a%2F%C3%AB?k=ais%2Fportal HTTP/1.1");
    assert_eq!(asked.header("x-case"), None);
    assert_eq!(asked.header("x-api-key"), Some("sekret"));
    assert_eq!(asked.header("ura-exchange-id"), Some("0192c0de-0000-7000-8000-000000000001"));
    let trace = asked.header("traceparent").expect("a trace");
    assert!(trace.len() == 55 && trace.ends_with("-01"), "{trace}");
    let failure = subject.failure("Get", "{}").await;
    assert_eq!(failure.reason, "REQUEST_INVALID", "an empty segment");
}

#[tokio::test]
async fn bodies_keep_types_and_exact_amounts() {
    let (_folder, server, subject) = subject(|_| ok(r#"{"reference":"r","shuma":"0.10"}"#)).await;
    let reply = subject
        .json("Pay", r#"{"number":"\"5","amount":{"currencyCode":"EUR","minorUnits":"123456789012345678"}}"#)
        .await;
    assert_eq!(reply, r#"{"reference":"r","amount":{"currency_code":"EUR","minor_units":"10"}}"#);
    let asked = server.last();
    assert_eq!(
        asked.body,
        r#"{"shuma":1234567890123456.78,"tekst":"nr \"5!","kanali":"ura","lista":["\"5",1,true]}"#
    );
    assert_eq!(asked.header("idempotency-key"), Some("key-1"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn statuses_are_mapped() {
    for (status, body, code, reason) in [
        (410, "", Code::FailedPrecondition, "REGISTER_REFUSED"),
        (400, r#"{"gabimi":{"kodi":"E17"}}"#, Code::PermissionDenied, "REGISTER_REFUSED"),
        (404, "", Code::NotFound, "NOT_FOUND"),
        (422, "x", Code::InvalidArgument, "REGISTER_REFUSED"),
        (429, "", Code::ResourceExhausted, "OVERLOADED"),
        (302, "", Code::Internal, "REGISTER_REFUSED"),
        (500, "sekret", Code::Internal, "REGISTER_REFUSED"),
        (503, "", Code::Unavailable, "REGISTER_UNAVAILABLE"),
        (504, "", Code::Unavailable, "REGISTER_TIMEOUT"),
        (0, "", Code::Unavailable, "REGISTER_UNAVAILABLE"),
        (200, r#"{"te_dhenat":null}"#, Code::NotFound, "NOT_FOUND"),
        (200, r#"{"te_dhenat":{"njeriu":[]}}"#, Code::NotFound, "NOT_FOUND"),
        (200, r#"{"te_dhenat":{"njeriu":[{},{}]}}"#, Code::DataLoss, "CONTRACT_MISMATCH"),
        (200, r#"{"te_dhenat":{"njeriu":{"serial":"x1"}}}"#, Code::DataLoss, "CONTRACT_MISMATCH"),
        (200, "<html>", Code::DataLoss, "CONTRACT_MISMATCH"),
        (200, "\u{feff}{}", Code::DataLoss, "CONTRACT_MISMATCH"),
    ] {
        let (_folder, _server, subject) = subject(move |_| (status, body.as_bytes().to_vec())).await;
        let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
        assert_eq!((failure.code, failure.reason), (code, reason), "{status} {body}: {failure}");
        assert!(!failure.message.contains("sekret") && !failure.message.contains("x1"), "{failure}");
        let up = *subject.register.health().borrow();
        assert!(up || failure.reason == "REGISTER_UNAVAILABLE");
    }
}

#[tokio::test]
async fn too_large_an_answer_is_refused() {
    let (_folder, _server, subject) = subject(|_| ok(&format!("\"{}\"", "x".repeat(100_000)))).await;
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!(failure.reason, "CONTRACT_MISMATCH");
    assert!(failure.message.contains("answer_bytes_max"), "{failure}");
}

#[tokio::test]
async fn the_registers_own_cursor_pages() {
    let (_folder, server, subject) = subject(|asked| match asked.line.contains("faqja=c+2") {
        false => ok(r#"{"lista":[{"number":"1"},{"number":"2"}],"tjetra":"c 2","numri":3}"#),
        true => ok(r#"{"lista":[{"number":"3"}],"tjetra":null,"numri":3}"#),
    })
    .await;
    let request = r#""numbers":["a","b"],"since":{"year":2026,"month":4,"day":3}"#;
    let first: serde_json::Value =
        serde_json::from_str(&subject.json("List", &format!("{{{request}}}")).await).expect("JSON");
    assert_eq!(server.last().line, "GET /baza/njerez?nr=a&nr=b&prej=03.04.2026 HTTP/1.1");
    assert_eq!((first["people"].as_array().map(Vec::len), &first["total"]), (Some(2), &3.into()));
    let token = first["next_page_token"].as_str().expect("a token");
    let second = subject.json("List", &format!("{{{request},\"pageToken\":\"{token}\"}}")).await;
    assert_eq!(second, r#"{"people":[{"number":"3","given_name":"ais/portal"}],"total":3}"#);
}

#[tokio::test]
async fn numbered_pages_are_counted_in_the_bounded_size() {
    let server = Server::start(|_| ok(r#"[{"number":"1"},{"number":"2"},{"number":"3"}]"#)).await;
    let folder = Folder::new();
    let methods = r#"
[methods.List]
answer = "many"
rest = { path = "/njerez", query = { faqja = "{page_number}", sa = "{page_size}" } }
page = { size_default = 2, size_max = 3 }
"#;
    let register = format!("kind = \"rest\"\nurl = \"{}\"", server.url);
    let subject = Subject::new(folder.load_some(&register, methods, "rest = { path = \"/x\" }")).await;
    for (asked, size) in [("", 2), ("\"pageSize\":-1", 2), ("\"pageSize\":1", 1), ("\"pageSize\":1000000", 3)]
    {
        let first: serde_json::Value =
            serde_json::from_str(&subject.json("List", &format!("{{{asked}}}")).await).expect("JSON");
        assert_eq!(server.last().line, format!("GET /njerez?faqja=1&sa={size} HTTP/1.1"), "{asked}");
        let token = first["next_page_token"].as_str().expect("a token");
        let comma = if asked.is_empty() { "" } else { "," };
        let next = |token: &str| format!("{{{asked}{comma}\"pageToken\":\"{token}\"}}");
        subject.json("List", &next(token)).await;
        assert_eq!(server.last().line, format!("GET /njerez?faqja=2&sa={size} HTTP/1.1"), "{asked}");
        // Whoever writes a token of his own does not get further than any list.
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(token).expect("base64")).expect("UTF-8");
        let (checksum, _) = plain.split_at_checked(16).expect("a checksum");
        for place in ["18446744073709551615", "4294967296", "-1", ""] {
            let token = URL_SAFE_NO_PAD.encode(format!("{checksum}{place}"));
            let failure = subject.failure("List", &next(&token)).await;
            assert_eq!((failure.code, failure.reason), (Code::InvalidArgument, "REQUEST_INVALID"), "{place}");
        }
        subject.json("List", &next(&URL_SAFE_NO_PAD.encode(format!("{checksum}4294967295")))).await;
    }
}

#[tokio::test]
async fn a_body_is_streamed_in_pieces() {
    let content: Vec<u8> = (0..5500_u32).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
    let sent = content.clone();
    let (_folder, _server, subject) = subject(move |_| (200, sent.clone())).await;
    let (messages, end) = subject.stream("Document", r#"{"number":"1"}"#).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(messages.first().map(json).as_deref(), Some(r#"{"media_type":"application/pdf"}"#));
    let pieces: Vec<_> = messages.iter().map(|m| bytes_of(m, "content")).collect();
    assert!(pieces.iter().all(|p| p.len() <= 1000));
    assert_eq!(pieces.concat(), content);
}

#[tokio::test]
async fn rows_of_an_answer_are_streamed() {
    let (_folder, _server, subject) =
        subject(|_| ok(r#"[{"number":"1"},{"number":"2"},{"serial":"x"},{"number":"4"}]"#)).await;
    let (messages, end) = subject.stream("Export", "{}").await;
    assert_eq!(messages.len(), 2);
    assert_eq!(end.map(|f| f.reason), Some("CONTRACT_MISMATCH"), "nothing follows a failure");
}

#[tokio::test]
async fn a_register_that_is_gone_is_unavailable_until_it_is_back() {
    let (_folder, server, subject) = subject(|_| ok("{}")).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    drop(server);
    let mut health = subject.register.health();
    // The listener closes when its task is dropped.
    let failure = loop {
        match subject.call("Get", r#"{"number":"1"}"#).await {
            Err(failure) if failure.reason == "REGISTER_UNAVAILABLE" => break failure,
            _ => tokio::task::yield_now().await,
        }
    };
    assert_eq!(failure.code, Code::Unavailable);
    assert!(!*health.borrow_and_update());
    let listener = tokio::net::TcpListener::bind(&address).await.expect("the same port");
    health.wait_for(|up| *up).await.expect("the register lives");
    drop(listener);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place() {
    let server = Server::start(|asked| match asked.line.contains("/dok/") {
        // More than all buffers on the way hold.
        true => (200, vec![7; 32 << 20]),
        false => ok(r#"{"te_dhenat":{"njeriu":{"number":"7"}}}"#),
    })
    .await;
    let folder = Folder::new();
    let register =
        format!("kind = \"rest\"\nurl = \"{}\"\ncalls_in_flight_max = 1\nwait_ms = 10", server.url);
    let subject = Subject::new(folder.load_some(&register, METHODS, "rest = { path = \"/x\" }")).await;
    let Ok(Reply::Stream(mut held)) = subject.call("Document", r#"{"number":"1"}"#).await else {
        panic!("no stream");
    };
    held.next().await.expect("a message").expect("the head");
    let get = r#"{"number":"7"}"#;
    assert_eq!(subject.failure("Get", get).await.reason, "OVERLOADED");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    tokio::time::resume();
    // The place is free as soon as the reader's time is up, though it still does not read.
    while subject.call("Get", get).await.is_err() {
        tokio::task::yield_now().await;
    }
    let rest: Vec<_> = held.collect().await;
    let end = rest.last().expect("an end").as_ref().expect_err("no whole document");
    assert_eq!(end.code, Code::Cancelled, "{end}");
}
