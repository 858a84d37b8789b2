//! Logs that are sealed, on a PostgreSQL of their own: by a gateway that watches, and on an operator's word.

mod exported;
mod operator;
mod waiting;

use std::time::Duration;

use sqlx::Connection as _;
use ura_log::{
    checkpoint::{self, Checkpoint},
    note::Signer,
};
use ura_proto::v1::{Outcome, Seal, entry::Kind};

use super::*;
use crate::{
    entry,
    keys::LogKeys,
    registry::{announce, verify_registry},
    sample::{BEGIN_US, ORIGIN, Sample, postgres::Postgres},
    source::Source,
    store::{Appender, NewLease},
    verify::{Place, Report, SealedBy, Trust, verify},
};

use waiting::{interrupted, patient, until};

/// A process that nobody sees.
const ELSEWHERE: &str = "boot/pid:[1]/7/8";
/// Watching others in tests.
const WATCH: Watch = Watch { still: Duration::from_millis(60), poll: Duration::from_millis(3) };

fn clock() -> Clock {
    Clock::manual(BEGIN_US + 1_000_000).0
}

/// Three logs on one server: `b` watches, `a` and `c` are held by processes elsewhere. Each has an exchange that ended,
/// one that is open, and entries that are not signed yet; all are listed.
struct Rig {
    server: Postgres,
    /// Of the keys of `b`.
    dir: tempfile::TempDir,
    reader: Reader,
    a: Sample,
    b: Sample,
    c: Sample,
}

impl Rig {
    async fn new() -> Self {
        let server = Postgres::start(&[]);
        let temporary = || tempfile::tempdir().expect("temporary folder");
        let mut a = Sample::at(temporary(), &server.url(), "ura.test/a").await;
        let (mut b, mut c) = (a.beside("ura.test/b").await, a.beside("ura.test/c").await);
        let (dir, reader) = (temporary(), a.reader().await);
        b.signer = copy(&LogKeys::open(&dir.path().join("log-keys"), "ura.test/b").expect("keys").newest());
        for sample in [&mut a, &mut c, &mut b] {
            let own = own(sample);
            announce(&mut sample.store, &reader, &own, BEGIN_US).await.expect("announced");
            catch_up(sample, &reader).await;
            fill(sample).await;
            hold(sample, &reader).await;
        }
        Self { server, dir, reader, a, b, c }
    }

    async fn row(&self, sample: &Sample) -> LogRow {
        let rows = self.reader.logs().await.expect("readable");
        rows.into_iter().find(|row| row.log == sample.log).expect("registered")
    }

    /// A gateway `b` that looks every few milliseconds.
    fn watch(&self) -> WatchOthers {
        WatchOthers {
            address: self.b.address.clone(),
            log_keys: self.dir.path().join("log-keys"),
            keys: self.a.keys_folder(),
            gateway: "ais/gateway".parse().expect("a system"),
            seal_after: Duration::from_millis(250),
            poll: Duration::from_millis(10),
        }
    }

    /// Watches as `b` until the condition holds.
    async fn watch_until(&self, holds: impl AsyncFnMut() -> bool) {
        tokio::select! {
            never = Box::pin(watch_others(self.watch(), || "ura.test/b".into(), clock())) => match never {},
            () = Box::pin(until(holds)) => {}
        }
    }

    async fn verified(&self, sample: &Sample, keys: &[&Signer]) -> Report {
        let trust = Trust {
            keys: keys.iter().map(|signer| signer.key().clone()).collect(),
            now_us: Some(clock().unix_us()),
            ..Trust::default()
        };
        let row = self.row(sample).await;
        verify(Source::store(self.reader.clone(), row), &trust, |_, _| ()).await.expect("readable")
    }

    /// What the log says of its end: each `Seal`, and how many closings say that nothing is known.
    async fn end_of(&self, sample: &Sample) -> (Vec<Seal>, usize) {
        let rows = self.reader.entries(sample.log, 0, 4096).await.expect("readable");
        let kinds = rows.iter().map(|row| {
            entry::decode(row.body.as_ref().expect("a body")).expect("an entry").kind.expect("a kind")
        });
        let (mut seals, mut unknown) = (Vec::new(), 0);
        for kind in kinds {
            match kind {
                Kind::Seal(seal) => seals.push(seal),
                Kind::Closing(closing) => unknown += usize::from(closing.outcome() == Outcome::Unknown),
                _ => {}
            }
        }
        (seals, unknown)
    }

    /// The log is sealed by `b`, and everything that belongs to it was done.
    async fn assert_sealed(&self, sample: &Sample) {
        let row = self.row(sample).await;
        let (seals, unknown) = self.end_of(sample).await;
        assert_eq!((row.sealed, seals.len(), unknown), (true, 1, 1));
        assert_eq!(seals[0].by, "ura.test/b");
        let last = self.reader.newest_checkpoint(sample.log).await.expect("readable").expect("a checkpoint");
        let (signed, _) = checkpoint::open(&last.note, &[self.b.signer.key().clone()])
            .expect("signed by the one who sealed");
        assert_eq!((signed.origin, signed.size, last.kept), (row.origin.clone(), row.size, true));
        assert_eq!(self.reader.frontier(sample.log, row.size).await.expect("whole").root(), signed.root);
        let report = verify_registry(&self.reader, &[]).await.expect("readable");
        assert_eq!(report.problems, []);
        let listed = report.logs.iter().find(|listed| listed.origin == row.origin).expect("listed");
        assert_eq!((listed.sealed, listed.size, listed.root), (true, row.size, signed.root));
        assert_eq!(listed.key, *sample.signer.key(), "the key of the log stays its own");
    }
}

fn copy(signer: &Signer) -> Signer {
    let key = signer.key();
    Signer::from_pkcs8(key.name(), key.kind(), signer.pkcs8().expect("a key").as_ref()).expect("a key")
}

fn own(sample: &Sample) -> Own {
    let (signer, epochs) = (std::sync::Arc::new(copy(&sample.signer)), sample.keys.clone());
    let (origin, gateway) = (signer.key().name().to_owned(), "ais/gateway".parse().expect("a system"));
    Own { origin, gateway, signer, epochs }
}

/// Takes in what others appended.
async fn catch_up(sample: &mut Sample, reader: &Reader) {
    let rows = reader.logs().await.expect("readable");
    let size = rows.into_iter().find(|row| row.log == sample.log).expect("registered").size;
    sample.frontier = reader.frontier(sample.log, size).await.expect("an edge");
}

/// Entries across several tiles, the last of them not signed yet.
async fn fill(sample: &mut Sample) {
    let (ended, open) = (sample.exchange(), sample.exchange());
    let mut rows = Sample::gaps(300);
    rows.push(sample.opening(ended, BEGIN_US, None, |_| ()));
    rows.push(sample.opening(open, BEGIN_US, None, |_| ()));
    sample.append(&rows).await;
    sample.checkpoint().await;
    rows = Sample::gaps(220);
    rows.push(Sample::closing(ended, BEGIN_US));
    sample.append(&rows).await;
}

/// Its lease is held by a process that nobody sees, with token 1.
async fn hold(sample: &mut Sample, reader: &Reader) {
    let rows = reader.logs().await.expect("readable");
    let seen = rows.into_iter().find(|row| row.log == sample.log).expect("registered");
    let (holder, previous_holder) = (ELSEWHERE.to_owned(), String::new());
    let lease = NewLease { token: 1, holder, previous_token: 0, previous_holder };
    assert!(sample.store.take(sample.log, &seen, &lease).await.expect("asked"));
}

#[tokio::test]
async fn a_log_whose_beat_stands_still_is_sealed_and_others_are_not() {
    let mut rig = Rig::new().await;
    let mut beating = Store::open(&rig.c.address).await.expect("opens");
    rig.watch_until(async || {
        assert!(beating.beat(rig.c.log, 1, BEGIN_US).await.expect("asked"), "it beats, so nobody takes it");
        let report = verify_registry(&rig.reader, &[]).await.expect("readable");
        report.logs.iter().any(|listed| listed.sealed)
    })
    .await;
    rig.assert_sealed(&rig.a).await;
    let (c, b) = (rig.row(&rig.c).await, rig.row(&rig.b).await);
    assert!(!c.sealed && !b.sealed, "one beats, and nobody seals its own");
    for sample in [&rig.b, &rig.c] {
        assert_eq!(rig.verified(sample, &[&sample.signer]).await.problems, []);
    }
    let (token, by) = (1, Appender::Holder(1));
    for by in [by, Appender::Guest] {
        let refused = rig.a.store.begin(rig.a.log, by, 0, BEGIN_US).await.map(|_| ());
        assert!(matches!(refused, Err(StoreError::Fenced { sealed: true, .. })), "{refused:?}");
    }
    assert!(!rig.a.store.beat(rig.a.log, token, BEGIN_US).await.expect("asked"));
    rig.reader.close().await;
}

#[tokio::test]
async fn a_sealed_log_is_verified_by_the_keys_of_both() {
    let mut rig = Rig::new().await;
    let (own, clock) = (own(&rig.b), clock());
    let before = rig.verified(&rig.a, &[&rig.a.signer]).await;
    let sealing = seal_watching(&mut rig.b.store, &rig.reader, "ura.test/a", &own, "gone", &clock, WATCH);
    let sealed = Box::pin(sealing).await.expect("sealed");
    let both = rig.verified(&rig.a, &[&rig.a.signer, &rig.b.signer]).await;
    assert_eq!(both.problems, []);
    assert_eq!((both.signed_size, both.unsigned, both.keys.len()), (sealed.size, 0, 2));
    let by = |verified| Some(SealedBy { by: "ura.test/b".into(), size: sealed.size, verified });
    assert_eq!(both.sealed, by(true));
    let listed = verify_registry(&rig.reader, &[rig.a.signer.key().clone()]).await.expect("readable");
    assert!(
        !listed.keys.contains(rig.b.signer.key()),
        "what came after its last version it does not vouch for"
    );
    let listed = verify_registry(&rig.reader, &[rig.b.signer.key().clone()]).await.expect("readable");
    assert!(
        listed.keys.contains(rig.a.signer.key()),
        "whoever knows one gateway knows the others by the registry"
    );
    assert_eq!(both.own_size, before.signed_size, "the rest stands under the word of the one who sealed");
    // With nothing but the key of the dead gateway: all that it signed, and nobody vouches for the end.
    let one = rig.verified(&rig.a, &[&rig.a.signer]).await;
    let end = Place::Entries { from: before.signed_size, until: sealed.size };
    assert_eq!(one.problems.iter().map(|problem| problem.place).collect::<Vec<_>>(), [end]);
    assert_eq!((one.signed_size, one.root, &one.sealed), (before.signed_size, before.root, &by(false)));
    let shown = format!("sealed with {} entries by ura.test/b, whose key was not given", sealed.size);
    assert_eq!(one.sealed.map(|sealed| sealed.to_string()), Some(shown));
    // A stranger's key under that name.
    let stranger = Signer::generate("ura.test/b", rig.b.signer.key().kind()).expect("a key");
    let other = rig.verified(&rig.a, &[&rig.a.signer, &stranger]).await;
    assert_eq!((other.signed_size, other.sealed), (before.signed_size, by(false)));
    rig.reader.close().await;
}

#[tokio::test]
async fn a_gateway_that_seals_vouches_for_nothing_else() {
    let mut rig = Rig::new().await;
    let mut append = rig.c.store.begin(rig.c.log, Appender::Guest, 0, BEGIN_US).await.expect("begun");
    let (size, root) = (rig.c.frontier.size(), rig.c.frontier.root());
    let forged = Checkpoint { origin: "ura.test/c".into(), size, root, extensions: Vec::new() };
    let note = forged.sign(&rig.b.signer).expect("signed").to_string();
    append.checkpoint(size, &note, BEGIN_US, false).await.expect("inserted");
    append.commit().await.expect("committed");
    let report = rig.verified(&rig.c, &[&rig.c.signer, &rig.b.signer]).await;
    assert!(report.signed_size < size && report.sealed.is_none());
    assert!(report.problems.iter().any(|problem| problem.place.covers(size - 1)), "{:?}", report.problems);
    rig.reader.close().await;
}

#[tokio::test]
async fn a_row_that_is_locked_holds_up_nobody_else() {
    let rig = Rig::new().await;
    let mut stopped = sqlx::PgConnection::connect(&rig.server.url()).await.expect("connects");
    // A process that was stopped in the middle of a transaction.
    let lock = format!("begin; update log set beat = beat where log = {}", rig.a.log);
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut stopped).await.expect("locked");
    rig.watch_until(async || {
        let report = verify_registry(&rig.reader, &[]).await.expect("readable");
        report.logs.iter().any(|listed| listed.sealed)
    })
    .await;
    rig.assert_sealed(&rig.c).await;
    assert!(!rig.row(&rig.a).await.sealed, "it is locked");
    stopped.close().await.expect("closes");
    rig.watch_until(async || {
        let report = verify_registry(&rig.reader, &[]).await.expect("readable");
        report.logs.iter().filter(|listed| listed.sealed).count() == 2
    })
    .await;
    rig.assert_sealed(&rig.a).await;
    rig.reader.close().await;
}

#[tokio::test]
async fn a_log_that_was_altered_is_not_sealed() {
    let table = [
        (
            "update entry set leaf = decode(repeat('00', 32), 'hex') where log = 1 and log_index = 280",
            "do not have the root",
        ),
        ("update subtree set hash = decode(repeat('00', 32), 'hex') where log = 1", "do not have the root"),
        ("delete from entry where log = 1 and log_index = 400", "entry 400 of log 1 is missing"),
        ("update log set size = 200 where log = 1", "it was cut off"),
        (
            "update checkpoint set note = replace(note, '303', '302') where log = 1",
            "not signed by its own key",
        ),
    ];
    let mut rig = Rig::new().await;
    let own = own(&rig.b);
    let mut raw = sqlx::PgConnection::connect(&rig.server.url()).await.expect("connects");
    for (change, says) in table {
        sqlx::raw_sql("create table keep_e as table entry; create table keep_s as table subtree; create table keep_l as table log; create table keep_c as table checkpoint")
            .execute(&mut raw)
            .await
            .expect("kept");
        let changed = sqlx::raw_sql(change).execute(&mut raw).await.expect(change).rows_affected();
        assert!(changed > 0, "{change}");
        let before = rig.row(&rig.a).await;
        let refused =
            Box::pin(seal_watching(&mut rig.b.store, &rig.reader, "ura.test/a", &own, "", &clock(), WATCH))
                .await;
        let told = matches!(&refused, Err(SealError::Unsound { what, .. }) if what.contains(says));
        assert!(told, "{change}: {refused:?}");
        assert_eq!(rig.row(&rig.a).await, before, "nothing was touched");
        let restore = ["entry", "subtree", "log", "checkpoint"].map(|table| {
            let kept = table.get(..1).expect("a letter");
            format!("delete from {table}; insert into {table} overriding system value select * from keep_{kept}; drop table keep_{kept}")
        });
        sqlx::raw_sql(sqlx::AssertSqlSafe(restore.join(";"))).execute(&mut raw).await.expect("restored");
    }
    let clock = clock();
    let sealed = seal_watching(&mut rig.b.store, &rig.reader, "ura.test/a", &own, "", &clock, WATCH);
    let sealed = Box::pin(sealed).await;
    sealed.expect("as it was before, it can be sealed");
    rig.assert_sealed(&rig.a).await;
    raw.close().await.expect("closes");
    rig.reader.close().await;
}

#[tokio::test]
async fn a_sealing_that_was_interrupted_goes_on() {
    let rig = Rig::new().await;
    let mut interruptions = 0;
    // Each time a little further: a look has some hundred steps, and the wait before it some dozen.
    for polls in (20u32..).step_by(17) {
        let watch = WatchOthers { seal_after: Duration::from_millis(40), ..rig.watch() };
        let watching = Box::pin(watch_others(watch, || "ura.test/b".into(), clock()));
        assert!(patient(interrupted(watching, polls)).await.is_none());
        interruptions += 1;
        let report = verify_registry(&rig.reader, &[]).await.expect("readable");
        assert_eq!(report.problems, []);
        if report.logs.iter().filter(|listed| listed.sealed).count() == 2 {
            break;
        }
    }
    assert!(interruptions > 5, "{interruptions}");
    rig.assert_sealed(&rig.a).await;
    rig.assert_sealed(&rig.c).await;
    rig.reader.close().await;
}

#[tokio::test]
async fn a_gateway_alone_has_its_log_and_its_keys_listed() {
    let (sample, dir) = (Sample::sqlite().await, tempfile::tempdir().expect("temporary folder"));
    let log_keys = dir.path().join("log-keys");
    let keys = LogKeys::open(&log_keys, ORIGIN).expect("keys");
    let reader = sample.reader().await;
    let watch = WatchOthers {
        address: sample.address.clone(),
        log_keys,
        keys: sample.keys_folder(),
        gateway: "ais/gateway".parse().expect("a system"),
        seal_after: Duration::from_millis(50),
        poll: Duration::from_millis(2),
    };
    let listed = async |key: &ura_log::note::Key| {
        Box::pin(until(async || {
            let report = verify_registry(&reader, &[]).await.expect("readable");
            report.logs.iter().any(|log| log.key == *key)
        }))
        .await;
    };
    let all = async {
        listed(keys.newest().key()).await;
        let (_, next) = keys.rotate().expect("a key");
        keys.activate(&next).expect("current");
        listed(&next).await;
    };
    tokio::select! {
        never = Box::pin(watch_others(watch, || ORIGIN.into(), clock())) => match never {},
        () = Box::pin(all) => {}
    }
    assert_eq!(reader.newest_registry().await.expect("readable").map(|(version, _)| version), Some(2));
    reader.close().await;
}
