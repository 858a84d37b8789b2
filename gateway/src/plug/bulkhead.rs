//! How many calls one service may have in hand, so that a slow register keeps the bus's places to itself
//! no longer than it may: the rest waits in a short queue, for a short time. Knows no plug and no call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// What one service may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Calls in hand at once.
    pub(crate) calls_in_flight_max: usize,
    /// Calls that wait for one of those to end.
    pub(crate) queue_max: usize,
    /// For how long.
    pub(crate) wait: Duration,
}

/// Why a call does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// As many wait as may.
    QueueFull,
    /// It has waited for as long as it may.
    Waited,
}

/// A call's place in a service, until dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    _place: OwnedSemaphorePermit,
}

/// The places of one service.
pub(crate) struct Bulkhead {
    places: ArcSwap<Places>,
    waiting: AtomicUsize,
}

struct Places {
    count: usize,
    free: Arc<Semaphore>,
}

impl Places {
    fn new(count: usize) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }
}

/// One that waits, until dropped.
struct Waiting<'b>(&'b AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bulkhead {
    /// Empty; it gets its places with the first call.
    pub(crate) fn new() -> Self {
        Self { places: ArcSwap::from_pointee(Places::new(0)), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place, at most until `until`. First come, first served.
    pub(crate) async fn enter(&self, room: Room, until: Instant) -> Result<Inside, Crowded> {
        let free = self.free(room.calls_in_flight_max);
        if let Ok(place) = free.clone().try_acquire_owned() {
            return Ok(Inside { _place: place });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= room.queue_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Crowded::QueueFull);
        }
        let _waiting = Waiting(&self.waiting);
        let until = until.min(Instant::now() + room.wait);
        match timeout_at(until, free.acquire_owned()).await {
            Ok(Ok(place)) => Ok(Inside { _place: place }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Crowded::Waited),
        }
    }

    /// The places as they are to be now. Another number counts for the calls that come from then on.
    fn free(&self, count: usize) -> Arc<Semaphore> {
        let places = self.places.load();
        if places.count == count.min(Semaphore::MAX_PERMITS) {
            return places.free.clone();
        }
        let changed = Arc::new(Places::new(count));
        self.places.store(changed.clone());
        changed.free.clone()
    }

    /// Calls in hand, and calls that wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let places = self.places.load();
        let free = places.free.available_permits();
        (places.count.saturating_sub(free), self.waiting.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ROOM: Room = Room { calls_in_flight_max: 2, queue_max: 1, wait: Duration::from_millis(500) };

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_in_so_many_wait_and_the_rest_is_turned_away() {
        let bulkhead = Bulkhead::new();
        let first = bulkhead.enter(ROOM, far()).await.expect("free");
        let _second = bulkhead.enter(ROOM, far()).await.expect("free");
        let mut third = Box::pin(bulkhead.enter(ROOM, far()));
        assert!(third.as_mut().now_or_never().is_none(), "it waits");
        assert_eq!(bulkhead.load(), (2, 1));
        assert_eq!(bulkhead.enter(ROOM, far()).await.err(), Some(Crowded::QueueFull));
        drop(first);
        third.await.expect("its turn");
        assert_eq!(bulkhead.load(), (1, 0), "the third has left");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_by_the_limit_the_deadline_or_the_caller() {
        let bulkhead = Bulkhead::new();
        let _full = (bulkhead.enter(ROOM, far()).await, bulkhead.enter(ROOM, far()).await);
        let began = Instant::now();
        assert_eq!(bulkhead.enter(ROOM, far()).await.err(), Some(Crowded::Waited));
        assert_eq!(began.elapsed(), ROOM.wait, "on paused time");
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(bulkhead.enter(ROOM, soon).await.err(), Some(Crowded::Waited));
        assert_eq!(Instant::now(), soon);
        drop(bulkhead.enter(ROOM, far()).now_or_never());
        assert_eq!(bulkhead.load(), (2, 0), "who goes away waits no longer");
        let none = Room { queue_max: 0, ..ROOM };
        assert_eq!(bulkhead.enter(none, far()).await.err(), Some(Crowded::QueueFull));
    }

    #[tokio::test(start_paused = true)]
    async fn another_number_counts_from_then_on() {
        let bulkhead = Bulkhead::new();
        let _two = (bulkhead.enter(ROOM, far()).await, bulkhead.enter(ROOM, far()).await);
        let none = Room { queue_max: 0, calls_in_flight_max: 3, ..ROOM };
        let mut more = Vec::new();
        while let Ok(inside) = bulkhead.enter(none, far()).await {
            more.push(inside);
        }
        assert_eq!((more.len(), bulkhead.load()), (3, (3, 0)));
    }
}
