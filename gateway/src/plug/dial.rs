//! Adapters that listen: the gateway connects to those that the directory gives an address, and
//! accepts only the certificate of that very system.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::task::JoinHandle;
use ura_proto::SystemId;
use ura_runtime::{
    clock::Clock,
    process::Shutdown,
    tls::{self, Identity, SpiffeId, Verify},
};

use super::{
    connection::{Conversation, serve},
    table::Plugs,
};
use crate::{call::peers::Role, directory::Directory};

/// Connections to one adapter, so that the end of one is not the end of all calls.
const CONNECTIONS: i64 = 2;

/// How long before the end of the adapter's certificate a connection is made anew, in seconds; the
/// second one twice as long before.
const RENEW_BEFORE_S: i64 = 30;

/// Time for a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait before the next attempt: doubled each time, with jitter.
const BACKOFF_MIN_MS: u64 = 100;
const BACKOFF_MAX_MS: u64 = 5_000;

/// Keeps connections to all dialled adapters of the directory, whatever it becomes.
pub(crate) async fn follow(
    directory: Directory,
    plugs: Arc<Plugs>,
    identity: PathBuf,
    metadata_bytes_max: u32,
    shutdown: Shutdown,
) {
    let mut changes = directory.changes();
    let mut dialled: HashMap<(SystemId, Arc<str>), Vec<JoinHandle<()>>> = HashMap::new();
    loop {
        let wanted: Vec<_> =
            directory.load().dialled().map(|(id, address)| (id.clone(), address.clone())).collect();
        dialled.retain(|target, tasks| {
            let keep = wanted.contains(target);
            if !keep {
                tasks.iter().for_each(JoinHandle::abort);
            }
            keep
        });
        for target in wanted {
            dialled.entry(target.clone()).or_insert_with(|| {
                (0..CONNECTIONS)
                    .map(|index| {
                        let dialler = Dialler {
                            index,
                            provider: target.0.clone(),
                            address: target.1.clone(),
                            directory: directory.clone(),
                            plugs: plugs.clone(),
                            identity: identity.clone(),
                            metadata_bytes_max,
                            shutdown: shutdown.clone(),
                        };
                        tokio::spawn(dialler.keep_connected())
                    })
                    .collect()
            });
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // The connections end by themselves when the calls on them have ended.
            () = shutdown.draining() => return,
        }
    }
}

/// One connection that is made again whenever it ends.
struct Dialler {
    /// Which of the connections to the same adapter it is.
    index: i64,
    provider: SystemId,
    address: Arc<str>,
    directory: Directory,
    plugs: Arc<Plugs>,
    identity: PathBuf,
    metadata_bytes_max: u32,
    shutdown: Shutdown,
}

impl Dialler {
    async fn keep_connected(self) {
        let mut backoff_ms = BACKOFF_MIN_MS;
        let mut last_error = String::new();
        while !self.shutdown.is_draining() {
            match self.connect().await {
                Ok((stream, conversation, not_after_s)) => {
                    backoff_ms = BACKOFF_MIN_MS;
                    last_error.clear();
                    let peers = self.plugs.peers();
                    let connected = peers.connected(self.provider.clone(), Role::Adapter, not_after_s);
                    serve(conversation, stream).await;
                    drop(connected);
                }
                Err(error) => {
                    let error = error.to_string();
                    // Said once, not at every attempt.
                    if error != last_error {
                        tracing::warn!(provider = %self.provider, address = %self.address, error, "an adapter cannot be reached");
                        last_error = error;
                    }
                }
            }
            let wait = Duration::from_millis(rand::rng().random_range(backoff_ms / 2..=backoff_ms));
            tokio::select! {
                () = self.shutdown.draining() => return,
                () = tokio::time::sleep(wait) => {}
            }
            backoff_ms = (backoff_ms * 2).min(BACKOFF_MAX_MS);
        }
    }

    async fn connect(
        &self,
    ) -> Result<(tokio_rustls::client::TlsStream<tokio::net::TcpStream>, Conversation, i64), tls::TlsError>
    {
        let identity = Identity::load(&self.identity)?;
        let expected = SpiffeId {
            trust_domain: identity.spiffe_id().trust_domain.clone(),
            path: format!("/{}", self.provider),
        };
        let config = identity.client_config(&[b"h2"], Verify::Spiffe(expected))?;
        let (stream, peer) = tls::connect(&self.address, config, CONNECT_TIMEOUT).await?;
        let conversation = Conversation {
            provider: self.provider.clone(),
            certificate: Some(peer.fingerprint),
            address: peer.address,
            // Before the certificate ends, and never all connections together.
            until: Clock::system().instant_of(peer.not_after_unix_s - RENEW_BEFORE_S * (1 + self.index)),
            directory: self.directory.clone(),
            plugs: self.plugs.clone(),
            shutdown: self.shutdown.clone(),
            metadata_bytes_max: self.metadata_bytes_max,
        };
        Ok((stream, conversation, peer.not_after_unix_s))
    }
}
