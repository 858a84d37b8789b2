//! Reading what an adapter offers, by standard reflection, and holding it against the directory.

use std::{collections::HashSet, time::Duration};

use hyper::{body::Incoming, client::conn::http2::SendRequest};
use prost::Message as _;
use prost_reflect::{DescriptorPool, ServiceDescriptor};
use prost_types::FileDescriptorProto;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tower::Service;
use ura_proto::{SystemId, v1::RefusedContract};

use crate::{
    call::body::Outbound,
    directory::{ServiceKey, Snapshot},
};

/// Services that every adapter may have and that no contract is made of.
const OWN_SERVICES: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "ura.v1.PlugService",
];

/// Services that one adapter may offer.
const SERVICES_MAX: usize = 256;

/// Descriptors that one adapter may send, in bytes.
const DESCRIPTORS_BYTES_MAX: usize = 16 << 20;

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

impl Service<http::Request<tonic::body::Body>> for OwnCalls {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request.map(Outbound::Own)))
    }
}

/// Why an adapter's contracts cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReflectError {
    /// The question failed.
    #[error("reflection (grpc.reflection.v1) failed: {0}")]
    Call(#[from] Box<tonic::Status>),
    /// The question took too long.
    #[error("reflection did not answer within 5 s")]
    Timeout,
    /// The answer is not one.
    #[error("reflection answered {0}")]
    Answer(String),
}

impl From<tonic::Status> for ReflectError {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

/// The services that an adapter reflects.
pub(super) async fn reflect(calls: &OwnCalls) -> Result<Vec<ServiceDescriptor>, ReflectError> {
    tokio::time::timeout(QUESTION_TIMEOUT, ask_all(calls)).await.map_err(|_| ReflectError::Timeout)?
}

async fn ask_all(calls: &OwnCalls) -> Result<Vec<ServiceDescriptor>, ReflectError> {
    let names = match ask(calls, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|s| s.name),
        other => return Err(ReflectError::Answer(format!("no list of services but {other:?}"))),
    };
    let names: Vec<String> = names.filter(|name| !OWN_SERVICES.contains(&name.as_str())).collect();
    if names.len() > SERVICES_MAX {
        return Err(ReflectError::Answer(format!(
            "{} services, at most {SERVICES_MAX} are read",
            names.len()
        )));
    }
    let mut files = Files::default();
    for name in &names {
        files.take(ask(calls, MessageRequest::FileContainingSymbol(name.clone())).await?)?;
    }
    // Some servers send only the file itself: its imports are asked for by name.
    while let Some(import) = files.missing() {
        files.take(ask(calls, MessageRequest::FileByFilename(import)).await?)?;
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files.protos)
        .map_err(|error| ReflectError::Answer(format!("descriptors that do not fit together: {error}")))?;
    Ok(names.iter().filter_map(|name| pool.get_service_by_name(name)).collect())
}

/// Asks one question on a stream of its own.
async fn ask(calls: &OwnCalls, question: MessageRequest) -> Result<MessageResponse, ReflectError> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::with_origin(calls.clone(), OwnCalls::origin())
        .max_decoding_message_size(DESCRIPTORS_BYTES_MAX);
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    answer.ok_or_else(|| ReflectError::Answer("nothing".to_owned()))
}

/// Descriptor files collected so far.
#[derive(Default)]
struct Files {
    protos: Vec<FileDescriptorProto>,
    bytes: usize,
    asked: HashSet<String>,
}

impl Files {
    fn take(&mut self, answer: MessageResponse) -> Result<(), ReflectError> {
        let found = match answer {
            MessageResponse::FileDescriptorResponse(found) => found.file_descriptor_proto,
            MessageResponse::ErrorResponse(error) => return Err(ReflectError::Answer(error.error_message)),
            other => return Err(ReflectError::Answer(format!("no descriptors but {other:?}"))),
        };
        for bytes in found {
            self.bytes += bytes.len();
            if self.bytes > DESCRIPTORS_BYTES_MAX {
                return Err(ReflectError::Answer(format!(
                    "more than {DESCRIPTORS_BYTES_MAX} bytes of descriptors"
                )));
            }
            let proto = FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| {
                ReflectError::Answer(format!("a descriptor that cannot be read: {error}"))
            })?;
            if !self.protos.iter().any(|known| known.name == proto.name) {
                self.protos.push(proto);
            }
        }
        Ok(())
    }

    /// An import that nobody has sent; each is asked for once.
    fn missing(&mut self) -> Option<String> {
        let imports = self.protos.iter().flat_map(|proto| &proto.dependency);
        let missing = imports
            .filter(|name| !self.protos.iter().any(|known| known.name() == name.as_str()))
            .find(|name| !self.asked.contains(*name))?
            .clone();
        self.asked.insert(missing.clone());
        Some(missing)
    }
}

/// What of an offer the directory allows.
pub(super) struct Verdict {
    /// Services that the plug answers from now on.
    pub(super) accepted: Vec<ServiceKey>,
    /// The others, and why.
    pub(super) refused: Vec<RefusedContract>,
}

/// Holds an adapter's services against the directory.
pub(super) fn admit(directory: &Snapshot, provider: &SystemId, offered: &[ServiceDescriptor]) -> Verdict {
    let mut verdict = Verdict { accepted: Vec::new(), refused: Vec::new() };
    for service in offered {
        let name = service.full_name();
        let reason = match directory.contracts.get_key_value(name) {
            _ if !directory.systems.get(provider).is_some_and(|system| system.provider) => {
                format!("{provider} does not have the role provider in the directory")
            }
            None => format!("contract {name} is not approved in the directory; enter it in [[contracts]]"),
            Some(_) if !directory.offers(name, provider) => {
                format!("the directory does not say that {provider} offers {name}; enter it in [[services]]")
            }
            Some((key, contract)) => match contract.difference(service) {
                Some(difference) => format!("the contract differs from the approved one: {difference}"),
                None => {
                    verdict.accepted.push(ServiceKey { contract: key.clone(), provider: provider.clone() });
                    continue;
                }
            },
        };
        verdict.refused.push(RefusedContract { contract: name.to_owned(), reason });
    }
    verdict
}
