//! The records of one exchange, as a reader of the log has them: each body has its leaf, and whom it names is opened.

use ura_evidence::{
    find::{self, Found},
    store::Reader,
};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Disclosure, Opening, Progress, entry::Kind},
};

/// Somebody whom evidence names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub kind: String,
    /// The same in every exchange of the epoch.
    pub pseudonym: Vec<u8>,
    /// Another one in every exchange.
    pub commitment: Vec<u8>,
}

impl Named {
    /// Whether they are the same one, in whatever exchange.
    pub fn is(&self, other: &Self) -> bool {
        (&self.kind, &self.pseudonym) == (&other.kind, &other.pseudonym)
    }
}

/// The records of one exchange by kind.
#[derive(Debug, Default)]
pub struct Records {
    pub openings: Vec<Opening>,
    pub progress: Vec<Progress>,
    pub closing: Option<Closing>,
    /// What a question about accesses was answered with.
    pub disclosure: Option<Disclosure>,
    pub indexes: Vec<u64>,
    /// Hashes of the leaves, in the order of the log.
    pub leaf_hashes: Vec<[u8; 32]>,
    /// Whom the openings name.
    pub named: Vec<Named>,
    /// Whom each of the further records names.
    pub named_later: Vec<Vec<Named>>,
}

impl Records {
    /// The records at this moment.
    pub async fn read(reader: &Reader, exchange: ExchangeId) -> Self {
        Self::of(Box::pin(find::exchange(reader, exchange)).await.expect("the store can be read"))
    }

    pub fn of(entries: Vec<Found>) -> Self {
        let mut records = Self::default();
        for found in entries {
            records.indexes.push(found.index);
            records.leaf_hashes.push(found.leaf_hash);
            let openings = found.subjects().to_vec();
            let named = |subjects: &[ura_proto::v1::Subject]| {
                assert_eq!(subjects.len(), openings.len(), "each commitment is opened");
                let named = subjects.iter().zip(&openings).map(|(subject, opening)| Named {
                    kind: subject.kind.clone(),
                    pseudonym: opening.pseudonym.clone(),
                    commitment: subject.commitment.clone(),
                });
                named.collect::<Vec<_>>()
            };
            match found.into_entry().expect("nothing was removed").kind {
                Some(Kind::Opening(opening)) => {
                    records.named.extend(named(&opening.subjects));
                    records.openings.push(opening);
                }
                Some(Kind::Progress(progress)) => {
                    records.named_later.push(named(&progress.subjects));
                    records.progress.push(progress);
                }
                Some(Kind::Closing(closing)) => {
                    assert!(records.closing.replace(closing).is_none(), "closed twice");
                }
                Some(Kind::Disclosure(disclosure)) => {
                    assert!(records.disclosure.replace(disclosure).is_none(), "answered twice");
                }
                other => panic!("{other:?} has no exchange"),
            }
        }
        records
    }

    /// The one opening.
    pub fn opening(&self) -> &Opening {
        assert_eq!(self.openings.len(), 1, "one opening: {self:?}");
        &self.openings[0]
    }

    /// The closing.
    pub fn closing(&self) -> &Closing {
        self.closing.as_ref().expect("closed")
    }
}
