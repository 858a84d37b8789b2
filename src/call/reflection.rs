//! Learning a contract from the gateway, by `grpc.reflection.v1`. Knows no request.

use std::{collections::HashSet, time::Duration};

use http::Uri;
use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use prost_types::FileDescriptorProto;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{arguments::Target, connection::Calls};

/// Descriptors that a gateway may send, in bytes.
const DESCRIPTORS_BYTES_MAX: usize = 16 << 20;

/// Time for all questions.
const QUESTIONS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a method is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReflectionError {
    /// A question failed.
    #[error("the gateway does not tell its contracts (grpc.reflection.v1): {}", .0.message())]
    Failed(Box<Status>),
    /// The questions took too long.
    #[error("the gateway did not tell its contracts within {} s", QUESTIONS_TIMEOUT.as_secs())]
    Late,
    /// The answer is not one.
    #[error("the gateway does not tell its contracts well: {0}")]
    Answer(String),
    /// The gateway knows no such contract.
    #[error("no contract {contract} is approved on this bus\n  try       one of these: {known}")]
    Unknown {
        /// The contract that was wanted.
        contract: String,
        /// Those that can be called.
        known: String,
    },
    /// Nobody answers the contract.
    #[error(
        "nobody answers {contract} now: it is approved on this bus, but no adapter of it is plugged in\n  \
         try       later, or ask the provider to start its adapter; these can be called now: {known}"
    )]
    Unplugged {
        /// The contract that was wanted.
        contract: String,
        /// Those that can be called.
        known: String,
    },
    /// The contract has no such method.
    #[error("{contract} has no method {method}\n  try       one of these: {known}")]
    NoMethod {
        /// The contract.
        contract: String,
        /// The method that was wanted.
        method: String,
        /// Those that there are.
        known: String,
    },
}

impl From<Status> for ReflectionError {
    fn from(status: Status) -> Self {
        Self::Failed(Box::new(status))
    }
}

/// Asks the gateway for a method and everything that its messages need.
pub(super) async fn method(
    calls: &Calls,
    origin: &Uri,
    target: &Target,
) -> Result<MethodDescriptor, ReflectionError> {
    let asking = Asking { calls, origin, files: Files::default() };
    let asked = tokio::time::timeout(QUESTIONS_TIMEOUT, asking.service(&target.contract));
    let service = asked.await.map_err(|_| ReflectionError::Late)??;
    find(&service, &target.method)
}

fn find(service: &ServiceDescriptor, method: &str) -> Result<MethodDescriptor, ReflectionError> {
    service.methods().find(|known| known.name() == method).ok_or_else(|| ReflectionError::NoMethod {
        contract: service.full_name().to_owned(),
        method: method.to_owned(),
        known: service.methods().map(|known| known.name().to_owned()).collect::<Vec<_>>().join(", "),
    })
}

struct Asking<'c> {
    calls: &'c Calls,
    origin: &'c Uri,
    files: Files,
}

impl Asking<'_> {
    async fn service(mut self, contract: &str) -> Result<ServiceDescriptor, ReflectionError> {
        match self.ask(MessageRequest::FileContainingSymbol(contract.to_owned())).await {
            Ok(MessageResponse::FileDescriptorResponse(found)) => {
                self.files.take(found.file_descriptor_proto)?
            }
            Ok(MessageResponse::ErrorResponse(error)) if error.error_code == i32::from(Code::NotFound) => {
                return Err(self.unknown(contract).await);
            }
            // Reflection of some servers ends the stream instead.
            Err(ReflectionError::Failed(status)) if status.code() == Code::NotFound => {
                return Err(self.unknown(contract).await);
            }
            other => return Err(unexpected(&other?)),
        }
        // Some servers send only the file itself: its imports are asked for by name.
        while let Some(import) = self.files.missing() {
            match self.ask(MessageRequest::FileByFilename(import)).await? {
                MessageResponse::FileDescriptorResponse(found) => {
                    self.files.take(found.file_descriptor_proto)?
                }
                other => return Err(unexpected(&other)),
            }
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(self.files.protos)
            .map_err(|error| ReflectionError::Answer(format!("the files do not fit together: {error}")))?;
        let missing =
            || ReflectionError::Answer(format!("the files that it sent for {contract} do not define it"));
        pool.get_service_by_name(contract).ok_or_else(missing)
    }

    /// Asks one question on a stream of its own.
    async fn ask(&self, question: MessageRequest) -> Result<MessageResponse, ReflectionError> {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut client = ServerReflectionClient::with_origin(self.calls.clone(), self.origin.clone())
            .max_decoding_message_size(DESCRIPTORS_BYTES_MAX);
        let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
        let answer = answers.message().await?.and_then(|answer| answer.message_response);
        answer.ok_or_else(|| ReflectionError::Answer("an empty answer".to_owned()))
    }

    /// Why a contract is not reflected: health knows approved contracts that nobody answers.
    async fn unknown(&self, contract: &str) -> ReflectionError {
        let known = match self.ask(MessageRequest::ListServices(String::new())).await {
            Ok(MessageResponse::ListServicesResponse(list)) => {
                let names = list.service.into_iter().map(|service| service.name);
                names.filter(|name| !name.starts_with("grpc.")).collect::<Vec<_>>().join(", ")
            }
            Ok(other) => return unexpected(&other),
            Err(error) => return error,
        };
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let mut health = HealthClient::with_origin(self.calls.clone(), self.origin.clone());
        let asked = health.check(HealthCheckRequest { service: contract.to_owned() }).await;
        let contract = contract.to_owned();
        match asked {
            Ok(_) => ReflectionError::Unplugged { contract, known },
            Err(_) => ReflectionError::Unknown { contract, known },
        }
    }
}

fn unexpected(answer: &MessageResponse) -> ReflectionError {
    ReflectionError::Answer(match answer {
        MessageResponse::ErrorResponse(error) => error.error_message.clone(),
        _ => "an answer to another question".to_owned(),
    })
}

/// Descriptor files collected so far.
#[derive(Default)]
struct Files {
    protos: Vec<FileDescriptorProto>,
    bytes: usize,
    asked: HashSet<String>,
}

impl Files {
    fn take(&mut self, found: Vec<Vec<u8>>) -> Result<(), ReflectionError> {
        for bytes in found {
            self.bytes = self.bytes.saturating_add(bytes.len());
            if self.bytes > DESCRIPTORS_BYTES_MAX {
                return Err(ReflectionError::Answer(format!(
                    "more than {DESCRIPTORS_BYTES_MAX} bytes of files"
                )));
            }
            let proto = FileDescriptorProto::decode(bytes.as_slice())
                .map_err(|error| ReflectionError::Answer(format!("a file that cannot be read: {error}")))?;
            self.keep(proto);
        }
        Ok(())
    }

    fn keep(&mut self, proto: FileDescriptorProto) {
        if !self.protos.iter().any(|known| known.name == proto.name) {
            self.protos.push(proto);
        }
    }

    /// An import that nobody has sent, each once. Those of protobuf itself are known and not asked for.
    fn missing(&mut self) -> Option<String> {
        loop {
            let imports = self.protos.iter().flat_map(|proto| &proto.dependency);
            let missing = imports
                .filter(|name| !self.protos.iter().any(|known| known.name() == name.as_str()))
                .find(|name| !self.asked.contains(*name))?
                .clone();
            self.asked.insert(missing.clone());
            match DescriptorPool::global().get_file_by_name(&missing) {
                Some(known) if missing.starts_with("google/protobuf/") => {
                    self.keep(known.file_descriptor_proto().clone());
                }
                _ => return Some(missing),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, imports: &[&str]) -> Vec<u8> {
        let dependency = imports.iter().map(|import| (*import).to_owned()).collect();
        FileDescriptorProto { name: Some(name.to_owned()), dependency, ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn imports_are_asked_for_once_and_protobufs_own_never() {
        let mut files = Files::default();
        files.take(vec![file("a", &["b", "google/protobuf/timestamp.proto", "c"])]).expect("readable");
        assert_eq!(files.missing().as_deref(), Some("b"));
        files.take(vec![file("b", &["c"]), file("a", &[])]).expect("readable");
        assert_eq!(files.missing().as_deref(), Some("c"));
        assert_eq!(files.missing(), None, "asked for already");
        let names: Vec<_> = files.protos.iter().map(FileDescriptorProto::name).collect();
        assert_eq!(names, ["a", "b", "google/protobuf/timestamp.proto"]);
        assert!(files.take(vec![vec![0xff]]).is_err(), "no descriptor");
    }

    #[test]
    fn methods_are_found_by_name() {
        let pool = DescriptorPool::decode(ura_proto::CONTRACTS).expect("own contracts");
        let service = pool.get_service_by_name("ura.v1.PlugService").expect("own contract");
        assert_eq!(find(&service, "Drain").expect("there").name(), "Drain");
        let error = find(&service, "drain").expect_err("another").to_string();
        assert!(error.contains("one of these: Report, Drain"), "{error}");
    }
}
