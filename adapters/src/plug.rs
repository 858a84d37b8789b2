//! The plug: connects out to the gateways and serves them on the connections it opened.
//!
//! For each gateway there are a few slots, and each slot always has a connection or is about to. A
//! refused plug never ends the adapter: the reason is logged once, and the slot tries again.

mod backoff;
mod journal;

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;
use ura_runtime::{
    clock::Clock,
    process::chain,
    tls::{self, SpiffeId, Verify},
};

use self::{backoff::Backoff, journal::Journal};
use crate::{
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
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) tasks: TaskTracker,
    pub(crate) clock: Clock,
}

impl Plug {
    /// Starts the slots of every gateway, `host:port` each.
    pub(crate) fn start(self, gateways: &[String]) {
        let plug = Arc::new(self);
        for gateway in gateways {
            let journal = Arc::new(Journal::new(plug.parts.system().clone(), gateway));
            for _ in 0..plug.parts.limits().connections {
                let slot = Arc::clone(&plug).slot(gateway.clone(), Arc::clone(&journal));
                plug.tasks.spawn(slot);
            }
        }
    }

    /// Keeps one connection to one gateway, until the adapter leaves.
    async fn slot(self: Arc<Self>, gateway: String, journal: Arc<Journal>) {
        let mut backoff = Backoff::default();
        let mut stage = self.stage.clone();
        loop {
            let delay = backoff.delay(rand::random());
            let link = async {
                sleep(delay).await;
                self.connect(&gateway).await
            };
            let link = tokio::select! {
                () = reached(&mut stage, Stage::Leaving) => return,
                link = link => link,
            };
            let (stream, lifetime) = match link {
                Ok(link) => link,
                Err(reason) => {
                    journal.failed(&reason);
                    backoff.failed();
                    continue;
                }
            };
            let born = Instant::now();
            let service = Service::new(Arc::clone(&self.parts));
            let connection = Arc::clone(service.connection());
            let held = Arc::clone(&self).hold(stream, service, lifetime, Arc::clone(&journal));
            tokio::select! {
                refused = self.tasks.spawn(held) => match refused {
                    Ok(true) => backoff.refused(),
                    _ => backoff.lost(born.elapsed()),
                },
                // The old connection goes on answering what is in flight.
                () = connection.replacement_wanted() => backoff.replaced(born.elapsed()),
            }
        }
    }

    /// Serves one connection to its end; tells whether the gateway took nothing from it.
    async fn hold(
        self: Arc<Self>,
        stream: TlsStream<TcpStream>,
        service: Service,
        lifetime: Lifetime,
        journal: Arc<Journal>,
    ) -> bool {
        let connection = Arc::clone(service.connection());
        let mut driven = pin!(drive(stream, service, lifetime, self.stage.clone()));
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
        let leaving = *self.stage.borrow() != Stage::Serving;
        match (up, leaving) {
            (true, leaving) => journal.down(&reason, leaving),
            (false, false) => journal.failed(&reason),
            (false, true) => {}
        }
        refused
    }

    async fn connect(&self, gateway: &str) -> Result<(TlsStream<TcpStream>, Lifetime), String> {
        let identity = self.identities.current().await;
        let now_unix_s = self.clock.unix_us().div_euclid(1_000_000);
        if identity.not_after_unix_s() <= now_unix_s {
            let dir = self.identities.dir().display();
            return Err(format!("the certificate in {dir} has expired: renew it"));
        }
        let verify = Verify::Spiffe(self.gateway_id.clone());
        let config = identity.client_config(&[ALPN], verify).map_err(|error| chain(&error))?;
        let timeout = Duration::from_millis(self.parts.limits().connect_timeout_ms);
        let (stream, peer) = tls::connect(gateway, config, timeout).await.map_err(|error| chain(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err("the peer takes no plugs: is it a gateway's bus port?".to_owned());
        }
        let not_after = identity.not_after_unix_s().min(peer.not_after_unix_s);
        Ok((stream, Lifetime::until(now_unix_s, not_after)))
    }
}
