//! The snapshot that requests are decided on: everything precomputed, nothing changed afterwards.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use ura_proto::SystemId;

use super::contract::{Contract, Method};

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
}

/// A system of the directory.
#[derive(Debug, Default)]
pub(crate) struct System {
    /// May ask.
    pub(crate) consumer: bool,
    /// May answer.
    pub(crate) provider: bool,
    /// Is a gateway of the bus.
    pub(crate) gateway: bool,
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
}

/// A provider's permission.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Its id, as evidence names it.
    pub(crate) id: Arc<str>,
    /// The service it is for.
    pub(crate) service: Arc<Service>,
    /// Methods by name; `None` for all of the contract.
    pub(crate) methods: Option<Vec<Box<str>>>,
    /// Purposes; empty where the grant asks for none.
    pub(crate) purposes: Vec<Arc<Purpose>>,
    /// First microsecond since 1970-01-01 UTC at which it holds.
    pub(crate) from_unix_us: i64,
    /// First microsecond at which it holds no more.
    pub(crate) until_unix_us: i64,
}

/// One state of the directory.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Version as the file names it.
    pub(crate) version: Arc<str>,
    /// SHA-256 of the file and of every contract it names.
    pub(crate) digest: [u8; 32],
    /// By id.
    pub(crate) systems: HashMap<SystemId, System>,
    /// Approved contracts by name.
    pub(crate) contracts: HashMap<Arc<str>, Contract>,
    /// Methods by path.
    pub(crate) methods: HashMap<Arc<str>, Arc<Method>>,
    /// Services by contract.
    pub(crate) services: HashMap<Arc<str>, Vec<Arc<Service>>>,
}

impl Snapshot {
    /// Addresses of the adapters that the gateway dials.
    pub(crate) fn dialled(&self) -> impl Iterator<Item = (&SystemId, &Arc<str>)> {
        self.systems.iter().filter_map(|(id, system)| system.dial.as_ref().map(|address| (id, address)))
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
