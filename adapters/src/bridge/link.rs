//! The connections to the server: a few, each made anew when it goes; a call takes the least loaded.
//!
//! Knows when the server is there; must not know what is said on the connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::Dial;

/// Waits between attempts: the server is beside us and is to be found again quickly.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// A connection that lasted this long did not fail.
const GOOD: Duration = Duration::from_secs(1);

/// The connections. Dropped, no new ones are made; those that carry calls end with the last of them.
pub(super) struct Link {
    states: watch::Receiver<State>,
    _stop: DropGuard,
}

/// What there is.
#[derive(Clone, Default)]
pub(super) struct State {
    live: Vec<Arc<Wire>>,
    /// Why the last attempt failed, where nothing has succeeded since.
    trouble: Option<String>,
    /// Connections lost so far.
    pub(super) losses: u64,
}

/// One connection.
struct Wire {
    sender: SendRequest<Bytes>,
    /// Calls on it.
    load: Arc<AtomicUsize>,
    /// No call is taken any more.
    leaving: CancellationToken,
}

/// A call's place on a connection, until dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    /// Begins to connect.
    pub(super) fn start(dial: Dial, connections: usize) -> Arc<Self> {
        let (sender, states) = watch::channel(State::default());
        let (dial, sender, stop) = (Arc::new(dial), Arc::new(sender), CancellationToken::new());
        for _ in 0..connections {
            let slot = slot(Arc::clone(&dial), Arc::clone(&sender));
            tokio::spawn(stop.clone().run_until_cancelled_owned(slot));
        }
        Arc::new(Self { states, _stop: stop.drop_guard() })
    }

    /// A connection for one call; waits while one is being made, and not while the server is away.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn open(&self) -> Result<(SendRequest<Bytes>, Place), String> {
        let mut states = self.states.clone();
        loop {
            let wire = {
                let known = states.wait_for(|state| !state.live.is_empty() || state.trouble.is_some()).await;
                let Ok(state) = known else { return Err("the bridge is leaving".to_owned()) };
                match state.least_loaded() {
                    Some(wire) => wire,
                    None => return Err(state.trouble.clone().unwrap_or_default()),
                }
            };
            let place = wire.take();
            if let Ok(ready) = wire.sender.clone().ready().await {
                return Ok((ready, place));
            }
            // The server says goodbye on it: what is in flight goes on, new calls go elsewhere.
            wire.leaving.cancel();
            drop(states.wait_for(|state| !state.live.iter().any(|other| Arc::ptr_eq(other, &wire))).await);
        }
    }

    /// The connections now and whenever they change.
    pub(super) fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }
}

impl State {
    fn least_loaded(&self) -> Option<Arc<Wire>> {
        self.live.iter().min_by_key(|wire| wire.load.load(Ordering::Relaxed)).cloned()
    }
}

impl Wire {
    fn take(&self) -> Place {
        self.load.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(&self.load))
    }
}

/// Keeps one connection, for as long as it is polled.
async fn slot(dial: Arc<Dial>, states: Arc<watch::Sender<State>>) {
    let mut failures = 0u32;
    loop {
        sleep(delay(failures, rand::random())).await;
        match dial.connect().await {
            Err(reason) => {
                failures = failures.saturating_add(1);
                failed(&dial, &states, reason);
            }
            Ok((sender, mut driver)) => {
                let born = Instant::now();
                let wire = Arc::new(Wire { sender, load: Arc::default(), leaving: CancellationToken::new() });
                connected(&dial, &states, &wire);
                let reason = tokio::select! {
                    ended = &mut driver => ended.unwrap_or_default(),
                    () = wire.leaving.cancelled() => "the server asked for another connection".to_owned(),
                };
                lost(&dial, &states, &wire, &reason);
                failures = if born.elapsed() >= GOOD { 0 } else { failures.saturating_add(1) };
            }
        }
    }
}

/// How long to wait after so many failures in a row; `random` from 0 to 1 spreads the slots.
fn delay(failures: u32, random: f64) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => FIRST.saturating_mul(1u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(LONGEST).mul_f64(random),
    }
}

fn connected(dial: &Dial, states: &watch::Sender<State>, wire: &Arc<Wire>) {
    states.send_modify(|state| {
        if state.live.is_empty() {
            tracing::info!(server = %dial.address(), "connected to the server behind the bridge");
        }
        state.live.push(Arc::clone(wire));
        state.trouble = None;
    });
}

fn lost(dial: &Dial, states: &watch::Sender<State>, wire: &Arc<Wire>, reason: &str) {
    states.send_modify(|state| {
        state.live.retain(|other| !Arc::ptr_eq(other, wire));
        state.losses += 1;
        if state.live.is_empty() {
            tracing::warn!(server = %dial.address(), reason, "no connection to the server behind the bridge");
        }
    });
}

fn failed(dial: &Dial, states: &watch::Sender<State>, reason: String) {
    states.send_if_modified(|state| {
        if state.trouble.as_ref() == Some(&reason) {
            return false;
        }
        if state.live.is_empty() {
            tracing::warn!(server = %dial.address(), reason, "cannot reach the server behind the bridge, trying on");
        }
        state.trouble = Some(reason);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_second() {
        let waits: Vec<_> = (0..8).map(|failures| delay(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(delay(u32::MAX, 1.0), LONGEST);
        assert_eq!(delay(5, 0.0), Duration::ZERO);
    }
}
