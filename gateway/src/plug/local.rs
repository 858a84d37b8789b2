//! The gateway's own plug: contracts of the bus that the gateway itself answers are reached like any
//! other, over a plug whose other end lies in this process. So grants, purposes, evidence, limits and
//! health hold for them unchanged. Knows no contract and what none of them does.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::server::NamedService;
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};
use ura_proto::SystemId;
use ura_runtime::{clock::Clock, process::Shutdown};

use super::{
    connection::{Conversation, serve},
    table::Plugs,
};
use crate::directory::Directory;

/// Bytes on their way inside of the process, each way.
const PIPE_BYTES: usize = 64 << 10;

/// After the plug ended while the gateway does not stop.
const RETRY: Duration = Duration::from_secs(1);

type Answer = Response<tonic::body::Body>;

/// A service by its name.
type Named = (&'static str, BoxCloneSyncService<Request<Incoming>, Answer, Infallible>);

/// What the local plug needs from the gateway.
#[derive(Clone)]
pub(crate) struct Local {
    /// The gateway's own system.
    pub(crate) system: SystemId,
    /// What is approved.
    pub(crate) directory: Directory,
    /// Where the plug is entered.
    pub(crate) plugs: Arc<Plugs>,
    /// When the gateway stops.
    pub(crate) shutdown: Shutdown,
    /// Metadata of a call and of a reply, in bytes.
    pub(crate) metadata_bytes_max: u32,
}

/// Plugs `service` in from the moment on at which the directory says that the gateway's system offers it,
/// until the drain. `descriptor_set` is what reflection tells of it, a serialised
/// `google.protobuf.FileDescriptorSet`.
pub(crate) async fn follow<S>(local: Local, service: S, descriptor_set: Vec<u8>)
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + NamedService,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let mut changes = local.directory.changes();
    loop {
        changes.borrow_and_update();
        if local.directory.load().offers(S::NAME, &local.system) {
            match with_health(service.clone(), &descriptor_set).await {
                Ok(services) => plug(&local, services).await,
                Err(error) => {
                    tracing::error!(%error, contract = S::NAME, "the gateway's own contract is not plugged in");
                    return;
                }
            }
            tokio::select! {
                () = local.shutdown.draining() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        } else {
            tokio::select! {
                () = local.shutdown.draining() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// A service with what each adapter has: reflection and health.
async fn with_health<S>(
    service: S,
    descriptor_set: &[u8],
) -> Result<Arc<[Named]>, tonic_reflection::server::Error>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + NamedService,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptor_set)
        .with_service_name(S::NAME)
        .build_v1()?;
    let (states, health) = tonic_health::server::health_reporter();
    // While the process lives it answers; what it cannot answer, its calls tell.
    states.set_service_status(S::NAME, tonic_health::ServingStatus::Serving).await;
    Ok([named(service), named(reflection), named(health)].into())
}

/// A service under its name.
fn named<S>(service: S) -> Named
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + NamedService,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    (S::NAME, BoxCloneSyncService::new(service))
}

/// Answers one request; what no service has is UNIMPLEMENTED, as everywhere in gRPC.
async fn answer(services: Arc<[Named]>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    // "/package.Service/Method"
    let asked = request.uri().path().split('/').nth(1).unwrap_or("");
    match services.iter().find(|(name, _)| *name == asked) {
        Some((_, service)) => service.clone().oneshot(request).await,
        None => Ok(tonic::Status::unimplemented("the gateway's own plug has no such service").into_http()),
    }
}

/// One plug from its beginning to its end.
async fn plug(local: &Local, services: Arc<[Named]>) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let conversation = Conversation {
        provider: local.system.clone(),
        // No network lies between: a loopback address without a port stands for that.
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        certificate: None,
        // As far ahead as timers reach; then the plug is made anew.
        until: Clock::system().instant_of(i64::MAX),
        directory: local.directory.clone(),
        plugs: local.plugs.clone(),
        shutdown: local.shutdown.clone(),
        metadata_bytes_max: local.metadata_bytes_max,
    };
    let answering = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(None)
        .max_header_list_size(local.metadata_bytes_max.saturating_mul(2))
        .serve_connection(TokioIo::new(far), service_fn(move |request| answer(services.clone(), request)));
    let both = async {
        // The connection ends with the last call on it, which may be after the plug's own end.
        let ((), answered) = tokio::join!(serve(conversation, near), answering);
        if let Err(error) = answered {
            tracing::debug!(%error, "the gateway's own plug ended");
        }
    };
    tokio::select! {
        () = both => {}
        () = local.shutdown.expired() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;
    use ura_proto::v1::{
        ListAccessesRequest, ListAccessesResponse,
        subject_access_service_client::SubjectAccessServiceClient,
        subject_access_service_server::{SubjectAccessService, SubjectAccessServiceServer},
    };

    use super::{
        super::{admit::OwnCalls, offer::Missing},
        *,
    };
    use crate::directory::{
        ServiceKey,
        contract::{Contract, Files},
    };

    const CONTRACT: &str = "ura.v1.SubjectAccessService";

    const WITHOUT_SERVICE: &str = r#"
version = "1"
[[members]]
id = "ais"
name = { en = "Information society" }
[[systems]]
id = "ais/gateway"
roles = ["gateway"]
[[contracts]]
name = "ura.v1.SubjectAccessService"
"#;

    const SERVICE: &str = r#"
[[services]]
contract = "ura.v1.SubjectAccessService"
provider = "ais/gateway"
"#;

    /// Repeats the page token.
    struct Echo(Arc<Mutex<u32>>);

    #[tonic::async_trait]
    impl SubjectAccessService for Echo {
        async fn list_accesses(
            &self,
            request: tonic::Request<ListAccessesRequest>,
        ) -> Result<tonic::Response<ListAccessesResponse>, tonic::Status> {
            *self.0.lock().expect("no panic") += 1;
            let next_page_token = request.into_inner().page_token;
            Ok(tonic::Response::new(ListAccessesResponse { accesses: Vec::new(), next_page_token }))
        }
    }

    #[tokio::test]
    async fn the_gateways_own_contract_is_reached_like_any_other() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("directory.toml");
        std::fs::write(&path, WITHOUT_SERVICE).expect("written");
        let (directory, watched) = Directory::open(&path).expect("a good directory");
        let (plugs, shutdown) = (Arc::new(Plugs::new(8)), Shutdown::new());
        let system: SystemId = "ais/gateway".parse().expect("valid");
        let key = ServiceKey { contract: CONTRACT.into(), provider: system.clone() };
        let calls = Arc::new(Mutex::new(0));
        let service = SubjectAccessServiceServer::new(Echo(calls.clone()));
        let described = Contract::approve(CONTRACT, &Files::BuiltIn, None).expect("own").descriptor_set;
        let local = Local {
            system,
            directory: directory.clone(),
            plugs: plugs.clone(),
            shutdown: shutdown.clone(),
            metadata_bytes_max: 16 << 10,
        };
        let following = tokio::spawn(follow(local, service, described));
        let watching = tokio::spawn(directory.clone().follow(watched, shutdown.clone(), drop));
        assert_eq!(plugs.pick(&key, &[]).err(), Some(Missing::NoPlug), "the directory does not say so");

        std::fs::write(&path, format!("{WITHOUT_SERVICE}{SERVICE}").replace("\"1\"", "\"2\""))
            .expect("written");
        plugs.wait_for(&key, Instant::now() + Duration::from_secs(30)).await;
        let place = plugs.pick(&key, &[]).expect("plugged in and healthy");
        assert_eq!(place.certificate(), None, "no certificate lies between");
        let mut client =
            SubjectAccessServiceClient::with_origin(OwnCalls(place.sender()), OwnCalls::origin());
        let asked = ListAccessesRequest { page_token: "t".to_owned(), ..ListAccessesRequest::default() };
        let told = client.list_accesses(asked).await.expect("answered").into_inner();
        assert_eq!((told.next_page_token.as_str(), *calls.lock().expect("no panic")), ("t", 1));

        // The drain ends it, and both ends of the connection with it.
        drop((client, place));
        shutdown.drain();
        following.await.expect("no panic");
        watching.await.expect("no panic");
        assert_eq!(plugs.pick(&key, &[]).err(), Some(Missing::NoPlug));
    }
}
