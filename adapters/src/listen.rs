//! The other way round: the adapter listens and the gateway dials it. Nobody but the gateway's
//! SPIFFE id is served.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::TaskTracker;
use ura_runtime::{
    clock::Clock,
    process::chain,
    tls::{Accepted, Listener, ListenerLimits, SpiffeId, TlsError},
};

use crate::{
    identity::Identities,
    serve::{Lifetime, Parts, Service, Stage, drive, reached},
};

const ALPN: &[u8] = b"h2";
/// How often the identity folder is read for new connections.
const REREAD_EVERY: Duration = Duration::from_secs(10);
/// Gateways are few; what comes beyond this is no gateway.
const LIMITS: ListenerLimits =
    ListenerLimits { handshake_timeout_ms: 5_000, handshakes_in_flight_max: 64, connections_max: 256 };

/// Why the adapter cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The identity makes no TLS server.
    #[error("cannot listen with this identity")]
    Tls(#[from] TlsError),
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was wanted.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A listening adapter.
pub(crate) struct Listen {
    pub(crate) parts: Arc<Parts>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) gateway_id: SpiffeId,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) tasks: TaskTracker,
    pub(crate) clock: Clock,
}

impl Listen {
    /// Binds, and serves until the adapter leaves. The address is the bound one.
    pub(crate) async fn start(self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let identity = self.identities.current().await;
        let config = identity.server_config(&[ALPN])?;
        let listener = Listener::bind(address, config, LIMITS)
            .map_err(|source| ListenError::Bind { address, source })?;
        let address = listener.local_addr();
        let tasks = self.tasks.clone();
        tasks.spawn(self.serve(listener));
        Ok(address)
    }

    async fn serve(self, mut listener: Listener) {
        let reloader = listener.reloader();
        let mut stage = self.stage.clone();
        let mut reread = interval(REREAD_EVERY);
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stranger = None;
        loop {
            tokio::select! {
                () = reached(&mut stage, Stage::Leaving) => break,
                accepted = listener.accept() => self.admit(accepted, &mut stranger).await,
                _ = reread.tick() => {
                    let identity = self.identities.current().await;
                    match identity.server_config(&[ALPN]) {
                        Ok(config) => reloader.replace(config),
                        Err(error) => {
                            tracing::warn!(reason = chain(&error), "the certificate is not taken");
                        }
                    }
                }
            }
        }
        for accepted in listener.close().await {
            self.admit(accepted, &mut stranger).await;
        }
    }

    /// Serves a connection of the gateway; drops every other. `stranger` was the last one dropped,
    /// so that one who knocks all the time is logged once.
    async fn admit(&self, accepted: Accepted, stranger: &mut Option<SpiffeId>) {
        let peer = accepted.peer;
        if peer.id != self.gateway_id {
            if stranger.as_ref() != Some(&peer.id) {
                let (id, address) = (&peer.id, peer.address);
                tracing::warn!(system = %self.parts.system(), %id, %address, "not the gateway, not served");
                *stranger = Some(peer.id);
            }
            return;
        }
        let identity = self.identities.current().await;
        let not_after = identity.not_after_unix_s().min(peer.not_after_unix_s);
        let now_unix_s = self.clock.unix_us().div_euclid(1_000_000);
        let lifetime = Lifetime::until(now_unix_s, not_after);
        let service = Service::new(Arc::clone(&self.parts));
        let system = self.parts.system().clone();
        let stage = self.stage.clone();
        let (stream, slot) = (accepted.stream, accepted.slot);
        self.tasks.spawn(async move {
            let outcome = drive(stream, service, lifetime, stage).await;
            drop(slot);
            tracing::debug!(%system, address = %peer.address, %outcome, "a gateway's connection ended");
        });
    }
}
