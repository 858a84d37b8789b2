//! One store measured: filled in steps, verified at each, searched, exported, halved.

use std::time::Instant;

use ura_runtime::clock::Clock;

use crate::{
    Wanted,
    child::{self, Ran},
    exchanges::{CONTRACTS, Exchange, Exchanges},
    figures::{Figures, Found, Verified},
    fill::{figure, fill},
    keeper::{Keeper, size},
    questions::{self, ALL},
    random::Random,
};

/// Parts of the last step, each timed, so that one sees whether it becomes slower.
const PARTS: u64 = 9;
/// Exchanges that are kept in mind to be asked for.
const REMEMBERED: u64 = 2000;

/// Measures all.
pub async fn all(keeper: &Keeper, wanted: &Wanted, random: &mut Random) -> Figures {
    let all = Exchanges::before(Clock::system().unix_us(), wanted.exchanges);
    let empty = empty_bytes(keeper).await;
    let mut figures = Figures { exchanges: all.count, ..Figures::default() };
    let mut some = Vec::new();
    let mut from = 0;
    for step in [all.count / 100, all.count / 10, all.count] {
        some.extend(grow(keeper, all, from, step, &mut figures).await);
        figures.verified.push((step, verify(keeper, entries(keeper).await)));
        println!("  {step} exchanges: {:?}", figures.verified.last().expect("pushed"));
        from = step;
    }
    figures.bytes_per_exchange = figure(keeper.bytes().await - empty) / figure(all.count);
    search(keeper, &some, random, &mut figures).await;
    export(keeper, &mut figures).await;
    prune(keeper, all, &mut figures).await;
    figures
}

/// Bytes of a store whose log has no exchange.
async fn empty_bytes(keeper: &Keeper) -> u64 {
    let (evidence, thread) = keeper.write().await;
    drop(evidence);
    thread.join();
    keeper.bytes().await
}

/// Writes the exchanges up to a number; the last step in parts.
async fn grow(
    keeper: &Keeper,
    all: Exchanges,
    from: u64,
    until: u64,
    figures: &mut Figures,
) -> Vec<Exchange> {
    let begun = Instant::now();
    let (evidence, thread) = keeper.write().await;
    figures.opened = begun.elapsed();
    let parts = if until == all.count { PARTS } else { 1 };
    let mut some = Vec::new();
    for part in 0..parts {
        let at = |part| from + (until - from) * part / parts;
        // Odd, so that it keeps clear of what happens to every so-and-so-many of them.
        let keep_every = (all.count / REMEMBERED) | 1;
        let filled = fill(&evidence, all, at(part)..at(part + 1), keep_every).await;
        println!("  {} exchanges: {:.0} entries/s", at(part + 1), filled.per_second());
        figures.filled.push((filled.entries, filled.took));
        some.extend(filled.some);
    }
    drop(evidence);
    thread.join();
    some
}

async fn entries(keeper: &Keeper) -> u64 {
    let reader = keeper.read().await;
    let logs = reader.logs().await.expect("logs");
    reader.close().await;
    logs.first().expect("one log").size
}

fn run(keeper: &Keeper, arguments: &[&str]) -> Ran {
    child::evidence(&keeper.path("said"), arguments)
}

fn verify(keeper: &Keeper, entries: u64) -> Verified {
    let ran = run(keeper, &["verify", "--store", keeper.address(), "--key", &keeper.log_key()]);
    Verified { entries, ran }
}

async fn search(keeper: &Keeper, some: &[Exchange], random: &mut Random, figures: &mut Figures) {
    for (by, name) in ALL {
        let times = questions::ask(keeper, by, some, random).await;
        println!("  find by {name}: {times:?}");
        figures.found.push(Found { name, times });
    }
    let exchange = &some[random.below(some.len())];
    let (id, person) = (exchange.id.to_string(), format!("person={}", exchange.person));
    let store = ["--store", keeper.address()];
    let keys = keeper.named("keys");
    let by_id = run(keeper, &["find", &id, store[0], store[1]]);
    let by_person = run(keeper, &["find", "--subject", &person, "--keys", &keys, store[0], store[1]]);
    let receipt = keeper.named("receipt.json");
    let out = ["receipt", &id, store[0], store[1], "--keys", &keys, "--out", &receipt];
    let made = run(keeper, &out);
    run(keeper, &["verify", &receipt, "--key", &keeper.log_key()]);
    for (name, ran) in [
        ("`ura evidence find EXCHANGE`", by_id),
        ("`ura evidence find --subject …`", by_person),
        ("`ura evidence receipt EXCHANGE`", made),
    ] {
        println!("  {name}: {ran:?}");
        figures.commands.push((name, ran));
    }
}

async fn export(keeper: &Keeper, figures: &mut Figures) {
    let folder = keeper.named("export");
    let entries = entries(keeper).await;
    let ran = run(keeper, &["export", &folder, "--store", keeper.address()]);
    figures.exported = Some(Verified { entries, ran });
    figures.exported_bytes_per_exchange = figure(size(&keeper.path("export"))) / figure(figures.exchanges);
    let ran = run(keeper, &["verify", &folder, "--key", &keeper.log_key()]);
    figures.export_verified = Some(Verified { entries, ran });
    println!("  export: {:?}, verified: {:?}", figures.exported, figures.export_verified);
    std::fs::remove_dir_all(&folder).expect("the export goes");
}

/// Removes what the older half of the exchanges says, contract by contract, and verifies what is left.
async fn prune(keeper: &Keeper, all: Exchanges, figures: &mut Figures) {
    let middle_s = all.time_us(all.count / 2).div_euclid(1_000_000);
    let middle = time::OffsetDateTime::from_unix_timestamp(middle_s).expect("a time");
    let middle = middle.format(&time::format_description::well_known::Rfc3339).expect("a time as text");
    let before = entries(keeper).await;
    let keys = keeper.named("keys");
    let prune = |contract| {
        let which = ["--contract", contract, "--before", &middle];
        run(keeper, &[&["prune", "--store", keeper.address(), "--keys", &keys][..], &which].concat())
    };
    let ran = CONTRACTS.into_iter().map(prune).reduce(Ran::and).expect("some contracts");
    // Believed once the log's key has signed it, which its gateway does.
    let (evidence, thread) = keeper.write().await;
    drop(evidence);
    thread.join();
    let after = entries(keeper).await;
    figures.pruned = Some((ran, after - before));
    figures.verified_pruned = Some(verify(keeper, after));
    println!("  removed: {:?}, verified: {:?}", figures.pruned, figures.verified_pruned);
}
