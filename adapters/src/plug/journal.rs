//! What is logged of the connections to one gateway: changes, not attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ura_proto::SystemId;

/// The state of all slots of one gateway, as far as it was logged.
pub(super) struct Journal {
    system: SystemId,
    gateway: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections on which the gateway has accepted a contract.
    up: usize,
    /// The last reason why there was none.
    trouble: Option<String>,
}

impl State {
    /// Whether this is the first connection after none.
    fn up(&mut self) -> bool {
        self.up += 1;
        self.trouble = None;
        self.up == 1
    }

    /// Whether the last connection has gone.
    fn down(&mut self) -> bool {
        self.up = self.up.saturating_sub(1);
        self.up == 0
    }

    /// Whether this is news: nothing is connected, or what is cannot be replaced, and the reason is another
    /// than before.
    fn failed(&mut self, reason: &str, replacing: bool) -> bool {
        let news = (self.up == 0 || replacing) && self.trouble.as_deref() != Some(reason);
        if news {
            self.trouble = Some(reason.to_owned());
        }
        news
    }
}

impl Journal {
    pub(super) fn new(system: SystemId, gateway: &str) -> Self {
        Self { system, gateway: gateway.to_owned(), state: Mutex::default() }
    }

    /// A connection was accepted.
    pub(super) fn up(&self) {
        if self.lock().up() {
            tracing::info!(system = %self.system, gateway = self.gateway, "plugged in");
        }
    }

    /// An accepted connection has ended; `leaving` where the adapter wanted it so.
    pub(super) fn down(&self, reason: &str, leaving: bool) {
        let last = self.lock().down();
        match (last, leaving) {
            (true, true) => {
                tracing::info!(system = %self.system, gateway = self.gateway, "unplugged");
            }
            (true, false) => {
                tracing::warn!(system = %self.system, gateway = self.gateway, reason, "the plug is gone, connecting again");
            }
            (false, _) => {
                tracing::debug!(system = %self.system, gateway = self.gateway, reason, "one of the plugs is gone");
            }
        }
    }

    /// There was no connection, or nothing was accepted on it; `replacing`: an older one is there.
    pub(super) fn failed(&self, reason: &str, replacing: bool) {
        if !self.lock().failed(reason, replacing) {
            return;
        }
        let (system, gateway) = (&self.system, &self.gateway);
        if replacing {
            tracing::warn!(%system, gateway, reason, "cannot plug in anew, going on with the plug as it is");
        } else {
            tracing::warn!(%system, gateway, reason, "cannot plug in, trying on");
        }
    }

    /// Another connection is to take the place of one, for this reason.
    pub(super) fn renewing(&self, reason: &str) {
        tracing::info!(system = %self.system, gateway = self.gateway, reason, "plugging in anew");
    }

    /// A poisoned lock holds whole values all the same.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_news() {
        let mut state = State::default();
        assert!(state.failed("refused", false));
        assert!(!state.failed("refused", false));
        assert!(state.failed("timed out", false));
        assert!(state.up());
        assert!(!state.up());
        assert!(!state.failed("refused", false), "the other slot is up");
        assert!(state.failed("expired", true), "but it cannot be replaced");
        assert!(!state.failed("expired", true));
        assert!(!state.down());
        assert!(state.down());
        assert!(state.failed("refused", false));
    }
}
