//! The server's health: asked of it again and again, and at once when a connection comes or goes.
//!
//! A server that answers that it has no health service is alive, which is all that can be known of it. One
//! that lost a connection may come back as another: its contracts are then read again.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    Bridge, Source,
    calls::Calls,
    contracts::{Described, reflected},
    questions::Questions,
};

/// How often one question is asked that gets no answer.
const ASKED_MAX: usize = 3;

/// Watches one server.
pub(super) struct Watch {
    bridge: Bridge,
    calls: Calls,
    described: Described,
    /// Health of each contract.
    health: Vec<(String, watch::Sender<bool>)>,
}

impl Watch {
    /// Nothing is known to be well yet.
    pub(super) fn new(bridge: &Bridge, calls: Calls, described: &Described) -> Self {
        let health = described.contracts.iter().map(|name| (name.clone(), watch::Sender::new(false)));
        Self { bridge: bridge.clone(), calls, health: health.collect(), described: described.clone() }
    }

    /// Each contract's health.
    pub(super) fn health(&self) -> Vec<(String, watch::Receiver<bool>)> {
        self.health.iter().map(|(name, health)| (name.clone(), health.subscribe())).collect()
    }

    /// Goes on until nobody wants to know. The token ends when the server has other contracts than before.
    pub(super) fn start(self) -> CancellationToken {
        let changed = CancellationToken::new();
        let token = changed.clone();
        tokio::spawn(async move {
            let nobody = join_all(self.health.iter().map(|(_, health)| health.closed()));
            tokio::select! {
                _ = nobody => {}
                () = self.follow() => {
                    for (_, health) in &self.health {
                        health.send_replace(false);
                    }
                    changed.cancel();
                }
            }
        });
        token
    }

    /// Asks and tells; returns when the server has become another one.
    async fn follow(&self) {
        let mut states = self.calls.link().states();
        let mut losses = states.borrow_and_update().losses;
        loop {
            let lost = states.borrow_and_update().losses;
            // Where it does not tell, its health is what it says of it; the contracts are read next time.
            match if lost == losses { Some(true) } else { self.is_the_same().await } {
                Some(false) => return,
                Some(true) => losses = lost,
                None => {}
            }
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(self.bridge.health_interval_ms)) => {}
                changed = states.changed() => if changed.is_err() { return std::future::pending().await },
            }
        }
    }

    /// Whether the server still has its contracts; `None` where it does not tell.
    async fn is_the_same(&self) -> Option<bool> {
        if self.bridge.source != Source::Reflection {
            return Some(true);
        }
        match reflected(&self.bridge, &self.calls).await {
            Ok(described) if described == self.described => Some(true),
            Ok(_) => {
                tracing::warn!(server = %self.bridge.to, "the server has other contracts than before: plugging in anew");
                Some(false)
            }
            Err(error) => {
                tracing::debug!(server = %self.bridge.to, %error, "the server's contracts cannot be read again yet");
                None
            }
        }
    }

    /// Asks once for the health of each contract.
    pub(super) async fn look(&self) {
        let limit = Duration::from_millis(self.bridge.health_timeout_ms);
        let asked = self.health.iter().map(async |(name, health)| {
            let serving = timeout(limit, self.ask(name)).await.unwrap_or(false);
            self.tell(name, health, serving);
        });
        join_all(asked).await;
    }

    fn tell(&self, contract: &str, health: &watch::Sender<bool>, serving: bool) {
        if health.send_if_modified(|known| std::mem::replace(known, serving) != serving) {
            tracing::info!(server = %self.bridge.to, contract, serving, "the health of the server behind the bridge changed");
        }
    }

    async fn ask(&self, contract: &str) -> bool {
        let mut said = self.say(contract).await;
        // A server may retire the connection under the question: no answer counts where none comes again.
        for _ in 1..ASKED_MAX {
            if said.is_ok() || verdict(&said) {
                break;
            }
            said = self.say(contract).await;
        }
        verdict(&said)
    }

    async fn say(&self, contract: &str) -> Result<ServingStatus, Status> {
        match self.check(contract).await {
            // Many servers only know of themselves as a whole.
            Err(status) if status.code() == Code::NotFound => self.check("").await,
            said => said,
        }
    }

    async fn check(&self, service: &str) -> Result<ServingStatus, Status> {
        let questions = Questions::new(self.calls.clone());
        let origin = questions.origin();
        let mut client = HealthClient::with_origin(questions, origin);
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await?;
        Ok(answer.into_inner().status())
    }
}

/// Whether a server that says this is well: one without the health service, or without an entry, answers at
/// least.
fn verdict(said: &Result<ServingStatus, Status>) -> bool {
    match said {
        Ok(status) => *status == ServingStatus::Serving,
        Err(status) => matches!(status.code(), Code::Unimplemented | Code::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_and_does_not_complain_is_well() {
        assert!(verdict(&Ok(ServingStatus::Serving)));
        assert!(verdict(&Err(Status::unimplemented("no such service"))));
        assert!(verdict(&Err(Status::not_found("no entry"))));
        for bad in [ServingStatus::NotServing, ServingStatus::Unknown, ServingStatus::ServiceUnknown] {
            assert!(!verdict(&Ok(bad)), "{bad:?}");
        }
        for bad in [Status::unavailable("gone"), Status::internal("broken"), Status::unauthenticated("who?")]
        {
            assert!(!verdict(&Err(bad)));
        }
    }
}
