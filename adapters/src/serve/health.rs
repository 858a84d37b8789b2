//! `grpc.health.v1`, fed by the registers' own state and by the stage of the connection that asks.
//!
//! There is no task and no copy of a state: every answer is read from where the state lives. A watch
//! ends when its connection closes, so that it does not hold a draining one open.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health as HealthTrait,
};

use super::{Connection, Stage};

/// Health of the contracts; the name "" stands for the adapter as a whole.
pub(super) struct Health {
    contracts: HashMap<String, Option<watch::Receiver<bool>>>,
}

impl Health {
    /// Each contract with the register's state; `None` is always well.
    pub(super) fn new(contracts: HashMap<String, Option<watch::Receiver<bool>>>) -> Self {
        Self { contracts }
    }

    fn watcher(&self, service: &str, stage: watch::Receiver<Stage>) -> Watcher {
        let (known, register) = match self.contracts.get(service) {
            Some(register) => (true, register.clone()),
            None => (service.is_empty(), None),
        };
        Watcher { known, register, stage, told: None }
    }

    /// A watcher for who asks.
    fn asked(&self, request: &Request<HealthCheckRequest>) -> Result<Watcher, Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        let connection = connection.ok_or_else(|| Status::internal("a call without its connection"))?;
        Ok(self.watcher(&request.get_ref().service, connection.stage()))
    }
}

/// One caller's view of one service.
struct Watcher {
    known: bool,
    register: Option<watch::Receiver<bool>>,
    stage: watch::Receiver<Stage>,
    told: Option<ServingStatus>,
}

impl Watcher {
    /// The state now; from here on both sources are watched for changes.
    fn look(&mut self) -> (ServingStatus, Stage) {
        let stage = *self.stage.borrow_and_update();
        let register = self.register.as_mut().is_none_or(|register| *register.borrow_and_update());
        let status = match (self.known, register && stage == Stage::Serving) {
            (false, _) => ServingStatus::ServiceUnknown,
            (true, true) => ServingStatus::Serving,
            (true, false) => ServingStatus::NotServing,
        };
        (status, stage)
    }

    /// The next state worth telling; `None` once the connection closes.
    async fn next(mut self) -> Option<(ServingStatus, Self)> {
        loop {
            let (status, stage) = self.look();
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((status, self));
            }
            if stage == Stage::Closing {
                return None;
            }
            tokio::select! {
                () = changed(&mut self.register) => {}
                stage = self.stage.changed() => if stage.is_err() { return None },
            }
        }
    }
}

/// Waits for a change; a register that went away keeps its last state.
async fn changed(register: &mut Option<watch::Receiver<bool>>) {
    if let Some(receiver) = register
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl HealthTrait for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.asked(&request)?.look().0 {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service here")),
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = self.asked(&request)?;
        let states = stream::unfold(watcher, async |watcher| {
            let (status, watcher) = watcher.next().await?;
            Some((Ok(response(status)), watcher))
        });
        Ok(Response::new(Box::pin(states)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_follows_register_and_stage_and_then_ends() {
        let (register, state) = watch::channel(true);
        let (stage, stages) = watch::channel(Stage::Serving);
        let health = Health::new(HashMap::from([("a.B".to_owned(), Some(state))]));
        let watcher = health.watcher("a.B", stages);
        let (status, watcher) = watcher.next().await.expect("a state");
        assert_eq!(status, ServingStatus::Serving);
        register.send(false).expect("watched");
        let (status, watcher) = watcher.next().await.expect("a state");
        assert_eq!(status, ServingStatus::NotServing);
        register.send(true).expect("watched");
        let (status, watcher) = watcher.next().await.expect("a state");
        assert_eq!(status, ServingStatus::Serving);
        stage.send(Stage::Leaving).expect("watched");
        let (status, watcher) = watcher.next().await.expect("a state");
        assert_eq!(status, ServingStatus::NotServing);
        stage.send(Stage::Closing).expect("watched");
        assert!(watcher.next().await.is_none());
    }

    #[tokio::test]
    async fn unknown_services_are_told_apart() {
        let (_stage, stages) = watch::channel(Stage::Serving);
        let health = Health::new(HashMap::new());
        assert_eq!(health.watcher("", stages.clone()).look().0, ServingStatus::Serving);
        assert_eq!(health.watcher("x", stages).look().0, ServingStatus::ServiceUnknown);
    }
}
