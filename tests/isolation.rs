//! What callers of a healthy register notice of three others: one frozen, one failing at once, one slow by 5 s; also
//! on the same connection, and beside replies of 1 MB that nobody reads. Measured side by side in one run: each phase
//! with the trouble stands between two without it, under the same load, at 70 % of what the bus can take just then;
//! what those two differ by is what the machine adds.
//! `./test isolation` runs it; without `measure` it does nothing, so that the ordinary tests only build it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, unreachable_pub)]

#[path = "isolation/bus.rs"]
mod bus;
#[path = "isolation/figures.rs"]
mod figures;
#[path = "isolation/portal.rs"]
mod portal;
#[path = "isolation/register.rs"]
mod register;
mod world;

use std::{process::ExitCode, time::Duration};

use bus::{Bus, PROVIDERS};
use figures::{Figures, Phase, SHARED};
use portal::{Connection, throughput};
use register::Conduct;

const USAGE: &str = "usage: isolation measure [--rounds NUMBER] [--trouble frozen,failing,slow,unread]";

/// Share of the greatest throughput at which it is measured.
const LOAD: f64 = 0.7;

/// A phase: until the state is the phase's own, and what is measured of it.
const SETTLE: Duration = Duration::from_millis(1500);
const MEASURED: Duration = Duration::from_secs(3);

/// Replies of 1 MB that nobody reads, on the connection that all calls share.
const UNREAD: usize = 200;

/// Callers at once, to find the greatest throughput, and for how long.
const CALLERS: usize = 256;
const SATURATED: Duration = Duration::from_secs(3);

/// What is measured, as the command line says.
struct Wanted {
    rounds: usize,
    trouble: Vec<Trouble>,
}

/// What happens beside the fourth register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Frozen,
    Failing,
    Slow,
    Unread,
}

const TROUBLE: [(&str, Trouble); 4] = [
    ("frozen", Trouble::Frozen),
    ("failing", Trouble::Failing),
    ("slow", Trouble::Slow),
    ("unread", Trouble::Unread),
];

/// `None`: nothing is to be measured.
fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<Wanted> {
    // Cargo runs every test target, with words of its own.
    arguments.next().filter(|first| first == "measure")?;
    let mut wanted = Wanted { rounds: 30, trouble: TROUBLE.map(|(_, trouble)| trouble).into() };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().expect(USAGE);
        match argument.as_str() {
            "--rounds" => wanted.rounds = value.parse().expect(USAGE),
            "--trouble" => {
                let words = value.split(',').filter(|word| !word.is_empty());
                let named = words.map(|word| TROUBLE.iter().find(|(name, _)| *name == word));
                wanted.trouble = named.map(|found| found.expect(USAGE).1).collect();
            }
            _ => panic!("{argument}: not known; {USAGE}"),
        }
    }
    Some(wanted)
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else { return ExitCode::SUCCESS };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let figures = runtime.block_on(measure(&wanted));
    println!("{figures}");
    if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(wanted: &Wanted) -> Figures {
    let mut bus = Bus::start().await;
    // All four registers are asked on the first connection; the second only shares the gateway.
    let shared = Connection::open(&bus.world).await;
    let apart = Connection::open(&bus.world).await;
    let connections = [shared.clone(), apart];
    // What the bus does for the first time is no part of it.
    throughput(&connections, CALLERS, SATURATED).await;
    let mut figures = Figures::default();
    for _ in 0..wanted.rounds {
        // Found anew: a log that grows takes a little longer to write.
        let greatest = throughput(&connections, CALLERS, SATURATED).await;
        let rate = greatest * LOAD;
        let before = phase(&mut bus, &connections, rate, &[]).await;
        let with = phase(&mut bus, &connections, rate, &wanted.trouble).await;
        let after = phase(&mut bus, &connections, rate, &[]).await;
        println!("{greatest:.0} calls/s at most; {}", figures.add(before, with, after));
    }
    drop((shared, connections));
    bus.end().await;
    figures
}

/// One phase.
async fn phase(bus: &mut Bus, connections: &[Connection], rate: f64, trouble: &[Trouble]) -> Phase {
    let mut unread = Vec::new();
    for trouble in trouble {
        match trouble {
            Trouble::Frozen => bus.registers[0].set(Conduct::Frozen),
            Trouble::Failing => bus.registers[1].set(Conduct::Failing),
            Trouble::Slow => bus.registers[2].set(Conduct::Slow),
            Trouble::Unread => {
                for _ in 0..UNREAD {
                    unread.push(connections[SHARED].begin("Down", PROVIDERS[3]).await.expect("begun"));
                }
            }
        }
    }
    let before = cpu_ticks();
    let seen = portal::ask(connections, rate, SETTLE, MEASURED).await;
    let phase = Phase { seen, cpu_ticks: cpu_ticks() - before };
    drop(unread);
    for register in &bus.registers {
        register.set(Conduct::Well);
    }
    if trouble.contains(&Trouble::Failing) {
        // Its service is shut, the longer the more often: so it begins anew.
        bus.restart(1).await;
    }
    // Until the three serve again, so that both phases make the same calls.
    for provider in PROVIDERS {
        world::patient(async { while connections[SHARED].call(provider).await.is_err() {} }).await;
    }
    phase
}

/// CPU time of this process, in which all parties are, in ticks (proc(5), utime and stime).
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit_once(')').expect("the name is in brackets").1;
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}
