//! The probe: an adapter whose conduct each call orders by its `wish`, and which remembers what it
//! saw. It is plain HTTP/2, so that it can also do what no well-kept server does.

mod flow;
pub mod forged;
mod reader;

use std::{
    collections::VecDeque,
    convert::Infallible,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use prost::Message;
use tokio::sync::watch;
use tonic::body::Body;
use ura_adapters::serve::ServiceBuilder;

use reader::Reader;

#[derive(Clone, PartialEq, Message)]
pub struct Ask {
    #[prost(string, tag = "1")]
    pub personal_number: String,
    #[prost(string, tag = "2")]
    pub wish: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    #[prost(string, repeated, tag = "4")]
    pub others: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// What the probe saw of one call.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub messages: usize,
    pub bytes: usize,
    /// Bytes that a `flow` has given to the transport.
    pub sent: usize,
    /// How the request ended: "end", "reset", or "" while it goes on.
    pub request_end: String,
    /// The call's future was dropped before its answer was complete.
    pub dropped: bool,
}

/// The probe's memory.
pub struct Probe {
    calls: Mutex<Vec<Seen>>,
    changed: watch::Sender<usize>,
    /// Calls that wait for `release`.
    gate: watch::Sender<bool>,
    pub healthy: watch::Sender<bool>,
    pub in_flight: AtomicUsize,
}

impl Probe {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            changed: watch::channel(0).0,
            gate: watch::channel(false).0,
            healthy: watch::channel(true).0,
            in_flight: AtomicUsize::new(0),
        })
    }

    /// The contract, described from its file.
    pub fn services(self: &Arc<Self>, dir: &Path) -> ServiceBuilder {
        let contract =
            ura_proto::contract::Contract::from_proto("test.v1.Probe", &dir.join("probe.proto"), &[])
                .expect("the probe's contract");
        self.services_as(&contract.descriptor_set)
    }

    pub fn services_as(self: &Arc<Self>, descriptor_set: &[u8]) -> ServiceBuilder {
        self.services_named("test.v1.Probe", descriptor_set)
    }

    /// The same conduct under another contract's name.
    pub fn services_named(self: &Arc<Self>, contract: &str, descriptor_set: &[u8]) -> ServiceBuilder {
        let service = Server(self.clone());
        ServiceBuilder::new()
            .service(contract, service, descriptor_set, Some(self.healthy.subscribe()))
            .expect("described")
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Seen> {
        self.calls.lock().expect("not poisoned").clone()
    }

    /// Waits until the calls so far are as wanted.
    pub async fn until(&self, wanted: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut changes = self.changed.subscribe();
        super::patient(async {
            loop {
                let calls = self.calls();
                if wanted(&calls) {
                    return calls;
                }
                changes.changed().await.expect("the probe lives");
            }
        })
        .await
    }

    /// Lets the calls that wait go on.
    pub fn release(&self) {
        self.gate.send_replace(true);
    }

    /// Calls wait again from now on.
    pub fn close(&self) {
        self.gate.send_replace(false);
    }

    fn begin(&self, request: &http::Request<Body>) -> usize {
        let mut calls = self.calls.lock().expect("not poisoned");
        calls.push(Seen {
            path: request.uri().path().to_owned(),
            headers: request.headers().clone(),
            ..Seen::default()
        });
        let number = calls.len() - 1;
        drop(calls);
        self.told();
        number
    }

    fn note(&self, call: usize, change: impl FnOnce(&mut Seen)) {
        change(&mut self.calls.lock().expect("not poisoned")[call]);
        self.told();
    }

    fn told(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Marks a call as dropped unless it was finished.
struct Guard {
    probe: Arc<Probe>,
    call: usize,
    finished: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.probe.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.finished {
            self.probe.note(self.call, |seen| seen.dropped = true);
        }
    }
}

#[derive(Clone)]
struct Server(Arc<Probe>);

impl tower::Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let probe = self.0.clone();
        Box::pin(async move { Ok(answer(probe, request).await) })
    }
}

/// Reads the first message, does its wish, then what the method does.
async fn answer(probe: Arc<Probe>, request: http::Request<Body>) -> http::Response<Body> {
    let call = probe.begin(&request);
    probe.in_flight.fetch_add(1, Ordering::SeqCst);
    let guard = Guard { probe: probe.clone(), call, finished: false };
    let (head, body) = request.into_parts();
    let mut reader = Reader { body, buffer: BytesMut::new(), probe: probe.clone(), call };
    let method = head.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let encoded = head.headers.get("grpc-encoding").is_some();
    let first = reader.message().await;
    let ask =
        first.clone().and_then(|bytes| Ask::decode(bytes).ok().filter(|_| !encoded)).unwrap_or_default();
    let (wish, value) = ask.wish.split_once(':').unwrap_or((ask.wish.as_str(), ""));
    match wish {
        "wait" => {
            let mut gate = probe.gate.subscribe();
            gate.wait_for(|open| *open).await.ok();
        }
        "hang" => std::future::pending().await,
        "error" => return status_only(guard, value),
        "forged" => return forged::status(guard, value),
        "http" => {
            return http::Response::builder()
                .status(value.parse::<u16>().unwrap())
                .body(Body::empty())
                .unwrap();
        }
        _ => {}
    }
    if method == "Chat" {
        return chat(reader, first, wish == "mute", guard);
    }
    if matches!(method.as_str(), "Up" | "UpRead") {
        let mut count = u64::from(first.is_some());
        while reader.message().await.is_some() {
            count += 1;
        }
        return reply(vec![Answer { text: count.to_string(), data: Bytes::new() }], "", guard);
    }
    // A unary request is read to its end, as gRPC servers do.
    while reader.message().await.is_some() {}
    if wish == "flow" {
        return flow::answer(value, guard);
    }
    if wish == "break" {
        return flow::broken(value, guard);
    }
    if method == "Owner" {
        // Field 1 of Owned has the number of the wish.
        return reply(vec![Answer { text: value.to_owned(), data: Bytes::new() }], wish, guard);
    }
    let count =
        if method == "Down" { value.split(',').next().unwrap_or("").parse().unwrap_or(3) } else { 1usize };
    let size = value.split(',').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0usize);
    let answers = (0..count)
        .map(|number| Answer {
            text: if method == "Down" { number.to_string() } else { ask.personal_number.clone() },
            data: if size > 0 { Bytes::from(vec![b'x'; size]) } else { ask.data.clone() },
        })
        .collect();
    reply(answers, wish, guard)
}

/// A status without messages, as trailers only; with `ErrorInfo` details of two domains.
fn status_only(mut guard: Guard, code: &str) -> http::Response<Body> {
    use tonic_types::StatusExt as _;
    guard.finished = true;
    let mut details = tonic_types::ErrorDetails::new();
    details.set_error_info("REGISTER_SAYS_NO", "arc/probe", [("k".to_owned(), "v".to_owned())]);
    let code = tonic::Code::from_i32(code.parse().unwrap());
    tonic::Status::with_error_details(code, "the register says no: ë ç š", details).into_http()
}

fn framed(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let mut out = BytesMut::with_capacity(body.len() + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(body.len()).unwrap());
    out.put_slice(&body);
    out.freeze()
}

/// Answers with messages; `wish` may spoil the end.
fn reply(answers: Vec<Answer>, wish: &str, guard: Guard) -> http::Response<Body> {
    let gzip = wish == "gzip";
    let framed = if gzip { forged::gzipped } else { framed };
    let mut frames: VecDeque<Step> = answers.iter().map(|answer| Step::Data(framed(answer))).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-probe-trailer", HeaderValue::from_static("tail"));
    trailers.insert("x-probe-bin", HeaderValue::from_static("AAEC"));
    trailers.insert("ura-receipt", HeaderValue::from_static("forged by the adapter"));
    match wish {
        "no-status" => drop(trailers.remove("grpc-status")),
        "odd-status" => drop(trailers.insert("grpc-status", HeaderValue::from_static("99"))),
        "twice" => frames.push_back(Step::Data(framed(&answers[0]))),
        "nothing" => frames.clear(),
        "half" => frames = [Step::Data(framed(&answers[0]).slice(..4))].into(),
        "bad-flag" => frames = [Step::Data(Bytes::from_static(&[7, 0, 0, 0, 0]))].into(),
        "bad-length" => frames = [Step::Data(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]))].into(),
        "unknown" => {
            frames.pop_back();
            // Field 15, of bytes.
            frames.push_back(Step::Data(Bytes::from_static(&[0, 0, 0, 0, 3, 0x7a, 1, b'x'])));
        }
        "bad-proto" => frames = [Step::Data(Bytes::from_static(&[0, 0, 0, 0, 1, 0xff]))].into(),
        "reset" => frames.push_back(Step::Reset(h2::Reason::INTERNAL_ERROR)),
        "reset-no-error" => frames.push_back(Step::Reset(h2::Reason::NO_ERROR)),
        "hang-after" => frames.push_back(Step::Hang),
        _ => {}
    }
    frames.push_back(Step::Trailers(trailers));
    let mut response = http::Response::new(Body::new(Script { frames, guard }));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("x-probe-header", HeaderValue::from_static("head"));
    headers.insert("ura-exchange-id", HeaderValue::from_static("forged by the adapter"));
    if wish == "content-type" {
        headers.insert("content-type", HeaderValue::from_static("text/html"));
    }
    if gzip {
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    if wish == "hop" {
        headers.insert("proxy-authenticate", HeaderValue::from_static("Basic"));
        headers.insert("trailer", HeaderValue::from_static("x-probe-trailer"));
    }
    if wish == "encoding" {
        headers.insert("grpc-encoding", HeaderValue::from_static("br"));
    }
    response
}

enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Reset(h2::Reason),
    Hang,
}

struct Script {
    frames: VecDeque<Step>,
    guard: Guard,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        Poll::Ready(match self.frames.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers(trailers)) => {
                self.guard.finished = true;
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Step::Reset(reason)) => Some(Err(reason.into())),
            Some(Step::Hang) => {
                self.frames.push_front(Step::Hang);
                return Poll::Pending;
            }
        })
    }
}

/// Answers each message with its data, as they come; `mute`, it only listens.
fn chat(mut reader: Reader, first: Option<Bytes>, mute: bool, mut guard: Guard) -> http::Response<Body> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, h2::Error>>(4);
    tokio::spawn(async move {
        let guard = &mut guard;
        let mut next = first;
        while let Some(bytes) = next {
            let ask = Ask::decode(bytes).unwrap_or_default();
            let answer = Answer { text: ask.personal_number, data: ask.data };
            if !mute && sender.send(Ok(Frame::data(framed(&answer)))).await.is_err() {
                return;
            }
            next = tokio::select! {
                next = reader.message() => next,
                () = sender.closed() => return,
            };
        }
        if reader.was_reset() {
            return;
        }
        guard.finished = true;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        sender.send(Ok(Frame::trailers(trailers))).await.ok();
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut response = http::Response::new(Body::new(http_body_util::StreamBody::new(stream)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
