//! One HTTP/2 connection of whichever direction, from its first byte to its last.
//!
//! The adapter is the HTTP/2 server, also on connections that it opened itself. A connection ends by
//! itself, with the adapter, with the certificates, because the gateway never asks anything or is not heard
//! any more, or because another one has taken its place.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use ura_proto::v1::ReportRequest;

use super::{Service, Stage, reached, verdict::Verdicts};
use ura_runtime::{
    process::chain,
    silence::{Heard, Pulse},
};

use crate::config::Limits;

/// A gateway of which nothing is read for so long is pinged; its answer may stand behind much else.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Gateways ping every second. One that is silent for so long may be gone, or only the way there may be:
/// another connection is tried. After the longer time this one is given up.
const SILENT_AFTER: Duration = Duration::from_secs(3);
const LOST_AFTER: Duration = Duration::from_secs(6);
/// How far a caller may send ahead on one stream, and on all of a connection together: also the
/// most memory that unread requests can take.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Most bytes of one reply that wait for the peer's window; times `streams_max` it is the most memory
/// that slow readers can take.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// A connection is replaced this long before a certificate of it expires.
const RETIRE_BEFORE_EXPIRY_S: u64 = 60;

/// A connection as its service and its driver both see it.
pub(crate) struct Connection {
    id: u64,
    verdicts: Arc<Verdicts>,
    called: AtomicBool,
    accepted: CancellationToken,
    refused: AtomicBool,
    replace: CancellationToken,
    silent: CancellationToken,
    retire: CancellationToken,
    /// The adapter's stage as this connection has it: it may leave before the adapter does.
    stage: watch::Sender<Stage>,
}

impl Connection {
    pub(super) fn open(verdicts: &Arc<Verdicts>) -> Self {
        Self {
            id: verdicts.open(),
            verdicts: Arc::clone(verdicts),
            called: AtomicBool::new(false),
            accepted: CancellationToken::new(),
            refused: AtomicBool::new(false),
            replace: CancellationToken::new(),
            silent: CancellationToken::new(),
            retire: CancellationToken::new(),
            stage: watch::Sender::new(Stage::Serving),
        }
    }

    /// Where it stands between its start and its end.
    pub(super) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Notes that the gateway asks something.
    pub(super) fn called(&self) {
        // A plain load first: this line is shared by all streams of the connection.
        if !self.was_called() {
            self.called.store(true, Ordering::Relaxed);
        }
    }

    fn was_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// Notes the gateway's verdict.
    pub(super) fn reported(&self, report: ReportRequest) {
        let refused = report.accepted.is_empty() && !report.refused.is_empty();
        self.refused.store(refused, Ordering::Relaxed);
        if !report.accepted.is_empty() {
            self.accepted.cancel();
        }
        self.verdicts.report(self.id, report);
    }

    /// Asks for another connection in this one's place.
    pub(super) fn replace(&self) {
        self.replace.cancel();
    }

    /// Waits until another connection is wanted in this one's place.
    pub(crate) async fn replacement_wanted(&self) {
        self.replace.cancelled().await;
    }

    /// Waits until nothing was heard from the gateway for a while: it may be gone.
    pub(crate) async fn silent(&self) {
        self.silent.cancelled().await;
    }

    /// Whether it takes no calls any more.
    pub(crate) fn is_over(&self) -> bool {
        *self.stage.borrow() == Stage::Closing
    }

    /// Lets it go, for another one does its work: its calls end, and it takes no others.
    pub(crate) fn retire(&self) {
        self.retire.cancel();
    }

    /// Waits until the gateway has accepted a contract here.
    pub(crate) async fn accepted(&self) {
        self.accepted.cancelled().await;
    }

    /// Whether the gateway's last word was that it takes no contract from here.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.verdicts.close(self.id);
    }
}

/// When a connection has to go because a certificate of it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// From now until another connection is wanted.
    replace_after: Duration,
    /// From then until no new call is taken.
    close_after: Duration,
    /// From then until it is cut.
    cut_after: Duration,
}

impl Lifetime {
    /// The plan for a connection whose first certificate to expire does so then, both in seconds
    /// since 1970-01-01 UTC.
    pub(crate) fn until(now_unix_s: i64, not_after_unix_s: i64) -> Self {
        let left = not_after_unix_s.saturating_sub(now_unix_s);
        let left = u64::try_from(left).unwrap_or(0);
        // Thirds, where little is left: replacements that find the same certificate then stay few.
        let lead = RETIRE_BEFORE_EXPIRY_S.min(left.saturating_mul(2) / 3);
        Self {
            replace_after: Duration::from_secs(left - lead),
            close_after: Duration::from_secs(lead / 2),
            cut_after: Duration::from_secs(lead - lead / 2),
        }
    }

    /// From now until it is cut.
    fn whole(self) -> Duration {
        self.replace_after + self.close_after + self.cut_after
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The other side closed it, or both were done.
    Closed,
    /// It broke.
    Broken(String),
    /// The other side never asked anything.
    Silent,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed"),
            Self::Broken(reason) => write!(f, "the connection broke: {reason}"),
            Self::Silent => f.write_str("the peer asked nothing on the connection"),
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn drive<IO>(
    io: IO,
    service: Service,
    lifetime: Lifetime,
    stage: watch::Receiver<Stage>,
) -> Outcome
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::clone(service.connection());
    let outcome = serve(io, service, lifetime, stage).await;
    connection.stage.send_replace(Stage::Closing);
    connection.verdicts.close(connection.id);
    outcome
}

async fn serve<IO>(io: IO, service: Service, lifetime: Lifetime, mut stage: watch::Receiver<Stage>) -> Outcome
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::clone(service.connection());
    let limits = service.parts.limits().clone();
    let io = Heard::new(io, LOST_AFTER);
    let pulse = io.pulse();
    let mut served = pin!(builder(&limits).serve_connection(TokioIo::new(io), service));
    let end = tokio::select! {
        result = served.as_mut() => return outcome(result),
        end = end_of_life(&connection, &limits, lifetime, stage.clone()) => end,
        never = listen(&connection, &pulse) => match never {},
    };
    let Some(grace) = end else {
        return Outcome::Silent;
    };
    // Its health watches end, for they would keep it open.
    connection.stage.send_replace(Stage::Closing);
    served.as_mut().graceful_shutdown();
    let drain = Duration::from_millis(limits.drain_timeout_ms);
    // However long its calls may take, an adapter that leaves does not wait for them.
    let leaving = async {
        reached(&mut stage, Stage::Closing).await;
        sleep(drain).await;
    };
    tokio::select! {
        result = served => return outcome(result),
        () = sleep(grace) => {}
        () = leaving => {}
    }
    Outcome::Broken("calls were still in flight at the end of the grace".into())
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.header_bytes_max)
        .auto_date_header(false);
    builder
}

/// Notes the first silence.
async fn listen(connection: &Connection, pulse: &Pulse) -> std::convert::Infallible {
    pulse.silent(SILENT_AFTER).await;
    connection.silent.cancel();
    std::future::pending().await
}

/// Waits until the connection has to go, and tells how long calls in flight may take then; `None`
/// where it was never used.
async fn end_of_life(
    connection: &Connection,
    limits: &Limits,
    lifetime: Lifetime,
    mut stage: watch::Receiver<Stage>,
) -> Option<Duration> {
    let drain = Duration::from_millis(limits.drain_timeout_ms);
    let end = Instant::now() + lifetime.whole();
    let unused = async {
        sleep(Duration::from_millis(limits.first_call_timeout_ms)).await;
        if connection.was_called() {
            std::future::pending::<()>().await;
        }
    };
    // The gateway closes what it has told to be replaced; this is for one that forgets.
    let replaced = async {
        connection.replacement_wanted().await;
        sleep(drain).await;
    };
    let expiring = async {
        sleep(lifetime.replace_after).await;
        connection.replace();
        sleep(lifetime.close_after).await;
    };
    let left = async {
        reached(&mut stage, Stage::Leaving).await;
        connection.stage.send_replace(Stage::Leaving);
        reached(&mut stage, Stage::Closing).await;
    };
    let grace = tokio::select! {
        // The adapter has waited for all its connections.
        () = left => return connection.was_called().then_some(drain),
        () = unused => return None,
        () = expiring => lifetime.cut_after.min(drain),
        () = replaced => drain,
        // Nobody is in a hurry: calls may last as long as the certificate.
        () = connection.retire.cancelled() => end.saturating_duration_since(Instant::now()),
    };
    // The gateway is told first, so that no call meets the end.
    connection.stage.send_replace(Stage::Leaving);
    sleep(Duration::from_millis(limits.drain_notice_ms)).await;
    Some(grace)
}

fn outcome(result: Result<(), hyper::Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Closed,
        Err(error) => Outcome::Broken(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_before_their_certificates() {
        let plan = |left: i64| {
            let life = Lifetime::until(1000, 1000 + left);
            [life.replace_after, life.close_after, life.cut_after].map(|part| part.as_secs())
        };
        assert_eq!(plan(86_400), [86_340, 30, 30]);
        assert_eq!(plan(600), [540, 30, 30]);
        assert_eq!(plan(60), [20, 20, 20]);
        assert_eq!(plan(7), [3, 2, 2]);
        assert_eq!(plan(1), [1, 0, 0]);
        assert_eq!(plan(0), [0, 0, 0]);
        assert_eq!(plan(-5), [0, 0, 0]);
    }
}
