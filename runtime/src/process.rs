//! The life of a process: telemetry, signals, run, drain, deadline.
//!
//! Knows nothing of what runs. Reading the configuration comes before, in the caller, because only
//! the caller knows its shape.

use std::{error::Error, future::Future, io::Write, process::ExitCode, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry::{self, TelemetryConfig};

/// How long blocking work may keep the process after its end.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells all parts of a process to end, in two stages: first *drain* (take nothing new, finish what
/// runs), then *expired* (drop what still runs). Cheap to clone; a stage that was reached stays so.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    expired: CancellationToken,
}

impl Shutdown {
    /// Neither stage reached.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One for a part of the process: it reaches its stages with this one, or before, by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), expired: self.expired.child_token() }
    }

    /// Asks everybody to drain. Asking again changes nothing.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Returns when draining was asked for; at once when it was before. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether draining was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Says that the time for draining is over; implies [`Shutdown::drain`].
    pub fn expire(&self) {
        self.drain.cancel();
        self.expired.cancel();
    }

    /// Returns when the time for draining is over. Cancel safe.
    pub async fn expired(&self) {
        self.expired.cancelled().await;
    }

    /// Whether the time for draining is over.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expired.is_cancelled()
    }
}

/// Runs `main` as this process: starts telemetry and a multi-thread runtime, asks `main` to drain on
/// SIGTERM or SIGINT, and gives it `drain_timeout_ms` to return. A second signal ends the wait.
///
/// Exit code 0 when `main` returned `Ok`, 1 when it returned an error or could not start, 2 when it
/// was dropped because it did not end in time.
pub fn run<F, Fut, E>(telemetry: &TelemetryConfig, name: &str, drain_timeout_ms: u64, main: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Error,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(name).build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(name, &error),
    };
    let guard = runtime.enter();
    let telemetry = match telemetry::init(telemetry, name) {
        Ok(telemetry) => telemetry,
        Err(error) => return cannot_start(name, &error),
    };
    drop(guard);
    let shutdown = Shutdown::new();
    let drain_timeout = Duration::from_millis(drain_timeout_ms);
    let end = runtime.block_on(supervise(name, shutdown, drain_timeout, main));
    telemetry.shutdown();
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    end.into()
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Failed,
    Dropped,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Finished => Self::SUCCESS,
            End::Failed => Self::FAILURE,
            End::Dropped => Self::from(2),
        }
    }
}

async fn supervise<F, Fut, E>(name: &str, shutdown: Shutdown, drain_timeout: Duration, main: F) -> End
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Error,
{
    let deadline = match watch_signals(shutdown.clone(), drain_timeout) {
        Ok(deadline) => deadline,
        Err(error) => {
            tracing::error!(%error, "signals cannot be watched");
            return End::Failed;
        }
    };
    tracing::info!(name, pid = std::process::id(), "starting");
    // Boxed: the caller's whole program is in this future.
    let main = Box::pin(main(shutdown.clone()));
    let end = tokio::select! {
        biased;
        result = main => match result {
            Ok(()) => End::Finished,
            Err(error) => {
                tracing::error!(error = %chain(&error), "stopped by an error");
                End::Failed
            }
        },
        () = shutdown.expired() => End::Dropped,
    };
    deadline.abort();
    match end {
        End::Dropped => tracing::warn!("what still ran when the time to drain was over was dropped"),
        End::Finished | End::Failed => tracing::info!("stopped"),
    }
    end
}

/// Turns signals into the two stages of `shutdown`.
fn watch_signals(
    shutdown: Shutdown,
    drain_timeout: Duration,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.draining() => {}
        }
        shutdown.drain();
        tracing::info!(timeout_ms = drain_timeout.as_millis(), "draining");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(drain_timeout) => {}
        }
        shutdown.expire();
    }))
}

/// Says why the process does not start; there is no log yet.
fn cannot_start(name: &str, error: &dyn Error) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{name}: {}", chain(error));
    ExitCode::FAILURE
}

/// An error and its causes in one line; a cause that its error tells itself is not repeated.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        // Some errors tell their cause themselves.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::{End, Shutdown, chain, supervise};

    async fn end<F, Fut>(shutdown: &Shutdown, main: F) -> End
    where
        F: FnOnce(Shutdown) -> Fut,
        Fut: Future<Output = io::Result<()>>,
    {
        supervise("test", shutdown.clone(), Duration::from_secs(30), main).await
    }

    #[tokio::test]
    async fn a_run_ends_as_its_main_does() {
        let shutdown = Shutdown::new();
        assert_eq!(end(&shutdown, |_| async { Ok(()) }).await, End::Finished);
        assert_eq!(end(&shutdown, |_| async { Err(io::Error::other("no")) }).await, End::Failed);
        assert!(!shutdown.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn draining_has_a_deadline() {
        let begin = tokio::time::Instant::now();
        let shutdown = Shutdown::new();
        let drained = end(&shutdown, |shutdown| async move {
            shutdown.drain();
            shutdown.draining().await;
            tokio::time::sleep(Duration::from_secs(29)).await;
            Ok(())
        });
        assert_eq!(drained.await, End::Finished);
        assert!(shutdown.is_draining() && !shutdown.is_expired());
        let dropped = end(&shutdown, |_| std::future::pending());
        assert_eq!(dropped.await, End::Dropped);
        assert!(shutdown.is_expired());
        assert_eq!(begin.elapsed().as_secs(), 29 + 30);
    }

    #[test]
    fn causes_are_told_in_one_line() {
        let inner = io::Error::other("the disk is full");
        let outer = crate::tls::TlsError::File { path: "a/key.pem".into(), source: inner };
        assert_eq!(chain(&outer), "a/key.pem cannot be read: the disk is full");
        let told_twice = io::Error::other(outer);
        assert_eq!(chain(&told_twice), "a/key.pem cannot be read: the disk is full");
    }
}
