//! Retention on real stores: what goes, what stays, and that the log still proves itself.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use ura_proto::v1::{Disclosure, Progress};

use super::*;
use crate::{
    sample::{BEGIN_US, ORIGIN, Sample, postgres::Postgres},
    source::Source,
    verify::{Report, Trust, verify},
};

const CONTRACT: &str = "ks.civilstatus.v1.CivilStatusService";
/// A contract whose name begins like the other's.
const OTHER: &str = "ks.civilstatus.v1.CivilStatusServiceX";
const HOUR_US: i64 = 3_600_000_000;
const NOW_US: i64 = BEGIN_US + 100 * HOUR_US;
/// Before this time exchanges go.
const BEFORE_US: i64 = BEGIN_US + 50 * HOUR_US;

/// An exchange of the sample and what belongs to it.
struct Written {
    goes: bool,
    is_open: bool,
    indexes: Vec<u64>,
}

/// Writes exchanges of all sorts, interleaved; the returned ones tell what becomes of them.
async fn write(sample: &mut Sample, exchanges: i64) -> Vec<Written> {
    let mut written: Vec<Written> = Vec::new();
    let (mut rows, mut closings) = (Sample::gaps(3), Vec::new());
    for number in 0..exchanges {
        let id = sample.exchange();
        let sort = number % 10;
        // Sorts 0 to 4 are closed exchanges of old.
        let opened_us = if sort == 5 { BEFORE_US + number } else { BEGIN_US + number };
        let contract = if sort == 6 { OTHER } else { CONTRACT };
        let row = sample.opening(id, opened_us, Some("1803478194"), |opening| {
            opening.method = format!("{contract}/Get{}", number % 3);
            if sort == 8 {
                opening.refusal = "GRANT_MISSING".into();
            }
        });
        let mut indexes = vec![u64::try_from(rows.len()).expect("few")];
        rows.push(row);
        if sort == 4 {
            let (subject, opening) = sample.person(id, "1503478190");
            let progress = Progress { subjects: vec![subject], ..Progress::default() };
            indexes.push(u64::try_from(rows.len()).expect("few"));
            rows.push(Row::with_subjects(Some(id), opened_us + 1, Kind::Progress(progress), vec![opening]));
            indexes.push(u64::try_from(rows.len()).expect("few"));
            rows.push(Row::new(Some(id), opened_us + 2, Kind::Disclosure(Disclosure::default())));
        }
        // 7: open; 8: refused; all others are closed, some long afterwards.
        let is_open = sort == 7;
        if sort < 7 || sort == 9 {
            closings.push((written.len(), Sample::closing(id, NOW_US)));
        }
        written.push(Written { goes: ![5, 6, 7].contains(&sort), is_open, indexes });
        if number % 5 == 4 {
            for (at, row) in closings.drain(..) {
                written[at].indexes.push(u64::try_from(rows.len()).expect("few"));
                rows.push(row);
            }
        }
    }
    assert_eq!(sample.append(&rows).await, 0, "indexes are counted from the beginning");
    sample.checkpoint().await;
    written
}

async fn row(reader: &Reader) -> LogRow {
    reader.log_by_origin(ORIGIN).await.expect("readable").expect("registered")
}

/// Verifies the log, with a checkpoint over all that is there.
async fn verified(sample: &mut Sample) -> Report {
    let reader = sample.reader().await;
    let log = row(&reader).await;
    sample.frontier = reader.frontier(log.log, log.size).await.expect("an edge");
    sample.checkpoint().await;
    let trust = Trust { keys: vec![sample.signer.key().clone()], ..Trust::default() };
    let report = verify(Source::store(reader.clone(), log), &trust, |_, _| ()).await.expect("readable");
    reader.close().await;
    report
}

/// By entry: whether its body is there.
async fn bodies(reader: &Reader) -> BTreeMap<u64, bool> {
    let (log, mut bodies) = (row(reader).await, BTreeMap::new());
    while bodies.len() < usize::try_from(log.size).expect("few") {
        let from = u64::try_from(bodies.len()).expect("few");
        let page = reader.entries(log.log, from, 4096).await.expect("readable");
        assert!(!page.is_empty());
        bodies.extend(page.into_iter().map(|row| (row.index, row.body.is_some())));
    }
    bodies
}

async fn run(store: &mut Store, reader: &Reader, epochs: &EpochKeys, dry_run: bool) -> PrunedContract {
    let asked = [(CONTRACT.to_owned(), BEFORE_US)];
    let log = row(reader).await;
    let pruned =
        prune(store, reader, &log, epochs, Retention { contracts: &asked, now_us: NOW_US, dry_run }, |_| ())
            .await
            .expect("pruned");
    pruned.contracts.into_iter().next().expect("one contract")
}

/// What of the written goes and stays did so; removals and all later entries stay.
async fn compare(reader: &Reader, written: &[Written]) {
    let bodies = bodies(reader).await;
    let going: Vec<u64> = written.iter().filter(|one| one.goes).flat_map(|one| one.indexes.clone()).collect();
    for (index, is_there) in &bodies {
        assert_eq!(*is_there, !going.contains(index), "entry {index}");
    }
}

async fn whole_exchanges_go_and_the_log_still_verifies(mut sample: Sample) {
    let written = write(&mut sample, 1500).await;
    let count = |goes: fn(&Written) -> bool| {
        let of = || written.iter().filter(|one| goes(one));
        let entries: usize = of().map(|one| one.indexes.len()).sum();
        (u64::try_from(of().count()).expect("few"), u64::try_from(entries).expect("few"))
    };
    let (exchanges, entries) = count(|one| one.goes);
    assert!(entries > 2000, "several transactions: {entries}");
    let (open, _) = count(|one| one.is_open);
    let expected = PrunedContract { contract: CONTRACT.into(), exchanges, entries, open, too_long: 0 };
    let reader = sample.reader().await;
    let size = row(&reader).await.size;
    assert_eq!(run(&mut sample.store, &reader, &sample.keys, true).await, expected);
    assert_eq!(row(&reader).await.size, size, "a dry run writes nothing");
    assert!(bodies(&reader).await.values().all(|is_there| *is_there));

    assert_eq!(run(&mut sample.store, &reader, &sample.keys, false).await, expected);
    compare(&reader, &written).await;
    let removals = row(&reader).await.size - size;
    assert_eq!(removals, entries.div_ceil(1000), "as few transactions as there can be");
    let report = verified(&mut sample).await;
    assert!(report.is_sound(), "{:#?}", report.problems);
    assert_eq!((report.removed, report.kinds.get(&kind::REMOVAL)), (entries, Some(&removals)));

    let size = row(&reader).await.size;
    let nothing = PrunedContract { exchanges: 0, entries: 0, ..expected };
    assert_eq!(run(&mut sample.store, &reader, &sample.keys, false).await, nothing, "a second run");
    assert_eq!(row(&reader).await.size, size);
    reader.close().await;
}

/// Lets a future go on that many times once it `counts`, and drops it then.
async fn interrupted<F: Future>(future: F, counts: impl Fn() -> bool, mut polls: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= u32::from(counts());
        future.as_mut().poll(context).map(Some)
    })
    .await
}

async fn an_interrupted_run_leaves_nothing_half_done(mut sample: Sample) {
    let written = write(&mut sample, 3000).await;
    let reader = sample.reader().await;
    // Some before anything is removed, then always some steps behind the first transaction of the run.
    let plans = [(0, 10), (0, 60), (1, 1), (1, 9), (1, 30), (1, u32::MAX)];
    for (after, polls) in plans {
        let mut store = Store::open(&sample.address).await.expect("opens");
        let (log, commits) = (row(&reader).await, Cell::new(0));
        let asked = [(CONTRACT.to_owned(), BEFORE_US)];
        let told = |_: &PrunedContract| commits.set(commits.get() + 1);
        let pruning = Box::pin(prune(
            &mut store,
            &reader,
            &log,
            &sample.keys,
            Retention { contracts: &asked, now_us: NOW_US, dry_run: false },
            told,
        ));
        let done = interrupted(pruning, || commits.get() >= after, polls).await.map(|done| done.is_ok());
        drop(store);
        // How far some polls go depends on how much each finds ready: one is never enough.
        match polls {
            1 => assert_eq!(done, None),
            u32::MAX => assert_eq!(done, Some(true)),
            _ => {}
        }
        let bodies = bodies(&reader).await;
        // Each exchange is there or gone, as a whole.
        for one in &written {
            let there = one.indexes.iter().filter(|index| bodies[index]).count();
            assert!([0, one.indexes.len()].contains(&there), "{there} of {:?}", one.indexes);
        }
        assert!(after == 0 || bodies.values().any(|is_there| !is_there), "{after} {polls}");
        let report = verified(&mut sample).await;
        assert!(report.is_sound(), "{:#?}", report.problems);
    }
    compare(&reader, &written).await;
    reader.close().await;
}

#[tokio::test]
async fn on_sqlite() {
    whole_exchanges_go_and_the_log_still_verifies(Sample::sqlite().await).await;
    Box::pin(an_interrupted_run_leaves_nothing_half_done(Sample::sqlite().await)).await;
}

#[tokio::test]
async fn whole_exchanges_go_on_postgres() {
    let server = Postgres::start(&[]);
    let dir = tempfile::tempdir().expect("temporary folder");
    whole_exchanges_go_and_the_log_still_verifies(Sample::at(dir, &server.url(), ORIGIN).await).await;
}

#[tokio::test]
async fn an_interrupted_run_on_postgres() {
    let server = Postgres::start(&[]);
    let dir = tempfile::tempdir().expect("temporary folder");
    let sample = Sample::at(dir, &server.url(), ORIGIN).await;
    Box::pin(an_interrupted_run_leaves_nothing_half_done(sample)).await;
}

#[tokio::test]
async fn what_cannot_be_pruned_is_refused() {
    let mut sample = Sample::sqlite().await;
    write(&mut sample, 20).await;
    let reader = sample.reader().await;
    let (log, epochs) = (row(&reader).await, sample.keys.clone());
    let ask = async |store: &mut Store, log: &LogRow, contract: &str, before_us| {
        let asked = [(contract.to_owned(), before_us)];
        prune(
            store,
            &reader,
            log,
            &epochs,
            Retention { contracts: &asked, now_us: NOW_US, dry_run: false },
            |_| (),
        )
        .await
    };
    for contract in ["", "a.B/C", "a..B", "a.B ", "%"] {
        let refused = ask(&mut sample.store, &log, contract, BEFORE_US).await;
        assert!(matches!(refused, Err(PruneError::Contract(_))), "{contract:?}: {refused:?}");
    }
    let future = ask(&mut sample.store, &log, CONTRACT, NOW_US + 1).await;
    assert!(matches!(future, Err(PruneError::Future { .. })), "{future:?}");
    let mut append = sample.store.begin(log.log, Appender::Guest, 0, 1).await.expect("begun");
    append.seal().await.expect("sealed");
    append.commit().await.expect("committed");
    // Whether that was seen before or not.
    for log in [log, row(&reader).await] {
        let sealed = ask(&mut sample.store, &log, CONTRACT, BEFORE_US).await;
        assert!(matches!(sealed, Err(PruneError::Sealed(_))), "{sealed:?}");
    }
    assert!(bodies(&reader).await.values().all(|is_there| *is_there));
    reader.close().await;
}

#[tokio::test]
async fn what_others_appended_is_read_before_the_log_is_locked() {
    let mut sample = Sample::sqlite().await;
    write(&mut sample, 20).await;
    let reader = sample.reader().await;
    let (log, epochs) = (row(&reader).await, sample.keys.clone());
    let tree = edge(&reader, &log).await.expect("an edge");
    // More than is read in one go, and then an end, on which the append fails when it begins.
    sample.append(&Sample::gaps(20_000)).await;
    let mut append = sample.store.begin(log.log, Appender::Guest, 0, 1).await.expect("begun");
    append.seal().await.expect("sealed");
    append.commit().await.expect("committed");
    let mut pruning = Pruning {
        store: &mut sample.store,
        reader: &reader,
        log: &log,
        epochs: &epochs,
        now_us: NOW_US,
        dry_run: false,
        tree,
    };
    let parcel = Parcel { exchanges: 1, indexes: vec![3] };
    let removed = pruning.remove(&mut PrunedContract::default(), parcel, BEFORE_US).await;
    assert!(matches!(removed, Err(PruneError::Sealed(_))), "{removed:?}");
    assert_eq!(pruning.tree.size(), log.size + 20_000, "the edge behind all entries");
    reader.close().await;
}

#[tokio::test]
async fn a_long_exchange_stays_and_those_beside_it_go() {
    let mut sample = Sample::sqlite().await;
    let (long, short) = (sample.exchange(), sample.exchange());
    let opening = |sample: &Sample, id| {
        sample.opening(id, BEGIN_US, None, |opening| opening.method = format!("{CONTRACT}/GetPerson"))
    };
    let mut rows = vec![opening(&sample, long), opening(&sample, short), Sample::closing(short, BEGIN_US)];
    let step = || Row::new(Some(long), BEGIN_US, Kind::Progress(Progress::default()));
    rows.extend((0..EXCHANGE_ROWS_MAX).map(|_| step()));
    rows.push(Sample::closing(long, BEGIN_US));
    sample.append(&rows).await;
    let reader = sample.reader().await;
    let pruned = run(&mut sample.store, &reader, &sample.keys, false).await;
    let expected =
        PrunedContract { contract: CONTRACT.into(), exchanges: 1, entries: 2, open: 0, too_long: 1 };
    assert_eq!(pruned, expected);
    let gone: Vec<u64> = bodies(&reader).await.into_iter().filter(|(_, is)| !is).map(|(at, _)| at).collect();
    assert_eq!(gone, [1, 2]);
    reader.close().await;
}
