//! One HTTP/2 service made of parts: contracts, their health, their reflection and the bus's own
//! `ura.v1.PlugService`.
//!
//! Every connection gets its own [`Service`] of the same [`Parts`], whichever side opened it. This
//! module routes and guards calls; it must not know registers, nor who dialled whom.

mod boundary;
mod connection;
mod context;
mod dynamic;
mod failure;
mod health;
mod parts;
mod reflection;
mod reply;
mod span;
mod upload;
mod verdict;

use std::{convert::Infallible, sync::Arc};

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Status, body::Body};
use ura_proto::metadata;
use ura_runtime::trace::TraceContext;

pub(crate) use self::connection::{Connection, Lifetime, drive};
pub(crate) use self::failure::{status, to_status};
pub(crate) use self::parts::Parts;
pub use self::{
    dynamic::Handler,
    parts::{PartsError, ServiceBuilder},
    verdict::Verdict,
};
use self::{
    parts::{Backend, Contract, Method, Part},
    reply::ReplyBody,
    span::CallSpan,
    upload::Upload,
};
use crate::{caller::Caller, register::CallContext};

/// Where the adapter stands between start and end; connections and health follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Answering.
    Serving,
    /// About to leave: health says NOT_SERVING, calls are still answered.
    Leaving,
    /// Leaving: no new call is taken, those in flight are finished.
    Closing,
}

/// Waits until the adapter is at `stage` or beyond; also where it is gone without a word.
pub(crate) async fn reached(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    drop(stages.wait_for(|now| *now >= stage).await);
}

/// The parts, as one connection sees them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    parts: Arc<Parts>,
    connection: Arc<Connection>,
}

impl Service {
    /// The service of a new connection.
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let connection = Arc::new(Connection::open(parts.verdicts()));
        Self { parts, connection }
    }

    /// The connection that this service answers on.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Answers one request; never fails, for gRPC's errors are answers.
    async fn answer(self, mut request: http::Request<Body>) -> http::Response<Body> {
        self.connection.called();
        let path = request.uri().path();
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Status::unimplemented("the path is not /package.Service/Method").into_http();
        };
        match self.parts.part(service) {
            Some(Part::Own(own)) => {
                let own = own.clone();
                request.extensions_mut().insert(Arc::clone(&self.connection));
                parts::oneshot(own, request).await
            }
            Some(Part::Contract(contract)) => match contract.method(method) {
                Some(method) => self.exchange(contract, method, request).await,
                None => Status::unimplemented("the contract has no such method").into_http(),
            },
            None => Status::unimplemented("this adapter has no such service").into_http(),
        }
    }

    /// One exchange: a call of a contract, with its context, its span and its deadline.
    async fn exchange(
        &self,
        contract: &Contract,
        method: &Method,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let parent = request
            .headers()
            .get(metadata::TRACEPARENT)
            .and_then(|value| TraceContext::parse(value.as_bytes()))
            .unwrap_or_else(|| TraceContext::root(false));
        let (span, trace) = CallSpan::start(parent, method.name());
        let context = match context::read(request.headers(), trace, Instant::now()) {
            Ok(context) => context,
            Err(failure) => {
                let status = failure::status(&failure, self.parts.system(), "", method.name());
                span.end(status.code());
                return status.into_http();
            }
        };
        let deadline = context.deadline;
        let call = Box::pin(self.call(contract, method, context, request));
        let response = match deadline {
            None => call.await,
            Some(at) => timeout_at(at, call).await.unwrap_or_else(|_| reply::deadline_exceeded().into_http()),
        };
        ReplyBody::wrap(response, deadline, span)
    }

    async fn call(
        &self,
        contract: &Contract,
        method: &Method,
        context: CallContext,
        mut request: http::Request<Body>,
    ) -> http::Response<Body> {
        match contract.backend() {
            Backend::Dynamic(handler) => {
                let scope = dynamic::Scope {
                    handler: Arc::clone(handler),
                    method: method.clone(),
                    system: self.parts.system().clone(),
                    request_bytes_max: self.parts.limits().request_bytes_max,
                    reply_bytes_max: self.parts.limits().reply_bytes_max,
                };
                dynamic::serve(scope, context, request).await
            }
            Backend::Typed(service) => {
                let service = service.clone();
                let system = self.parts.system().clone();
                request.extensions_mut().insert(Caller::new(context, system, Arc::clone(method.name())));
                parts::oneshot(service, request).await
            }
        }
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let request = request.map(|body| Body::new(Upload::new(body)));
            Ok(service.answer(request).await)
        })
    }
}
