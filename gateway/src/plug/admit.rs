//! Reading what an adapter offers, by standard reflection, and holding it against the directory.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, combinators::MapFrame};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use prost_reflect::DescriptorPool;
use tower::Service;
use ura_proto::{
    SystemId, metadata,
    reflection::{Reflection, ReflectionError},
    v1::RefusedContract,
};

use crate::{
    call::body::Outbound,
    directory::{ServiceKey, Snapshot, System},
};

/// Services that every adapter may have and that no contract is made of.
const OWN_SERVICES: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "ura.v1.PlugService",
];

/// Time for one question to an adapter.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway's own calls to an adapter, for typed clients.
#[derive(Clone)]
pub(super) struct OwnCalls(pub(super) SendRequest<Outbound>);

impl OwnCalls {
    /// What a request on a plug is addressed to; the connection decides, not the name.
    pub(super) fn origin() -> http::Uri {
        http::Uri::from_static("https://adapter.ura")
    }
}

/// An adapter's answer to the gateway itself.
type OwnAnswer = http::Response<MapFrame<Incoming, fn(Frame<Bytes>) -> Frame<Bytes>>>;

/// Takes status details out of trailers: typed clients panic on those that are not base64, and the
/// gateway's own questions need none.
fn without_details(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            trailers.remove(metadata::GRPC_STATUS_DETAILS);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Service<http::Request<tonic::body::Body>> for OwnCalls {
    type Response = OwnAnswer;
    type Error = hyper::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let answer = self.0.send_request(request.map(Outbound::Own));
        Box::pin(async move {
            let mut answer = answer.await?;
            answer.headers_mut().remove(metadata::GRPC_STATUS_DETAILS);
            Ok(answer.map(|body| body.map_frame(without_details as fn(Frame<Bytes>) -> Frame<Bytes>)))
        })
    }
}

/// The services of an adapter, kept small: descriptors take some twenty times the memory of their file set.
pub(super) struct Offered {
    /// Full names.
    services: Vec<String>,
    /// Their files, a serialised `FileDescriptorSet`.
    files: Vec<u8>,
}

/// The services that an adapter reflects, but for those that are no contracts. At most 5 s.
pub(super) async fn reflect(calls: &OwnCalls) -> Result<Offered, ReflectionError> {
    let reflection = Reflection::new(calls.clone(), OwnCalls::origin());
    let asked = async {
        let mut names = reflection.services().await?;
        names.retain(|name| !OWN_SERVICES.contains(&name.as_str()));
        let files = reflection.describe(&names).await?.encode_to_vec();
        Ok(Offered { services: names, files })
    };
    let late = || ReflectionError::Answer("nothing within 5 s".to_owned());
    tokio::time::timeout(QUESTION_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()))
}

/// Whether a system may answer a contract: a provider, or a gateway for the contracts of the bus.
fn may_answer(system: &System, contract: &str) -> bool {
    system.provider || (system.gateway && contract.starts_with("ura.v1."))
}

/// What of an offer the directory allows.
pub(super) struct Verdict {
    /// Services that the plug answers from now on.
    pub(super) accepted: Vec<ServiceKey>,
    /// The others, and why.
    pub(super) refused: Vec<RefusedContract>,
}

/// Holds an adapter's services against the directory.
pub(super) fn admit(directory: &Snapshot, provider: &SystemId, offered: &Offered) -> Verdict {
    let mut verdict = Verdict { accepted: Vec::new(), refused: Vec::new() };
    // It was a pool before; of one that is none now, nothing is described.
    let pool = DescriptorPool::decode(offered.files.as_slice()).unwrap_or_default();
    for name in offered.services.iter().map(String::as_str) {
        let service = pool.get_service_by_name(name);
        let reason = match directory.contracts.get_key_value(name) {
            _ if !directory.systems.contains_key(provider) => {
                format!("{provider} is not in the directory; enter it in [[systems]] with the role provider")
            }
            _ if !directory.systems.get(provider).is_some_and(|system| may_answer(system, name)) => {
                format!("{provider} does not have the role provider in the directory")
            }
            None => format!("contract {name} is not approved in the directory; enter it in [[contracts]]"),
            Some(_) if !directory.offers(name, provider) => {
                format!("the directory does not say that {provider} offers {name}; enter it in [[services]]")
            }
            Some((key, contract)) => match service.map(|service| contract.difference(&service)) {
                None => "its reflection lists the service and does not describe it".to_owned(),
                Some(Some(difference)) => difference,
                Some(None) => {
                    verdict.accepted.push(ServiceKey { contract: key.clone(), provider: provider.clone() });
                    continue;
                }
            },
        };
        verdict.refused.push(RefusedContract { contract: name.to_owned(), reason });
    }
    verdict
}
