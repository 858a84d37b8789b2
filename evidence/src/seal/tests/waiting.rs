//! How these tests wait: for the thing itself, and for no time.

use std::{future::Future, pin::Pin, task::Poll, time::Duration};

/// What a future gives, unless that takes longer than anything here can. While it is waited for, paused time stands
/// still: only `advance` moves it.
pub(super) async fn patient<T>(future: impl Future<Output = T>) -> T {
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let watch = tokio::task::spawn_blocking(move || is_over.recv_timeout(Duration::from_secs(60)));
    tokio::select! {
        biased;
        value = future => { drop(over); value }
        _ = watch => panic!("it never came"),
    }
}

/// Waits until something is so.
pub(super) async fn until(mut such: impl AsyncFnMut() -> bool) {
    patient(async {
        while !such().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Lets a future go on that many times, and drops it then.
pub(super) async fn interrupted<F: Future + Unpin>(mut future: F, mut polls: u32) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        Pin::new(&mut future).poll(context).map(Some)
    })
    .await
}
