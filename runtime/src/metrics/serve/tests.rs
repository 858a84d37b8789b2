//! The listener as its readers meet it: one path, few readers, none that stays.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{super::Type, *};

fn page() -> Page {
    let mut page = Page::default();
    page.one("answer", Type::Gauge, "The answer.", 42);
    page
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn listening(config: MetricsConfig) -> SocketAddr {
    let config = MetricsConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
    let listener = MetricsListener::bind(config).expect("listens");
    let address = listener.local_addr();
    tokio::spawn(listener.serve(page));
    address
}

#[tokio::test]
async fn the_page_stands_under_one_path_and_the_rest_says_so() {
    let address = listening(MetricsConfig::default());
    for (line, status, text) in [
        ("GET /metrics", "200 OK", "answer 42\n"),
        ("GET /metrics?x=y", "200 OK", "answer 42\n"),
        ("POST /metrics", "405 Method Not Allowed", ELSEWHERE),
        ("GET /", "404 Not Found", ELSEWHERE),
        ("DELETE /metrics/", "404 Not Found", ELSEWHERE),
    ] {
        let answer = ask(address, &format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
        assert!(answer.ends_with(text), "{line}: {answer}");
        assert_eq!(answer.contains("allow: GET, HEAD"), status.starts_with("405"), "{line}");
    }
    let head = ask(address, "HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.contains("text/plain; version=0.0.4") && !head.contains("answer"), "{head}");
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX));
    let mut stream = TcpStream::connect(address).await.expect("connects");
    drop(stream.write_all(long.as_bytes()).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(answer.starts_with(b"HTTP/1.1 431 ") || answer.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn silent_readers_are_few_and_do_not_stay() {
    let config = MetricsConfig { connections_max: 1, header_timeout_ms: 1, ..MetricsConfig::default() };
    let address = listening(config);
    let mut silent = TcpStream::connect(address).await.expect("connects");
    let mut answer = Vec::new();
    // Ended by the other side, without a word from this one.
    drop(silent.read_to_end(&mut answer).await);
    loop {
        // Its place is free again, though perhaps not at once.
        let mut stream = TcpStream::connect(address).await.expect("connects");
        drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await);
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).await.is_ok() && answer.ends_with("answer 42\n") {
            break;
        }
    }
}

#[tokio::test]
async fn one_more_than_may_is_turned_away() {
    let config = MetricsConfig { connections_max: 1, ..MetricsConfig::default() };
    let address = listening(config);
    let mut first = TcpStream::connect(address).await.expect("connects");
    first.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("sent");
    let mut second = TcpStream::connect(address).await.expect("connects");
    let mut answer = Vec::new();
    drop(second.read_to_end(&mut answer).await);
    assert_eq!(answer, b"", "closed without a word");
    first.write_all(b"host: x\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.ends_with("answer 42\n"), "{answer}");
}

#[test]
fn limits_that_nobody_could_keep_are_told_all_at_once() {
    let mut told = Vec::new();
    let config = MetricsConfig {
        connections_max: 0,
        header_timeout_ms: 0,
        connection_timeout_ms: 0,
        ..MetricsConfig::default()
    };
    config.check(|problem| told.push(problem));
    assert_eq!(told.len(), 3, "{told:?}");
    MetricsConfig::default().check(|problem| unreachable!("{problem}"));
}
