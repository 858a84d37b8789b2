//! The gateway's own services on the bus's port: standard health and reflection. They tell what can
//! be asked here, never what a register holds, so they need an identity but no grant.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{Stream, stream};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tower::ServiceExt as _;
use ura_runtime::process::Shutdown;

use crate::{
    directory::{Directory, Snapshot},
    forward::Reply,
    plug::Plugs,
};

const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION_V1: &str = "/grpc.reflection.v1.ServerReflection/";
const REFLECTION_V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/";

/// The response of a typed service.
type Answer = Response<tonic::body::Body>;

/// A reflection service of one state of plugs and directory.
type Reflection = tower::util::BoxCloneSyncService<Request<Incoming>, Answer, std::convert::Infallible>;

/// A directory digest and a count of plug changes.
type Reflected = ([u8; 32], u64);

/// Health and reflection.
pub(crate) struct Own {
    health: HealthServer<State>,
    /// Both versions of reflection, and what they were made for.
    reflection: Mutex<Option<(Reflected, Reflection, Reflection)>>,
}

impl Own {
    /// The services of a gateway.
    pub(crate) fn new(directory: Directory, plugs: Arc<Plugs>, shutdown: Shutdown) -> Self {
        Self { health: HealthServer::new(State { directory, plugs, shutdown }), reflection: Mutex::new(None) }
    }

    /// Whether a path is answered here.
    pub(crate) fn serves(path: &str) -> bool {
        [HEALTH, REFLECTION_V1, REFLECTION_V1ALPHA].iter().any(|prefix| path.starts_with(prefix))
    }

    /// Answers a request whose path is served here.
    pub(crate) async fn answer(
        &self,
        directory: &Directory,
        plugs: &Plugs,
        request: Request<Incoming>,
    ) -> Response<Reply> {
        let path = request.uri().path();
        let answer = if path.starts_with(HEALTH) {
            self.health.clone().oneshot(request).await
        } else {
            let v1 = path.starts_with(REFLECTION_V1);
            match self.reflection(&directory.load(), plugs, v1) {
                Ok(service) => service.oneshot(request).await,
                Err(error) => {
                    tracing::error!(%error, "reflection cannot be made from the approved contracts");
                    Ok(tonic::Status::internal("reflection is not available").into_http())
                }
            }
        };
        match answer {
            Ok(answer) => answer.map(Reply::Own),
            Err(never) => match never {},
        }
    }

    /// Reflection of the contracts that plugged-in adapters answer, as approved.
    fn reflection(
        &self,
        directory: &Snapshot,
        plugs: &Plugs,
        v1: bool,
    ) -> Result<Reflection, tonic_reflection::server::Error> {
        let state = (directory.digest, *plugs.changes().borrow());
        let mut made = self.reflection.lock().unwrap_or_else(PoisonError::into_inner);
        if made.as_ref().is_none_or(|(of, ..)| *of != state) {
            let contracts = plugs.contracts();
            let mut names: Vec<_> = contracts.keys().collect();
            names.sort_unstable();
            let builder = || {
                // By name: a contract's files may hold services that nobody approved.
                let mut builder = tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                    .with_service_name(service(HEALTH));
                for contract in names.iter().filter_map(|name| directory.contracts.get(&***name)) {
                    builder = builder
                        .register_encoded_file_descriptor_set(&contract.descriptor_set)
                        .with_service_name(&*contract.name);
                }
                builder
            };
            let current = builder().with_service_name(service(REFLECTION_V1)).build_v1()?;
            let older = builder().with_service_name(service(REFLECTION_V1ALPHA)).build_v1alpha()?;
            let (current, older) = (Reflection::new(current), Reflection::new(older));
            *made = Some((state, current, older));
        }
        let (_, current, older) = made.as_ref().expect("made above");
        Ok(if v1 { current.clone() } else { older.clone() })
    }
}

/// The service of a path's beginning.
fn service(prefix: &str) -> &str {
    prefix.trim_matches('/')
}

/// What health is told from.
struct State {
    directory: Directory,
    plugs: Arc<Plugs>,
    shutdown: Shutdown,
}

impl State {
    /// Status of the gateway (empty name) or of a contract; `None` where nobody knows it.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let serving = |yes| if yes { ServingStatus::Serving } else { ServingStatus::NotServing };
        if self.shutdown.is_draining() {
            return Some(ServingStatus::NotServing);
        }
        if service.is_empty() {
            return Some(ServingStatus::Serving);
        }
        match self.plugs.contracts().get(service) {
            Some(healthy) => Some(serving(*healthy)),
            None => {
                self.directory.load().contracts.contains_key(service).then_some(ServingStatus::NotServing)
            }
        }
    }
}

/// An answer with this status.
fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for State {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, tonic::Status> {
        let service = request.into_inner().service;
        match self.status(&service) {
            Some(status) => Ok(tonic::Response::new(response(status))),
            None => Err(tonic::Status::not_found(format!("no contract {service} is approved on this bus"))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, tonic::Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, tonic::Status> {
        let service = request.into_inner().service;
        let state = Self {
            directory: self.directory.clone(),
            plugs: self.plugs.clone(),
            shutdown: self.shutdown.clone(),
        };
        let (plugs, directory) = (self.plugs.changes(), self.directory.changes());
        let begin = (state, service, plugs, directory, None);
        let states =
            stream::unfold(begin, |(state, service, mut plugs, mut directory, mut told)| async move {
                loop {
                    if told == Some(ServingStatus::NotServing) && state.shutdown.is_draining() {
                        return None;
                    }
                    // The protocol's word for a name that nobody knows yet.
                    let status = state.status(&service).unwrap_or(ServingStatus::ServiceUnknown);
                    if told != Some(status) {
                        told = Some(status);
                        return Some((Ok(response(status)), (state, service, plugs, directory, told)));
                    }
                    tokio::select! {
                        changed = plugs.changed() => changed.ok()?,
                        changed = directory.changed() => changed.ok()?,
                        () = state.shutdown.draining() => {}
                    }
                }
            });
        Ok(tonic::Response::new(Box::pin(states)))
    }
}
