//! Search, and what is not shown.

use ura_proto::v1::{Gap, Opening};

use super::*;
use crate::{
    entry::{Row, kind},
    sample::{BEGIN_US, ORIGIN, Sample},
};

fn stored(row: Row) -> StoredRow {
    let Row { body, leaf, columns, subjects } = row;
    StoredRow { index: 7, leaf, columns, removed_by: 0, body: Some(body), subjects }
}

/// What is wrong with a row, or nothing.
fn check(row: StoredRow) -> Option<ReadError> {
    Found::of(&Arc::from(ORIGIN), row).err()
}

#[tokio::test]
async fn a_row_that_was_changed_is_not_shown() {
    let mut sample = Sample::sqlite().await;
    let exchange = sample.exchange();
    let row = || stored(sample.opening(exchange, BEGIN_US, Some("1234567890"), |_| {}));
    assert!(check(row()).is_none());
    type Change = fn(&mut StoredRow);
    let changes: [(&str, Change); 12] = [
        ("body", |row| row.body = Some(vec![8, 1])),
        ("leaf", |row| row.leaf[0] ^= 1),
        ("no body", |row| row.body = None),
        ("marked as removed", |row| row.removed_by = 9),
        ("kind", |row| row.columns.kind = kind::CLOSING),
        ("exchange", |row| row.columns.exchange[0] ^= 1),
        ("time", |row| row.columns.recorded_us += 1),
        ("consumer", |row| row.columns.consumer.push('x')),
        ("reason", |row| row.columns.reason.push('x')),
        ("no subjects", |row| row.subjects.clear()),
        ("another subject", |row| row.subjects[0].pseudonym[0] ^= 1),
        ("one more subject", |row| row.subjects.push(row.subjects[0].clone())),
    ];
    for (name, change) in changes {
        let mut changed = row();
        change(&mut changed);
        let error = check(changed).expect(name);
        assert!(matches!(error, ReadError::Altered { index: 7, .. }), "{name}: {error}");
        assert!(error.to_string().contains(ORIGIN), "{error}");
    }
    // Bytes that have their leaf and are no entry.
    let mut foreign = row();
    foreign.leaf = leaf(&[8, 2]);
    foreign.body = Some(vec![8, 2]);
    assert!(matches!(check(foreign), Some(ReadError::Entry { source: EntryError::Version(2), .. })));
}

#[test]
fn exchange_ids_are_read_back() {
    let exchange = ExchangeId::at(BEGIN_US);
    assert_eq!(exchange_of(exchange.as_bytes()), Some(exchange));
    assert_eq!(exchange_of(&[0; 16]), None);
    assert_eq!(exchange_of(&[]), None);
    assert_eq!(exchange_of(&[1; 17]), None);
}

/// Indexes on all pages of this size.
async fn all(reader: &Reader, filter: &Filter, limit: u32) -> Vec<u64> {
    let (mut indexes, mut after) = (Vec::new(), None);
    loop {
        let page = find(reader, filter, after, limit).await.expect("a page");
        indexes.extend(page.entries.iter().map(|found| found.index));
        after = page.next;
        if after.is_none() {
            return indexes;
        }
    }
}

#[tokio::test]
async fn entries_are_found_by_exchange_and_by_what_they_say() {
    let mut sample = Sample::sqlite().await;
    let mut exchanges = Vec::new();
    for n in 0..20i64 {
        let exchange = sample.exchange();
        let change = |opening: &mut Opening| {
            opening.trace_id = vec![u8::try_from(n).expect("small"); 16];
            if n % 2 == 1 {
                opening.consumer = "ais/other".into();
                opening.refusal = "GRANT_MISSING".into();
            }
        };
        // Four entries at each moment.
        let at = BEGIN_US + n / 4;
        let row = sample.opening(exchange, at, Some("1234567890"), change);
        sample.append(&[row, Sample::closing(exchange, at)]).await;
        exchanges.push(exchange);
    }
    sample.append(&[Row::new(None, BEGIN_US + 99, Kind::Gap(Gap { refused: 3, ..Gap::default() }))]).await;
    let reader = sample.reader().await;
    let found = exchange(&reader, exchanges[3]).await.expect("found");
    assert_eq!(found.iter().map(|found| (found.index, found.kind)).collect::<Vec<_>>(), [(6, 10), (7, 12)]);
    assert_eq!((found[0].log.as_ref(), found[0].subjects().len()), (ORIGIN, 1));
    assert!(exchange(&reader, ExchangeId::at(1)).await.expect("nothing").is_empty());

    let even: Vec<u64> = (0..10).rev().map(|n| n * 4).collect();
    let portal = Filter { consumer: Some("ais/portal".into()), ..Filter::default() };
    for limit in [1, 3, 10, 4000] {
        assert_eq!(all(&reader, &portal, limit).await, even, "pages of {limit}");
    }
    let trace = Filter { trace_id: Some([5; 16]), ..Filter::default() };
    assert_eq!(all(&reader, &trace, 10).await, [10]);
    let refused =
        Filter { reason: Some("GRANT_MISSING".into()), from_us: Some(BEGIN_US + 4), ..Filter::default() };
    assert_eq!(all(&reader, &refused, 10).await, [38, 34]);
    let gaps = Filter { kind: Some(kind::GAP), ..Filter::default() };
    assert_eq!(all(&reader, &gaps, 10).await, [40]);
    // By subject, with all keys.
    let whom = Whom { kind: "person", canonical: b"1234567890" };
    let (keys, ever) = (sample.keys.all(), (i64::MIN, i64::MAX));
    let page = find_subject(&reader, &keys, whom, ever, None, 15).await.expect("found");
    assert_eq!(page.entries.len(), 15);
    let rest = find_subject(&reader, &keys, whom, ever, page.next, 15).await.expect("found");
    assert_eq!((rest.entries.len(), rest.next), (5, None));
    let nobody = Whom { canonical: b"1", ..whom };
    assert!(find_subject(&reader, &keys, nobody, ever, None, 15).await.expect("nobody").entries.is_empty());
}

#[tokio::test]
async fn what_was_removed_is_shown_as_removed() {
    let mut sample = Sample::sqlite().await;
    let exchange = sample.exchange();
    let rows =
        [sample.opening(exchange, BEGIN_US, Some("1234567890"), |_| {}), Sample::closing(exchange, BEGIN_US)];
    sample.append(&rows).await;
    sample.remove(&[0, 1]).await;
    let reader = sample.reader().await;
    let openings = Filter { kind: Some(kind::OPENING), ..Filter::default() };
    let page = find(&reader, &openings, None, 10).await.expect("read");
    assert!(page.entries.is_empty(), "nothing is left to find it by");
    let found = super::at(&reader, ORIGIN, 0).await.expect("read").expect("it stands there");
    assert_eq!((found.index, found.removed_by(), found.leaf_hash), (0, Some(2), rows[0].leaf_hash()));
    assert!(found.entry().is_none() && found.subjects().is_empty());
    let error = found.clone().into_entry().expect_err("gone");
    assert!(matches!(error, ReadError::Removed { index: 0, by: 2, .. }), "{error}");
    assert!(super::exchange(&reader, exchange).await.expect("nothing").is_empty());
}
