//! A gRPC client on bare HTTP/2: it can also send what no well-kept client sends.

use std::{path::Path, time::Duration};

use base64::Engine as _;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use ura_proto::ExchangeId;
use ura_runtime::tls::{self, Identity, TlsError, Verify};

use super::probe::Ask;

type Sent = Result<Frame<Bytes>, h2::Error>;
type Upload = StreamBody<ReceiverStream<Sent>>;

/// One connection of a consumer.
#[derive(Clone)]
pub struct Client {
    sender: http2::SendRequest<Upload>,
}

/// A call on its way: messages up, answer down.
pub struct Started {
    pub upload: Option<mpsc::Sender<Sent>>,
    answer: tokio::task::JoinHandle<Result<Response<Incoming>, hyper::Error>>,
}

/// A call that has ended.
#[derive(Debug, Default)]
pub struct Ended {
    pub headers: HeaderMap,
    pub messages: Vec<Bytes>,
    pub trailers: HeaderMap,
    /// The stream was reset instead of ended.
    pub reset: Option<String>,
}

impl Client {
    pub async fn connect(identity: &Path, address: &str) -> Result<Self, TlsError> {
        Self::connect_with(identity, address, Verify::Name, 1 << 20).await
    }

    /// A connection to whoever is verified so, on which so many bytes of an answer may lie unread.
    pub async fn connect_with(
        identity: &Path,
        address: &str,
        verify: Verify,
        unread_bytes_max: u32,
    ) -> Result<Self, TlsError> {
        let identity = Identity::load(identity)?;
        let config = identity.client_config(&[b"h2"], verify)?;
        let (stream, _) = tls::connect(address, config, Duration::from_secs(10)).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(unread_bytes_max)
            .initial_connection_window_size(16 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Begins a call of `test.v1.Probe`.
    pub fn start(&self, method: &str, metadata: &[(&str, &str)]) -> Started {
        let path =
            if method.starts_with('/') { method.to_owned() } else { format!("/test.v1.Probe/{method}") };
        let mut request = Request::post(format!("https://gateway{path}")).header("te", "trailers");
        if !metadata.iter().any(|(key, _)| *key == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (key, value) in metadata {
            request = request.header(*key, *value);
        }
        let (upload, receiver) = mpsc::channel(4);
        let request = request.body(StreamBody::new(ReceiverStream::new(receiver))).expect("a request");
        let mut sender = self.sender.clone();
        let answer = tokio::spawn(async move {
            sender.ready().await?;
            sender.send_request(request).await
        });
        Started { upload: Some(upload), answer }
    }

    /// A whole call with one message.
    pub async fn call(&self, method: &str, metadata: &[(&str, &str)], ask: &impl Message) -> Ended {
        self.send(method, metadata, &[framed(ask)]).await
    }

    /// A whole call with these bytes.
    pub async fn send(&self, method: &str, metadata: &[(&str, &str)], frames: &[Bytes]) -> Ended {
        let mut started = self.start(method, metadata);
        for frame in frames {
            if !started.bytes(frame.clone()).await {
                break;
            }
        }
        started.close();
        super::patient(started.ended()).await
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Started {
    pub async fn message(&mut self, ask: &Ask) -> bool {
        self.bytes(framed(ask)).await
    }

    /// Sends bytes; `false` where nobody takes them any more.
    pub async fn bytes(&mut self, bytes: Bytes) -> bool {
        match &self.upload {
            Some(upload) => upload.send(Ok(Frame::data(bytes))).await.is_ok(),
            None => false,
        }
    }

    /// Ends the request.
    pub fn close(&mut self) {
        self.upload = None;
    }

    /// Resets the request.
    pub async fn reset(&mut self, reason: h2::Reason) {
        if let Some(upload) = self.upload.take() {
            upload.send(Err(reason.into())).await.ok();
        }
    }

    /// Waits for the head of the answer.
    pub async fn answer(self) -> Result<Response<Incoming>, hyper::Error> {
        // The upload stays open until it is closed.
        let Self { upload, answer } = self;
        let answer = answer.await.expect("not aborted");
        drop(upload);
        answer
    }

    /// Whether the head of the answer is there.
    pub fn is_answered(&self) -> bool {
        self.answer.is_finished()
    }

    /// Gives the call up: the stream is reset.
    pub fn abandon(self) {
        self.answer.abort();
    }

    /// Waits for the end of the call.
    pub async fn ended(self) -> Ended {
        match self.answer().await {
            Ok(response) => collect(response).await,
            Err(error) => Ended { reset: Some(error_text(&error)), ..Ended::default() },
        }
    }
}

/// Reads an answer to its end.
pub async fn collect(response: Response<Incoming>) -> Ended {
    let (head, mut body) = response.into_parts();
    let mut ended = Ended { headers: head.headers, ..Ended::default() };
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => {
                ended.reset = Some(error_text(&error));
                return ended;
            }
            Ok(frame) => match frame.into_data() {
                Ok(data) => buffer.extend_from_slice(&data),
                Err(frame) => ended.trailers = frame.into_trailers().unwrap_or_default(),
            },
        }
        while let Some(prefix) = buffer.first_chunk::<5>() {
            let [_, length @ ..] = *prefix;
            let length = u32::from_be_bytes(length) as usize;
            if buffer.len() < length + 5 {
                break;
            }
            buffer.advance(5);
            ended.messages.push(buffer.split_to(length).freeze());
        }
    }
    if ended.trailers.is_empty() {
        ended.trailers = ended.headers.clone();
    }
    ended
}

impl Ended {
    /// The gRPC status; -1 where the stream was reset without one.
    pub fn status(&self) -> i32 {
        self.trailers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(-1)
    }

    pub fn exchange(&self) -> ExchangeId {
        let value = self.headers.get("ura-exchange-id").unwrap_or_else(|| panic!("no exchange id: {self:?}"));
        value.to_str().expect("text").parse().expect("an exchange id")
    }

    pub fn decode<M: Message + Default>(&self, at: usize) -> M {
        M::decode(self.messages[at].clone()).expect("a message")
    }

    /// `ErrorInfo` and `LocalizedMessage` of the status.
    pub fn details(&self) -> tonic_types::ErrorDetails {
        use tonic_types::StatusExt as _;
        let status = tonic::Status::from_header_map(&self.trailers).expect("a status");
        status.get_error_details()
    }

    /// The bus's reason, or an empty text.
    pub fn reason(&self) -> String {
        match self.details().error_info() {
            Some(info) if info.domain == "ura" => info.reason.clone(),
            _ => String::new(),
        }
    }

    pub fn outcome(&self) -> String {
        self.details().error_info().and_then(|info| info.metadata.get("outcome").cloned()).unwrap_or_default()
    }

    /// A field of the receipt.
    pub fn receipt(&self, field: &str) -> String {
        let receipt = self.trailers["ura-receipt"].to_str().expect("text").to_owned();
        let value = receipt.split(';').find_map(|part| part.strip_prefix(&format!("{field}=")));
        value.unwrap_or_else(|| panic!("{field} in {receipt}")).to_owned()
    }

    pub fn salt(&self) -> Vec<u8> {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(self.receipt("salt")).expect("base64url")
    }
}

/// A message with its prefix.
pub fn framed(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let mut out = BytesMut::with_capacity(body.len() + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(body.len()).expect("short"));
    out.put_slice(&body);
    out.freeze()
}

fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
