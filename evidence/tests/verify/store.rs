//! Whoever may write the database changes one thing of it: verification finds it and names the place.

mod forge;
mod tamper;
mod vouched;

use ura_evidence::verify::{Held, Place, Report, Trust};

use crate::world::{Random, World, connect, sound, verify_store};
use tamper::{Expected, TAMPERINGS};

/// Problems that one change may lead to.
const PROBLEMS_OF_ONE_MAX: usize = 8;
/// Changes of each kind that are tried on each log: more than two thousand in all.
const TRIALS: usize = 18;

/// Says what was found instead, where it is not what was expected.
#[track_caller]
fn check(what: &str, expected: &Expected, report: &Report) {
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(!problems.is_empty(), "{what} ({expected:?}) was not found");
    assert!(problems.len() <= PROBLEMS_OF_ONE_MAX, "{what} ({expected:?}): {problems:#?}");
    let named = report.problems.iter().any(|problem| match (expected, problem.place) {
        (Expected::Entry(index), place) => place.covers(*index),
        (Expected::Subtree(level, index), Place::Subtrees { level: at, from, until }) => {
            *level == at && (from..until).contains(index)
        }
        (Expected::Checkpoint(size), Place::Checkpoint { size: at }) => *size == at,
        (Expected::Checkpoint(size), Place::Entries { from, until }) => (from..=until).contains(size),
        (Expected::Log, _) => true,
        _ => false,
    });
    assert!(named, "{what} ({expected:?}): {problems:#?}");
}

#[tokio::test]
async fn whatever_is_changed_in_a_small_store_is_found_and_named() {
    changed(&[12, 80]).await;
}

#[tokio::test]
async fn whatever_is_changed_in_a_store_is_found_and_named() {
    changed(&[300, 530]).await;
}

async fn changed(sizes: &[u64]) {
    let mut random = Random::new("tampering");
    for size in sizes {
        let world = World::full(*size, &mut random).await;
        let base = world.dir.path().join("base.db");
        world.copy(&base).await;
        sound(&verify_store(&base, &world.trust()).await.expect("reads"));
        let database = world.dir.path().join("tampered.db");
        for (what, tamper) in TAMPERINGS {
            for _ in 0..TRIALS {
                fresh(&base, &database);
                let mut connection = connect(&database).await;
                let expected = tamper::run(*tamper, &mut connection, &world, &mut random).await;
                sqlx::Connection::close(connection).await.expect("closes");
                // Not every log has what this changes.
                let Some(expected) = expected else { continue };
                let report = verify_store(&database, &world.trust()).await.expect("reads");
                check(what, &expected, &report);
            }
        }
    }
}

/// Copies a store that nobody has open.
fn fresh(base: &std::path::Path, to: &std::path::Path) {
    for suffix in ["-wal", "-shm"] {
        let mut beside = to.as_os_str().to_owned();
        beside.push(suffix);
        drop(std::fs::remove_file(beside));
    }
    std::fs::copy(base, to).expect("copies");
}

/// Trust in all keys, and some of the checkpoints, held elsewhere.
fn holding(world: &World, held: &[(u64, String)]) -> Trust {
    let held = held.iter().map(|(_, note)| Held::Checkpoint(note.clone())).collect();
    Trust { held, ..world.trust() }
}

#[tokio::test]
async fn a_log_set_back_to_an_older_checkpoint_is_found_by_who_holds_a_newer_one() {
    let mut random = Random::new("set back");
    for size in [20, 90, 300] {
        let world = World::full(size, &mut random).await;
        let database = world.dir.path().join("tampered.db");
        let (newest, earlier) = world.checkpoints.split_last().expect("some");
        for (older, _) in earlier {
            drop(std::fs::remove_file(&database));
            world.copy(&database).await;
            let whole = forge::set_back(&database, &world, *older).await;
            let report = verify_store(&database, &holding(&world, &[])).await.expect("reads");
            if whole {
                // By itself it is a log as it was: nothing but what others hold tells of more.
                sound(&report);
            }
            let report = verify_store(&database, &holding(&world, std::slice::from_ref(newest))).await;
            let report = report.expect("reads");
            check("set back", &Expected::Entry(newest.0 - 1), &report);
            check("set back", &Expected::Entry(*older), &report);
            let index = newest.0 - 1;
            let leaf_hash = world.rows[usize::try_from(index).expect("few")].leaf_hash();
            let receipt = Held::Receipt { origin: world.log.origin.clone(), index, leaf_hash };
            let trust = Trust { held: vec![receipt], ..world.trust() };
            let report = verify_store(&database, &trust).await.expect("reads");
            check("set back, receipt", &Expected::Entry(index), &report);
        }
    }
}

#[tokio::test]
async fn a_rewritten_log_is_found_even_if_it_was_signed_with_the_key_of_the_log() {
    let mut random = Random::new("rewritten");
    for size in [20, 90, 300, 530] {
        let world = World::full(size, &mut random).await;
        for _ in 0..20 {
            let database = world.dir.path().join("tampered.db");
            drop(std::fs::remove_file(&database));
            world.copy(&database).await;
            let index = random.below(world.signed());
            let Some(forged) = forge::rewrite(&database, &world, index, &mut random).await else { continue };
            let report = verify_store(&database, &holding(&world, &[])).await.expect("reads");
            sound(&report);
            let report = verify_store(&database, &holding(&world, &world.checkpoints)).await.expect("reads");
            check("rewritten", &Expected::Entry(index), &report);
            // The place is the smallest range between what is held.
            let before = world.checkpoints.iter().map(|(size, _)| *size).rfind(|size| *size <= index);
            let behind = world.checkpoints.iter().map(|(size, _)| *size).find(|size| *size > index);
            let place = Place::Entries {
                from: before.unwrap_or(0),
                until: behind.expect("the entry is covered by a checkpoint"),
            };
            assert!(report.problems.iter().any(|problem| problem.place == place), "{:#?}", report.problems);
            let receipt = Held::Receipt {
                origin: world.log.origin.clone(),
                index,
                leaf_hash: world.rows[usize::try_from(index).expect("few")].leaf_hash(),
            };
            let trust = Trust { held: vec![receipt], ..world.trust() };
            let report = verify_store(&database, &trust).await.expect("reads");
            let places: Vec<Place> = report.problems.iter().map(|problem| problem.place).collect();
            assert_eq!(places, [Place::entry(index)]);
            assert_ne!(forged, world.rows[usize::try_from(index).expect("few")].leaf);
        }
    }
}

#[tokio::test]
async fn a_log_signed_with_a_key_of_the_forger_is_found() {
    let mut random = Random::new("forged key");
    for size in [20, 300] {
        let world = World::full(size, &mut random).await;
        for announced in [false, true] {
            let database = world.dir.path().join("tampered.db");
            drop(std::fs::remove_file(&database));
            world.copy(&database).await;
            let from = forge::foreign_key(&database, &world, announced).await;
            let report = verify_store(&database, &world.trust()).await.expect("reads");
            check("forged key", &Expected::Entry(from), &report);
            assert!(report.signed_size <= from);
        }
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_believed() {
    let world = World::plain(5, &mut Random::new("no key")).await;
    let report = verify_store(&world.database, &Trust::default()).await.expect("reads");
    check("no key", &Expected::Entry(3), &report);
    assert_eq!(report.signed_size, 0);
}

#[tokio::test]
async fn what_is_held_of_another_log_or_was_changed_is_told() {
    let mut random = Random::new("held");
    let world = World::plain(5, &mut random).await;
    let (_, note) = world.checkpoints.last().expect("one");
    let changed = note.replacen("\n5\n", "\n4\n", 1);
    let other = Held::Receipt { origin: "ura.test/other".into(), index: 1, leaf_hash: [0; 32] };
    for held in [Held::Checkpoint("no note".into()), Held::Checkpoint(changed), other] {
        let report = verify_store(&world.database, &Trust { held: vec![held], ..world.trust() }).await;
        let report = report.expect("reads");
        assert!(matches!(report.problems[0].place, Place::Held { .. }), "{}", report.problems[0]);
    }
}

#[tokio::test]
async fn one_fault_is_not_a_thousand_problems() {
    let mut random = Random::new("few");
    let world = World::plain(700, &mut random).await;
    let database = world.dir.path().join("tampered.db");
    for sql in [
        "delete from body",
        "update entry set method = 'x.Y/Z', recorded_us = 5",
        "delete from entry",
        "delete from subtree",
        "update subtree set hash = zeroblob(32)",
        "update entry set leaf = zeroblob(32)",
        "update entry set log_index = log_index - 1 where log_index > 3 and log_index not in (select 1)",
        "delete from checkpoint",
    ] {
        drop(std::fs::remove_file(&database));
        world.copy(&database).await;
        let mut connection = connect(&database).await;
        if sql.contains("log_index - 1") {
            sqlx::query("delete from entry where log_index = 3").execute(&mut connection).await.expect("3");
        }
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
        sqlx::Connection::close(connection).await.expect("closes");
        let report = verify_store(&database, &world.trust()).await.expect("reads");
        assert!(!report.is_sound(), "{sql}");
        assert!(
            report.problems.len() + usize::try_from(report.more_problems).expect("few") <= 30,
            "{sql}: {:#?}",
            report.problems
        );
    }
}
