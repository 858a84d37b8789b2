//! One entry by itself: is its body an entry, do the columns and the subjects beside it fit, and what
//! does it say that verification goes by. Pure; knows neither tree nor place.

use ura_log::{Hash, note::Key};
use ura_proto::v1::{Entry, Removal, Subject, SubjectOpening, entry::Kind};

use super::problem::Fault;
use crate::{
    entry::{Columns, decode, leaf},
    keys::opens,
};

/// Whether what opens the commitments of subjects must lie beside an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// It must: a store.
    Always,
    /// All of it or none: an export, made for a reader without the right to it.
    OrNone,
}

/// A body that was read. Small: the body itself is not kept.
#[derive(Debug)]
pub(crate) struct Reading {
    /// SHA-256 of the body.
    pub(crate) leaf: Hash,
    /// What it says; [`Fault::NotAnEntry`] where it is no entry.
    pub(crate) facts: Result<Facts, Fault>,
}

/// What an entry says that verification goes by.
#[derive(Debug)]
pub(crate) struct Facts {
    /// See [`crate::entry::kind`].
    pub(crate) kind: i64,
    /// When it was recorded, as it says, microseconds since 1970-01-01 UTC.
    pub(crate) recorded_us: i64,
    /// What follows from it for other entries and checkpoints.
    pub(crate) told: Told,
    /// What does not fit beside it.
    pub(crate) faults: Vec<Fault>,
}

/// What an entry says of other entries or of checkpoints.
#[derive(Debug)]
pub(crate) enum Told {
    Nothing,
    /// Keys of the log that it announces.
    Keys(Vec<Key>),
    /// The key of the log changed: from which, to which.
    KeyChange(Vec<Key>),
    /// Bodies that were removed.
    Removal(Removal),
    /// The log ended; the log of the gateway that ended it.
    Seal(String),
}

/// Reads a body and compares what lies beside it.
pub(crate) fn read(
    body: &[u8],
    columns: Option<&Columns>,
    subjects: &[SubjectOpening],
    beside: Beside,
) -> Reading {
    let facts = decode(body).map_err(Fault::NotAnEntry).map(|entry| {
        let column = columns.and_then(|columns| other_column(columns, &Columns::of(&entry)));
        let subject = wrong_subjects(named(&entry), subjects, beside);
        Facts {
            kind: Columns::of(&entry).kind,
            recorded_us: entry.recorded_unix_us,
            faults: column.map(Fault::Columns).into_iter().chain(subject.map(Fault::Subjects)).collect(),
            told: told(entry),
        }
    });
    Reading { leaf: leaf(body), facts }
}

/// What is wrong beside an entry whose body is gone.
pub(crate) fn read_removed(columns: Option<&Columns>, subjects: &[SubjectOpening]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let left = columns.and_then(|columns| other_column(columns, &Columns::removed()));
    faults.extend(left.map(Fault::ColumnsOfRemoved));
    if !subjects.is_empty() {
        faults.push(Fault::Subjects("subjects of an entry that was removed are still there"));
    }
    faults
}

/// The first column in which two rows differ.
fn other_column(stored: &Columns, right: &Columns) -> Option<&'static str> {
    let same = [
        ("kind", stored.kind == right.kind),
        ("exchange_id", stored.exchange == right.exchange),
        ("recorded_us", stored.recorded_us == right.recorded_us),
        ("consumer", stored.consumer == right.consumer),
        ("provider", stored.provider == right.provider),
        ("method", stored.method == right.method),
        ("reason", stored.reason == right.reason),
        ("trace_id", stored.trace_id == right.trace_id),
    ];
    same.into_iter().find_map(|(name, same)| (!same).then_some(name))
}

/// The subjects that an entry commits to.
fn named(entry: &Entry) -> &[Subject] {
    match &entry.kind {
        Some(Kind::Opening(opening)) => &opening.subjects,
        Some(Kind::Progress(progress)) => &progress.subjects,
        _ => &[],
    }
}

fn wrong_subjects(named: &[Subject], openings: &[SubjectOpening], beside: Beside) -> Option<&'static str> {
    if openings.is_empty() && beside == Beside::OrNone {
        return None;
    }
    if named.len() != openings.len() {
        return Some("the entry names another number of subjects than lie beside it");
    }
    let opened = named.iter().zip(openings).all(|(subject, opening)| opens(subject, opening));
    (!opened).then_some("what lies beside the entry does not open the commitments of its subjects")
}

fn told(entry: Entry) -> Told {
    let parsed = |keys: &[String]| keys.iter().filter_map(|key| Key::parse(key).ok()).collect();
    match entry.kind {
        Some(Kind::Removal(removal)) => Told::Removal(removal),
        Some(Kind::Seal(seal)) => Told::Seal(seal.by),
        Some(Kind::Started(started)) => Told::Keys(parsed(&[started.log_key])),
        // An epoch's change names ids where a log key's change names keys; those do not parse as keys.
        Some(Kind::KeyChange(change)) => Told::KeyChange(parsed(&[change.before, change.log_key])),
        _ => Told::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use ura_proto::{ExchangeId, v1::Opening};

    use super::*;
    use crate::{
        entry::{EntryError, Row, kind},
        keys::commitment,
    };

    fn row() -> Row {
        let subject = SubjectOpening { kind: "person".into(), pseudonym: vec![1; 32], blind: vec![2; 32] };
        let named = Subject { kind: "person".into(), commitment: commitment(&subject).to_vec() };
        let opening = Opening { consumer: "ais/portal".into(), subjects: vec![named], ..Opening::default() };
        Row::with_subjects(Some(ExchangeId::at(1)), 7, Kind::Opening(opening), vec![subject])
    }

    fn faults(row: &Row, body: &[u8], beside: Beside) -> Vec<Fault> {
        match read(body, Some(&row.columns), &row.subjects, beside).facts {
            Ok(facts) => facts.faults,
            Err(fault) => vec![fault],
        }
    }

    #[test]
    fn a_row_as_written_has_no_fault() {
        let row = row();
        assert_eq!(faults(&row, &row.body, Beside::Always), []);
        assert_eq!(read(&row.body, None, &[], Beside::OrNone).leaf, row.leaf);
    }

    #[test]
    fn each_column_is_compared() {
        type Change = fn(&mut Columns);
        let table: [(&str, Change); 8] = [
            ("kind", |c| c.kind = 12),
            ("exchange_id", |c| c.exchange[3] ^= 1),
            ("recorded_us", |c| c.recorded_us += 1),
            ("consumer", |c| c.consumer.push('x')),
            ("provider", |c| c.provider.push('x')),
            ("method", |c| c.method.push('x')),
            ("reason", |c| c.reason.push('x')),
            ("trace_id", |c| c.trace_id.push(0)),
        ];
        for (name, change) in table {
            let mut row = row();
            change(&mut row.columns);
            assert_eq!(faults(&row, &row.body, Beside::Always), [Fault::Columns(name)]);
        }
    }

    #[test]
    fn subjects_must_open_their_commitments() {
        let mut row = row();
        row.subjects[0].blind[0] ^= 1;
        assert!(matches!(faults(&row, &row.body, Beside::OrNone)[..], [Fault::Subjects(_)]));
        row.subjects.clear();
        assert!(matches!(faults(&row, &row.body, Beside::Always)[..], [Fault::Subjects(_)]));
        assert_eq!(faults(&row, &row.body, Beside::OrNone), []);
    }

    #[test]
    fn what_is_no_entry_is_said() {
        let row = row();
        let expected = Fault::NotAnEntry(EntryError::Version(0));
        assert_eq!(faults(&row, b"", Beside::Always), [expected]);
    }

    #[test]
    fn a_removed_entry_leaves_nothing_to_search_by() {
        let row = row();
        assert_eq!(read_removed(Some(&Columns::removed()), &[]), []);
        assert_eq!(read_removed(Some(&row.columns), &[]), [Fault::ColumnsOfRemoved("kind")]);
        let dated = Columns { recorded_us: 1, ..Columns::default() };
        assert_eq!(read_removed(Some(&dated), &[]), [Fault::ColumnsOfRemoved("recorded_us")]);
        let started = Columns { kind: kind::STARTED, ..Columns::default() };
        assert_eq!(read_removed(Some(&started), &[]), [Fault::ColumnsOfRemoved("kind")]);
        assert!(matches!(read_removed(None, &row.subjects)[..], [Fault::Subjects(_)]));
    }
}
