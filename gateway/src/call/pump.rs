//! The task that pumps a streamed request to an adapter ends with its call.
//!
//! hyper moves a request's body in a task of its own, which nobody can reach once the head of the
//! reply is there: where the adapter stops reading, or the reply ends first, it would wait for as
//! long as the connection lives. So a body announces its call when it is first polled, and this
//! executor ends the task that polls it with the call.
//!
//! hyper polls a body for the first time just before it hands the rest of it to the executor, or,
//! where the connection has no room at that moment, inside the task that it handed over before.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

thread_local! {
    /// The call whose body was polled first, on this thread, since a task was handed over.
    static ANNOUNCED: RefCell<Option<CancellationToken>> = const { RefCell::new(None) };
}

tokio::task_local! {
    /// The same inside of a task that was handed over.
    static INSIDE: RefCell<Option<CancellationToken>>;
}

/// Says that the task which polls this body belongs to the call that `over` ends.
pub(crate) fn announce(over: &CancellationToken) {
    let inside = INSIDE.try_with(|announced| announced.replace(Some(over.clone())));
    if inside.is_err() {
        ANNOUNCED.set(Some(over.clone()));
    }
}

/// Runs the tasks of an adapter's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pumps;

impl<F> Executor<F> for Pumps
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let over = ANNOUNCED.take().map(CancellationToken::cancelled_owned);
        drop(tokio::spawn(INSIDE.scope(RefCell::new(None), Pump { task, over })));
    }
}

pin_project! {
    /// A task that ends when it has ended, or when its call is over.
    struct Pump<F> {
        #[pin]
        task: F,
        #[pin]
        over: Option<WaitForCancellationFutureOwned>,
    }
}

impl<F: Future<Output = ()>> Future for Pump<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.task.poll(context).is_ready() {
            return Poll::Ready(());
        }
        if let Some(announced) = INSIDE.with(RefCell::take) {
            this.over.set(Some(announced.cancelled_owned()));
        }
        match this.over.as_pin_mut() {
            Some(over) => over.poll(context),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    /// Counts down when dropped.
    struct Alive(Arc<()>);

    fn never_ending(
        alive: &Arc<()>,
        announces: Option<CancellationToken>,
    ) -> impl Future<Output = ()> + use<> {
        let alive = Alive(alive.clone());
        async move {
            let _alive = &alive.0;
            if let Some(over) = announces {
                announce(&over);
            }
            pending::<()>().await;
        }
    }

    async fn until_dropped(alive: &Arc<()>) {
        while Arc::strong_count(alive) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_task_ends_with_the_call_announced_before_it_or_inside_it_and_with_no_other() {
        for inside in [false, true] {
            let (over, alive, other) = (CancellationToken::new(), Arc::new(()), Arc::new(()));
            if !inside {
                announce(&over);
            }
            Pumps.execute(never_ending(&alive, inside.then(|| over.clone())));
            Pumps.execute(never_ending(&other, None));
            // Both are polled once.
            tokio::task::yield_now().await;
            assert_eq!(Arc::strong_count(&alive), 2, "it goes on while its call does");
            over.cancel();
            until_dropped(&alive).await;
            assert_eq!(Arc::strong_count(&other), 2, "the next task is not its call's");
        }
    }
}
