//! The calls in hand on one consumer's connection, by whom they go to. A register that does not answer must
//! not fill the connection, or the calls to all others would wait behind it. Knows nobody by name.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// The calls of one connection.
pub(crate) struct Streams<K: Eq + Hash> {
    streams_max: usize,
    held: Mutex<Held<K>>,
}

struct Held<K> {
    total: usize,
    by_target: HashMap<K, usize>,
}

/// One call, until dropped.
pub(crate) struct Stream<K: Eq + Hash> {
    of: Arc<Streams<K>>,
    target: K,
}

impl<K: Eq + Hash + Clone> Streams<K> {
    /// A connection without calls, that may have so many.
    pub(crate) fn new(streams_max: usize) -> Arc<Self> {
        Arc::new(Self { streams_max, held: Mutex::new(Held { total: 0, by_target: HashMap::new() }) })
    }

    /// A call to this target; `None` where it has its part already. One target may have as many calls as are
    /// free: alone a half, three of them three quarters together, so that there is always room for
    /// another (dynamic thresholds after Choudhury and Hahne, 1998).
    pub(crate) fn take(self: &Arc<Self>, target: &K) -> Option<Stream<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.streams_max.saturating_sub(held.total);
        match held.by_target.get_mut(target) {
            Some(calls) if *calls >= free => return None,
            Some(calls) => *calls += 1,
            // The first is HTTP/2's matter.
            None => drop(held.by_target.insert(target.clone(), 1)),
        }
        held.total += 1;
        Some(Stream { of: self.clone(), target: target.clone() })
    }
}

impl<K: Eq + Hash> Drop for Stream<K> {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total -= 1;
        if let Some(calls) = held.by_target.get_mut(&self.target) {
            *calls -= 1;
            if *calls == 0 {
                held.by_target.remove(&self.target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many calls each of some targets gets of 1024, taken in turn.
    fn filled(targets: usize) -> Vec<usize> {
        let streams = Streams::new(1024);
        let (mut taken, mut counts) = (Vec::new(), vec![0; targets]);
        loop {
            let before = taken.len();
            for (target, count) in counts.iter_mut().enumerate() {
                if let Some(stream) = streams.take(&target) {
                    taken.push(stream);
                    *count += 1;
                }
            }
            if taken.len() == before {
                return counts;
            }
        }
    }

    #[test]
    fn there_is_always_room_for_another() {
        for (targets, each) in [(1, 512), (2, 341), (3, 256), (7, 128), (1023, 1)] {
            let counts = filled(targets);
            assert!(counts.iter().all(|count| count.abs_diff(each) <= 1), "{targets}: {counts:?}");
            let total: usize = counts.iter().sum();
            assert!(total < 1024, "{targets}: {total}");
        }
    }

    #[test]
    fn what_ended_makes_room() {
        let streams = Streams::new(4);
        let first = streams.take(&'a').expect("free");
        let second = streams.take(&'a').expect("free");
        assert!(streams.take(&'a').is_none(), "half is taken");
        let other = streams.take(&'b').expect("its first");
        drop(second);
        let third = streams.take(&'a').expect("two are free");
        drop((first, third, other));
        let held = streams.held.lock().expect("no panic");
        assert_eq!((held.total, held.by_target.len()), (0, 0));
    }
}
