//! A million exchanges in one log: how fast they are written, verified, found, exported and removed, and in how much
//! memory. Prints a table for `docs/evidence.md`. `./test million [--postgres]` runs it; without `measure` it does nothing,
//! so that the ordinary tests only build it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, unreachable_pub)]

#[path = "million/child.rs"]
mod child;
#[path = "million/exchanges.rs"]
mod exchanges;
#[path = "million/figures.rs"]
mod figures;
#[path = "million/fill.rs"]
mod fill;
#[path = "million/keeper.rs"]
mod keeper;
#[path = "million/machine.rs"]
mod machine;
#[path = "million/measure.rs"]
mod measure;
#[path = "world/postgres.rs"]
mod postgres;
#[path = "million/questions.rs"]
mod questions;
#[allow(dead_code)] // Of another target; this one uses a part.
#[path = "processes/random.rs"]
mod random;

use figures::Figures;
use keeper::Keeper;
use random::Random;

const USAGE: &str = "usage: million measure [--postgres] [--no-sqlite] [--exchanges NUMBER]";

/// What is measured, as the command line says.
struct Wanted {
    exchanges: u64,
    sqlite: bool,
    postgres: bool,
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Wanted {
    let mut wanted = Wanted { exchanges: 1_000_000, sqlite: true, postgres: false };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--postgres" => wanted.postgres = true,
            "--no-sqlite" => wanted.sqlite = false,
            "--exchanges" => {
                let number = arguments.next().and_then(|number| number.replace('_', "").parse().ok());
                wanted.exchanges = number.filter(|number| *number >= 1000).expect(USAGE);
            }
            other => panic!("{other}: not known; {USAGE}"),
        }
    }
    assert!(wanted.sqlite || wanted.postgres, "no store is left; {USAGE}");
    wanted
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) != Some("measure") {
        println!("million: nothing is measured here; ./test million does it");
        return;
    }
    let wanted = wanted(arguments.into_iter().skip(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut columns: Vec<(&str, Figures)> = Vec::new();
    let mut random = Random::of_environment();
    if wanted.sqlite {
        println!("SQLite:");
        columns.push(("SQLite", runtime.block_on(measure::all(&Keeper::sqlite(), &wanted, &mut random))));
    }
    if wanted.postgres {
        println!("PostgreSQL:");
        columns
            .push(("PostgreSQL", runtime.block_on(measure::all(&Keeper::postgres(), &wanted, &mut random))));
    }
    println!("\n{}\n\n{}", machine::described(), figures::table(&columns));
}
