//! The port: accepts connections, gives each its role, lets consumers' connections age, drains.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::Rng as _;
use tokio::{task::JoinSet, time::Instant};
use ura_proto::SystemId;
use ura_runtime::{
    clock::Clock,
    process::Shutdown,
    tls::{Accepted, Identity, Listener, Reloader},
};

use crate::{
    ALPN,
    call::{
        peers::{Connected, Peers, Role},
        streams::Streams,
        watched::Watching,
    },
    exchange::{Asker, Bus, exchange},
    plug::{self, Conversation},
};

/// What an adapter may leave unread of one request, and of all requests of a consumer's connection:
/// some 256 that no adapter reads stall none of the others.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Most bytes of one reply that wait for a consumer to read.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Streams that a consumer may have reset while they are still being worked on (rapid reset).
const PENDING_RESETS_MAX: usize = 128;

/// A consumer that does not answer a ping within this time is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the certificate files are looked at.
const IDENTITY_POLL: Duration = Duration::from_millis(500);

/// At a drain: time for adapters to connect to the process that takes over, before consumers are
/// asked to.
const PLUGS_FIRST: Duration = Duration::from_millis(500);

/// Accepts until the drain, then lets the connections end.
pub(crate) async fn listen(mut listener: Listener, trust_domain: String, bus: Arc<Bus>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = bus.shutdown.draining() => break,
            accepted = listener.accept() => {
                connections.spawn(connection(accepted, trust_domain.clone(), bus.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    // Whoever is in a handshake now will ask.
    let asker = bus.plugs.asker();
    for accepted in listener.close().await {
        connections.spawn(connection(accepted, trust_domain.clone(), bus.clone()));
    }
    drop(asker);
    tracing::info!(connections = connections.len(), "draining");
    let drain = Duration::from_millis(bus.limits.drain_timeout_ms);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(PLUGS_FIRST + drain, all).await.is_err() {
        tracing::warn!("connections are cut: the drain took too long");
    }
}

/// One connection in its role.
async fn connection(accepted: Accepted, trust_domain: String, bus: Arc<Bus>) {
    let Accepted { stream, peer, alpn, slot } = accepted;
    let system = match SystemId::from_spiffe_path(&peer.id.path) {
        Ok(system) if peer.id.trust_domain == trust_domain => system,
        Ok(_) => {
            tracing::warn!(id = %peer.id, address = %peer.address, "refused: another trust domain");
            return;
        }
        Err(error) => {
            tracing::warn!(id = %peer.id, address = %peer.address, %error, "refused: not a system");
            return;
        }
    };
    // TLS checks certificates by the system's clock, so their end is read from it too.
    let certificate_ends = Clock::system().instant_of(peer.not_after_unix_s);
    let plugs = alpn.as_deref() == Some(b"ura-plug");
    let role = if plugs { Role::Adapter } else { Role::Consumer };
    let _connected = bus.plugs.peers().connected(system.clone(), role, peer.not_after_unix_s);
    if plugs {
        let conversation = Conversation {
            provider: system,
            certificate: Some(peer.fingerprint),
            address: peer.address,
            until: certificate_ends,
            directory: bus.directory.clone(),
            plugs: bus.plugs.clone(),
            shutdown: bus.shutdown.clone(),
            metadata_bytes_max: bus.limits.metadata_bytes_max,
        };
        plug::serve(conversation, stream).await;
    } else {
        tracing::debug!(%system, address = %peer.address, "a consumer connected");
        consumer(stream, system, peer.fingerprint, certificate_ends, bus).await;
    }
    drop(slot);
}

/// Serves a consumer until its connection's age, its certificate's end or the drain. `certificate` is
/// the SHA-256 of its certificate in DER, the same for every call on the connection.
async fn consumer(
    stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    system: SystemId,
    certificate: [u8; 32],
    certificate_ends: Instant,
    bus: Arc<Bus>,
) {
    // The plugs stay for as long, also through a drain.
    let _asker = bus.plugs.asker();
    let limits = bus.limits.clone();
    let shared = bus.clone();
    let streams = Streams::new(usize::try_from(limits.streams_per_connection_max).unwrap_or(usize::MAX));
    let spans = bus.sampling.shares.of(&system);
    let asker = Asker { consumer: system, certificate, streams, spans };
    let service = service_fn(move |request| {
        let (bus, asker) = (shared.clone(), asker.clone());
        async move { Ok::<_, std::convert::Infallible>(exchange(bus, asker, request).await) }
    });
    let connection = http2::Builder::new(Watching)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.metadata_bytes_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Ages differ by up to a tenth, so that connections made together do not end together.
    let age = Duration::from_millis(limits.connection_age_ms);
    let age = age + age.mul_f64(rand::rng().random_range(0.0..0.1));
    let aged = tokio::time::sleep_until((Instant::now() + age).min(certificate_ends));
    tokio::select! {
        ended = &mut connection => return ended_with(ended),
        () = aged => {}
        () = async { bus.shutdown.draining().await; tokio::time::sleep(PLUGS_FIRST).await } => {}
    }
    connection.as_mut().graceful_shutdown();
    // Calls in hand may end in their own time, unless the certificate ends or the gateway drains.
    let cut = async {
        tokio::select! {
            () = tokio::time::sleep_until(certificate_ends) => {}
            () = bus.shutdown.draining() => tokio::time::sleep(PLUGS_FIRST).await,
        }
        tokio::time::sleep(Duration::from_millis(limits.drain_timeout_ms)).await;
    };
    tokio::select! {
        ended = connection => ended_with(ended),
        () = cut => tracing::info!("a connection was cut: its calls did not end within the grace"),
    }
}

fn ended_with(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a consumer's connection ended");
    }
}

/// The gateway's own certificate among those in use.
pub(crate) struct Own {
    /// All of them.
    pub(crate) peers: Arc<Peers>,
    /// The gateway.
    pub(crate) system: SystemId,
}

impl Own {
    /// It is in use from now on.
    fn uses(&self, identity: &Identity) -> Connected {
        self.peers.connected(self.system.clone(), Role::Gateway, identity.not_after_unix_s())
    }
}

/// Takes a renewed certificate while running. A half-written or wrong one changes nothing.
pub(crate) async fn follow_identity(
    dir: PathBuf,
    mut seen: Stamp,
    (identity, own): (Identity, Own),
    reloader: Reloader,
    shutdown: Shutdown,
) {
    let mut _used = own.uses(&identity);
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(IDENTITY_POLL) => {}
        }
        let now = stamp(&dir);
        if now == seen {
            continue;
        }
        seen = now;
        match Identity::load(&dir).and_then(|identity| Ok((identity.server_config(&ALPN)?, identity))) {
            Ok((config, identity)) => {
                reloader.replace(config);
                _used = own.uses(&identity);
                tracing::info!(identity = %dir.display(), "a new certificate is in use");
            }
            Err(error) => {
                tracing::error!(identity = %dir.display(), %error, "the changed certificate is not used");
            }
        }
    }
}

/// Modification times of an identity's files.
pub(crate) type Stamp = Vec<Option<SystemTime>>;

/// What an identity's files look like from outside.
pub(crate) fn stamp(dir: &Path) -> Stamp {
    ["cert.pem", "key.pem", "ca.pem"]
        .iter()
        .map(|name| std::fs::metadata(dir.join(name)).and_then(|meta| meta.modified()).ok())
        .collect()
}
