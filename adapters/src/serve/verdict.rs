//! What the gateways think of this adapter: `ura.v1.PlugService`, and one verdict over all
//! connections.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use ura_proto::{
    SystemId,
    v1::{DrainRequest, DrainResponse, ReportRequest, ReportResponse, plug_service_server::PlugService},
};

use super::Connection;
use crate::config::is_address;

/// Gateways that one gateway may tell of.
const GATEWAYS_MAX: usize = 16;

/// The gateways' verdict on the adapter's contracts, over all live connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Live connections on which a gateway has reported.
    pub connections: usize,
    /// Contracts that at least one connection answers.
    pub accepted: BTreeSet<String>,
    /// Contracts that no connection answers and at least one gateway refuses, with its reason.
    pub refused: BTreeMap<String, String>,
}

impl Verdict {
    fn of<'a>(reports: impl Iterator<Item = &'a ReportRequest> + Clone) -> Self {
        let accepted: BTreeSet<String> =
            reports.clone().flat_map(|report| report.accepted.iter().cloned()).collect();
        let refused = reports
            .clone()
            .flat_map(|report| &report.refused)
            .filter(|refused| !accepted.contains(&refused.contract))
            .map(|refused| (refused.contract.clone(), refused.reason.clone()))
            .collect();
        Self { connections: reports.count(), accepted, refused }
    }

    /// What it says of one contract: accepted, or refused for this reason. `None`: nothing.
    fn on(&self, contract: &str) -> Option<Result<(), String>> {
        if self.accepted.contains(contract) {
            return Some(Ok(()));
        }
        self.refused.get(contract).map(|reason| Err(reason.clone()))
    }
}

/// What all gateways together say where to plug in; what is no address is left out.
fn told_of<'a>(reports: impl Iterator<Item = &'a ReportRequest>) -> BTreeSet<String> {
    let told = reports.flat_map(|report| report.gateways.iter().take(GATEWAYS_MAX));
    told.filter(|gateway| is_address(gateway)).cloned().collect()
}

/// Gathers the reports of all connections into one verdict.
pub(crate) struct Verdicts {
    system: SystemId,
    state: Mutex<State>,
    sender: watch::Sender<Verdict>,
    gateways: watch::Sender<BTreeSet<String>>,
}

#[derive(Default)]
struct State {
    opened: u64,
    reports: HashMap<u64, ReportRequest>,
    /// What was last logged of each contract. A lost connection changes nothing here, so that a
    /// plug which comes and goes is not logged each time.
    logged: BTreeMap<String, Result<(), String>>,
}

impl Verdicts {
    pub(super) fn new(system: SystemId) -> Self {
        let sender = watch::Sender::new(Verdict::default());
        Self { system, state: Mutex::default(), sender, gateways: watch::Sender::default() }
    }

    /// The gateways that the bus tells of, `host:port` each, over all live connections; while there is
    /// none, as it was told last.
    pub(crate) fn gateways(&self) -> watch::Receiver<BTreeSet<String>> {
        self.gateways.subscribe()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Verdict> {
        self.sender.subscribe()
    }

    /// Numbers a new connection.
    pub(super) fn open(&self) -> u64 {
        let mut state = self.lock();
        state.opened += 1;
        state.opened
    }

    /// Forgets a connection and what was said on it.
    pub(super) fn close(&self, connection: u64) {
        let mut state = self.lock();
        if state.reports.remove(&connection).is_some() {
            self.publish(&state);
        }
    }

    /// Takes what a gateway says on a connection; whatever it said there before is void.
    pub(super) fn report(&self, connection: u64, report: ReportRequest) {
        let mut state = self.lock();
        state.reports.insert(connection, report);
        let verdict = self.publish(&state);
        let names = verdict.accepted.iter().chain(verdict.refused.keys());
        for contract in names {
            let now = verdict.on(contract);
            if state.logged.get(contract) != now.as_ref()
                && let Some(now) = now
            {
                self.log(contract, &now);
                state.logged.insert(contract.clone(), now);
            }
        }
    }

    fn log(&self, contract: &str, verdict: &Result<(), String>) {
        let system = &self.system;
        match verdict {
            Ok(()) => tracing::info!(%system, contract, "the gateway accepts the contract"),
            Err(reason) => {
                tracing::warn!(%system, contract, reason, "the gateway refuses the contract");
            }
        }
    }

    fn publish(&self, state: &State) -> Verdict {
        if !state.reports.is_empty() {
            let told = told_of(state.reports.values());
            self.gateways.send_if_modified(|old| {
                let changed = *old != told;
                *old = told;
                changed
            });
        }
        let verdict = Verdict::of(state.reports.values());
        self.sender.send_if_modified(|old| {
            let changed = *old != verdict;
            old.clone_from(&verdict);
            changed
        });
        verdict
    }

    /// A poisoned lock holds whole values all the same: nothing is left half-written here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service through which a gateway speaks of the connection it calls on.
pub(super) struct Plugged;

fn connection<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
    request
        .extensions()
        .get::<Arc<Connection>>()
        .cloned()
        .ok_or_else(|| Status::internal("a call without its connection"))
}

#[tonic::async_trait]
impl PlugService for Plugged {
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        connection(&request)?.reported(request.into_inner());
        Ok(Response::new(ReportResponse {}))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        connection(&request)?.replace();
        Ok(Response::new(DrainResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use ura_proto::v1::RefusedContract;

    use super::*;

    fn report(accepted: &[&str], refused: &[&str]) -> ReportRequest {
        ReportRequest {
            accepted: accepted.iter().map(|&name| name.to_owned()).collect(),
            refused: refused
                .iter()
                .map(|&contract| RefusedContract {
                    contract: contract.to_owned(),
                    reason: "not in the directory".to_owned(),
                })
                .collect(),
            gateways: Vec::new(),
        }
    }

    #[test]
    fn gateways_are_those_that_any_tells_of_and_stay_known_while_none_is_connected() {
        let verdicts = Verdicts::new("a/b".parse().expect("valid"));
        let told = verdicts.gateways();
        let (one, two) = (verdicts.open(), verdicts.open());
        let tell = |connection, gateways: &[&str]| {
            let gateways = gateways.iter().map(|&gateway| gateway.to_owned()).collect();
            verdicts.report(connection, ReportRequest { gateways, ..report(&["x.A"], &[]) });
        };
        let now = || told.borrow().iter().cloned().collect::<Vec<_>>();
        tell(one, &["a:1", "b:1", "nonsense"]);
        assert_eq!(now(), ["a:1", "b:1"]);
        tell(two, &["b:1", "c:1"]);
        assert_eq!(now(), ["a:1", "b:1", "c:1"]);
        tell(one, &["b:1", "c:1"]);
        assert_eq!(now(), ["b:1", "c:1"], "nobody tells of it any more");
        verdicts.close(one);
        verdicts.close(two);
        assert_eq!(now(), ["b:1", "c:1"], "nobody is there to tell");
        tell(two, &[]);
        assert!(now().is_empty());
    }

    #[test]
    fn one_acceptance_outweighs_refusals_until_its_connection_goes() {
        let verdicts = Verdicts::new("a/b".parse().expect("valid"));
        let seen = verdicts.subscribe();
        let (one, two) = (verdicts.open(), verdicts.open());
        verdicts.report(one, report(&["x.A"], &["x.B"]));
        verdicts.report(two, report(&[], &["x.A"]));
        let verdict = seen.borrow().clone();
        assert_eq!(verdict.connections, 2);
        assert_eq!(verdict.accepted, BTreeSet::from(["x.A".to_owned()]));
        assert!(verdict.refused.contains_key("x.B"));
        assert!(!verdict.refused.contains_key("x.A"));
        verdicts.close(one);
        assert!(seen.borrow().accepted.is_empty());
        assert!(seen.borrow().refused.contains_key("x.A"));
        verdicts.close(two);
        assert_eq!(*seen.borrow(), Verdict::default());
    }
}
