//! What an adapter serves: its contracts, and around them health, reflection and the bus's own
//! service. Built once, checked as a whole, then shared by all connections.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::Arc,
};

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use tokio::sync::watch;
use tonic::{body::Body, server::NamedService};
use tonic_health::pb::health_server::HealthServer;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};
use ura_proto::{SystemId, v1::plug_service_server::PlugServiceServer};

use super::{
    Handler,
    health::Health,
    reflection,
    verdict::{Plugged, Verdicts},
};
use crate::config::Limits;

/// Largest message of health, reflection and plug calls, in bytes.
pub(super) const OWN_BYTES_MAX: usize = 1024 * 1024;

/// A gRPC service of whatever make.
pub(super) type Boxed = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

/// Why parts do not make a service.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// There is no contract.
    #[error("an adapter needs at least one contract")]
    Empty,
    /// Two parts answer one contract.
    #[error("the contract {0} is served twice")]
    Twice(String),
    /// The bus serves these names itself.
    #[error("{0} is served by the adapter library itself")]
    Reserved(String),
    /// The descriptor set does not hold the contract.
    #[error("the descriptor set of {contract} does not describe it: {reason}")]
    Undescribed {
        /// Full service name.
        contract: String,
        /// What is missing or broken.
        reason: String,
    },
    /// Handlers answer one request each.
    #[error(
        "{0} takes a stream of requests: such a method needs a typed service, declared adapters and handlers answer one request each"
    )]
    ClientStreaming(String),
    /// Two descriptor sets bring different files under one name.
    #[error("{file} means one thing in the contract {first} and another in {second}")]
    FileConflict {
        /// Path as in an `import` line.
        file: String,
        /// Contract that brought the file first.
        first: String,
        /// Contract that brought another one.
        second: String,
    },
}

/// Collects the contracts of an adapter.
pub struct ServiceBuilder {
    offers: Vec<Offer>,
}

/// A contract before it is checked against the others.
pub(super) struct Offer {
    pub(super) contract: Contract,
    pub(super) descriptor_set: Vec<u8>,
    health: Option<watch::Receiver<bool>>,
}

impl Default for ServiceBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ServiceBuilder {
    /// No contract yet.
    #[must_use]
    pub fn new() -> Self {
        Self { offers: Vec::new() }
    }

    /// Adds a contract that `handler` answers. `descriptor_set` is a serialised
    /// `google.protobuf.FileDescriptorSet` with imports, for reflection; `health` is false while the
    /// register cannot be reached.
    ///
    /// # Errors
    /// [`PartsError::ClientStreaming`] where a method takes a stream of requests.
    pub fn handler(
        mut self,
        contract: &ServiceDescriptor,
        descriptor_set: &[u8],
        handler: Arc<dyn Handler>,
        health: watch::Receiver<bool>,
    ) -> Result<Self, PartsError> {
        if let Some(method) = contract.methods().find(|method| method.is_client_streaming()) {
            return Err(PartsError::ClientStreaming(method.full_name().to_owned()));
        }
        self.offers.push(Offer {
            contract: Contract::new(contract, Backend::Dynamic(handler)),
            descriptor_set: descriptor_set.to_vec(),
            health: Some(health),
        });
        Ok(self)
    }

    /// Adds a contract that a generated server answers, all four kinds of method.
    /// [`Caller::of`](crate::Caller::of) tells of a request who asks. Without `health` the contract counts as served while the adapter runs.
    ///
    /// # Errors
    /// [`PartsError::Undescribed`] where the descriptor set does not hold the contract.
    pub fn typed<S>(
        self,
        service: S,
        descriptor_set: &[u8],
        health: Option<watch::Receiver<bool>>,
    ) -> Result<Self, PartsError>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.service(S::NAME, service, descriptor_set, health)
    }

    /// Adds a contract that any tower service answers: it gets every request under
    /// `/<contract>/`. Otherwise as [`typed`](Self::typed).
    ///
    /// # Errors
    /// [`PartsError::Undescribed`] where the descriptor set does not hold the contract.
    pub fn service<S>(
        mut self,
        contract: &str,
        service: S,
        descriptor_set: &[u8],
        health: Option<watch::Receiver<bool>>,
    ) -> Result<Self, PartsError>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let undescribed = |reason: String| PartsError::Undescribed { contract: contract.to_owned(), reason };
        let pool = DescriptorPool::decode(descriptor_set).map_err(|error| undescribed(error.to_string()))?;
        let descriptor = pool
            .get_service_by_name(contract)
            .ok_or_else(|| undescribed("it has no service of this name".to_owned()))?;
        self.offers.push(Offer {
            contract: Contract::new(&descriptor, Backend::Typed(Boxed::new(service))),
            descriptor_set: descriptor_set.to_vec(),
            health,
        });
        Ok(self)
    }

    /// Checks the contracts against each other and puts health, reflection and the plug's service
    /// beside them.
    pub(crate) fn build(self, system: SystemId, limits: Limits) -> Result<Arc<Parts>, PartsError> {
        if self.offers.is_empty() {
            return Err(PartsError::Empty);
        }
        let mut parts = HashMap::new();
        for (name, own) in reflection::services(&self.offers)? {
            parts.insert(name, Part::Own(own));
        }
        let health = self.offers.iter().map(|offer| {
            let name = offer.contract.name.clone();
            (name, offer.health.clone())
        });
        let health =
            HealthServer::new(Health::new(health.collect())).max_decoding_message_size(OWN_BYTES_MAX);
        let verdicts = Arc::new(Verdicts::new(system.clone()));
        let plugged = PlugServiceServer::new(Plugged).max_decoding_message_size(OWN_BYTES_MAX);
        insert_own(&mut parts, health);
        insert_own(&mut parts, plugged);

        let mut contracts = BTreeMap::new();
        for offer in self.offers {
            let name = offer.contract.name.clone();
            match parts.insert(name.clone(), Part::Contract(offer.contract)) {
                None => contracts.insert(name, ()),
                Some(Part::Own(_)) => return Err(PartsError::Reserved(name)),
                Some(Part::Contract(_)) => return Err(PartsError::Twice(name)),
            };
        }
        Ok(Arc::new(Parts { system, limits, parts, contracts: contracts.into_keys().collect(), verdicts }))
    }
}

fn insert_own<S>(parts: &mut HashMap<String, Part>, service: S)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    parts.insert(S::NAME.to_owned(), Part::Own(Boxed::new(service)));
}

/// All that an adapter serves.
pub(crate) struct Parts {
    system: SystemId,
    limits: Limits,
    parts: HashMap<String, Part>,
    contracts: Vec<String>,
    verdicts: Arc<Verdicts>,
}

impl Parts {
    pub(crate) fn system(&self) -> &SystemId {
        &self.system
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Full names of the contracts, sorted.
    pub(crate) fn contracts(&self) -> &[String] {
        &self.contracts
    }

    pub(crate) fn verdicts(&self) -> &Arc<Verdicts> {
        &self.verdicts
    }

    pub(super) fn part(&self, service: &str) -> Option<&Part> {
        self.parts.get(service)
    }
}

/// What answers a service name.
pub(super) enum Part {
    /// The library's own: reflection, health, plug.
    Own(Boxed),
    /// A contract of the institution.
    Contract(Contract),
}

/// Who answers a contract's calls.
pub(super) enum Backend {
    /// By descriptors.
    Dynamic(Arc<dyn Handler>),
    /// By generated code, or whatever else speaks gRPC.
    Typed(Boxed),
}

/// A contract and who answers it.
pub(super) struct Contract {
    name: String,
    methods: HashMap<String, Method>,
    backend: Backend,
}

impl Contract {
    fn new(descriptor: &ServiceDescriptor, backend: Backend) -> Self {
        let name = descriptor.full_name();
        let methods = descriptor.methods().map(|method| {
            let full = format!("{name}/{}", method.name());
            let key = method.name().to_owned();
            let method = Method { name: full.into(), descriptor: method };
            (key, method)
        });
        Self { name: name.to_owned(), methods: methods.collect(), backend }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn method(&self, name: &str) -> Option<&Method> {
        self.methods.get(name)
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }
}

/// A method of a contract. Cheap to clone.
#[derive(Clone)]
pub(super) struct Method {
    name: Arc<str>,
    descriptor: MethodDescriptor,
}

impl Method {
    /// `package.Service/Method`.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn descriptor(&self) -> &MethodDescriptor {
        &self.descriptor
    }
}

/// Sends one request through a service that cannot fail.
pub(super) async fn oneshot(service: Boxed, request: http::Request<Body>) -> http::Response<Body> {
    match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
