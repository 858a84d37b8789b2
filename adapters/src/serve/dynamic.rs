//! Contracts served without generated code: messages are decoded by their descriptors and handed to
//! a [`Handler`].
//!
//! Knows gRPC and descriptors; must not know where a handler finds its answers.

use std::sync::Arc;

use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, ServerStreamingService, UnaryService},
};
use ura_proto::SystemId;

use super::{failure, parts::Method};
use crate::register::{
    CallContext, Failure, Register, Reply,
    failure::{CONTRACT_MISMATCH, REQUEST_INVALID},
};

/// Answers the calls of a contract.
#[tonic::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one call of `method`, whose input is `request`. A unary method is answered by
    /// [`Reply::One`], a server-streaming one by either. Dropped where the caller gives up.
    ///
    /// # Errors
    /// A [`Failure`], which the caller sees as a gRPC status.
    async fn call(
        &self,
        context: CallContext,
        method: &MethodDescriptor,
        request: DynamicMessage,
    ) -> Result<Reply, Failure>;
}

#[tonic::async_trait]
impl Handler for Register {
    async fn call(
        &self,
        context: CallContext,
        method: &MethodDescriptor,
        request: DynamicMessage,
    ) -> Result<Reply, Failure> {
        Register::call(self, context, method, request).await
    }
}

/// What a call is served with.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) method: Method,
    pub(super) system: SystemId,
    pub(super) request_bytes_max: usize,
    pub(super) reply_bytes_max: usize,
}

/// Serves one call: decodes, asks the handler, encodes.
pub(super) async fn serve(
    scope: Scope,
    context: CallContext,
    request: http::Request<Body>,
) -> http::Response<Body> {
    let streams = scope.method.descriptor().is_server_streaming();
    let mut grpc =
        Grpc::new(DynamicCodec { input: scope.method.descriptor().input(), system: scope.system.clone() })
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(scope.request_bytes_max)
            .max_encoding_message_size(scope.reply_bytes_max);
    let call = Call { scope, context: Some(context) };
    if streams { grpc.server_streaming(call, request).await } else { grpc.unary(call, request).await }
}

/// One call on its way to the handler.
struct Call {
    scope: Scope,
    context: Option<CallContext>,
}

impl Call {
    /// Asks the handler. The second value is the exchange's id.
    fn ask(
        &mut self,
        request: Request<DynamicMessage>,
    ) -> BoxFuture<'static, Result<(Reply, Complaints), Status>> {
        let scope = self.scope.clone();
        let context = self.context.take();
        Box::pin(async move {
            let context = context.ok_or_else(|| Status::internal("one call, one request"))?;
            let complaints = Complaints {
                exchange_id: context.exchange_id.clone(),
                method: scope.method.clone(),
                system: scope.system.clone(),
            };
            let message = request.into_inner();
            let asked = scope.handler.call(context, scope.method.descriptor(), message);
            match asked.await {
                Ok(reply) => Ok((reply, complaints)),
                Err(failure) => Err(complaints.status(&failure)),
            }
        })
    }
}

impl UnaryService<DynamicMessage> for Call {
    type Response = DynamicMessage;
    type Future = BoxFuture<'static, Result<Response<DynamicMessage>, Status>>;

    fn call(&mut self, request: Request<DynamicMessage>) -> Self::Future {
        let asked = self.ask(request);
        Box::pin(async move {
            match asked.await? {
                (Reply::One(message), complaints) => complaints.fitting(message),
                (Reply::Stream(_), complaints) => Err(complaints.mismatch("a stream")),
            }
            .map(Response::new)
        })
    }
}

impl ServerStreamingService<DynamicMessage> for Call {
    type Response = DynamicMessage;
    type ResponseStream = BoxStream<'static, Result<DynamicMessage, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<DynamicMessage>) -> Self::Future {
        let asked = self.ask(request);
        Box::pin(async move {
            let (reply, complaints) = asked.await?;
            let messages = match reply {
                Reply::One(message) => futures_util::stream::iter([Ok(message)]).boxed(),
                Reply::Stream(messages) => messages,
            };
            let messages = messages.map(move |message| match message {
                Ok(message) => complaints.fitting(message),
                Err(failure) => Err(complaints.status(&failure)),
            });
            Ok(Response::new(messages.boxed()))
        })
    }
}

/// Makes statuses of one call's failures.
struct Complaints {
    exchange_id: String,
    method: Method,
    system: SystemId,
}

impl Complaints {
    fn status(&self, failure: &Failure) -> Status {
        failure::status(failure, &self.system, &self.exchange_id, self.method.name())
    }

    /// The message, if it is of the type that the method answers with.
    fn fitting(&self, message: DynamicMessage) -> Result<DynamicMessage, Status> {
        let (want, have) = (self.method.descriptor().output(), message.descriptor());
        if want == have || want.full_name() == have.full_name() {
            Ok(message)
        } else {
            Err(self.mismatch(have.full_name()))
        }
    }

    fn mismatch(&self, have: &str) -> Status {
        let want = self.method.descriptor().output();
        self.status(&Failure::new(
            Code::DataLoss,
            CONTRACT_MISMATCH,
            "The adapter's answer does not fit the contract.",
            format!("the handler answered with {have}, the contract wants {}", want.full_name()),
        ))
    }
}

/// Messages by descriptor.
struct DynamicCodec {
    input: MessageDescriptor,
    system: SystemId,
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder { input: self.input.clone(), system: self.system.clone() }
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(dst).map_err(|_| Status::internal("the reply could not be encoded"))
    }
}

struct DynamicDecoder {
    input: MessageDescriptor,
    system: SystemId,
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        match DynamicMessage::decode(self.input.clone(), src) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                let message = format!("The request is no {}.", self.input.full_name());
                let invalid =
                    Failure::new(Code::InvalidArgument, REQUEST_INVALID, message, error.to_string());
                Err(failure::to_status(&invalid, &self.system))
            }
        }
    }
}
