//! What both directions of a call share: how long it may go on, when something last moved on it,
//! and that it is over.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use ura_proto::refusal::Reason;

use crate::{config::Limits, directory::contract::Method, error::Refusal, meter::Times};

/// The time of one call.
pub(crate) struct Flow {
    /// When it must have ended.
    until: Instant,
    /// Of a stream: the longest time in which nothing moves.
    idle: Option<Duration>,
    began: Instant,
    /// The last movement, milliseconds after it began.
    moved_ms: AtomicU64,
    /// Of a streamed request: ends the task that pumps it.
    pump: Option<CancellationToken>,
    /// What it waited for.
    pub(crate) times: Times,
}

impl Flow {
    /// A call that begins now and must have ended then.
    pub(crate) fn new(method: &Method, limits: &Limits, until: Instant) -> Arc<Self> {
        let streams = method.streams_request || method.streams_reply;
        Arc::new(Self {
            until,
            idle: streams.then(|| Duration::from_millis(limits.stream_idle_ms)),
            began: Instant::now(),
            moved_ms: AtomicU64::new(0),
            pump: method.streams_request.then(CancellationToken::new),
            times: Times::default(),
        })
    }

    /// When it must have ended.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Something moved, in either direction.
    pub(super) fn moved(&self) {
        if self.idle.is_some() {
            let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.moved_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }

    /// When it is over unless something moves.
    pub(super) fn ends(&self) -> Instant {
        let moved = Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
        self.idle.map_or(self.until, |idle| self.until.min(self.began + moved + idle))
    }

    /// Why it is over, where its time is.
    pub(super) fn late(&self) -> Option<Refusal> {
        let now = Instant::now();
        let reason = if now >= self.until {
            Reason::DeadlineExceeded
        } else if now >= self.ends() {
            Reason::StreamIdle
        } else {
            return None;
        };
        let idle_ms = self.idle.unwrap_or_default().as_millis();
        // Rounded up: a call is looked at for a moment before its time is counted here.
        let timeout_ms = self.until.saturating_duration_since(self.began).as_micros().div_ceil(1000);
        let refusal = Refusal::new(reason);
        Some(match reason {
            Reason::StreamIdle => refusal.with("idle_ms", idle_ms.to_string()),
            _ => refusal.with("timeout_ms", timeout_ms.to_string()),
        })
    }

    /// Waits for something, as long as the call has time.
    pub(super) async fn within<F: Future>(&self, awaited: F) -> Result<F::Output, Refusal> {
        tokio::pin!(awaited);
        loop {
            if let Ok(output) = timeout_at(self.ends(), &mut awaited).await {
                return Ok(output);
            }
            // Something may have moved meanwhile.
            if let Some(late) = self.late() {
                return Err(late);
            }
        }
    }

    /// What ends the task that pumps a streamed request.
    pub(super) fn pump(&self) -> Option<&CancellationToken> {
        self.pump.as_ref()
    }

    /// The call is over: whatever of its request is still on the way to the adapter is broken off.
    pub(crate) fn over(&self) {
        if let Some(pump) = &self.pump {
            pump.cancel();
        }
    }
}
