//! Places for what may go on at once: so many for each system, so many for all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ura_proto::SystemId;

/// A number of places. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    each_max: usize,
    all_max: usize,
    taken: Mutex<Taken>,
}

/// Who has how many. A system without a place has no row.
#[derive(Debug, Default)]
struct Taken {
    by_system: HashMap<SystemId, usize>,
    all: usize,
}

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Shared>,
    system: SystemId,
}

impl Places {
    /// `each_max` places for one system, `all_max` for all together.
    pub(super) fn new(each_max: usize, all_max: usize) -> Self {
        Self(Arc::new(Shared { each_max, all_max, taken: Mutex::default() }))
    }

    /// A place for a system; `None` where it has as many as it may, or all are taken.
    pub(super) fn take(&self, system: &SystemId) -> Option<Place> {
        let mut taken = self.0.taken();
        let has = taken.by_system.get(system).copied().unwrap_or(0);
        if has >= self.0.each_max || taken.all >= self.0.all_max {
            return None;
        }
        taken.by_system.insert(system.clone(), has + 1);
        taken.all += 1;
        drop(taken);
        Some(Place { of: self.0.clone(), system: system.clone() })
    }
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // No code that holds the lock can panic half-way through a change.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        match taken.by_system.get_mut(&self.system) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(taken.by_system.remove(&self.system)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_its_share_and_gives_it_back() {
        let system = |text: &str| text.parse::<SystemId>().expect("valid");
        let (a, b, c) = (system("a/x"), system("b/x"), system("c/x"));
        let places = Places::new(2, 3);
        let first = places.take(&a).expect("free");
        let second = places.take(&a).expect("free");
        assert!(places.take(&a).is_none(), "its share is taken");
        let third = places.take(&b).expect("another's share");
        assert!(places.take(&c).is_none(), "all are taken");
        drop(first);
        let again = places.take(&c).expect("given back");
        drop((second, third, again));
        assert!(places.0.taken().by_system.is_empty(), "nothing stays of those who left");
        assert_eq!(places.0.taken().all, 0);
    }
}
