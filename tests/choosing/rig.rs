//! A bus with registers whose conduct is ordered.

use std::sync::Arc;

use ura_adapters::run::Adapter;
use ura_runtime::process::Shutdown;

use super::register::{Conduct, Register};
use crate::world::{
    Plan, World,
    client::{Client, Ended, Started},
    directory, patient,
    probe::Ask,
};

/// A world, its registers, and one connection of the portal.
pub struct Rig {
    pub world: World,
    pub client: Client,
    pub registers: Vec<Arc<Register>>,
    adapters: Vec<(Adapter, Shutdown)>,
}

impl Rig {
    /// Adapters of one service, one for each conduct.
    pub async fn of(conducts: &[Conduct]) -> Self {
        Self::with(conducts, "", "").await
    }

    /// The same, with lines for the service in the directory and for the gateway's limits.
    pub async fn with(conducts: &[Conduct], service: &str, limits: &str) -> Self {
        let own = directory().replace("\"arc/probe\" }]", &format!("\"arc/probe\"{service} }}]"));
        assert!(service.is_empty() || own.contains(service), "the directory names the service");
        let plan = Plan { directory: own, limits: limits.to_owned(), adapter: false, ..Plan::default() };
        let world = World::with(plan).await;
        let mut rig =
            Self { client: world.portal().await, world, registers: Vec::new(), adapters: Vec::new() };
        for conduct in conducts {
            rig.plug("arc/probe", *conduct).await;
        }
        rig
    }

    /// Plugs another register in.
    pub async fn plug(&mut self, system: &str, conduct: Conduct) {
        let (register, shutdown) = (Register::new(conduct), Shutdown::new());
        let services = register.services(self.world.dir.path());
        let adapter = self.world.plug_with(system, services, &shutdown).await;
        let mut verdict = adapter.verdict();
        let both = |now: &ura_adapters::serve::Verdict| now.connections == 2 && !now.accepted.is_empty();
        patient(verdict.wait_for(both)).await.expect("plugged in");
        self.registers.push(register);
        self.adapters.push((adapter, shutdown));
    }

    /// A call with a key of its own.
    pub async fn call(&self, method: &str, key: &str) -> Ended {
        self.client.call(method, &[("idempotency-key", key)], &Ask::default()).await
    }

    /// Begins a call of a provider.
    pub async fn begin(&self, provider: &str) -> Started {
        let mut started = self.client.start("Read", &[("ura-provider", provider)]);
        started.message(&Ask::default()).await;
        started.close();
        started
    }

    /// Calls so far, of all registers.
    pub fn asked(&self) -> usize {
        self.registers.iter().map(|register| register.count()).sum()
    }

    pub async fn end(self) {
        drop(self.client);
        for (adapter, shutdown) in self.adapters {
            shutdown.drain();
            patient(adapter.finished()).await;
        }
        self.world.end().await;
    }
}
