//! The snapshot that requests are decided on: everything precomputed, nothing changed afterwards.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use ura_log::note::Key;
use ura_proto::SystemId;

use crate::config::Limits;

use super::{
    contract::{Contract, Method, Validate},
    grant::Grant,
    titles::Titles,
};

/// A contract offered by one provider: what a plug serves and a call is routed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceKey {
    /// `package.Service`.
    pub(crate) contract: Arc<str>,
    /// Who answers it.
    pub(crate) provider: SystemId,
}

/// A service of the directory.
#[derive(Debug)]
pub(crate) struct Service {
    /// Contract and provider.
    pub(crate) key: ServiceKey,
    /// What it may take of the bus.
    pub(crate) limits: ServiceLimits,
    /// Whether its messages are held against its contract.
    pub(crate) validate: Validate,
}

impl Service {
    /// How long a unary call of it may take.
    pub(crate) fn unary_timeout(&self, limits: &Limits) -> Duration {
        self.limits.timeout.unwrap_or(Duration::from_millis(limits.unary_timeout_ms))
    }
}

/// What one service may take of the bus; `None`: what the gateway's configuration says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServiceLimits {
    /// Calls in hand at once, 1 to 100,000.
    pub(crate) calls_in_flight_max: Option<usize>,
    /// Calls that wait for one of those to end, up to 100,000.
    pub(crate) queue_max: Option<usize>,
    /// For how long, up to a minute.
    pub(crate) wait: Option<Duration>,
    /// A unary call, up to an hour.
    pub(crate) timeout: Option<Duration>,
}

/// A system of the directory.
#[derive(Debug, Default)]
pub(crate) struct System {
    /// May ask.
    pub(crate) consumer: bool,
    /// May answer.
    pub(crate) provider: bool,
    /// Is a gateway of the bus; answers the bus's own contracts and no other.
    pub(crate) gateway: bool,
    /// May read what the bus's own services tell to auditors only; neither asks nor answers.
    pub(crate) auditor: bool,
    /// The key by which its cosignatures of checkpoints are known (C2SP tlog-cosignature).
    pub(crate) cosigner: Option<Key>,
    /// Where it listens, if the gateway is to dial it.
    pub(crate) dial: Option<Arc<str>>,
    /// What it was granted, by contract.
    pub(crate) grants: HashMap<Arc<str>, Vec<Arc<Grant>>>,
}

/// Why a consumer asks, and which law allows it.
#[derive(Debug)]
pub(crate) struct Purpose {
    /// The code that calls name.
    pub(crate) code: Arc<str>,
    /// What it is called.
    pub(crate) title: Titles,
    /// Act and article as cited, 1 to 400 characters.
    pub(crate) legal_basis: Box<str>,
}

#[cfg(test)]
impl Purpose {
    /// A purpose of which only the code matters.
    pub(crate) fn for_tests(code: &str) -> Self {
        let title = Titles::of(code, "", "").expect("a code");
        Self { code: code.into(), title, legal_basis: "Law".into() }
    }
}

/// One state of the directory.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Version as the file names it.
    pub(crate) version: Arc<str>,
    /// SHA-256 of the file and of every contract it names.
    pub(crate) digest: [u8; 32],
    /// Where adapters are to plug in, `host:port` each; at most 16. Empty: where their operators say.
    pub(crate) gateways: Vec<String>,
    /// By id.
    pub(crate) systems: HashMap<SystemId, System>,
    /// Approved contracts by name.
    pub(crate) contracts: HashMap<Arc<str>, Contract>,
    /// Methods by path.
    pub(crate) methods: HashMap<Arc<str>, Arc<Method>>,
    /// Services by contract.
    pub(crate) services: HashMap<Arc<str>, Vec<Arc<Service>>>,
    /// Names of members by id.
    pub(crate) members: HashMap<Box<str>, Titles>,
    /// Purposes by code.
    pub(crate) purposes: HashMap<Arc<str>, Arc<Purpose>>,
    /// Every grant by its id.
    pub(crate) grants: HashMap<Arc<str>, Arc<Grant>>,
}

impl Snapshot {
    /// Addresses of the adapters that the gateway dials.
    pub(crate) fn dialled(&self) -> impl Iterator<Item = (&SystemId, &Arc<str>)> {
        self.systems.iter().filter_map(|(id, system)| system.dial.as_ref().map(|address| (id, address)))
    }

    /// The grant of an id, whoever holds it and whether or not it holds now.
    pub(crate) fn grant(&self, id: &str) -> Option<&Arc<Grant>> {
        self.grants.get(id)
    }

    /// The purpose of a code.
    pub(crate) fn purpose(&self, code: &str) -> Option<&Arc<Purpose>> {
        self.purposes.get(code)
    }

    /// Name of a member, the part of a system id before the slash.
    pub(crate) fn member(&self, name: &str) -> Option<&Titles> {
        self.members.get(name)
    }

    /// Whether `provider` offers `contract`.
    pub(crate) fn offers(&self, contract: &str, provider: &SystemId) -> bool {
        self.services.get(contract).is_some_and(|all| all.iter().any(|s| s.key.provider == *provider))
    }
}

/// Whether a text is an address that can be dialled.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
        || text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([':', '/', ' ']) && port.parse::<u16>().is_ok_and(|p| p != 0)
        })
}
