//! The registry in real stores: how versions follow each other, and what is found when somebody alters them.

use std::sync::Arc;

use sqlx::Connection as _;
use tokio::task::JoinSet;
use ura_log::{
    checkpoint::Checkpoint,
    note::{Kind as KeyKind, Signer},
};
use ura_proto::v1::{KeyChange, entry::Kind};

use super::*;
use crate::{
    entry::Row,
    keys::EpochKeys,
    sample::{BEGIN_US, ORIGIN, Sample, postgres::Postgres},
    store::{Appender, Reader, Store},
};

/// The gateway of a sample's log.
pub(crate) fn own(sample: &Sample) -> Own {
    own_with(&sample.signer, sample.keys.clone())
}

fn own_with(signer: &Signer, epochs: EpochKeys) -> Own {
    let origin = signer.key().name().to_owned();
    let der = signer.pkcs8().expect("a key");
    let signer = Signer::from_pkcs8(&origin, KeyKind::Ed25519, der.as_ref()).expect("a key");
    Own { origin, gateway: "ais/gateway".parse().expect("a system"), signer: Arc::new(signer), epochs }
}

/// Takes in what others appended.
pub(crate) async fn catch_up(sample: &mut Sample, reader: &Reader) {
    let row = reader.logs().await.expect("readable").into_iter().find(|row| row.log == sample.log);
    let size = row.expect("registered").size;
    sample.frontier = reader.frontier(sample.log, size).await.expect("an edge");
}

/// Announces, and signs what was appended.
async fn announced(sample: &mut Sample, reader: &Reader) -> Option<u64> {
    let own = own(sample);
    let version = announce(&mut sample.store, reader, &own, BEGIN_US).await.expect("announced");
    catch_up(sample, reader).await;
    sample.checkpoint().await;
    version
}

/// Replaces the key of a log; where `told`, as a gateway does: announced under the old one.
async fn rotate(sample: &mut Sample, told: bool) {
    let next = Signer::generate(sample.signer.key().name(), KeyKind::Ed25519).expect("a key");
    if told {
        let (log_key, before) = (next.key().to_string(), sample.signer.key().to_string());
        let change = KeyChange { log_key, before, ..KeyChange::default() };
        sample.append(&[Row::new(None, BEGIN_US, Kind::KeyChange(change))]).await;
        sample.checkpoint().await;
    }
    sample.signer = next;
}

/// A log with a registry of three versions, the second by a new key, the third by another log.
async fn three(sample: &mut Sample, reader: &Reader) -> Vec<Key> {
    let first = sample.signer.key().clone();
    sample.append(&Sample::gaps(300)).await;
    sample.checkpoint().await;
    assert_eq!(announced(sample, reader).await, Some(1));
    rotate(sample, true).await;
    assert_eq!(announced(sample, reader).await, Some(2));
    vec![first, sample.signer.key().clone()]
}

fn shown(report: &RegistryReport) -> Vec<String> {
    report.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_version_is_written_when_a_log_or_its_key_is_new() {
    let mut sample = Sample::sqlite().await;
    let reader = sample.reader().await;
    let keys = three(&mut sample, &reader).await;
    let before = reader.logs().await.expect("readable");
    assert_eq!(announced(&mut sample, &reader).await, None, "nothing new");
    assert_eq!(reader.logs().await.expect("readable"), before);
    let own_line = verify_registry(&reader, &[]).await.expect("readable").logs.remove(0);
    assert_eq!(
        (own_line.origin.as_str(), own_line.gateway.as_str(), own_line.sealed),
        (ORIGIN, "ais/gateway", false)
    );
    // 300 entries and a checkpoint; the first version's entry, signed; the change of the key, signed.
    assert_eq!((own_line.size, &own_line.key), (302, &keys[1]));
    for (given, vouched, known) in
        [(vec![], 0, 0), (vec![keys[0].clone()], 2, 2), (vec![keys[1].clone()], 2, 2)]
    {
        let report = verify_registry(&reader, &given).await.expect("readable");
        assert_eq!(shown(&report), Vec::<String>::new());
        assert_eq!((report.newest, report.vouched, report.keys.len()), (2, vouched, known));
    }
    reader.close().await;
}

#[tokio::test]
async fn a_key_that_the_log_does_not_announce_is_found() {
    let mut sample = Sample::sqlite().await;
    let reader = sample.reader().await;
    let first = sample.signer.key().clone();
    sample.append(&Sample::gaps(3)).await;
    sample.checkpoint().await;
    announced(&mut sample, &reader).await;
    rotate(&mut sample, false).await;
    assert_eq!(announced(&mut sample, &reader).await, Some(2));
    let report = verify_registry(&reader, std::slice::from_ref(&first)).await.expect("readable");
    assert!(shown(&report)[0].contains("another key than before"), "{:?}", shown(&report));
    assert_eq!((report.vouched, report.keys), (1, vec![first]), "the stranger's version is not believed");
    reader.close().await;
}

#[tokio::test]
async fn a_key_that_was_replaced_signs_no_version() {
    // What the process with the new key had done when the one with the old key comes to write.
    for (case, is_confirmed, is_listed) in
        [("announced", false, false), ("signs", true, false), ("listed", false, true), ("both", true, true)]
    {
        let mut sample = Sample::sqlite().await;
        let reader = sample.reader().await;
        let first = sample.signer.key().clone();
        sample.append(&Sample::gaps(3)).await;
        sample.checkpoint().await;
        let old = own(&sample);
        rotate(&mut sample, true).await;
        if is_confirmed {
            sample.append(&Sample::gaps(1)).await;
            sample.checkpoint().await;
        }
        if is_listed {
            let own = own(&sample);
            let listed = announce(&mut sample.store, &reader, &own, BEGIN_US).await;
            assert_eq!(listed.expect("announced"), Some(1), "{case}");
        }
        let before =
            (reader.logs().await.expect("readable"), reader.newest_registry().await.expect("readable"));
        let written = announce(&mut sample.store, &reader, &old, BEGIN_US).await;
        if is_confirmed || is_listed {
            assert!(
                matches!(&written, Err(RegistryError::Replaced(log)) if log == ORIGIN),
                "{case}: {written:?}"
            );
            let after =
                (reader.logs().await.expect("readable"), reader.newest_registry().await.expect("readable"));
            assert_eq!(after, before, "{case}: nothing was written");
        } else {
            assert_eq!(written.expect("still its key"), Some(1), "{case}");
        }
        catch_up(&mut sample, &reader).await;
        announced(&mut sample, &reader).await;
        let report = verify_registry(&reader, &[first]).await.expect("readable");
        assert_eq!(shown(&report), Vec::<String>::new(), "{case}");
        assert_eq!(report.logs[0].key, *sample.signer.key(), "{case}");
        reader.close().await;
    }
}

#[tokio::test]
async fn a_key_that_is_replaced_while_a_version_waits_for_its_lock_does_not_sign_it() {
    let mut sample = Sample::sqlite().await;
    let reader = sample.reader().await;
    sample.append(&Sample::gaps(3)).await;
    sample.checkpoint().await;
    let old = own(&sample);
    rotate(&mut sample, true).await;
    sample.append(&Sample::gaps(1)).await;
    let (size, root) = (sample.frontier.size(), sample.frontier.root());
    let confirmed = Checkpoint { origin: ORIGIN.into(), size, root, extensions: Vec::new() };
    let note = confirmed.sign(&sample.signer).expect("signed").to_string();
    let mut other = Store::open(&sample.address).await.expect("opens");
    let mut append = sample.store.begin(sample.log, Appender::Guest, 0, BEGIN_US).await.expect("the lock");
    append.checkpoint(size, &note, BEGIN_US, true).await.expect("inserted");
    let confirm = async {
        // Meanwhile the other reads what there is, builds its version, and waits for the lock.
        for _ in 0..200 {
            reader.newest_registry().await.expect("readable");
        }
        append.commit().await.expect("committed");
    };
    let (written, ()) = tokio::join!(announce(&mut other, &reader, &old, BEGIN_US), confirm);
    assert!(matches!(written, Err(RegistryError::Replaced(_))), "{written:?}");
    assert_eq!(reader.newest_registry().await.expect("readable"), None);
    other.close().await.expect("closes");
    reader.close().await;
}

#[tokio::test]
async fn whatever_is_altered_is_found() {
    let forged = {
        let signer = Signer::generate("ura.test/forged", KeyKind::Ed25519).expect("a key");
        let root = ura_log::tree::empty_root();
        let (origin, gateway, key) = ("ura.test/forged".into(), "ais/gateway".into(), signer.key().clone());
        let log = Listed { origin, gateway, sealed: false, size: 0, root, key };
        let registry = Registry { version: 3, before: Some([0; 32]), logs: vec![log] };
        ura_log::note::Note::sign(registry.text(), &signer).expect("signed").to_string()
    };
    let table = [
        (
            "update registry set note = replace(note, ' open ', ' sealed ') where version = 1",
            "version 1: registry: the signature",
        ),
        ("delete from registry where version = 1", "version 1: missing"),
        ("delete from registry where version = 2", "version 2: missing, but entry 302 of log 1 tells of it"),
        (
            "update registry set note = (select note from registry where version = 1) where version = 2",
            "version 2: its text says",
        ),
        (
            &format!("insert into registry values (3, '{forged}')"),
            "version 3: no entry of any log tells of it",
        ),
        (&format!("insert into registry values (3, '{forged}')"), "it was listed before and is not any more"),
        (&format!("insert into registry values (3, '{forged}')"), "does not name the version before it"),
        (&format!("insert into registry values (3, '{forged}')"), "the store has no such log"),
        ("update log set size = 299", "it is listed with 300 entries and has 299: it was cut off"),
        ("update log set origin = 'ura.test/other'", "the store has no such log"),
        (
            "update entry set leaf = zeroblob(32) where log_index = 299",
            "first 300 entries do not have the root",
        ),
        ("delete from entry where log_index = 299", "entry 299 of log 1 is missing"),
    ];
    for (change, says) in table {
        let mut sample = Sample::sqlite().await;
        let reader = sample.reader().await;
        let keys = three(&mut sample, &reader).await;
        let mut raw = sqlx::SqliteConnection::connect(&sample.address.to_string()).await.expect("opens");
        sqlx::raw_sql(sqlx::AssertSqlSafe(change.to_owned())).execute(&mut raw).await.expect(change);
        let report = verify_registry(&reader, &keys).await.expect("readable");
        assert!(
            shown(&report).iter().any(|problem| problem.contains(says)),
            "{change}: {:?}",
            shown(&report)
        );
        raw.close().await.expect("closes");
        reader.close().await;
    }
}

#[tokio::test]
async fn a_version_that_is_written_while_others_are_read_is_no_problem() {
    let mut sample = Sample::sqlite().await;
    let reader = sample.reader().await;
    let keys = three(&mut sample, &reader).await;
    let read = check::verify_until(&reader, 1, &keys).await.expect("readable");
    assert_eq!((shown(&read), read.newest), (vec![], 1), "version 2 is told of, and came later");
    let read = check::verify_until(&reader, 2, &keys).await.expect("readable");
    assert_eq!((shown(&read), read.newest, read.vouched), (vec![], 2, 2));
    let mut raw = sqlx::SqliteConnection::connect(&sample.address.to_string()).await.expect("opens");
    sqlx::raw_sql("delete from registry where version = 2").execute(&mut raw).await.expect("deleted");
    let read = check::verify_until(&reader, 1, &keys).await.expect("readable");
    assert!(shown(&read)[0].contains("missing, but entry 302 of log 1 tells of it"), "{:?}", shown(&read));
    raw.close().await.expect("closes");
    reader.close().await;
}

#[tokio::test]
async fn nothing_is_built_on_a_version_that_does_not_hold() {
    let mut sample = Sample::sqlite().await;
    let reader = sample.reader().await;
    three(&mut sample, &reader).await;
    rotate(&mut sample, true).await;
    let mut raw = sqlx::SqliteConnection::connect(&sample.address.to_string()).await.expect("opens");
    let change = "update registry set note = replace(note, ' 302 ', ' 301 ') where version = 2";
    sqlx::raw_sql(change).execute(&mut raw).await.expect(change);
    let size = reader.logs().await.expect("readable")[0].size;
    let own = own(&sample);
    let refused = announce(&mut sample.store, &reader, &own, BEGIN_US).await;
    assert!(matches!(refused, Err(RegistryError::Unsound { version: 2, .. })), "{refused:?}");
    assert_eq!(reader.logs().await.expect("readable")[0].size, size);
    raw.close().await.expect("closes");
    reader.close().await;
}

#[tokio::test]
async fn whoever_knows_one_gateway_knows_those_that_came_later() {
    let server = Postgres::start(&[]);
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut a = Sample::at(dir, &server.url(), "ura.test/a").await;
    let (mut b, mut c) = (a.beside("ura.test/b").await, a.beside("ura.test/c").await);
    let reader = a.reader().await;
    for (sample, version) in [(&mut a, 1), (&mut b, 2), (&mut c, 3)] {
        assert_eq!(announced(sample, &reader).await, Some(version));
    }
    let known = async |sample: &Sample| {
        let given = [sample.signer.key().clone()];
        let report = verify_registry(&reader, &given).await.expect("readable");
        assert_eq!(shown(&report), Vec::<String>::new());
        report.keys.len()
    };
    assert_eq!((known(&a).await, known(&b).await, known(&c).await), (1, 2, 3));
    assert_eq!(announced(&mut b, &reader).await, Some(4), "it signs for the one that came later");
    assert_eq!((known(&a).await, known(&b).await, known(&c).await), (1, 3, 3));
    assert_eq!(announced(&mut a, &reader).await, Some(5));
    assert_eq!((known(&a).await, known(&b).await, known(&c).await), (3, 3, 3));
    // That comes to an end.
    for sample in [&mut a, &mut b, &mut c] {
        assert_eq!(announced(sample, &reader).await, None);
    }
    reader.close().await;
}

#[tokio::test]
async fn gateways_that_write_at_once_follow_each_other() {
    const GATEWAYS: u64 = 6;
    let server = Postgres::start(&[]);
    let dir = tempfile::tempdir().expect("temporary folder");
    let first = Sample::at(dir, &server.url(), "ura.test/gateway-0").await;
    let mut samples = Vec::new();
    for number in 1..GATEWAYS {
        samples.push(first.beside(&format!("ura.test/gateway-{number}")).await);
    }
    let reader = first.reader().await;
    samples.push(first);
    let mut writing = JoinSet::new();
    for sample in &samples {
        let (own, reader, address) = (own(sample), reader.clone(), sample.address.clone());
        writing.spawn(async move {
            let mut store = Store::open(&address).await.expect("opens");
            announce(&mut store, &reader, &own, BEGIN_US).await.expect("announced").expect("a version")
        });
    }
    let mut versions = writing.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=GATEWAYS).collect::<Vec<_>>());
    let report = verify_registry(&reader, &[]).await.expect("readable");
    assert_eq!(shown(&report), Vec::<String>::new());
    let origins: Vec<_> = report.logs.iter().map(|log| log.origin.clone()).collect();
    assert_eq!(origins, (0..GATEWAYS).map(|number| format!("ura.test/gateway-{number}")).collect::<Vec<_>>());
    // Whoever knows the key of the last author knows all of them.
    let (_, newest) = reader.newest_registry().await.expect("readable").expect("a version");
    let (_, author) = Registry::open(&newest).expect("sound");
    let report = verify_registry(&reader, &[author]).await.expect("readable");
    assert_eq!((report.vouched, u64::try_from(report.keys.len())), (GATEWAYS, Ok(GATEWAYS)));
    reader.close().await;
}
