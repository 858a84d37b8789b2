//! A portal that asks at a rate, whatever becomes of its calls, as many users do who know nothing of each
//! other; and times them from when they were due.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;
use ura_runtime::tls::{self, Identity, Verify};

use super::{bus::PROVIDERS, figures::SHARED};
use crate::world::{World, client::framed, probe::Ask};

/// On the connection that all share, one in so many calls goes to each of the three registers in trouble.
const OTHERS_EVERY: usize = 10;

/// What one reply may leave unread, and all of a connection: 200 replies that nobody reads fit.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// A connection of the portal.
#[derive(Clone)]
pub struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    ask: Bytes,
}

/// How calls ended: latencies in microseconds, and why some were not answered.
#[derive(Clone, Default)]
pub struct Seen {
    pub latencies_us: Vec<u64>,
    pub errors: Vec<String>,
}

impl Connection {
    pub async fn open(world: &World) -> Self {
        let identity = Identity::load(&world.identity("ais/portal")).expect("an identity");
        let config = identity.client_config(&[b"h2"], Verify::Name).expect("a configuration");
        let (stream, _) =
            tls::connect(&world.address, config, Duration::from_secs(10)).await.expect("a connection");
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let ask =
            Ask { personal_number: "1234567892".into(), data: vec![b'q'; 512].into(), ..Ask::default() };
        Self { sender, ask: framed(&ask) }
    }

    /// Begins a call; the answer may be left unread.
    pub async fn begin(&self, method: &str, provider: &str) -> Option<Response<Incoming>> {
        let request = Request::post(format!("https://gateway/test.v1.Probe/{method}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("ura-provider", provider)
            .body(Full::new(self.ask.clone()))
            .expect("a request");
        self.sender.clone().send_request(request).await.ok()
    }

    /// A call of this provider; where it is not answered, why.
    pub async fn call(&self, provider: &str) -> Result<(), String> {
        let answer = self.begin("Read", provider).await.ok_or("the connection broke")?;
        let head = answer.headers().clone();
        let whole = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        let ended = whole.trailers().filter(|trailers| trailers.contains_key("grpc-status")).unwrap_or(&head);
        let told = |name: &str| ended.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if told("grpc-status") == "0" {
            Ok(())
        } else {
            Err(format!("{} {}", told("grpc-status"), told("grpc-message")))
        }
    }
}

/// Connection and provider of a call, by its number: connections take turns, and one of them has calls to
/// the other providers among those to the fourth.
fn place(number: usize, connections: &[Connection]) -> (usize, &'static str) {
    let (turn, connection) = (number / connections.len(), number % connections.len());
    let provider = if connection == SHARED { PROVIDERS.get(turn % OTHERS_EVERY) } else { None };
    (connection, provider.copied().unwrap_or(PROVIDERS[3]))
}

/// How many calls a second are answered when as many are made as can be; so many callers at once.
pub async fn throughput(connections: &[Connection], callers: usize, span: Duration) -> f64 {
    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let connections = connections.to_vec();
            let (answered, over) = (answered.clone(), over.clone());
            tokio::spawn(async move {
                let mut number = caller;
                while !over.load(Ordering::Relaxed) {
                    let (connection, provider) = place(number, &connections);
                    if connections[connection].call(provider).await.is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    number += 1;
                }
            })
        })
        .collect();
    tokio::time::sleep_until(began + span).await;
    let count = answered.load(Ordering::Relaxed);
    over.store(true, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    for task in tasks {
        task.await.expect("no panic");
    }
    f64::from(u32::try_from(count).expect("fewer")) / seconds
}

/// Asks on each connection in turn at a rate of calls a second, for a span, and notes those to the fourth
/// provider that were due after `settle`; by connection. Calls to the others that have not ended then go on.
pub async fn ask(connections: &[Connection], rate: f64, settle: Duration, span: Duration) -> Vec<Seen> {
    let seen: Vec<Arc<Mutex<Seen>>> = connections.iter().map(|_| Arc::default()).collect();
    let (began, mut looked_at) = (Instant::now(), Vec::new());
    let mut number = 0_u32;
    loop {
        let due = began + Duration::from_secs_f64(f64::from(number) / rate);
        if due >= began + settle + span {
            break;
        }
        // Timers wake once a millisecond: what is due by then goes together.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let (at, provider) = place(usize::try_from(number).expect("fewer"), connections);
        let connection = connections[at].clone();
        let counted = (provider == PROVIDERS[3] && due >= began + settle).then(|| seen[at].clone());
        let is_counted = counted.is_some();
        let call = tokio::spawn(async move {
            let answered = connection.call(provider).await;
            if let Some(seen) = counted {
                let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                let mut seen = seen.lock().expect("no panic");
                seen.latencies_us.push(us);
                seen.errors.extend(answered.err());
            }
        });
        if is_counted {
            looked_at.push(call);
        }
        number += 1;
    }
    for call in looked_at {
        call.await.expect("no panic");
    }
    seen.iter().map(|seen| std::mem::take(&mut *seen.lock().expect("no panic"))).collect()
}
