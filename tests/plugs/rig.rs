//! What these tests share: adapters set up as each test wants them, a second gateway.

use std::sync::Arc;

use ura_adapters::{
    config::Config,
    run::{Adapter, serve},
};
use ura_gateway::{Gateway, config::GatewayConfig};
use ura_runtime::{clock::Clock, process::Shutdown};

use crate::world::{
    BEGIN_UNIX_US, World, identity_dir, patient,
    probe::{Ask, Probe},
};

/// A request about nobody in particular, with a wish.
pub fn wish(wish: &str) -> Ask {
    Ask { personal_number: "1234567892".to_owned(), wish: wish.to_owned(), ..Ask::default() }
}

/// A request that hangs, of this mark.
pub fn metadata(key: &str) -> [(&str, &str); 1] {
    [("idempotency-key", key)]
}

/// An adapter of the probe that runs.
pub struct Plugged {
    pub adapter: Adapter,
    pub probe: Arc<Probe>,
    shutdown: Shutdown,
}

impl Plugged {
    /// Starts an adapter of `arc/probe` with a probe of its own; `lines` are its further configuration.
    pub async fn start(world: &World, gateway: &str, lines: &str, limits: &str) -> Self {
        let system = "arc/probe";
        let text = format!(
            "system = \"{system}\"\nidentity = \"{}\"\ngateway_id = \"spiffe://ura.test/ais/gateway\"\n\
             gateways = [\"{gateway}\"]\ncontracts = [\"none.toml\"]\n{lines}\n[limits]\n{limits}\n",
            identity_dir(world.dir.path(), system).display()
        );
        let config = Config::parse(&world.path("adapter.toml"), text).unwrap_or_else(|e| panic!("{e}"));
        let (probe, shutdown) = (Probe::new(), Shutdown::new());
        let services = probe.services(world.dir.path());
        let adapter = serve(config, services, shutdown.clone()).await.expect("the adapter starts");
        Self { adapter, probe, shutdown }
    }

    /// Waits until so many connections were accepted, and no others are there.
    pub async fn connections(&self, count: usize) {
        let mut verdict = self.adapter.verdict();
        let wanted =
            verdict.wait_for(|now| now.connections == count && now.accepted.is_empty() == (count == 0));
        patient(wanted).await.expect("it lives");
    }

    pub async fn leave(self) {
        self.shutdown.drain();
        patient(self.adapter.finished()).await;
    }
}

/// A second gateway of the same bus, with a log of its own.
pub struct Second {
    pub address: String,
    gateway: Gateway,
    shutdown: Shutdown,
}

impl Second {
    pub async fn start(world: &World) -> Self {
        let text = r#"
listen = "127.0.0.1:0"
identity = "pki/ais-gateway"
directory = "directory.toml"
[evidence]
store = "sqlite:evidence-2.db"
keys = "keys"
log_keys = "log-keys-2"
origin = "ura.test/gateway-2"
"#;
        let path = world.path("gateway-2.toml");
        std::fs::write(&path, text).expect("the configuration");
        let config = GatewayConfig::load(&path).unwrap_or_else(|e| panic!("{e}"));
        let shutdown = Shutdown::new();
        let (clock, _) = Clock::manual(BEGIN_UNIX_US);
        let gateway = Gateway::start(config, clock, shutdown.clone()).await.unwrap_or_else(|e| panic!("{e}"));
        Self { address: gateway.address().to_string(), gateway, shutdown }
    }

    pub async fn end(self) {
        self.shutdown.drain();
        patient(self.gateway.finished()).await;
    }
}

/// The directory of the world, with the gateways that adapters are told of.
pub fn directory_with(gateways: &[&str]) -> String {
    crate::world::directory()
        .replace("version = \"test-1\"", &format!("version = \"test-2\"\ngateways = {gateways:?}"))
}
