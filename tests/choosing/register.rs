//! An adapter of `test.v1.Probe` whose conduct is ordered from outside, call by call the same for all
//! callers, and which remembers what it was asked.

use std::{
    convert::Infallible,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::watch;
use tonic::body::Body;
use ura_adapters::serve::ServiceBuilder;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// With one message.
    Well,
    /// With `UNAVAILABLE` and nothing else.
    Unavailable,
    /// The same, and says that it is not to be asked again.
    Final,
    /// Each third call with `UNAVAILABLE`.
    EachThird,
    /// Not at all.
    Frozen,
    /// By resetting the stream.
    Reset,
}

/// What was asked, and how to answer.
pub struct Register {
    conduct: watch::Sender<Conduct>,
    asked: Mutex<Vec<HeaderMap>>,
    count: watch::Sender<usize>,
}

impl Register {
    pub fn new(conduct: Conduct) -> Arc<Self> {
        Arc::new(Self {
            conduct: watch::Sender::new(conduct),
            asked: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }

    /// Changes its conduct; calls that it left without an answer are answered so now.
    pub fn set(&self, conduct: Conduct) {
        self.conduct.send_replace(conduct);
    }

    /// Calls so far.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until it was asked so often.
    pub async fn until(&self, calls: usize) {
        let mut count = self.count.subscribe();
        crate::world::patient(count.wait_for(|now| *now >= calls)).await.expect("it lives");
    }

    /// The values of a header, of all calls that had it.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let asked = self.asked.lock().expect("not poisoned");
        asked.iter().filter_map(|head| Some(head.get(name)?.to_str().expect("text").to_owned())).collect()
    }

    pub fn services(self: &Arc<Self>, dir: &Path) -> ServiceBuilder {
        let contract =
            ura_proto::contract::Contract::from_proto("test.v1.Probe", &dir.join("probe.proto"), &[])
                .expect("the probe's contract");
        let register = self.clone();
        let server = tower::service_fn(move |request: Request<Body>| {
            let register = register.clone();
            async move { Ok::<_, Infallible>(answer(&register, request).await) }
        });
        ServiceBuilder::new()
            .service("test.v1.Probe", server, &contract.descriptor_set, None)
            .expect("described")
    }
}

async fn answer(register: &Register, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    body.collect().await.ok();
    let number = {
        let mut asked = register.asked.lock().expect("not poisoned");
        asked.push(head.headers);
        asked.len()
    };
    register.count.send_replace(number);
    let mut conduct = register.conduct.subscribe();
    let now = *conduct.wait_for(|now| *now != Conduct::Frozen).await.expect("it lives");
    let mut out = BytesMut::new();
    // An empty message.
    out.put_u8(0);
    out.put_u32(0);
    let well: Vec<Result<Frame<Bytes>, h2::Error>> = vec![Ok(Frame::data(out.freeze())), Ok(trailers())];
    let frames = match now {
        Conduct::Well | Conduct::Frozen => well,
        Conduct::EachThird if number % 3 != 0 => well,
        Conduct::Reset => vec![Err(h2::Reason::INTERNAL_ERROR.into())],
        Conduct::EachThird | Conduct::Unavailable | Conduct::Final => {
            let mut answer = tonic::Status::unavailable("not now").into_http();
            if now == Conduct::Final {
                answer.headers_mut().insert("grpc-retry-pushback-ms", HeaderValue::from_static("-1"));
            }
            return answer;
        }
    };
    let mut answer = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

fn trailers() -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Frame::trailers(trailers)
}
