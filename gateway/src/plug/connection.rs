//! One plug from its handshake to its end: ask what it offers, enter it, follow its health and the
//! directory, announce the drain.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::Instant,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use ura_proto::{
    SystemId,
    reflection::ReflectionError,
    v1::{DrainRequest, RefusedContract, ReportRequest, plug_service_client::PlugServiceClient},
};
use ura_runtime::{
    process::Shutdown,
    silence::{Heard, Pulse},
};

use super::{
    admit::{OwnCalls, QUESTION_TIMEOUT, Verdict, admit, reflect},
    seat::Plug,
    table::Plugs,
};
use crate::{
    call::{body::Outbound, pump::Pumps},
    directory::Directory,
};

/// What a caller may leave unread of one reply. The window of the connection has room for as many
/// such replies as a plug may have calls: those who do not read never stall those who do.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// Most bytes of one request that wait for an adapter to read.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Largest window of a connection (RFC 9113 section 6.9.1).
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

/// A peer of which nothing is heard for so long is pinged; its answer may stand behind much else.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A plug of which nothing is heard for so long, pings and all, gets no calls; and is given up. Between
/// the two lie slow lines with much on them, and networks that are mended in time.
const SILENT_AFTER: Duration = Duration::from_secs(2);
const LOST_AFTER: Duration = Duration::from_secs(6);

/// How often a silent plug is listened to.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After a health watch ended.
const HEALTH_RETRY: Duration = Duration::from_secs(1);

/// After the adapter was told to open another connection.
const LEAVE_GRACE: Duration = Duration::from_millis(300);

/// Who is at the other end, and what a plug needs from the gateway.
pub(crate) struct Conversation {
    /// The adapter's system, by its certificate.
    pub(crate) provider: SystemId,
    /// SHA-256 of that certificate in DER; `None` where the other end is the gateway itself.
    pub(crate) certificate: Option<[u8; 32]>,
    /// Its address, for the log and for evidence.
    pub(crate) address: SocketAddr,
    /// When its certificate ends.
    pub(crate) until: Instant,
    /// What is approved.
    pub(crate) directory: Directory,
    /// Where the plug is entered.
    pub(crate) plugs: Arc<Plugs>,
    /// When the gateway stops.
    pub(crate) shutdown: Shutdown,
    /// Metadata that an adapter may send with a reply, in bytes.
    pub(crate) metadata_bytes_max: u32,
}

/// Serves one plug until its connection ends. The gateway is the HTTP/2 client on it.
pub(crate) async fn serve<S>(conversation: Conversation, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Conversation { provider, address, .. } = &conversation;
    let stream = Heard::new(stream, LOST_AFTER);
    let pulse = stream.pulse();
    let handshake = http2::Builder::new(Pumps)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window_bytes(conversation.plugs.calls_per_plug_max()))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(conversation.metadata_bytes_max)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake::<_, Outbound>(TokioIo::new(stream));
    let (sender, connection) = match tokio::time::timeout(QUESTION_TIMEOUT, handshake).await {
        Ok(Ok(ready)) => ready,
        Ok(Err(error)) => {
            tracing::warn!(%provider, %address, %error, "a plug does not speak HTTP/2");
            return;
        }
        Err(_) => {
            tracing::warn!(%provider, %address, "a plug said nothing within 5 s");
            return;
        }
    };
    let calls = OwnCalls(sender.clone());
    let plug = Arc::new(Plug::new(provider.clone(), conversation.certificate, *address, sender));
    let _entered = Entered { plugs: conversation.plugs.clone(), plug: plug.clone() };
    let connection = tokio::spawn(connection);
    let ended = tokio::select! {
        ended = connection => ended.ok().and_then(Result::err).map_or_else(|| "closed by the adapter".to_owned(), |e| e.to_string()),
        why = converse(&conversation, &plug, calls, &pulse) => why,
    };
    tracing::info!(provider = %conversation.provider, address = %conversation.address, ended, "a plug is gone");
}

/// A plug's place in the table: given up however its task ends.
struct Entered {
    plugs: Arc<Plugs>,
    plug: Arc<Plug>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.plugs.remove(&self.plug);
    }
}

/// The window of a connection with so many calls.
fn connection_window_bytes(calls_max: usize) -> u32 {
    let calls = u32::try_from(calls_max).unwrap_or(u32::MAX);
    calls.saturating_mul(STREAM_WINDOW_BYTES).clamp(1 << 20, WINDOW_BYTES_MAX)
}

/// Asks, enters and follows; returns why the plug is to end.
async fn converse(conversation: &Conversation, plug: &Arc<Plug>, calls: OwnCalls, pulse: &Pulse) -> String {
    let Conversation { provider, address, directory, plugs, shutdown, .. } = conversation;
    let mut changes = directory.changes();
    let offered = match reflect(&calls).await {
        Ok(offered) => offered,
        Err(error) => return refuse(conversation, &calls, &error).await,
    };
    let mut known: HashMap<Arc<str>, Arc<AtomicBool>> = HashMap::new();
    let mut watches = JoinSet::new();
    let judge = || {
        let approved = directory.load();
        (admit(&approved, provider, &offered), approved.gateways.clone())
    };
    let (mut verdict, mut gateways) = judge();
    let mut told = None;
    // As it was found by listening: after a pause of this process every plug looks silent for a moment.
    let mut silent = false;
    loop {
        let mut contracts = HashMap::new();
        for key in &verdict.accepted {
            let healthy = match known.get(&key.contract) {
                Some(healthy) => healthy.clone(),
                None => {
                    let healthy = first_health(&calls, &key.contract).await;
                    watches.spawn(watch(calls.clone(), key.contract.clone(), healthy.clone(), plugs.clone()));
                    known.insert(key.contract.clone(), healthy.clone());
                    healthy
                }
            };
            contracts.insert(key.contract.clone(), healthy);
        }
        // Who is silent may be gone: it keeps the calls that it has and gets no others.
        plugs.enter(plug, if silent { HashMap::new() } else { contracts });
        let words = ReportRequest {
            accepted: verdict.accepted.iter().map(|key| key.contract.as_ref().to_owned()).collect(),
            refused: verdict.refused.clone(),
            gateways: gateways.clone(),
        };
        if told.as_ref() != Some(&words) && !silent {
            log(conversation, &verdict);
            tokio::select! {
                () = report(&calls, words.clone()) => told = Some(words),
                () = pulse.silent(SILENT_AFTER) => {
                    silent = true;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return "the gateway stops".to_owned();
                }
                (verdict, gateways) = judge();
            }
            () = pulse.silent(SILENT_AFTER), if !silent => {
                tracing::warn!(%provider, %address, "a plug is silent: it gets no calls until it is heard again");
                silent = true;
            }
            () = pulse.heard(SILENT_AFTER, LOOK_EVERY), if silent => {
                tracing::info!(%provider, %address, "a plug is heard again");
                silent = false;
            }
            () = shutdown.draining() => return leave(conversation, plug, &calls, "the gateway drains").await,
            () = tokio::time::sleep_until(conversation.until) => {
                return leave(conversation, plug, &calls, "the adapter's certificate ended").await;
            }
        }
    }
}

/// Tells an adapter that what it offers cannot be read.
async fn refuse(conversation: &Conversation, calls: &OwnCalls, error: &ReflectionError) -> String {
    let Conversation { provider, address, directory, .. } = conversation;
    tracing::warn!(%provider, %address, %error, "a plug is refused");
    let unread = RefusedContract { contract: String::new(), reason: error.to_string() };
    let (refused, gateways) = (vec![unread], directory.load().gateways.clone());
    report(calls, ReportRequest { accepted: Vec::new(), refused, gateways }).await;
    format!("refused: {error}")
}

/// Tells the adapter to connect anew and takes no new calls. Those in hand end as they would: the
/// connection closes when the last of them has let go of it.
async fn leave(conversation: &Conversation, plug: &Arc<Plug>, calls: &OwnCalls, why: &str) -> String {
    let mut client = PlugServiceClient::with_origin(calls.clone(), OwnCalls::origin());
    // An adapter that does not have the service learns it from the closing connection.
    drop(tokio::time::timeout(QUESTION_TIMEOUT, client.drain(DrainRequest {})).await);
    // Its new connection is made before this one takes no more.
    tokio::time::sleep(LEAVE_GRACE).await;
    if conversation.shutdown.is_draining() {
        // Consumers are asked to move after the adapters; until the last has gone, its calls are answered here.
        conversation.plugs.nobody_asks().await;
    }
    conversation.plugs.remove(plug);
    why.to_owned()
}

/// Tells the adapter what became of its plug.
async fn report(calls: &OwnCalls, words: ReportRequest) {
    let mut client = PlugServiceClient::with_origin(calls.clone(), OwnCalls::origin());
    match tokio::time::timeout(QUESTION_TIMEOUT, client.report(words)).await {
        Ok(Err(status)) if status.code() != tonic::Code::Unimplemented => {
            tracing::debug!(%status, "the report on a plug was not taken");
        }
        Err(_) => tracing::debug!("the report on a plug was not taken within 5 s"),
        Ok(_) => {}
    }
}

fn log(conversation: &Conversation, verdict: &Verdict) {
    let Conversation { provider, address, .. } = conversation;
    for key in &verdict.accepted {
        tracing::info!(%provider, %address, contract = %key.contract, "plugged in");
    }
    for refused in &verdict.refused {
        tracing::warn!(%provider, %address, contract = refused.contract, reason = refused.reason, "a contract of a plug is refused");
    }
    if verdict.accepted.is_empty() && verdict.refused.is_empty() {
        tracing::warn!(%provider, %address, "a plug offers no contract");
    }
}

/// The state of a contract before its first call, so that none is refused for not knowing it.
async fn first_health(calls: &OwnCalls, contract: &str) -> Arc<AtomicBool> {
    let mut client = HealthClient::with_origin(calls.clone(), OwnCalls::origin());
    let question = client.check(HealthCheckRequest { service: contract.to_owned() });
    let healthy = match tokio::time::timeout(QUESTION_TIMEOUT, question).await {
        Ok(Ok(answer)) => answer.into_inner().status() == ServingStatus::Serving,
        Ok(Err(status)) => without_health(&status),
        Err(_) => false,
    };
    Arc::new(AtomicBool::new(healthy))
}

/// A server without the health service, or without an entry for the contract, is taken as healthy:
/// many have none, and their calls tell.
fn without_health(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::Unimplemented | tonic::Code::NotFound)
}

/// Follows the health of one contract on one plug.
async fn watch(calls: OwnCalls, contract: Arc<str>, healthy: Arc<AtomicBool>, plugs: Arc<Plugs>) {
    loop {
        let mut client = HealthClient::with_origin(calls.clone(), OwnCalls::origin());
        match client.watch(HealthCheckRequest { service: contract.as_ref().to_owned() }).await {
            Ok(states) => {
                let mut states = states.into_inner();
                while let Ok(Some(state)) = states.message().await {
                    // A server that has no entry for the contract says so and leaves it at that.
                    let serving =
                        matches!(state.status(), ServingStatus::Serving | ServingStatus::ServiceUnknown);
                    if healthy.swap(serving, Ordering::Relaxed) != serving {
                        tracing::info!(%contract, serving, "the health of a service changed");
                        plugs.health_changed();
                    }
                }
            }
            Err(status) if without_health(&status) => return,
            Err(_) => {}
        }
        tokio::time::sleep(HEALTH_RETRY).await;
    }
}
