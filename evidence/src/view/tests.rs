//! What a member sees of a log, on either database.

use ura_log::{Hash, checkpoint, proof::verify_inclusion, tree};
use ura_proto::v1::{Progress, entry::Kind};

use super::*;
use crate::{
    entry::{Row, leaf},
    sample::{BEGIN_US, ORIGIN, Sample, postgres::Postgres},
};

fn system(id: &str) -> SystemId {
    id.parse().expect("a system id")
}

/// All pages from an index on; each entry is verified against its page's checkpoint.
async fn read(sample: &Sample, view: &mut View) -> Vec<StoredEntry> {
    let keys = [sample.signer.key().clone()];
    let (mut told, mut note) = (Vec::new(), String::new());
    while let Some(page) = view.page().await.expect("a page") {
        assert!(page.entries.len() <= 256);
        if !page.checkpoint.is_empty() {
            note = page.checkpoint;
        }
        let (checkpoint, _) = checkpoint::open(&note, &keys).expect("signed");
        for proved in page.entries {
            let entry = proved.entry.expect("an entry");
            let proof: Vec<Hash> =
                proved.proof.iter().map(|hash| hash.as_slice().try_into().expect("32 bytes")).collect();
            let leaf_hash = tree::leaf_hash(&leaf(&entry.body));
            verify_inclusion(&leaf_hash, entry.log_index, checkpoint.size, &proof, &checkpoint.root)
                .expect("holds");
            assert!(entry.log_index < page.next_index, "told twice");
            assert!(entry.subjects.is_empty(), "pseudonyms are left out");
            told.push(entry);
        }
    }
    told
}

/// 400 exchanges of the portal at alternating providers, each third one of another consumer, with progress.
async fn fill(sample: &mut Sample) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..400i64 {
        let exchange = sample.exchange();
        let at = BEGIN_US + n;
        rows.push(sample.opening(exchange, at, Some("1234567890"), |opening| {
            if n % 3 == 0 {
                opening.consumer = "ais/other".into();
            }
            if n % 2 == 0 {
                opening.provider = "atk/property".into();
            }
        }));
        let (subject, opened) = sample.person(exchange, "2345678901");
        let progress = Progress { subjects: vec![subject], from_reply: true, ..Progress::default() };
        rows.push(Row::with_subjects(Some(exchange), at, Kind::Progress(progress), vec![opened]));
        rows.push(Sample::closing(exchange, at));
        rows.extend(Sample::gaps(1));
    }
    sample.append(&rows).await;
    sample.checkpoint().await;
    rows
}

/// Indexes of the entries of exchanges that name a system.
fn naming(rows: &[Row], system: &str) -> Vec<u64> {
    let named = |row: &&Row| row.columns.consumer == system || row.columns.provider == system;
    let exchanges: Vec<&[u8]> =
        rows.iter().filter(named).map(|row| row.columns.exchange.as_slice()).collect();
    let of_it = (0..).zip(rows).filter(|(_, row)| {
        !row.columns.exchange.is_empty() && exchanges.contains(&row.columns.exchange.as_slice())
    });
    of_it.map(|(index, _)| index).collect()
}

async fn each_sees_its_own(mut sample: Sample) {
    let rows = fill(&mut sample).await;
    let reader = sample.reader().await;
    for name in ["ais/portal", "ais/other", "arc/civil-status", "atk/property"] {
        let mut view = View::open(&reader, ORIGIN, system(name), 0).await.expect("opens");
        let told = read(&sample, &mut view).await;
        let indexes: Vec<u64> = told.iter().map(|entry| entry.log_index).collect();
        assert_eq!(indexes, naming(&rows, name), "{name}");
        assert!(indexes.len() > 256, "more than a page");
        for entry in &told {
            assert_eq!(entry.body, rows[usize::try_from(entry.log_index).expect("small")].body);
        }
    }
    let mut nobody = View::open(&reader, ORIGIN, system("ais/nobody"), 0).await.expect("opens");
    let page = nobody.page().await.expect("a page").expect("says how far it is");
    assert!(page.entries.is_empty() && page.next_index == 1600);
    let error = View::open(&reader, "ura.test/none", system("ais/portal"), 0).await.expect_err("no such log");
    assert!(matches!(error, ReadError::NoLog(_)), "{error}");
}

#[tokio::test]
async fn each_member_sees_its_own_entries_with_proofs() {
    each_sees_its_own(Sample::sqlite().await).await;
}

#[tokio::test]
async fn each_member_sees_its_own_entries_with_proofs_in_postgres() {
    let server = Postgres::start(&[]);
    let dir = tempfile::tempdir().expect("temporary folder");
    each_sees_its_own(Sample::at(dir, &server.url(), ORIGIN).await).await;
}

#[tokio::test]
async fn a_view_follows_the_log_and_goes_on_from_an_index() {
    let mut sample = Sample::sqlite().await;
    let reader = sample.reader().await;
    let mut view = View::open(&reader, ORIGIN, system("ais/portal"), 0).await.expect("opens");
    assert!(view.page().await.expect("no checkpoint yet").is_none());
    let rows = fill(&mut sample).await;
    assert_eq!(read(&sample, &mut view).await.len(), naming(&rows, "ais/portal").len());
    // What is not covered by a checkpoint is not told.
    let exchange = sample.exchange();
    let opening = sample.opening(exchange, BEGIN_US, None, |_| {});
    let first = sample.append(&[opening, Sample::closing(exchange, BEGIN_US)]).await;
    assert!(view.page().await.expect("a page").is_none());
    sample.checkpoint().await;
    let told = read(&sample, &mut view).await;
    assert_eq!(told.iter().map(|entry| entry.log_index).collect::<Vec<_>>(), [first, first + 1]);
    // The opening lies before where it goes on.
    let mut later = View::open(&reader, ORIGIN, system("ais/portal"), first + 1).await.expect("opens");
    let told = read(&sample, &mut later).await;
    assert_eq!(told.iter().map(|entry| entry.log_index).collect::<Vec<_>>(), [first + 1]);
}

#[tokio::test]
async fn a_page_ends_where_its_bodies_are_large() {
    let mut sample = Sample::sqlite().await;
    let mut rows = Vec::new();
    for _ in 0..5 {
        let exchange = sample.exchange();
        rows.push(
            sample.opening(exchange, BEGIN_US, None, |opening| opening.case_number = "7".repeat(400_000)),
        );
    }
    sample.append(&rows).await;
    sample.checkpoint().await;
    let reader = sample.reader().await;
    let mut view = View::open(&reader, ORIGIN, system("ais/portal"), 0).await.expect("opens");
    let mut pages = Vec::new();
    while let Some(page) = view.page().await.expect("a page") {
        pages.push((page.entries.len(), page.next_index));
    }
    assert_eq!(pages, [(3, 3), (2, 5)]);
}

#[tokio::test]
async fn an_altered_entry_is_not_told() {
    let mut sample = Sample::sqlite().await;
    let exchange = sample.exchange();
    let true_row = sample.opening(exchange, BEGIN_US, None, |_| {});
    let mut row = sample.opening(exchange, BEGIN_US, None, |opening| opening.purpose = "other".into());
    row.leaf = true_row.leaf;
    sample.append(&[row]).await;
    sample.checkpoint().await;
    let reader = sample.reader().await;
    let mut view = View::open(&reader, ORIGIN, system("ais/portal"), 0).await.expect("opens");
    let error = view.page().await.expect_err("altered");
    assert!(matches!(error, ReadError::Altered { index: 0, .. }), "{error}");
}

#[tokio::test]
async fn what_services_await_can_move_between_threads() {
    fn moves<T: Send>(future: T) -> T {
        future
    }
    let mut sample = Sample::sqlite().await;
    fill(&mut sample).await;
    let reader = sample.reader().await;
    let mut view = moves(View::open(&reader, ORIGIN, system("ais/portal"), 0)).await.expect("opens");
    moves(view.page()).await.expect("a page").expect("not the end");
    let exchange = ura_proto::ExchangeId::at(1);
    moves(crate::receipt::make(&reader, exchange, None, &[])).await.expect_err("nothing");
    moves(crate::prove::consistency(&reader, sample.log, 1, 2)).await.expect("proved");
    moves(crate::find::exchange(&reader, exchange)).await.expect("nothing");
    let whom = crate::find::Whom { kind: "person", canonical: b"1" };
    let keys = sample.keys.all();
    moves(crate::find::find_subject(&reader, &keys, whom, (0, 1), None, 1)).await.expect("nothing");
}
