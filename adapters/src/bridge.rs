//! The bridge: plugs in a gRPC server that runs beside the adapter, in whatever language, unchanged.
//!
//! Its contracts come from the server's reflection or from a file; calls pass as opaque bytes, all four
//! kinds of method; its health is asked of the server itself. Must not know what the messages mean.

mod address;
mod calls;
mod config;
mod contracts;
mod dial;
mod download;
mod link;
mod questions;
mod upload;
mod watch;

use tokio_util::sync::CancellationToken;
use ura_proto::SystemId;
use ura_runtime::process::Shutdown;

pub(crate) use self::config::RawBridge;
pub use self::{
    address::{Address, AddressError},
    config::{Bridge, Source},
    contracts::ContractsError,
};
use self::{calls::Calls, contracts::Described, dial::Dial, link::Link, watch::Watch};
use crate::{
    config::Limits,
    serve::{PartsError, ServiceBuilder},
};

/// Why a server cannot be bridged. That it cannot be reached is no reason: the bridge tries on.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The authorities for the server's certificate cannot be read.
    #[error("{0}")]
    Authorities(String),
    /// There is nothing to plug in.
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    /// The adapter was told to leave before the server had told its contracts.
    #[error("told to leave while waiting for the server at {0}")]
    Stopped(Address),
}

/// A server that told what it offers.
pub(crate) struct Bridged {
    calls: Calls,
    described: Described,
    watch: Watch,
}

impl Bridged {
    /// Connects to the server and learns its contracts; waits for it, where it is asked for them.
    pub(crate) async fn open(
        bridge: &Bridge,
        limits: &Limits,
        system: &SystemId,
        shutdown: &Shutdown,
    ) -> Result<Self, BridgeError> {
        let dial = Dial::new(bridge, limits).map_err(BridgeError::Authorities)?;
        let link = Link::start(dial, bridge.connections);
        let calls = Calls::new(link, system.clone(), &bridge.to);
        let described = tokio::select! {
            described = contracts::learn(bridge, &calls) => described?,
            () = shutdown.draining() => return Err(BridgeError::Stopped(bridge.to.clone())),
        };
        let watch = Watch::new(bridge, calls.clone(), &described);
        // The gateway asks as soon as it is connected: it is to hear how the server is, not that nobody has looked.
        watch.look().await;
        Ok(Self { calls, described, watch })
    }

    /// Adds the server's contracts to the others. The token ends when the server has become another one:
    /// then what was learnt of it is void.
    pub(crate) fn serve(
        self,
        mut services: ServiceBuilder,
    ) -> Result<(ServiceBuilder, CancellationToken), PartsError> {
        for (name, health) in self.watch.health() {
            let set = &self.described.descriptor_set;
            services = services.service(&name, self.calls.clone(), set, Some(health))?;
        }
        Ok((services, self.watch.start()))
    }
}
