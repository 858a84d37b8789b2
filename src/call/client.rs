//! Calls from other parts of the binary: one request message as JSON, everything that came back.

use std::{path::Path, time::Duration};

use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::time::Instant;
use tonic::{Request, Status, client::Grpc, metadata::AsciiMetadataValue};
use tonic_types::StatusExt as _;
use ura_proto::metadata::EXCHANGE_ID;

use super::{
    arguments::Target,
    codec::DynamicCodec,
    connection::{ConnectError, Connection},
    reflection::{self, ReflectionError},
};

/// Why a call could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No contract.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// The request is not one.
    #[error("the request is not a {message}: {problem}")]
    Request {
        /// Full name of the message.
        message: String,
        /// What is wrong.
        problem: String,
    },
}

/// A call that has ended.
pub(crate) struct Called {
    /// Its exchange id; empty where the gateway gave none.
    pub(crate) exchange: String,
    /// Its replies.
    pub(crate) replies: Vec<DynamicMessage>,
    /// How it ended.
    pub(crate) status: Status,
    /// From the sending of the request to the end.
    pub(crate) elapsed: Duration,
}

impl Called {
    /// What the status says of its cause.
    pub(crate) fn error_info(&self) -> Option<tonic_types::ErrorInfo> {
        self.status.get_details_error_info()
    }
}

/// A connection of one system.
pub(crate) struct Client(Connection);

impl Client {
    /// Connects with an identity folder.
    pub(crate) async fn connect(gateway: &str, identity: &Path) -> Result<Self, ConnectError> {
        Connection::open(gateway, identity).await.map(Self)
    }

    /// Calls a method that takes one message.
    pub(crate) async fn call(
        &self,
        contract: &str,
        method: &str,
        json: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<Called, ClientError> {
        let target = Target { contract: contract.to_owned(), method: method.to_owned() };
        let method = reflection::method(&self.0.calls, &self.0.origin, &target).await?;
        let mut request = Request::new(tokio_stream::iter([parse(&method, json)?]));
        for (key, value) in metadata {
            if let Ok(value) = value.parse::<AsciiMetadataValue>() {
                request.metadata_mut().insert(*key, value);
            }
        }
        let path = PathAndQuery::try_from(format!("/{contract}/{}", method.name()))
            .map_err(|error| wrong(&method, &error))?;
        let begun = Instant::now();
        let mut grpc = Grpc::with_origin(self.0.calls.clone(), self.0.origin.clone());
        let mut called = Called {
            exchange: String::new(),
            replies: Vec::new(),
            status: Status::ok(""),
            elapsed: Duration::ZERO,
        };
        match grpc.streaming(request, path, DynamicCodec { reply: method.output() }).await {
            Err(status) => called.status = status,
            Ok(response) => {
                called.exchange = exchange(response.metadata());
                let mut replies = response.into_inner();
                loop {
                    match replies.message().await {
                        Ok(Some(reply)) => called.replies.push(reply),
                        Ok(None) => break,
                        Err(status) => {
                            called.status = status;
                            break;
                        }
                    }
                }
            }
        }
        called.elapsed = begun.elapsed();
        if called.exchange.is_empty() {
            called.exchange = exchange(called.status.metadata());
        }
        Ok(called)
    }
}

fn exchange(metadata: &tonic::metadata::MetadataMap) -> String {
    metadata.get(EXCHANGE_ID).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn parse(method: &MethodDescriptor, json: &str) -> Result<DynamicMessage, ClientError> {
    let mut json = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(method.input(), &mut json).map_err(|error| wrong(method, &error))
}

fn wrong(method: &MethodDescriptor, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Request { message: method.input().full_name().to_owned(), problem: error.to_string() }
}
