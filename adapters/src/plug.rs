//! The plug: connects out to the gateways and serves them on the connections it opened.
//!
//! For each gateway there are a few slots, and each slot always has a connection or is about to. The
//! gateways are those of the configuration and those that the bus tells of. A refused plug never ends the
//! adapter: the reason is logged once, and the slot tries again.

mod backoff;
mod journal;
mod proxy;
mod slot;

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::client::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ura_runtime::{
    clock::Clock,
    process::chain,
    tls::{self, SpiffeId, Verify},
};

use self::{journal::Journal, slot::Slot};
use crate::{
    config::Proxy,
    identity::Identities,
    serve::{Lifetime, Parts, Service, Stage, drive, reached},
};

/// ALPN protocol of a connection on which the dialling side is the HTTP/2 server.
pub(crate) const ALPN: &[u8] = b"ura-plug";

/// What all slots share.
pub(crate) struct Plug {
    pub(crate) parts: Arc<Parts>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) gateway_id: SpiffeId,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) tasks: TaskTracker,
    pub(crate) clock: Clock,
}

/// A gateway, as its slots know it.
struct Target {
    /// `host:port`.
    address: String,
    journal: Journal,
    /// The bus tells of it no more.
    given_up: CancellationToken,
}

/// A connection that was made.
pub(crate) struct Link {
    pub(crate) stream: TlsStream<TcpStream>,
    lifetime: Lifetime,
    /// SHA-256 of the own certificate on it, in DER.
    certificate: [u8; 32],
}

impl Plug {
    /// Plugs into these gateways, `host:port` each, and into those that they tell of.
    pub(crate) fn start(self, gateways: Vec<String>) {
        let plug = Arc::new(self);
        let tasks = plug.tasks.clone();
        tasks.spawn(plug.follow(gateways));
    }

    /// Keeps slots for every gateway that there is, until the adapter leaves.
    async fn follow(self: Arc<Self>, configured: Vec<String>) {
        let mut stage = self.stage.clone();
        let mut told = self.parts.verdicts().gateways();
        let mut targets: HashMap<String, CancellationToken> = HashMap::new();
        let mut files = pin!(self.identities.follow());
        loop {
            let mut wanted: BTreeSet<String> = told.borrow_and_update().clone();
            wanted.extend(configured.iter().cloned());
            targets.retain(|address, given_up| {
                let keep = wanted.contains(address);
                if !keep {
                    tracing::info!(system = %self.parts.system(), gateway = address, "the bus tells of this gateway no more");
                    given_up.cancel();
                }
                keep
            });
            for address in wanted {
                let Entry::Vacant(target) = targets.entry(address) else { continue };
                if !configured.contains(target.key()) {
                    tracing::info!(system = %self.parts.system(), gateway = target.key(), "the bus tells of this gateway, too");
                }
                let given_up = self.open(target.key().clone());
                target.insert(given_up);
            }
            tokio::select! {
                () = reached(&mut stage, Stage::Leaving) => return,
                () = files.as_mut() => return,
                changed = told.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Opens the slots of a gateway; they end with the token.
    fn open(self: &Arc<Self>, address: String) -> CancellationToken {
        let given_up = CancellationToken::new();
        let journal = Journal::new(self.parts.system().clone(), &address);
        let target = Arc::new(Target { address, journal, given_up: given_up.clone() });
        for _ in 0..self.parts.limits().connections {
            self.tasks.spawn(Slot::new(Arc::clone(self), Arc::clone(&target)).run());
        }
        given_up
    }

    /// Serves one connection to its end; tells whether the gateway took nothing from it.
    async fn hold(
        self: Arc<Self>,
        link: Link,
        service: Service,
        target: Arc<Target>,
        replacing: bool,
    ) -> bool {
        let connection = Arc::clone(service.connection());
        let journal = &target.journal;
        let mut driven = pin!(drive(link.stream, service, link.lifetime, self.stage.clone()));
        let (outcome, up) = tokio::select! {
            biased;
            () = connection.accepted() => {
                journal.up();
                (driven.await, true)
            }
            outcome = driven.as_mut() => (outcome, false),
        };
        let refused = connection.is_refused();
        let reason = if refused {
            "the gateway takes no contract from this adapter".to_owned()
        } else {
            outcome.to_string()
        };
        let leaving = *self.stage.borrow() != Stage::Serving || target.given_up.is_cancelled();
        match (up, leaving) {
            (true, leaving) => journal.down(&reason, leaving),
            (false, false) => journal.failed(&reason, replacing),
            (false, true) => {}
        }
        refused
    }

    async fn connect(&self, gateway: &str) -> Result<Link, String> {
        let dial = Dial {
            identities: &self.identities,
            gateway_id: &self.gateway_id,
            proxy: self.proxy.as_ref(),
            timeout: Duration::from_millis(self.parts.limits().connect_timeout_ms),
            clock: &self.clock,
        };
        let link = dial.connect(gateway, ALPN).await?;
        if link.stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err("the peer takes no plugs: is it a gateway's bus port?".to_owned());
        }
        Ok(link)
    }
}

/// How gateways are reached.
pub(crate) struct Dial<'d> {
    pub(crate) identities: &'d Identities,
    pub(crate) gateway_id: &'d SpiffeId,
    pub(crate) proxy: Option<&'d Proxy>,
    pub(crate) timeout: Duration,
    pub(crate) clock: &'d Clock,
}

impl Dial<'_> {
    /// A connection to a gateway, `host:port`, on which this protocol is asked for.
    pub(crate) async fn connect(&self, gateway: &str, alpn: &[u8]) -> Result<Link, String> {
        let identity = self.identities.current().await;
        let now_unix_s = self.clock.unix_us().div_euclid(1_000_000);
        if identity.not_after_unix_s() <= now_unix_s {
            let dir = self.identities.dir().display();
            return Err(format!("the certificate in {dir} has expired: renew it"));
        }
        let verify = Verify::Spiffe(self.gateway_id.clone());
        let config = identity.client_config(&[alpn], verify).map_err(|error| chain(&error))?;
        let timeout = self.timeout;
        let (stream, peer) = match self.proxy {
            None => tls::connect(gateway, config, timeout).await.map_err(|error| chain(&error))?,
            Some(proxy) => {
                let through = async {
                    let tcp = proxy::tunnel(proxy, gateway).await.map_err(|error| chain(&error))?;
                    tls::secure(tcp, gateway, config).await.map_err(|error| chain(&error))
                };
                let late = |_| format!("no connection to {gateway} through the proxy within {timeout:?}");
                tokio::time::timeout(timeout, through).await.map_err(late)??
            }
        };
        let not_after = identity.not_after_unix_s().min(peer.not_after_unix_s);
        let lifetime = Lifetime::until(now_unix_s, not_after);
        Ok(Link { stream, lifetime, certificate: identity.fingerprint() })
    }
}
