//! `ura.v1.SubjectAccessService`: "who looked at my data?". Asked over a plug like any other contract, so
//! that the grant, the purpose and the record of the question are the bus's usual ones; what is told here
//! is decided access by access, by the grants under which they happened.
//!
//! In meaning it follows `findUsage`, the query of Estonia's data tracker (Information System
//! Authority, "Andmejälgija kasutusteabe esitamise protokoll" 1.3, section 8.1). What corresponds:
//!
//! | `findUsage` | here |
//! |---|---|
//! | the person of the X-Road header `userId` | `subject`: the portal asks for its citizen; its grant decides |
//! | `offset`, `limit` (100 without it) | `page_token`, `page_size` (50 without it, at most 200): accesses that come meanwhile move no page |
//! | `usage.logtime`, when the data were processed | `time` |
//! | `usage.action`, a name of the act that people understand | `purpose.title` and `method.title` |
//! | `usage.receiver`, code of the institution that the data were passed to | `consumer.system`, with its name |
//! | the register that was asked | `provider`: here one question covers all registers |
//! | fault of the sender, of the receiver | INVALID_ARGUMENT, UNAVAILABLE |
//!
//! A tracker tells what was passed on; here an access that failed is told too, and `answered` tells them apart.

mod page;
mod question;
mod search;
mod token;
mod words;

use std::sync::Arc;

use tonic::{Request, Response, Status, metadata::MetadataMap};
use ura_evidence::{entry::Row, find::ReadError, keys::EpochKey, store::Cursor};
use ura_proto::{
    ExchangeId, metadata,
    refusal::Language,
    v1::{
        Disclosure, ListAccessesRequest, ListAccessesResponse, entry::Kind,
        subject_access_service_server::SubjectAccessService,
    },
};

use super::{Sources, caller, status};
use crate::directory::Snapshot;
use page::{Filled, Page, decide};
use question::Question;
use search::Search;
use words::Recorded;

/// The method, as calls name it.
const LIST_ACCESSES: &str = "/ura.v1.SubjectAccessService/ListAccesses";

/// The service.
#[derive(Clone)]
pub(super) struct Accesses {
    sources: Sources,
}

/// What the bus says of a call that it forwards.
struct Forwarded {
    consumer: String,
    exchange: ExchangeId,
    language: Language,
}

impl Forwarded {
    /// Reads the metadata that the gateway writes anew for every call that it permits.
    fn read(metadata: &MetadataMap) -> Option<Self> {
        let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
        Some(Self {
            consumer: text(metadata::CONSUMER)?.to_owned(),
            exchange: text(metadata::EXCHANGE_ID)?.parse().ok()?,
            language: caller::language(metadata),
        })
    }
}

impl Accesses {
    /// The service of a gateway.
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources }
    }

    /// What is told and what is held back, from a place on.
    async fn page(
        &self,
        search: &Search<'_>,
        directory: &Snapshot,
        size: usize,
        mut after: Option<Cursor>,
    ) -> Result<Filled<Recorded>, ReadError> {
        let now_us = self.sources.clock.unix_us();
        let mut page = Page::new(size);
        'filling: loop {
            let batch = search.batch(after).await?;
            for (place, recorded) in batch.openings {
                let opening = &recorded.opening;
                let granted = directory.grant(&opening.grant);
                let granted_from_us = granted.map(|grant| grant.disclosure.from_us(recorded.recorded_us));
                let verdict = decide(opening, granted_from_us, now_us);
                let grant = opening.grant.clone();
                if !page.take(place, &grant, verdict, recorded) {
                    break 'filling;
                }
            }
            after = batch.next;
            if after.is_none() {
                break;
            }
        }
        Ok(page.done())
    }

    /// The answer to a question.
    async fn answer(
        &self,
        asked: &Forwarded,
        directory: &Snapshot,
        question: &Question,
        page_token: &str,
    ) -> Result<(ListAccessesResponse, Disclosure), Status> {
        let keys = self.sources.keys.all();
        let binding = question.binding(&asked.consumer);
        let after = match page_token {
            "" => None,
            token => Some(token::open(keys.iter().map(token_key), &binding, token).ok_or_else(|| {
                status::wrong(
                    "page_token",
                    "it was not given for this question; ask for the first page again",
                )
            })?),
        };
        let unavailable = |error: ReadError| status::unavailable(error, asked.language);
        let search = Search::new(&self.sources.reader, &keys, question).await.map_err(unavailable)?;
        let filled = self.page(&search, directory, question.page_size, after).await.map_err(unavailable)?;
        let mut accesses = Vec::with_capacity(filled.told.len());
        for recorded in filled.told {
            let closing = search.closing(recorded.exchange).await.map_err(unavailable)?;
            accesses.push(words::access(recorded, closing.as_ref(), directory, asked.language));
        }
        let seal = |place| {
            let key = self.sources.keys.newest();
            let sealed = token::seal(&token_key(&key), &binding, place);
            sealed.ok_or_else(|| status::unavailable("a page token could not be sealed", asked.language))
        };
        let next_page_token = filled.next.map(seal).transpose()?.unwrap_or_default();
        Ok((ListAccessesResponse { accesses, next_page_token }, filled.disclosure))
    }
}

/// The key that page tokens are sealed with in an epoch. A kind of subject has no space, so it is nobody's
/// pseudonym.
fn token_key(epoch: &Arc<EpochKey>) -> [u8; 32] {
    epoch.pseudonym("key of page tokens", b"ura.v1.SubjectAccessService")
}

#[tonic::async_trait]
impl SubjectAccessService for Accesses {
    async fn list_accesses(
        &self,
        request: Request<ListAccessesRequest>,
    ) -> Result<Response<ListAccessesResponse>, Status> {
        let asked = Forwarded::read(request.metadata());
        let asked = asked.ok_or_else(|| Status::internal("the call did not come over the bus"))?;
        let request = request.into_inner();
        let directory = self.sources.directory.load();
        let plan = directory.methods.get(LIST_ACCESSES).and_then(|method| method.request_subjects.as_ref());
        let plan = plan.ok_or_else(|| Status::unimplemented("the directory no longer has this contract"))?;
        let question = Question::read(&request, plan)?;
        let (answer, disclosure) = self.answer(&asked, &directory, &question, &request.page_token).await?;
        // Always, so that the record's being there tells nobody that something was held back.
        let kind = Kind::Disclosure(disclosure);
        let row = Row::new(Some(asked.exchange), self.sources.clock.unix_us(), kind);
        if !(self.sources.record)(row).await {
            return Err(status::unavailable("the answer could not be recorded", asked.language));
        }
        Ok(Response::new(answer))
    }
}

#[cfg(test)]
mod tests;
