//! The stream of a member's own entries.

use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::Status;
use ura_evidence::{find::ReadError, view::View};
use ura_proto::{SystemId, refusal::Language, v1::ReadEntriesResponse};
use ura_runtime::process::Shutdown;

use super::{evidence_api::unreadable, places::Place, status};
use crate::directory::Directory;

/// How often a log is looked at for a new checkpoint while somebody follows it.
const POLL: Duration = Duration::from_millis(500);

/// One reading.
pub(super) struct Reading {
    pub(super) view: View,
    pub(super) caller: SystemId,
    pub(super) language: Language,
    /// Go on when the end is reached.
    pub(super) follow: bool,
    pub(super) directory: Directory,
    pub(super) shutdown: Shutdown,
    /// Held until the stream ends.
    pub(super) _place: Place,
}

impl Reading {
    /// The pages, as they are asked for: nothing is read ahead of who reads slowly.
    pub(super) fn pages(self) -> impl Stream<Item = Result<ReadEntriesResponse, Status>> + Send + 'static {
        stream::unfold(Some(self), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(page)) => Some((Ok(page), Some(reading))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// The next page; `None` where the stream is at its end, or the gateway drains.
    async fn next(&mut self) -> Result<Option<ReadEntriesResponse>, Status> {
        loop {
            // A system that the directory no longer has is told nothing more.
            if !self.directory.load().systems.contains_key(&self.caller) {
                return Err(status::not_a_system(&self.caller, self.language));
            }
            if self.shutdown.is_draining() {
                return Ok(None);
            }
            match self.view.page().await {
                Ok(Some(page)) => return Ok(Some(page)),
                Ok(None) if !self.follow => return Ok(None),
                Ok(None) => {}
                Err(error) => return Err(self.failed(&error)),
            }
            tokio::select! {
                () = self.shutdown.draining() => return Ok(None),
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    fn failed(&self, error: &ReadError) -> Status {
        unreadable(error, self.language)
    }
}
