//! A bus with four registers, each with a provider and an adapter of its own.

use std::fmt::Write as _;

use ura_adapters::run::Adapter;
use ura_runtime::process::Shutdown;

use super::register::Register;
use crate::world::{Plan, World, directory, issue, patient};

/// The providers; the last is the one whose callers are looked at.
pub const PROVIDERS: [&str; 4] = ["arc/frozen", "arc/failing", "arc/slow", "arc/fourth"];

/// The bus, while it is measured.
pub struct Bus {
    pub world: World,
    pub registers: Vec<Register>,
    adapters: Vec<(Adapter, Shutdown)>,
    descriptor_set: Vec<u8>,
}

impl Bus {
    pub async fn start() -> Self {
        let mut text = directory();
        let (mut systems, mut services) = (String::new(), String::new());
        for provider in PROVIDERS {
            writeln!(systems, "  {{ id = \"{provider}\", roles = [\"provider\"] }},").expect("a string");
            write!(services, "{{ contract = \"test.v1.Probe\", provider = \"{provider}\" }}, ")
                .expect("a string");
            let grant = [
                "[[grants]]".to_owned(),
                format!("id = \"{provider}\""),
                format!("provider = \"{provider}\""),
            ];
            let rest = ["consumer = \"ais/portal\"", "contract = \"test.v1.Probe\"", "methods = [\"*\"]"];
            writeln!(text, "\n{}\n{}", grant.join("\n"), rest.join("\n")).expect("a string");
        }
        let text = text
            .replace("systems = [\n", &format!("systems = [\n{systems}"))
            .replace("services = [", &format!("services = [{services}"));
        let world = World::with(Plan { directory: text, adapter: false, ..Plan::default() }).await;
        let contract =
            ura_proto::contract::Contract::from_proto("test.v1.Probe", &world.path("probe.proto"), &[])
                .expect("the probe's contract");
        let mut bus = Self {
            world,
            descriptor_set: contract.descriptor_set,
            registers: Vec::new(),
            adapters: Vec::new(),
        };
        for provider in PROVIDERS {
            issue(&bus.world.authority, bus.world.dir.path(), provider, &[]);
            let register = Register::new();
            let adapter = bus.plug(provider, &register).await;
            bus.registers.push(register);
            bus.adapters.push(adapter);
        }
        bus
    }

    /// An adapter, plugged in.
    async fn plug(&self, provider: &str, register: &Register) -> (Adapter, Shutdown) {
        let shutdown = Shutdown::new();
        let services = register.services(&self.descriptor_set);
        let adapter = self.world.plug_with(provider, services, &shutdown).await;
        let mut verdict = adapter.verdict();
        patient(verdict.wait_for(|now| now.connections == 2 && !now.accepted.is_empty()))
            .await
            .expect("plugged in");
        (adapter, shutdown)
    }

    /// Starts the adapter of a register anew: what the gateway knew of its plugs is forgotten with them.
    pub async fn restart(&mut self, number: usize) {
        let (adapter, shutdown) = self.adapters.remove(number);
        shutdown.drain();
        patient(adapter.finished()).await;
        let adapter = self.plug(PROVIDERS[number], &self.registers[number]).await;
        self.adapters.insert(number, adapter);
    }

    pub async fn end(self) {
        for (adapter, shutdown) in self.adapters {
            shutdown.drain();
            patient(adapter.finished()).await;
        }
        self.world.end().await;
    }
}
