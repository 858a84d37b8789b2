//! One call on its way: what is asked, within which limits, and how rows become its reply.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use ura_runtime::trace::TraceContext;

use super::{bulkhead::Health, context::CallContext, failure::Failure, span::ClientSpan};
use crate::{
    mapper::{
        reply::{self, Mismatch},
        scalar::{self, Form},
    },
    paging::PageState,
    plan::{Answer, Limits, Method},
    tree::Tree,
};

/// How long a stream waits for its reader each time. Meanwhile it holds a connection of the register,
/// of which there are few; a reader that is alive takes a message much sooner.
const READER_WAIT: Duration = Duration::from_secs(30);

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: Duration,
    end: Instant,
    deadline: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(limit: Duration, deadline: Option<Instant>) -> Self {
        Self { limit, end: Instant::now() + limit, deadline }
    }

    /// The whole of a unary call.
    pub(crate) async fn whole<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.until(self.end, work).await
    }

    /// One step of a stream.
    pub(crate) async fn step<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.until(Instant::now() + self.limit, work).await
    }

    /// The wait for a connection, at the begin of a call. It ends a little before the call's time
    /// does, so that it is told from a register that works too long: nothing was sent yet.
    pub(crate) async fn connection<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let end = self.end - self.limit / 20;
        let deadline = self.deadline.filter(|deadline| *deadline < end);
        match timeout_at(deadline.unwrap_or(end), work).await {
            Ok(outcome) => outcome,
            Err(_) if deadline.is_some() => Err(Failure::deadline()),
            Err(_) => Err(Failure::overloaded("no free connection in time")),
        }
    }

    /// A wait for the reader of a stream, within the caller's deadline.
    pub(crate) async fn reader<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let end = Instant::now() + READER_WAIT;
        let deadline = self.deadline.filter(|deadline| *deadline < end);
        timeout_at(deadline.unwrap_or(end), work).await.map_err(|_| match deadline {
            Some(_) => Failure::deadline(),
            None => Failure::slow_reader(format!("no message taken in {} s", READER_WAIT.as_secs())),
        })
    }

    async fn until<T>(
        &self,
        end: Instant,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let deadline = self.deadline.filter(|deadline| *deadline < end);
        match timeout_at(deadline.unwrap_or(end), work).await {
            Ok(outcome) => outcome,
            Err(_) if deadline.is_some() => Err(Failure::deadline()),
            Err(_) => Err(Failure::timeout(format!("longer than {} ms", self.limit.as_millis()))),
        }
    }
}

/// A call that has its place at the register; everything it holds is freed with it.
pub(crate) struct Job {
    pub(crate) method: Arc<Method>,
    pub(crate) context: CallContext,
    /// Of the method's parameters, in their order.
    pub(crate) values: Vec<Tree>,
    pub(crate) page: Option<PageState>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    /// What the register's request carries.
    pub(crate) trace: TraceContext,
    pub(crate) health: Health,
    pub(crate) span: Option<ClientSpan>,
    pub(crate) _slot: OwnedSemaphorePermit,
}

impl Job {
    /// The answer does not fit the contract at this place.
    pub(crate) fn mismatch(&self, place: &str, problem: &str) -> Failure {
        Failure::mismatch(self.method.name(), place, problem)
    }

    fn field_mismatch(&self, mismatch: Mismatch) -> Failure {
        self.mismatch(&format!("field {}", mismatch.field), &mismatch.problem)
    }

    /// No row where there has to be one.
    pub(crate) fn not_found(&self) -> Failure {
        Failure::not_found(&self.method.not_found)
    }

    /// The reply of a unary method. `whole` is the answer that the rows were taken from.
    pub(crate) fn unary(&self, mut rows: Vec<Tree>, whole: Option<&Tree>) -> Result<DynamicMessage, Failure> {
        match &self.method.answer {
            Answer::Many { into, page, reply } => {
                let mut message = DynamicMessage::new(self.method.descriptor.output());
                if let Some(whole) = whole.or_else(|| rows.first()) {
                    reply::fill_listed(&mut message, reply, whole, &self.context)
                        .map_err(|e| self.field_mismatch(e))?;
                }
                if let (Some(page), Some(state)) = (page, &self.page)
                    && let Some(token) = state.next(page, &mut rows, whole)
                {
                    message.set_field(&page.next_field, Value::String(token));
                }
                if rows.len() > self.limits.rows_max {
                    return Err(self.mismatch("the answer", "it has more rows than rows_max"));
                }
                let items = self.items(into, &rows)?;
                message.set_field(into, Value::List(items));
                Ok(message)
            }
            _ => match rows.as_slice() {
                [] => Err(self.not_found()),
                [row] => self.message(row),
                _ => Err(self.mismatch("the answer", "there is more than one row")),
            },
        }
    }

    fn items(&self, into: &FieldDescriptor, rows: &[Tree]) -> Result<Vec<Value>, Failure> {
        let Kind::Message(item) = into.kind() else {
            return Ok(Vec::new());
        };
        rows.iter()
            .enumerate()
            .map(|(at, row)| {
                let mut message = DynamicMessage::new(item.clone());
                self.fill(&mut message, row).map_err(|mut e| {
                    e.field = format!("{}[{at}].{}", into.name(), e.field);
                    self.field_mismatch(e)
                })?;
                Ok(Value::Message(message))
            })
            .collect()
    }

    fn fill(&self, message: &mut DynamicMessage, row: &Tree) -> Result<(), Mismatch> {
        reply::fill(message, &self.method.map, row, self.method.strict, &self.context)
    }

    /// The reply, or a message of the stream, that one row fills.
    pub(crate) fn message(&self, row: &Tree) -> Result<DynamicMessage, Failure> {
        let output = DynamicMessage::new(self.method.descriptor.output());
        let into = match &self.method.answer {
            Answer::One { into } | Answer::Stream { into } => into.as_slice(),
            _ => &[],
        };
        self.into(output, into, row)
    }

    fn into(
        &self,
        mut message: DynamicMessage,
        into: &[FieldDescriptor],
        row: &Tree,
    ) -> Result<DynamicMessage, Failure> {
        match into.split_first() {
            None => self.fill(&mut message, row).map_err(|e| self.field_mismatch(e))?,
            Some((field, rest)) => {
                if let Kind::Message(inner) = field.kind() {
                    let inner = self.into(DynamicMessage::new(inner), rest, row)?;
                    message.set_field(field, Value::Message(inner));
                }
            }
        }
        Ok(message)
    }

    /// The pieces of a large value. Other fields are only in the first message of the answer.
    pub(crate) fn chunks(&self, row: &Tree, first: bool) -> Result<Vec<DynamicMessage>, Failure> {
        let Answer::Chunks { field, from, bytes_max } = &self.method.answer else {
            return Ok(Vec::new());
        };
        let mut head = DynamicMessage::new(self.method.descriptor.output());
        if first {
            self.fill(&mut head, row).map_err(|e| self.field_mismatch(e))?;
        }
        let place = || format!("field {}", field.name());
        let content = match from.as_ref().map(|from| row.at(from)) {
            None => return Ok(vec![head]),
            Some(None) => return Err(self.mismatch(&place(), "the row does not have it")),
            Some(Some(tree)) => scalar::read(&Kind::Bytes, tree, &Form::default()),
        };
        let content = match content {
            Ok(Some(Value::Bytes(bytes))) => bytes,
            Ok(_) => Bytes::new(),
            Err(unfit) => return Err(self.mismatch(&place(), &unfit.0)),
        };
        Ok(self.pieces(head, field, content, *bytes_max))
    }

    fn pieces(
        &self,
        mut head: DynamicMessage,
        field: &FieldDescriptor,
        mut content: Bytes,
        bytes_max: usize,
    ) -> Vec<DynamicMessage> {
        let mut messages = Vec::new();
        loop {
            let piece = content.split_to(content.len().min(bytes_max));
            head.set_field(field, Value::Bytes(piece));
            messages.push(head);
            if content.is_empty() {
                return messages;
            }
            head = DynamicMessage::new(self.method.descriptor.output());
        }
    }

    /// A piece as a message of its own.
    pub(crate) fn piece(&self, field: &FieldDescriptor, content: Bytes) -> Vec<DynamicMessage> {
        let Answer::Chunks { bytes_max, .. } = &self.method.answer else {
            return Vec::new();
        };
        let head = DynamicMessage::new(self.method.descriptor.output());
        self.pieces(head, field, content, *bytes_max)
    }

    /// Messages of a streamed method that one row makes.
    pub(crate) fn messages(&self, row: &Tree, first: bool) -> Result<Vec<DynamicMessage>, Failure> {
        match self.method.answer {
            Answer::Chunks { .. } => self.chunks(row, first),
            _ => self.message(row).map(|message| vec![message]),
        }
    }
}
