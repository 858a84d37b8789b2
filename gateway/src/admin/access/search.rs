//! The exchanges that name a subject, newest first, from any place on. What stands in the store is checked
//! before it is believed.

use std::{collections::HashMap, sync::Arc};

use ura_evidence::{
    entry::kind,
    find::{self, Found, ReadError, Whom},
    keys::EpochKey,
    store::{Cursor, Filter, Reader},
};
use ura_log::Hash;
use ura_proto::{
    ExchangeId,
    v1::{Closing, Opening, entry::Kind},
};

use super::{question::Question, words::Recorded};

/// Rows read at once: somewhat more than a page of the usual size needs.
const BATCH_ROWS: u32 = 64;

/// A search for one question.
pub(super) struct Search<'q> {
    reader: &'q Reader,
    keys: &'q [Arc<EpochKey>],
    whom: Whom<'q>,
    period: (i64, i64),
    pseudonyms: Vec<Hash>,
    /// Numbers of the logs by their names.
    logs: HashMap<String, i64>,
}

/// Openings, each with its place, newest first; and where to go on.
pub(super) struct Batch {
    pub(super) openings: Vec<(Cursor, Recorded)>,
    /// `None`: nothing is older.
    pub(super) next: Option<Cursor>,
}

impl<'q> Search<'q> {
    /// A search; `keys` are all epoch keys that are left.
    pub(super) async fn new(
        reader: &'q Reader,
        keys: &'q [Arc<EpochKey>],
        question: &'q Question,
    ) -> Result<Self, ReadError> {
        let logs = reader.logs().await?.into_iter().map(|row| (row.origin, row.log)).collect();
        let whom = Whom { kind: &question.kind, canonical: &question.canonical };
        let period = (question.from_us.unwrap_or(i64::MIN), question.until_us.unwrap_or(i64::MAX));
        Ok(Self { reader, keys, whom, period, pseudonyms: whom.pseudonyms(keys), logs })
    }

    /// The next openings behind a place. Refused calls and those whose entries were removed are left out:
    /// of the former nothing was seen, of the latter nothing is left to tell.
    pub(super) async fn batch(&self, after: Option<Cursor>) -> Result<Batch, ReadError> {
        let page =
            find::find_subject(self.reader, self.keys, self.whom, self.period, after, BATCH_ROWS).await?;
        let mut openings = Vec::with_capacity(page.entries.len());
        for found in page.entries {
            let log = self.logs.get(&*found.log).copied();
            // A log that began while we search: its accesses are told the next time.
            let Some(log) = log else { continue };
            let place = Cursor { recorded_us: found.recorded_us, log, index: found.index };
            let Some(recorded) = opening(&found)? else { continue };
            if !self.names(&found) && !self.named_later(recorded.exchange).await? {
                let what = "a pseudonym leads to it, and its exchange does not commit to that";
                return Err(altered(&found, what));
            }
            openings.push((place, recorded));
        }
        Ok(Batch { openings, next: page.next })
    }

    /// Whether an entry commits to the subject: its openings were checked against its commitments.
    fn names(&self, found: &Found) -> bool {
        let asked_for = |pseudonym: &[u8]| self.pseudonyms.iter().any(|asked| asked == pseudonym);
        found.subjects().iter().any(|subject| asked_for(&subject.pseudonym))
    }

    /// Whether the exchange named the subject after its opening: in a streamed request, or in the reply.
    /// Page by page, for a stream may name very many.
    async fn named_later(&self, exchange: ExchangeId) -> Result<bool, ReadError> {
        let filter = Filter { exchange: Some(exchange), kind: Some(kind::PROGRESS), ..Filter::default() };
        let mut after = None;
        loop {
            let page = find::find(self.reader, &filter, after, find::PAGE_ENTRIES_MAX).await?;
            if page.entries.iter().any(|found| self.names(found)) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    /// How an exchange ended; `None` where it goes on.
    pub(super) async fn closing(&self, exchange: ExchangeId) -> Result<Option<Closing>, ReadError> {
        let filter = Filter { exchange: Some(exchange), kind: Some(kind::CLOSING), ..Filter::default() };
        let found = find::find(self.reader, &filter, None, 1).await?.entries.into_iter().next();
        let entry = found.and_then(|found| found.into_entry().ok());
        Ok(match entry.and_then(|entry| entry.kind) {
            Some(Kind::Closing(closing)) => Some(closing),
            _ => None,
        })
    }
}

/// The opening of a permitted exchange.
fn opening(found: &Found) -> Result<Option<Recorded>, ReadError> {
    let Some(entry) = found.entry() else { return Ok(None) };
    let Some(Kind::Opening(opening)) = &entry.kind else { return Ok(None) };
    if !opening.refusal.is_empty() {
        return Ok(None);
    }
    let exchange = exchange_id(&entry.exchange_id);
    let exchange = exchange.ok_or_else(|| altered(found, "it has no exchange id"))?;
    Ok(Some(Recorded { exchange, recorded_us: found.recorded_us, opening: Opening::clone(opening) }))
}

/// The exchange id of 16 bytes.
fn exchange_id(bytes: &[u8]) -> Option<ExchangeId> {
    uuid::Uuid::from_slice(bytes).ok()?.to_string().parse().ok()
}

fn altered(found: &Found, what: &'static str) -> ReadError {
    ReadError::Altered { log: found.log.to_string(), index: found.index, what }
}
