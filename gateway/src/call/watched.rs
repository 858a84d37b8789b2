//! A reply's time runs out also while nobody asks for its next bytes.
//!
//! hyper asks a body for more only when the caller's window has room. A caller that does not read
//! would so keep its reply, and the adapter behind it, past every deadline. The reply's timer wakes
//! its task all the same; this executor then looks at the time and drops the stream, which resets it.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::Instant;

tokio::task_local! {
    /// When the reply that this task sends must have moved on.
    static UNTIL: Cell<Option<Instant>>;
}

/// Sets the time by which the reply of this task must have asked again; `None`: it takes the time
/// it needs. Outside of a watched task this does nothing.
pub(crate) fn watch(until: Option<Instant>) {
    // Only tests poll replies elsewhere.
    UNTIL.try_with(|cell| cell.set(until)).ok();
}

/// Runs the streams of a consumer's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watching;

impl<F> Executor<F> for Watching
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        drop(tokio::spawn(UNTIL.scope(Cell::new(None), Watched { stream })));
    }
}

pin_project! {
    struct Watched<F> {
        #[pin]
        stream: F,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.project().stream.poll(context).is_ready() {
            return Poll::Ready(());
        }
        let late = UNTIL.with(|cell| cell.get().is_some_and(|until| Instant::now() >= until));
        if late { Poll::Ready(()) } else { Poll::Pending }
    }
}
