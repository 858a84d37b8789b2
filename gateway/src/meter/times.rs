//! What one exchange waited for: its time in the bus is what remains. Clocks are read only where there is
//! something to wait for.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

/// Whom an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The caller: that it sends or reads.
    Caller,
    /// A place in the service, or its first plug.
    Place,
    /// The register, behind its adapter and its line.
    Register,
}

/// A wait under way.
struct Wait<'t> {
    times: &'t Times,
    whom: Waiting,
    since: Option<Instant>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.times.since(self.whom, self.since);
    }
}

/// What one exchange waited for so far.
#[derive(Debug, Default)]
pub(crate) struct Times {
    register_ns: AtomicU64,
    others_ns: AtomicU64,
}

impl Times {
    /// Waits for something, and takes the time; also where the wait is given up.
    pub(crate) async fn of<F: Future>(&self, whom: Waiting, awaited: F) -> F::Output {
        let mut awaited = pin!(awaited);
        let mut wait = Wait { times: self, whom, since: None };
        poll_fn(|context| match awaited.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                wait.since.get_or_insert_with(Instant::now);
                Poll::Pending
            }
        })
        .await
    }

    /// Takes the time since then, where there is a then.
    pub(crate) fn since(&self, whom: Waiting, since: Option<Instant>) {
        let Some(since) = since else { return };
        let waited_ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let times = if whom == Waiting::Register { &self.register_ns } else { &self.others_ns };
        times.fetch_add(waited_ns, Ordering::Relaxed);
    }

    /// Waited for the register.
    pub(super) fn of_register(&self) -> Duration {
        Duration::from_nanos(self.register_ns.load(Ordering::Relaxed))
    }

    /// Waited for anybody.
    pub(super) fn of_all(&self) -> Duration {
        self.of_register() + Duration::from_nanos(self.others_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waiting_takes_time() {
        let times = Times::default();
        let ms = Duration::from_millis;
        assert_eq!(times.of(Waiting::Register, async { 7 }).await, 7);
        assert_eq!(times.of_all(), ms(0));
        times.of(Waiting::Register, tokio::time::sleep(ms(30))).await;
        times.of(Waiting::Caller, tokio::time::sleep(ms(5))).await;
        times.of(Waiting::Place, tokio::time::sleep(ms(2))).await;
        times.since(Waiting::Caller, None);
        assert_eq!((times.of_register(), times.of_all()), (ms(30), ms(37)));
        // Nobody waits any longer.
        let given_up = times.of(Waiting::Register, std::future::pending::<()>());
        assert!(tokio::time::timeout(ms(4), given_up).await.is_err());
        assert_eq!(times.of_register(), ms(34));
    }
}
