//! A register whose conduct is ordered from outside, and that keeps nothing of what it was asked.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::watch;
use tonic::body::Body;
use ura_adapters::serve::ServiceBuilder;

/// A reply that nobody reads, in bytes.
const LARGE_BYTES: usize = 1 << 20;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Well,
    Frozen,
    Failing,
    Slow,
}

/// A register.
#[derive(Clone)]
pub struct Register {
    conduct: watch::Sender<Conduct>,
    small: Bytes,
    large: Bytes,
}

impl Register {
    pub fn new() -> Self {
        let conduct = watch::Sender::new(Conduct::Well);
        Self { conduct, small: message(512), large: message(LARGE_BYTES) }
    }

    /// Changes its conduct; calls that it left without an answer are answered so now.
    pub fn set(&self, conduct: Conduct) {
        self.conduct.send_replace(conduct);
    }

    /// As the service of an adapter.
    pub fn services(&self, descriptor_set: &[u8]) -> ServiceBuilder {
        let register = Arc::new(self.clone());
        let server = tower::service_fn(move |request: Request<Body>| {
            let register = register.clone();
            async move { Ok::<_, Infallible>(answer(&register, request).await) }
        });
        ServiceBuilder::new().service("test.v1.Probe", server, descriptor_set, None).expect("described")
    }
}

/// A message with so many bytes in field 2.
fn message(bytes: usize) -> Bytes {
    use prost::Message as _;
    let answer = crate::world::probe::Answer { data: Bytes::from(vec![b'x'; bytes]), ..Default::default() };
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(answer.encoded_len()).expect("short"));
    out.put_slice(&answer.encode_to_vec());
    out.freeze()
}

async fn answer(register: &Register, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    body.collect().await.ok();
    let mut conduct = register.conduct.subscribe();
    let now = *conduct.borrow_and_update();
    match now {
        Conduct::Well => {}
        Conduct::Failing => return tonic::Status::unavailable("not now").into_http(),
        // Until it is told otherwise.
        Conduct::Frozen => drop(conduct.changed().await),
        Conduct::Slow => drop(tokio::time::timeout(Duration::from_secs(5), conduct.changed()).await),
    }
    let message = if head.uri.path().ends_with("/Down") { &register.large } else { &register.small };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames: [Result<Frame<Bytes>, Infallible>; 2] =
        [Ok(Frame::data(message.clone())), Ok(Frame::trailers(trailers))];
    let mut answer = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}
