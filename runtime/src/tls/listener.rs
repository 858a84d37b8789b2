//! The listening side: TCP, handshakes in parallel, limits, counters, new certificates while running.
//!
//! A peer that fails a handshake costs a counter and a debug line. Knows nothing of what is spoken
//! on a connection; but where the settings name ALPN protocols, the peer must offer exactly one of
//! them, because the protocol decides who the peer may be.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, server::Acceptor};
use serde::Deserialize;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    CertificateError, Peer,
    connect::{give_up_after, peer},
};

/// Connections that the kernel holds until they are taken.
const BACKLOG: i32 = 1024;
/// Pause after the system refused a new connection, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long what is sent may stay unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// The fatal alert `no_application_protocol` before encryption (RFC 8446 section 6, RFC 7301).
const ALERT_NO_APPLICATION_PROTOCOL: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 120];

/// How much a listener takes on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Time for one whole handshake.
    pub handshake_timeout_ms: u64,
    /// Handshakes at the same time. One more ends the oldest, so that silent peers keep nobody out.
    pub handshakes_in_flight_max: usize,
    /// Connections at the same time, counted until their [`ConnectionSlot`] is dropped.
    pub connections_max: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { handshake_timeout_ms: 5_000, handshakes_in_flight_max: 512, connections_max: 10_000 }
    }
}

/// What a listener has seen since it began.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Handshakes completed.
    pub accepted: AtomicU64,
    /// Handshakes that failed.
    pub handshake_failed: AtomicU64,
    /// Handshakes that did not end in time.
    pub handshake_timed_out: AtomicU64,
    /// Connections and handshakes given up because of a limit.
    pub refused_over_limit: AtomicU64,
}

/// A connection's place under `connections_max`; free again when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    _permit: OwnedSemaphorePermit,
}

/// A connection whose peer is known.
#[derive(Debug)]
pub struct Accepted {
    /// The encrypted stream.
    pub stream: TlsStream<TcpStream>,
    /// Who is at the other end.
    pub peer: Peer,
    /// The protocol that was agreed on; `None` only where the settings name none.
    pub alpn: Option<Vec<u8>>,
    /// To be kept as long as the connection.
    pub slot: ConnectionSlot,
}

/// Gives a running [`Listener`] new settings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader(Arc<ArcSwap<ServerConfig>>);

impl Reloader {
    /// Handshakes that begin from now on use these settings; connections stay as they are.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.0.store(config);
    }
}

/// What a handshake needs to know.
#[derive(Clone)]
struct Shared {
    config: Arc<ArcSwap<ServerConfig>>,
    slots: Arc<Semaphore>,
    counters: Arc<ListenerCounters>,
    handshake_timeout: Duration,
}

/// Listens for TCP connections and completes TLS handshakes.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    shared: Shared,
    handshakes: JoinSet<Option<Accepted>>,
    /// Handshakes in the order in which they began; may hold some that have ended.
    oldest_first: VecDeque<AbortHandle>,
    handshakes_in_flight_max: usize,
}

impl Listener {
    /// Begins to listen. Several processes may listen on the same address. Must be called inside a
    /// tokio runtime with time and network.
    ///
    /// # Errors
    /// What the system says, such as an address in use by somebody else.
    pub fn bind(addr: SocketAddr, config: Arc<ServerConfig>, limits: ListenerLimits) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(addr),
            socket2::Type::STREAM.nonblocking().cloexec(),
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let tcp = TcpListener::from_std(socket.into())?;
        let slots = limits.connections_max.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            address: tcp.local_addr()?,
            tcp,
            shared: Shared {
                config: Arc::new(ArcSwap::new(config)),
                slots: Arc::new(Semaphore::new(slots)),
                counters: Arc::default(),
                handshake_timeout: Duration::from_millis(limits.handshake_timeout_ms),
            },
            handshakes: JoinSet::new(),
            oldest_first: VecDeque::new(),
            handshakes_in_flight_max: limits.handshakes_in_flight_max.max(1),
        })
    }

    /// Where it listens; the port that the system chose where port 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A way to give it new settings.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.shared.config))
    }

    /// What it has seen.
    #[must_use]
    pub fn counters(&self) -> Arc<ListenerCounters> {
        Arc::clone(&self.shared.counters)
    }

    /// The next connection with a completed handshake. Never fails: what goes wrong is logged,
    /// counted and skipped. Cancel safe. Nothing is taken from the kernel unless somebody waits here.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = ended {
                        return accepted;
                    }
                }
                taken = self.tcp.accept() => match taken {
                    Ok((tcp, address)) => self.begin(tcp, address),
                    Err(error) => {
                        tracing::warn!(%error, "the system gives no connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Stops listening: takes what the kernel's backlog already holds, closes, and completes the
    /// handshakes that have begun. Takes at most `handshake_timeout_ms`.
    pub async fn close(mut self) -> Vec<Accepted> {
        let mut waiting = Vec::new();
        match self.tcp.into_std() {
            Ok(tcp) => {
                while let Ok((stream, address)) = tcp.accept() {
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    waiting.extend(stream.ok().map(|stream| (stream, address)));
                }
            }
            Err(error) => tracing::warn!(%error, "the backlog could not be taken"),
        }
        for (tcp, address) in waiting {
            self.handshakes.spawn(handshake(self.shared.clone(), tcp, address));
        }
        let mut accepted = Vec::new();
        while let Some(ended) = self.handshakes.join_next().await {
            accepted.extend(ended.ok().flatten());
        }
        accepted
    }

    fn begin(&mut self, tcp: TcpStream, address: SocketAddr) {
        let counters = &self.shared.counters;
        if self.shared.slots.available_permits() == 0 {
            refuse_over_limit(counters, address, "connections_max");
            return;
        }
        while self.handshakes.len() >= self.handshakes_in_flight_max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            if !oldest.is_finished() {
                oldest.abort();
                refuse_over_limit(counters, address, "handshakes_in_flight_max");
                break;
            }
        }
        if self.oldest_first.len() >= self.handshakes_in_flight_max.saturating_mul(2) {
            self.oldest_first.retain(|handshake| !handshake.is_finished());
        }
        let handshake = self.handshakes.spawn(handshake(self.shared.clone(), tcp, address));
        self.oldest_first.push_back(handshake);
    }
}

fn refuse_over_limit(counters: &ListenerCounters, address: SocketAddr, limit: &str) {
    counters.refused_over_limit.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%address, limit, "a connection is refused");
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Tls(io::Error),
    #[error("the peer offers {0} of the protocols spoken here, but must offer one")]
    Protocols(usize),
    #[error("{0}")]
    Certificate(#[from] CertificateError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match CertificateError::in_handshake(&error) {
            Some(reason) => Self::Certificate(reason.clone()),
            None => Self::Tls(error),
        }
    }
}

async fn handshake(shared: Shared, tcp: TcpStream, address: SocketAddr) -> Option<Accepted> {
    let counters = &shared.counters;
    let config = shared.config.load_full();
    let done = tokio::time::timeout(shared.handshake_timeout, secure(config, tcp, address)).await;
    let (stream, peer) = match done {
        Ok(Ok(secured)) => secured,
        Ok(Err(reason)) => {
            counters.handshake_failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%address, %reason, "a handshake failed");
            return None;
        }
        Err(_) => {
            counters.handshake_timed_out.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%address, "a handshake did not end in time");
            return None;
        }
    };
    let Ok(permit) = Arc::clone(&shared.slots).try_acquire_owned() else {
        refuse_over_limit(counters, address, "connections_max");
        return None;
    };
    counters.accepted.fetch_add(1, Ordering::Relaxed);
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Some(Accepted { stream, peer, alpn, slot: ConnectionSlot { _permit: permit } })
}

async fn secure(
    config: Arc<ServerConfig>,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<(TlsStream<TcpStream>, Peer), Failed> {
    tcp.set_nodelay(true)?;
    give_up_after(&tcp, UNACKNOWLEDGED_MAX)?;
    let mut hello = LazyConfigAcceptor::new(Acceptor::default(), tcp);
    let start = (&mut hello).await?;
    let spoken = &config.alpn_protocols;
    let offered = start
        .client_hello()
        .alpn()
        .map_or(0, |names| names.filter(|name| spoken.iter().any(|spoken| spoken == name)).count());
    if !spoken.is_empty() && offered != 1 {
        let mut tcp = start.io;
        tcp.write_all(&ALERT_NO_APPLICATION_PROTOCOL).await?;
        return Err(Failed::Protocols(offered));
    }
    let stream = start.into_stream(config).await?;
    let peer = peer(stream.get_ref().1, address)?;
    Ok((stream, peer))
}
