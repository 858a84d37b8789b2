//! Finding: filters, pages, exchanges, subjects.

use super::*;
use crate::{
    entry::kind,
    store::{Cursor, Filter, StoredRow},
};

/// Five exchanges and what the log says of itself; the index of each row is its place.
fn sample() -> (Vec<ExchangeId>, Vec<Row>) {
    let ids: Vec<_> = (1..=4).map(ExchangeId::at).collect();
    let (a, b) = ("ais/portal", "atk/portal");
    let (x, y) = ("arc/civil-status", "atk/tax");
    let refused = Opening { refusal: "GRANT_MISSING".into(), ..asked(b, x, "p.S/One") };
    let ended = Closing { refusal: "DEADLINE".into(), ..Closing::default() };
    let rows = vec![
        opening(ids[0], 10, Opening { trace_id: vec![9; 16], ..asked(a, x, "p.S/One") }, &[[1; 32]]),
        closing(ids[0], 11),
        gap(12),
        opening(ids[1], 20, asked(a, y, "p.S/Two"), &[[2; 32]]),
        opening(ids[2], 20, refused, &[[1; 32]]),
        progress(ids[1], 21, &[[1; 32], [3; 32]]),
        Row::new(Some(ids[1]), 22, Kind::Closing(ended)),
        opening(ids[3], 5, asked(b, a, "p.Sx/One"), &[]),
    ];
    (ids, rows)
}

async fn stored(address: &Address) -> (Reader, i64, Vec<ExchangeId>, Vec<Row>) {
    let (mut store, log) = held(address).await;
    let (ids, rows) = sample();
    append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
    (Reader::open(address).await.expect("opens"), log.log, ids, rows)
}

fn places(found: &[(i64, StoredRow)]) -> Vec<u64> {
    found.iter().map(|(_, row)| row.index).collect()
}

pub(super) async fn filters_fit_together(address: Address) {
    let (reader, log, ids, _) = stored(&address).await;
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let table: [(Filter, &[u64]); 23] = [
        // The clock went back before the last one.
        (none(), &[4, 3, 2, 0, 7]),
        (Filter { log: Some(log), ..none() }, &[4, 3, 2, 0, 7]),
        (Filter { log: Some(log + 1), ..none() }, &[]),
        (Filter { exchange: Some(ids[1]), ..none() }, &[3]),
        (Filter { exchange: Some(ids[1]), kind: Some(kind::PROGRESS), ..none() }, &[5]),
        (Filter { exchange: Some(ExchangeId::at(1)), ..none() }, &[]),
        (Filter { from_us: Some(12), until_us: Some(20), ..none() }, &[2]),
        (Filter { from_us: Some(20), ..none() }, &[4, 3]),
        (Filter { until_us: Some(10), ..none() }, &[7]),
        (Filter { consumer: some("ais/portal"), ..none() }, &[3, 0]),
        (Filter { consumer: some("ais/portal"), from_us: Some(11), ..none() }, &[3]),
        (Filter { consumer: some("nobody/x"), ..none() }, &[]),
        (Filter { provider: some("arc/civil-status"), ..none() }, &[4, 0]),
        (Filter { provider: some("arc/civil-status"), consumer: some("ais/portal"), ..none() }, &[0]),
        (Filter { method: some("p.S/One"), ..none() }, &[4, 0]),
        (Filter { method: some("p.S/"), ..none() }, &[4, 3, 0]),
        (Filter { method: some("p.S"), ..none() }, &[]),
        (Filter { reason: some("GRANT_MISSING"), ..none() }, &[4]),
        (Filter { reason: some("DEADLINE"), ..none() }, &[6]),
        (Filter { reason: some("DEADLINE"), kind: Some(kind::OPENING), ..none() }, &[]),
        (Filter { trace_id: Some([9; 16]), ..none() }, &[0]),
        (Filter { kind: Some(kind::GAP), ..none() }, &[2]),
        (Filter { kind: Some(kind::CLOSING), ..none() }, &[6, 1]),
    ];
    for (filter, expected) in table {
        let found = reader.find(&filter, None, 99).await.expect("finds");
        assert_eq!(places(&found), expected, "{filter:?}");
    }
    let opened = Filter { kind: Some(kind::OPENING), ..none() };
    assert_eq!(places(&reader.find(&opened, None, 99).await.expect("finds")), [4, 3, 0, 7]);
    // A text of the caller's stays a value.
    let quoted = Filter { consumer: some("x' or '1' = '1"), ..none() };
    assert_eq!(places(&reader.find(&quoted, None, 99).await.expect("finds")), [0u64; 0]);
}

pub(super) async fn pages_go_on_where_the_last_one_ended(address: Address) {
    let (mut store, log) = held(&address).await;
    // Many of the same microsecond: only log and index tell them apart.
    let rows: Vec<Row> = (0..25)
        .map(|n| opening(ExchangeId::at(n), n / 10, asked("a/b", "c/d", "e.F/G"), &[[6; 32]]))
        .collect();
    append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
    let mut logs = vec![log.log];
    if address.is_shared() {
        let other = store.log("ura.test/other", GATEWAY).await.expect("registers");
        append(&mut store, other.log, Appender::Guest, &rows[5..15]).await.expect("appends");
        logs.push(other.log);
    }
    let reader = Reader::open(&address).await.expect("opens");
    let mut expected: Vec<(i64, i64, u64)> =
        (0..25i64).map(|n| (n / 10, logs[0], n.unsigned_abs())).collect();
    if let Some(other) = logs.get(1) {
        expected.extend((5..15i64).map(|n| (n / 10, *other, (n - 5).unsigned_abs())));
    }
    expected.sort_unstable();
    expected.reverse();
    let filter = Filter { consumer: Some("a/b".into()), ..Filter::default() };
    for limit in [1, 3, 10, 100] {
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        let (mut after, mut before) = (None, None);
        loop {
            let page = reader.find(&filter, after, limit).await.expect("finds");
            let Some((log, row)) = page.last() else { break };
            after = Some(Cursor::of(*log, row));
            found.extend(page.iter().map(|(log, row)| (row.columns.recorded_us, *log, row.index)));
        }
        loop {
            let page = reader.accesses(&[[6; 32]], 0, 100, before, limit).await.expect("finds");
            let Some((log, row)) = page.last() else { break };
            before = Some(Cursor::of(*log, row));
            asked.extend(page.iter().map(|(log, row)| (row.columns.recorded_us, *log, row.index)));
        }
        assert_eq!(found, expected, "find by {limit}");
        // The same exchanges stand in both logs: each opening is found once.
        assert_eq!(asked, expected, "accesses by {limit}");
    }
}

pub(super) async fn all_methods_of_a_contract_are_found(address: Address) {
    let (mut store, log) = held(&address).await;
    let filter = Filter { method: Some("p.S/".into()), ..Filter::default() };
    let reader = Reader::open(&address).await.expect("opens");
    // More methods than are searched one by one, in the second round.
    for methods in [3, 70] {
        let rows: Vec<Row> = (0..150i64)
            .map(|n| {
                opening(ExchangeId::at(n), n, asked("a/b", "c/d", &format!("p.S/M{}", n % methods)), &[])
            })
            .collect();
        append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
        let expected = reader.find(&Filter::default(), None, 999).await.expect("finds");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = reader.find(&filter, after, 40).await.expect("finds");
            let Some((log, row)) = page.last() else { break };
            after = Some(Cursor::of(*log, row));
            found.extend(page);
        }
        assert_eq!(found, expected, "{methods} methods");
    }
}

pub(super) async fn an_exchange_is_found_with_its_subjects(address: Address) {
    let (reader, log, ids, rows) = stored(&address).await;
    let found = reader.exchange(ids[1]).await.expect("finds");
    assert_eq!(places(&found), [3, 5, 6]);
    for (of, row) in found {
        let original = &rows[usize::try_from(row.index).expect("small")];
        assert_eq!((of, row.body.as_ref()), (log, Some(&original.body)));
        assert_eq!((&row.columns, &row.subjects), (&original.columns, &original.subjects));
    }
    assert_eq!(reader.exchange(ExchangeId::at(1)).await.expect("finds"), []);
}

pub(super) async fn several_exchanges_are_found_at_once(address: Address) {
    let (reader, log, ids, rows) = stored(&address).await;
    let asked = [ids[3], ExchangeId::at(1), ids[1], ids[0]];
    let found = reader.exchanges(&asked).await.expect("finds").expect("few");
    assert_eq!(places(&found), [0, 1, 3, 5, 6, 7]);
    for (of, row) in found {
        let original = &rows[usize::try_from(row.index).expect("small")];
        assert_eq!((of, row.body.as_ref(), &row.columns), (log, Some(&original.body), &original.columns));
    }
    assert_eq!(reader.exchanges(&[]).await.expect("finds"), Some(Vec::new()));
    let many = vec![ids[0]; 4097];
    assert!(matches!(reader.exchanges(&many).await, Err(StoreError::Misuse(_))));
    // As many entries as are read at once, and one more.
    let mut store = Store::open(&address).await.expect("opens");
    let left = i64::from(crate::store::EXCHANGE_ROWS_MAX) - 3;
    let long: Vec<Row> = (0..left).map(|n| progress(ids[1], n, &[])).collect();
    for rows in long.chunks(crate::store::APPEND_ROWS_MAX) {
        append(&mut store, log, Appender::Holder(1), rows).await.expect("appends");
    }
    let found = reader.exchanges(&[ids[1]]).await.expect("finds").expect("as many as may be");
    assert_eq!(found.len(), 16_384);
    assert_eq!(reader.exchanges(&ids[..2]).await.expect("finds"), None);
}

pub(super) async fn accesses_to_a_subject_are_found(address: Address) {
    let (reader, _, _, _) = stored(&address).await;
    let ask = async |pseudonyms: &[Hash], from, until| {
        places(&reader.accesses(pseudonyms, from, until, None, 99).await.expect("finds"))
    };
    // The second exchange names the subject only while it goes on.
    assert_eq!(ask(&[[1; 32]], 0, 100).await, [4, 3, 0]);
    assert_eq!(ask(&[[3; 32]], 0, 100).await, [3]);
    // Named twice, by the pseudonyms of two epochs: found once.
    assert_eq!(ask(&[[1; 32], [2; 32], [3; 32]], 0, 100).await, [4, 3, 0]);
    assert_eq!(ask(&[[1; 32]], 10, 20).await, [0]);
    assert_eq!(ask(&[[1; 32]], 11, 21).await, [4, 3]);
    assert_eq!(ask(&[[4; 32]], 0, 100).await, [0u64; 0]);
    assert_eq!(ask(&[], 0, 100).await, [0u64; 0]);
    let many = vec![[1; 32]; crate::store::PSEUDONYMS_MAX + 1];
    assert!(matches!(reader.accesses(&many, 0, 1, None, 9).await, Err(StoreError::Misuse(_))));
}

pub(super) async fn a_system_finds_what_names_it(address: Address) {
    let (reader, log, _, _) = stored(&address).await;
    let ask = async |system, from, below, limit| {
        let rows = reader.named(log, system, from, below, limit).await.expect("finds");
        rows.iter().map(|row| row.index).collect::<Vec<_>>()
    };
    // Consumer of the first two exchanges, provider of the last.
    assert_eq!(ask("ais/portal", 0, 99, 99).await, [0, 1, 3, 5, 6, 7]);
    assert_eq!(ask("ais/portal", 1, 99, 3).await, [1, 3, 5]);
    assert_eq!(ask("ais/portal", 1, 6, 99).await, [1, 3, 5]);
    assert_eq!(ask("arc/civil-status", 0, 99, 99).await, [0, 1, 4]);
    assert_eq!(ask("atk/tax", 0, 99, 99).await, [3, 5, 6]);
    assert_eq!(ask("", 0, 99, 99).await, [0u64; 0]);
}

pub(super) async fn openings_without_an_end_are_found(address: Address) {
    let (reader, log, _, _) = stored(&address).await;
    let ask = async |from, below, limit| {
        let rows = reader.unclosed(log, from, below, limit).await.expect("finds");
        rows.iter().map(|row| row.index).collect::<Vec<_>>()
    };
    // The refused one needs no closing.
    assert_eq!(ask(0, 99, 99).await, [7]);
    assert_eq!(ask(0, 7, 99).await, [0u64; 0]);
    assert_eq!(ask(7, 8, 99).await, [7]);
    assert_eq!(ask(0, 99, 0).await, [0u64; 0]);
}
