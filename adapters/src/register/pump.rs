//! Replies that a task of their own makes, message by message, for a reader who may be slow, or gone.

use std::{future::Future, sync::Arc};

use futures_util::{StreamExt as _, stream};
use prost_reflect::DynamicMessage;
use tokio::sync::mpsc::{self, Sender};

use super::{Failure, Reply, job::Job};

/// Messages that wait for a slow reader.
const QUEUE: usize = 16;

/// `None` says that the stream is complete.
type Item = Result<Option<DynamicMessage>, Failure>;

/// Where the messages go.
pub(crate) struct Sink {
    sender: Sender<Item>,
    job: Arc<Job>,
}

impl Sink {
    /// Waits while the reader is slow, within its bounds.
    pub(crate) async fn send(&self, message: DynamicMessage) -> Result<(), Failure> {
        let sent = self.job.budget.reader(self.sender.send(Ok(Some(message)))).await?;
        sent.map_err(|_| Failure::left())
    }
}

/// The messages that `work` sends, and how it ended. It ends when the stream is dropped.
pub(crate) fn stream<F>(job: Arc<Job>, work: impl FnOnce(Sink) -> F) -> Reply
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let work = work(Sink { sender: sender.clone(), job: Arc::clone(&job) });
    tokio::spawn(async move {
        let end = tokio::select! {
            biased;
            () = sender.closed() => return,
            outcome = work => outcome,
        };
        if let Err(failure) = &end {
            job.health.note(failure);
            if let Some(span) = &job.span {
                span.failed(failure);
            }
        }
        // A reader that is slow to take the end keeps no place at the register.
        drop(job);
        // Nobody is left to be told when this fails.
        let _ = sender.send(end.map(|()| None)).await;
    });
    let messages = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(message))) => Some((Ok(message), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(failure)) => Some((Err(failure), None)),
            // Without its end a stream must not look complete.
            None => Some((Err(Failure::broken("the reader of the register ended early")), None)),
        }
    });
    Reply::Stream(messages.boxed())
}
