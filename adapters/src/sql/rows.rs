//! Rows on their way out: counted, bounded, and given to a reader who may be slow.

use std::sync::Arc;

use crate::{
    plan::Answer,
    register::{Failure, job::Job, pump::Sink},
    tree::Tree,
};

/// The rows of one statement, bounded in number and size.
pub(super) struct RowBuffer<'a> {
    job: &'a Job,
    pub(super) rows: Vec<Tree>,
    bytes: usize,
}

impl<'a> RowBuffer<'a> {
    /// `bytes` is what the answer took so far.
    pub(super) fn new(job: &'a Job, bytes: usize) -> Self {
        Self { job, rows: Vec::new(), bytes }
    }

    pub(super) fn push(&mut self, row: Tree) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(row.size_bytes());
        if self.bytes > self.job.limits.answer_bytes_max {
            return Err(self.job.mismatch("the answer", "it is larger than answer_bytes_max"));
        }
        // One more: a page asks for it to know whether there is a next one.
        if self.rows.len() > self.job.limits.rows_max {
            return Err(self.job.mismatch("the answer", "it has more rows than rows_max"));
        }
        self.rows.push(row);
        Ok(())
    }

    pub(super) fn finish(self, bytes: &mut usize) -> Vec<Tree> {
        *bytes = self.bytes;
        self.rows
    }
}

/// Turns rows into messages of a stream.
pub(super) struct RowSink {
    sink: Sink,
    job: Arc<Job>,
    rows: usize,
    bytes: u64,
}

impl RowSink {
    pub(super) fn new(sink: Sink, job: &Arc<Job>) -> Self {
        Self { sink, job: Arc::clone(job), rows: 0, bytes: 0 }
    }

    /// Waits while the reader is slow.
    pub(super) async fn push(&mut self, row: Tree) -> Result<(), Failure> {
        let limits = self.job.limits;
        let size = row.size_bytes();
        self.bytes = self.bytes.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        if size > limits.answer_bytes_max {
            return Err(self.job.mismatch("a row", "it is larger than answer_bytes_max"));
        }
        if self.rows >= limits.stream_rows_max {
            return Err(self.job.mismatch("the answer", "it has more rows than stream_rows_max"));
        }
        if self.bytes > limits.stream_bytes_max {
            return Err(self.job.mismatch("the answer", "it is larger than stream_bytes_max"));
        }
        let messages = self.job.messages(&row, self.rows == 0)?;
        self.rows += 1;
        for message in messages {
            self.sink.send(message).await?;
        }
        Ok(())
    }

    /// All rows are there: is that an answer?
    pub(super) fn finish(&self) -> Result<(), Failure> {
        if self.rows == 0 && matches!(self.job.method.answer, Answer::Chunks { .. }) {
            return Err(self.job.not_found());
        }
        Ok(())
    }
}
