//! The gateway's own services on the bus's port: standard health and reflection, and the typed
//! services that it is given. Health and reflection tell what can be asked here, never what a register
//! holds, so they need an identity but no grant. What a typed service may tell to whom is its own
//! matter: it finds the caller's [`SystemId`] among the extensions of the request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{Stream, stream};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::server::NamedService;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};
use ura_proto::SystemId;
use ura_runtime::process::Shutdown;

use crate::{
    directory::{Directory, Snapshot},
    forward::Reply,
    plug::Plugs,
};

const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION_V1: &str = "/grpc.reflection.v1.ServerReflection/";
const REFLECTION_V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/";

/// A question about health or reflection, in bytes: it holds a name.
const QUESTION_BYTES_MAX: usize = 4 << 10;

/// The response of a typed service.
type Answer = Response<tonic::body::Body>;

/// A service that answers requests of the bus's port.
type Typed = BoxCloneSyncService<Request<Incoming>, Answer, Infallible>;

/// A directory digest and a count of plug changes.
type Reflected = ([u8; 32], u64);

/// A typed service that the gateway answers itself.
#[derive(Clone)]
pub(crate) struct OwnService {
    /// `package.Service`.
    name: &'static str,
    /// What reflection tells of it, a `google.protobuf.FileDescriptorSet`; empty: nothing.
    descriptor_set: Arc<[u8]>,
    service: Typed,
}

impl OwnService {
    /// A service, and the files that define it with their imports, as a serialised
    /// `google.protobuf.FileDescriptorSet`.
    pub(crate) fn new<S>(service: S, descriptor_set: Vec<u8>) -> Self
    where
        S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self { name: S::NAME, descriptor_set: descriptor_set.into(), service: Typed::new(service) }
    }

    /// A service of a standard that clients bring along: reflection does not tell of it.
    pub(crate) fn unreflected<S>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self::new(service, Vec::new())
    }

    /// Whether a path is one of its methods.
    fn has(&self, path: &str) -> bool {
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(self.name));
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Health, reflection and the typed services.
pub(crate) struct Own {
    health: HealthServer<State>,
    services: Arc<[OwnService]>,
    /// Both versions of reflection, and what they were made for.
    reflection: Mutex<Option<(Reflected, Typed, Typed)>>,
}

impl Own {
    /// The services of a gateway: health, reflection and these.
    pub(crate) fn new(
        directory: Directory,
        plugs: Arc<Plugs>,
        shutdown: Shutdown,
        services: Vec<OwnService>,
    ) -> Self {
        let services: Arc<[OwnService]> = services.into();
        let state = State { directory, plugs, shutdown, services: services.clone() };
        let health = HealthServer::new(state).max_decoding_message_size(QUESTION_BYTES_MAX);
        Self { health, services, reflection: Mutex::new(None) }
    }

    /// Whether a path is answered here.
    pub(crate) fn serves(&self, path: &str) -> bool {
        [HEALTH, REFLECTION_V1, REFLECTION_V1ALPHA].iter().any(|prefix| path.starts_with(prefix))
            || self.services.iter().any(|service| service.has(path))
    }

    /// Answers a request of `caller` whose path is served here.
    pub(crate) async fn answer(
        &self,
        directory: &Directory,
        plugs: &Plugs,
        caller: SystemId,
        mut request: Request<Incoming>,
    ) -> Response<Reply> {
        let path = request.uri().path();
        let answer = if path.starts_with(HEALTH) {
            self.health.clone().oneshot(request).await
        } else if let Some(typed) = self.services.iter().find(|service| service.has(path)) {
            request.extensions_mut().insert(caller);
            typed.service.clone().oneshot(request).await
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
    ) -> Result<Typed, tonic_reflection::server::Error> {
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
                for typed in self.services.iter().filter(|typed| !typed.descriptor_set.is_empty()) {
                    builder = builder
                        .register_encoded_file_descriptor_set(&typed.descriptor_set)
                        .with_service_name(typed.name);
                }
                for contract in names.iter().filter_map(|name| directory.contracts.get(&***name)) {
                    builder = builder
                        .register_encoded_file_descriptor_set(&contract.descriptor_set)
                        .with_service_name(&*contract.name);
                }
                builder
            };
            let current = builder().with_service_name(service(REFLECTION_V1)).build_v1()?;
            let older = builder().with_service_name(service(REFLECTION_V1ALPHA)).build_v1alpha()?;
            let current = Typed::new(current.max_decoding_message_size(QUESTION_BYTES_MAX));
            let older = Typed::new(older.max_decoding_message_size(QUESTION_BYTES_MAX));
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
    services: Arc<[OwnService]>,
}

impl State {
    /// Status of the gateway (empty name), of a typed service or of a contract; `None` where nobody knows it.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let serving = |yes| if yes { ServingStatus::Serving } else { ServingStatus::NotServing };
        if self.shutdown.is_draining() {
            return Some(ServingStatus::NotServing);
        }
        if service.is_empty() || self.services.iter().any(|own| own.name == service) {
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
            services: self.services.clone(),
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

#[cfg(test)]
mod tests {
    use hyper::{server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tonic::transport::{Channel, Endpoint};
    use tonic_health::pb::health_client::HealthClient;
    use ura_proto::{
        reflection::Reflection,
        v1::{
            ListAccessesRequest, ListAccessesResponse,
            subject_access_service_client::SubjectAccessServiceClient,
            subject_access_service_server::{SubjectAccessService, SubjectAccessServiceServer},
        },
    };

    use super::*;
    use crate::directory::contract::{Contract, Files};

    const NAME: &str = "ura.v1.SubjectAccessService";

    /// Answers with the caller.
    struct Mirror;

    #[tonic::async_trait]
    impl SubjectAccessService for Mirror {
        async fn list_accesses(
            &self,
            request: tonic::Request<ListAccessesRequest>,
        ) -> Result<tonic::Response<ListAccessesResponse>, tonic::Status> {
            let caller = request.extensions().get::<SystemId>().map(ToString::to_string);
            let next_page_token = caller.unwrap_or_default();
            Ok(tonic::Response::new(ListAccessesResponse { accesses: Vec::new(), next_page_token }))
        }
    }

    fn own(directory: Directory, plugs: Arc<Plugs>) -> Own {
        let described = Contract::approve(NAME, &Files::BuiltIn, None).expect("own").descriptor_set;
        let typed = OwnService::new(SubjectAccessServiceServer::new(Mirror), described);
        Own::new(directory, plugs, Shutdown::new(), vec![typed])
    }

    /// A directory that knows nobody, and the services on it.
    fn made() -> (tempfile::TempDir, Directory, Arc<Plugs>, Arc<Own>) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("directory.toml");
        std::fs::write(&path, "version = \"1\"").expect("written");
        let (directory, _) = Directory::open(&path).expect("a good directory");
        let plugs = Arc::new(Plugs::new(8));
        let own = Arc::new(own(directory.clone(), plugs.clone()));
        (dir, directory, plugs, own)
    }

    /// A connection of `ais/portal`.
    async fn connected(directory: Directory, plugs: Arc<Plugs>, own: Arc<Own>) -> Channel {
        let (near, far) = tokio::io::duplex(64 << 10);
        let answer = service_fn(move |request| {
            let (directory, plugs, own) = (directory.clone(), plugs.clone(), own.clone());
            let caller = "ais/portal".parse().expect("valid");
            async move { Ok::<_, Infallible>(own.answer(&directory, &plugs, caller, request).await) }
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), answer);
        drop(tokio::spawn(connection));
        let mut near = Some(near);
        let connector = tower::service_fn(move |_| {
            let near = near.take().ok_or_else(|| std::io::Error::other("there is one connection"));
            std::future::ready(near.map(TokioIo::new))
        });
        Endpoint::from_static("http://gateway.ura")
            .connect_with_connector(connector)
            .await
            .expect("connected")
    }

    #[test]
    fn a_path_is_served_by_its_whole_name() {
        let (_dir, .., own) = made();
        for (path, served) in [
            ("/ura.v1.SubjectAccessService/ListAccesses", true),
            ("/ura.v1.SubjectAccessService/NoSuchMethod", true),
            ("/grpc.health.v1.Health/Check", true),
            ("/ura.v1.SubjectAccessService", false),
            ("/ura.v1.SubjectAccessServices/ListAccesses", false),
            ("ura.v1.SubjectAccessService/ListAccesses", false),
            ("//ura.v1.SubjectAccessService/ListAccesses", false),
            ("/t.v1.S/Read", false),
        ] {
            assert_eq!(own.serves(path), served, "{path}");
        }
    }

    #[tokio::test]
    async fn a_question_is_short() {
        let (_dir, directory, plugs, own) = made();
        let channel = connected(directory, plugs, own).await;
        let long = HealthCheckRequest { service: "x".repeat(QUESTION_BYTES_MAX) };
        let refused = HealthClient::new(channel).check(long).await.expect_err("too long");
        assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    }

    #[tokio::test]
    async fn a_typed_service_learns_who_asks_and_is_reflected() {
        let (_dir, directory, plugs, own) = made();
        let channel = connected(directory, plugs, own).await;
        let mut client = SubjectAccessServiceClient::new(channel.clone());
        let told = client.list_accesses(ListAccessesRequest::default()).await.expect("answered").into_inner();
        assert_eq!(told.next_page_token, "ais/portal");
        let health = HealthCheckRequest { service: NAME.to_owned() };
        let health = HealthClient::new(channel.clone()).check(health).await.expect("told").into_inner();
        assert_eq!(health.status(), ServingStatus::Serving);
        let reflection = Reflection::new(channel, http::Uri::from_static("http://gateway.ura"));
        let names = reflection.services().await.expect("told");
        assert!(names.iter().any(|name| name == NAME), "{names:?}");
        let pool = reflection.describe(&[NAME.to_owned()]).await.expect("described");
        assert!(pool.get_service_by_name(NAME).is_some());
    }
}
