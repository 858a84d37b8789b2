//! Logs that agree with themselves, and for which nobody who is trusted vouches: forged by other keys, without a
//! signature, or signed by a key that was replaced.

use ura_evidence::{
    entry::Row,
    verify::{Place, Report, Trust},
};
use ura_log::note::{Key, Kind as KeyKind, Signer};
use ura_proto::v1::{Seal, entry::Kind};

use crate::world::{ORIGIN, Random, World, connect, copy, sound, verify_folder, verify_store};

const OTHER: &str = "ura.test/other";

fn signer(name: &str) -> Signer {
    Signer::generate(name, KeyKind::Ed25519).expect("a key")
}

/// Writes over the database of a world.
async fn sql(world: &World, text: String) {
    let mut connection = connect(&world.database).await;
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.expect("valid");
    sqlx::Connection::close(connection).await.expect("closes");
}

/// Ends the log by an entry of another gateway, under that one's key.
async fn seal(world: &mut World, by: &Signer) {
    let seal = Seal { by: by.key().name().into(), reason: "gone".into() };
    world.push(vec![Row::new(None, world.now_us(), Kind::Seal(seal))]).await;
    world.checkpoint_by(by).await;
    sql(world, "update log set sealed = 1".into()).await;
}

async fn report(world: &World, keys: &[&Signer]) -> Report {
    let keys: Vec<Key> = keys.iter().map(|signer| signer.key().clone()).collect();
    verify_store(&world.database, &Trust { keys, ..world.trust() }).await.expect("reads")
}

#[track_caller]
fn told(report: &Report, place: Place, text: &str) {
    let all: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(
        report.problems.iter().any(|problem| problem.place == place && problem.what.contains(text)),
        "{text:?} at {place} is not among {all:#?}"
    );
}

#[tokio::test]
async fn a_seal_excuses_nothing_unless_a_trusted_key_signed_it() {
    let mut random = Random::new("sealed by nobody");
    let (real, evil) = (signer(ORIGIN), signer("evil/x"));
    // Forged from nothing: no key of the log ever signed.
    let mut world = World::new().await;
    world.started().await;
    world.append(4, &mut random).await;
    seal(&mut world, &evil).await;
    let all = Place::Entries { from: 0, until: world.size() };
    told(&report(&world, &[&real]).await, all, "no key of \"evil/x\" is trusted here");
    // Also as an export that lists that key itself.
    let reader = world.reader().await;
    let folder = world.dir.path().join("export");
    let keys = vec![world.signers[0].key().clone(), evil.key().clone()];
    let options = ura_evidence::export::Options { keys: keys.clone(), ..Default::default() };
    let exported = ura_evidence::export::export(&reader, &world.log, &folder, &options, |_, _| {}).await;
    reader.close().await;
    if exported.is_ok() {
        let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
        std::fs::write(folder.join("keys"), lines).expect("own file");
        let trust = Trust { keys: vec![real.key().clone()], ..Trust::default() };
        assert!(!verify_folder(&folder, &trust).await.expect("reads").is_sound());
    }
}

#[tokio::test]
async fn another_gateways_key_counts_for_an_end_and_nothing_else() {
    let mut random = Random::new("another gateway");
    let other = signer(OTHER);
    let mut world = World::plain(5, &mut random).await;
    world.append(3, &mut random).await;
    seal(&mut world, &other).await;
    let own = copy(&world.signers[0]);
    let both = report(&world, &[&own, &other]).await;
    sound(&both);
    assert_eq!((both.own_size, both.signed_size, both.size), (5, 9, 9), "who vouches for what");
    let end = Place::Entries { from: 5, until: 9 };
    told(&report(&world, &[&own]).await, end, "give that one, too");
    // Rewritten from the first entry on by the other gateway: no checkpoint of the log's own is left.
    let mut world = World::new().await;
    world.started().await;
    world.append(4, &mut random).await;
    seal(&mut world, &other).await;
    let all = Place::Entries { from: 0, until: world.size() };
    let forged = report(&world, &[&own, &other]).await;
    told(&forged, all, "from its beginning");
    assert_eq!((forged.signed_size, forged.own_size), (0, 0));
    // What the other one signed announces no key either.
    told(&report(&world, &[&other]).await, all, "from its beginning");
}

#[tokio::test]
async fn what_nobody_signed_is_a_problem_unless_it_is_new() {
    let mut random = Random::new("unsigned");
    let mut world = World::plain(5, &mut random).await;
    world.append(2, &mut random).await;
    let trust = world.trust();
    let fresh = verify_store(&world.database, &trust).await.expect("reads");
    sound(&fresh);
    assert_eq!(fresh.unsigned, 2);
    let tail = Place::Entries { from: 5, until: 7 };
    for now_us in [None, Some(world.now_us() + 60_000_000), Some(world.now_us() - 60_000_000)] {
        let report = verify_store(&world.database, &Trust { now_us, ..trust.clone() }).await.expect("reads");
        told(&report, tail, "nobody vouches for them");
    }
    sql(&world, "update log set sealed = 1".into()).await;
    told(&verify_store(&world.database, &trust).await.expect("reads"), tail, "nobody vouches for them");
    // All checkpoints but the first entry's taken away.
    let mut world = World::plain(1, &mut random).await;
    world.append(400, &mut random).await;
    world.checkpoint().await;
    world.append(2, &mut random).await;
    sound(&verify_store(&world.database, &world.trust()).await.expect("reads"));
    sql(&world, "delete from checkpoint where size > 1".into()).await;
    let later = Trust { now_us: Some(world.now_us()), ..world.trust() };
    let cut = verify_store(&world.database, &later).await.expect("reads");
    told(&cut, Place::Entries { from: 1, until: 403 }, "nobody vouches for them");
    sql(&world, "delete from checkpoint".into()).await;
    told(&verify_store(&world.database, &later).await.expect("reads"), Place::Log, "nothing of it is signed");
}

#[tokio::test]
async fn an_empty_log_proves_nothing() {
    let world = World::plain(0, &mut Random::new("empty")).await;
    told(&report(&world, &[&world.signers[0]]).await, Place::Log, "nothing of it is signed");
}

#[tokio::test]
async fn bodies_may_go_by_a_removal_that_is_signed() {
    let mut random = Random::new("removal");
    let mut world = World::plain(5, &mut random).await;
    world.remove(&[2, 3]).await;
    let unsigned = verify_store(&world.database, &world.trust()).await.expect("reads");
    told(&unsigned, Place::Entries { from: 2, until: 4 }, "under no checkpoint of a trusted key");
    world.checkpoint().await;
    sound(&verify_store(&world.database, &world.trust()).await.expect("reads"));
}

#[tokio::test]
async fn a_key_that_was_replaced_signs_nothing_any_more() {
    let mut random = Random::new("replaced");
    let mut world = World::plain(3, &mut random).await;
    world.rotate().await;
    let (old, new) = (copy(&world.signers[0]), copy(&world.signers[1]));
    let names = [old.key().to_string(), new.key().to_string()];
    let change = Place::entry(3);
    // The thief of the old key cuts the log off behind the change, and goes on.
    let report_of = async |world: &World| {
        let report = report(world, &[&old]).await;
        told(&report, change, "takes the place of");
        let what = &report.problems.iter().find(|problem| problem.place == change).expect("told").what;
        assert!(names.iter().all(|name| what.contains(name)), "{what}");
    };
    report_of(&world).await;
    world.append(2, &mut random).await;
    world.checkpoint_by(&old).await;
    report_of(&world).await;
    // The new key has signed, and then the old one again; and the other way round all is well.
    world.append(2, &mut random).await;
    world.checkpoint().await;
    sound(&report(&world, &[&old]).await);
    sound(&report(&world, &[&new]).await);
    world.append(2, &mut random).await;
    world.checkpoint_by(&old).await;
    report_of(&world).await;
    world.append(2, &mut random).await;
    world.checkpoint().await;
    report_of(&world).await;
}

#[tokio::test]
async fn a_cosignature_under_another_key_s_id_is_not_its_witness_s() {
    let mut random = Random::new("another id");
    let mut world = World::plain(12, &mut random).await;
    world.cosign().await;
    let said = |report: &Report| (report.cosignatures.len(), report.unknown_cosignatures);
    assert_eq!(said(&verify_store(&world.database, &world.trust()).await.expect("reads")), (1, 0));
    let mut connection = connect(&world.database).await;
    let line: String =
        sqlx::query_scalar("select line from cosignature").fetch_one(&mut connection).await.expect("one");
    sqlx::Connection::close(connection).await.expect("closes");
    // The first four bytes behind the name are the key's id.
    let key = line.rfind(' ').expect("a name before") + 1;
    let mut changed = line.into_bytes();
    changed[key] = if changed[key] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("text");
    sql(&world, format!("update cosignature set line = '{changed}'")).await;
    let report = verify_store(&world.database, &world.trust()).await.expect("reads");
    sound(&report);
    assert_eq!(said(&report), (0, 1), "another key may have made it");
}
