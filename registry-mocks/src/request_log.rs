//! The last requests that a register saw, for tests that ask what reached it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, Method, Uri};
use serde::Serialize;
use ura_runtime::clock::Clock;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// Being answered.
    Open,
    /// An answer was made.
    Answered,
    /// The client went away, or an outage began, before there was an answer.
    Dropped,
}

/// A request as a register saw it.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedRequest {
    /// Counts from 1; a forgotten one leaves a gap.
    pub id: u64,
    /// When its head arrived, milliseconds since 1970-01-01 UTC.
    pub at_unix_ms: i64,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case; several of one name are joined by ", ".
    pub headers: BTreeMap<String, String>,
    /// What became of it.
    pub state: RequestState,
    /// HTTP status of the answer; 0 where there is none.
    pub status: u16,
}

/// The last requests of one register.
#[derive(Debug)]
pub(crate) struct RequestLog {
    kept_max: usize,
    clock: Clock,
    entries: Mutex<(u64, VecDeque<LoggedRequest>)>,
}

impl RequestLog {
    pub(crate) fn new(kept_max: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self { kept_max, clock, entries: Mutex::default() })
    }

    /// Notes a request; what comes back tells its end.
    pub(crate) fn open(self: &Arc<Self>, method: &Method, uri: &Uri, headers: &HeaderMap) -> OpenRequest {
        let mut texts = BTreeMap::<String, String>::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            texts
                .entry(name.as_str().to_owned())
                .and_modify(|text| {
                    text.push_str(", ");
                    text.push_str(&value);
                })
                .or_insert_with(|| value.into_owned());
        }
        let mut held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, entries) = &mut *held;
        *last += 1;
        if entries.len() >= self.kept_max {
            entries.pop_front();
        }
        entries.push_back(LoggedRequest {
            id: *last,
            at_unix_ms: self.clock.unix_us() / 1000,
            method: method.to_string(),
            path: uri.to_string(),
            headers: texts,
            state: RequestState::Open,
            status: 0,
        });
        OpenRequest { log: self.clone(), id: *last, open: true }
    }

    /// The requests kept, oldest first.
    pub(crate) fn entries(&self) -> Vec<LoggedRequest> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).1.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }

    fn end(&self, id: u64, state: RequestState, status: u16) {
        let mut held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = held.1.iter_mut().rev().find(|entry| entry.id == id) {
            entry.state = state;
            entry.status = status;
        }
    }
}

/// A request without an answer so far; dropped without one, it is noted as such.
pub(crate) struct OpenRequest {
    log: Arc<RequestLog>,
    id: u64,
    open: bool,
}

impl OpenRequest {
    pub(crate) fn answered(mut self, status: u16) {
        self.open = false;
        self.log.end(self.id, RequestState::Answered, status);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.open {
            self.log.end(self.id, RequestState::Dropped, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn keeps_the_last_ones_and_their_end() {
        let log = RequestLog::new(2, Clock::manual(7_000).0);
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        let uri = Uri::from_static("/a?b=c");
        log.open(&Method::GET, &uri, &headers).answered(200);
        drop(log.open(&Method::GET, &uri, &headers));
        let open = log.open(&Method::POST, &uri, &headers);
        let entries = log.entries();
        assert_eq!(entries.iter().map(|e| e.id).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((entries[0].state, entries[1].state), (RequestState::Dropped, RequestState::Open));
        assert_eq!((entries[1].headers["x-a"].as_str(), entries[1].at_unix_ms), ("1, 2", 7));
        open.answered(201);
        assert_eq!(log.entries()[1].status, 201);
        log.clear();
        assert!(log.entries().is_empty());
    }
}
