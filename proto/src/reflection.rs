//! Reading contracts from a server by `grpc.reflection.v1`. The transport is the caller's, and so is
//! the time limit.

use std::collections::HashSet;

use http::Uri;
use http_body::Body as HttpBody;
use prost::{Message as _, bytes::Bytes};
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use tonic::{Code, Status, body::Body, client::GrpcService, codegen::StdError};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// Services that one server may list.
const SERVICES_MAX: usize = 1024;

/// Descriptors that one server may send, in bytes.
const DESCRIPTORS_BYTES_MAX: usize = 16 << 20;

/// Why a server's contracts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// The question failed.
    #[error("reflection (grpc.reflection.v1) failed: {}", .0.message())]
    Failed(Box<Status>),
    /// The server does not know the symbol.
    #[error("reflection knows no {0}")]
    Unknown(String),
    /// The answer is not one, or above a limit.
    #[error("reflection answered {0}")]
    Answer(String),
}

impl From<Status> for ReflectionError {
    fn from(status: Status) -> Self {
        Self::Failed(Box::new(status))
    }
}

/// A server's reflection.
#[derive(Clone, Debug)]
pub struct Reflection<S> {
    calls: S,
    origin: Uri,
}

impl<S> Reflection<S>
where
    S: GrpcService<Body> + Clone,
    S::Error: Into<StdError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// Reflection over this transport; requests are addressed to `origin`.
    pub const fn new(calls: S, origin: Uri) -> Self {
        Self { calls, origin }
    }

    /// Full names of the server's services, at most 1,024.
    ///
    /// # Errors
    /// [`ReflectionError`].
    pub async fn services(&self) -> Result<Vec<String>, ReflectionError> {
        match self.ask(MessageRequest::ListServices(String::new())).await? {
            MessageResponse::ListServicesResponse(list) if list.service.len() <= SERVICES_MAX => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            MessageResponse::ListServicesResponse(list) => Err(ReflectionError::Answer(format!(
                "{} services, at most {SERVICES_MAX} are read",
                list.service.len()
            ))),
            other => Err(unexpected(&other)),
        }
    }

    /// The files that define these symbols, with everything they import; at most 16 MiB.
    ///
    /// # Errors
    /// [`ReflectionError::Unknown`] for a symbol that the server does not know; others.
    pub async fn describe(&self, symbols: &[String]) -> Result<DescriptorPool, ReflectionError> {
        let mut files = Files::default();
        for symbol in symbols {
            match self.ask(MessageRequest::FileContainingSymbol(symbol.clone())).await {
                Ok(answer) => files.take(answer, symbol)?,
                // Some servers end the stream instead of answering with an error.
                Err(ReflectionError::Failed(status)) if status.code() == Code::NotFound => {
                    return Err(ReflectionError::Unknown(symbol.clone()));
                }
                Err(error) => return Err(error),
            }
        }
        // Some servers send only the file itself: its imports are asked for by name.
        while let Some(import) = files.missing() {
            let answer = self.ask(MessageRequest::FileByFilename(import.clone())).await?;
            files.take(answer, &import)?;
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files.protos)
            .map_err(|error| ReflectionError::Answer(format!("files that do not fit together: {error}")))?;
        Ok(pool)
    }

    /// Asks one question on a stream of its own.
    async fn ask(&self, question: MessageRequest) -> Result<MessageResponse, ReflectionError> {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut client = ServerReflectionClient::with_origin(self.calls.clone(), self.origin.clone())
            .max_decoding_message_size(DESCRIPTORS_BYTES_MAX);
        let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
        let answer = answers.message().await?.and_then(|answer| answer.message_response);
        answer.ok_or_else(|| ReflectionError::Answer("nothing".to_owned()))
    }
}

fn unexpected(answer: &MessageResponse) -> ReflectionError {
    let what = match answer {
        MessageResponse::ErrorResponse(error) => error.error_message.chars().take(256).collect(),
        _ => "something that was not asked for".to_owned(),
    };
    ReflectionError::Answer(what)
}

/// Descriptor files collected so far.
#[derive(Default)]
struct Files {
    protos: Vec<FileDescriptorProto>,
    bytes: usize,
    asked: HashSet<String>,
}

impl Files {
    fn take(&mut self, answer: MessageResponse, symbol: &str) -> Result<(), ReflectionError> {
        let found = match answer {
            MessageResponse::FileDescriptorResponse(found) => found.file_descriptor_proto,
            MessageResponse::ErrorResponse(error) if error.error_code == i32::from(Code::NotFound) => {
                return Err(ReflectionError::Unknown(symbol.to_owned()));
            }
            other => return Err(unexpected(&other)),
        };
        for bytes in found {
            self.bytes += bytes.len();
            if self.bytes > DESCRIPTORS_BYTES_MAX {
                let text = format!("more than {DESCRIPTORS_BYTES_MAX} bytes of descriptors");
                return Err(ReflectionError::Answer(text));
            }
            let proto = FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| {
                ReflectionError::Answer(format!("a descriptor that cannot be read: {error}"))
            })?;
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
    use tonic_reflection::pb::v1::{ErrorResponse, FileDescriptorResponse};

    use super::*;

    fn file(name: &str, imports: &[&str]) -> Vec<u8> {
        let dependency = imports.iter().map(|import| (*import).to_owned()).collect();
        FileDescriptorProto { name: Some(name.to_owned()), dependency, ..Default::default() }.encode_to_vec()
    }

    fn sent(file_descriptor_proto: Vec<Vec<u8>>) -> MessageResponse {
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
    }

    #[test]
    fn imports_are_asked_for_once_and_protobufs_own_never() {
        let mut files = Files::default();
        files
            .take(sent(vec![file("a", &["b", "google/protobuf/timestamp.proto", "c"])]), "a")
            .expect("readable");
        assert_eq!(files.missing().as_deref(), Some("b"));
        files.take(sent(vec![file("b", &["c"]), file("a", &[])]), "b").expect("readable");
        assert_eq!(files.missing().as_deref(), Some("c"));
        assert_eq!(files.missing(), None, "asked for already");
        let names: Vec<_> = files.protos.iter().map(FileDescriptorProto::name).collect();
        assert_eq!(names, ["a", "b", "google/protobuf/timestamp.proto"]);
    }

    #[test]
    fn bad_answers_are_told_apart() {
        let mut files = Files::default();
        let error = |error_code| {
            let error_message = "no".to_owned();
            MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })
        };
        assert!(
            matches!(files.take(error(5), "a.S"), Err(ReflectionError::Unknown(symbol)) if symbol == "a.S")
        );
        assert!(matches!(files.take(error(13), "a.S"), Err(ReflectionError::Answer(_))));
        assert!(matches!(files.take(sent(vec![vec![0xff]]), "a.S"), Err(ReflectionError::Answer(_))));
        let large = vec![vec![0; DESCRIPTORS_BYTES_MAX + 1]];
        assert!(matches!(files.take(sent(large), "a.S"), Err(ReflectionError::Answer(_))));
    }
}
