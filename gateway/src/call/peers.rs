//! Who is connected, in which role, and when the certificates end. Changed when connections come and go,
//! never by a call.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ura_proto::SystemId;

/// In which role a certificate is used on the bus's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It asks.
    Consumer,
    /// It answers.
    Adapter,
    /// This gateway's own, on all its connections.
    Gateway,
}

impl Role {
    /// Its word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Adapter => "adapter",
            Self::Gateway => "gateway",
        }
    }
}

/// A certificate in use: whose, for what, and its end in seconds since 1970.
type InUse = (SystemId, Role, i64);

/// The certificates in use now.
#[derive(Default)]
pub(crate) struct Peers(Mutex<BTreeMap<InUse, usize>>);

/// One connection among them, until dropped.
pub(crate) struct Connected {
    peers: Arc<Peers>,
    certificate: InUse,
}

impl Peers {
    fn in_use(&self) -> MutexGuard<'_, BTreeMap<InUse, usize>> {
        // No code that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection with this certificate began.
    pub(crate) fn connected(self: &Arc<Self>, system: SystemId, role: Role, not_after_s: i64) -> Connected {
        let certificate = (system, role, not_after_s);
        *self.in_use().entry(certificate.clone()).or_insert(0) += 1;
        Connected { peers: self.clone(), certificate }
    }

    /// For each system and role: its connections, and the end of the certificate that ends first.
    pub(crate) fn look(&self) -> BTreeMap<(SystemId, Role), (usize, i64)> {
        let mut found = BTreeMap::new();
        for ((system, role, not_after_s), connections) in &*self.in_use() {
            let (all, first) = found.entry((system.clone(), *role)).or_insert((0, i64::MAX));
            *all += connections;
            *first = (*first).min(*not_after_s);
        }
        found
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut in_use = self.peers.in_use();
        if let Some(connections) = in_use.get_mut(&self.certificate) {
            *connections -= 1;
            if *connections == 0 {
                in_use.remove(&self.certificate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_that_ends_first_counts_as_long_as_it_is_in_use() {
        let (peers, portal) = (Arc::new(Peers::default()), "ais/portal".parse::<SystemId>().expect("an id"));
        let of = |not_after_s| peers.connected(portal.clone(), Role::Consumer, not_after_s);
        let look = || peers.look().get(&(portal.clone(), Role::Consumer)).copied();
        let (old, new, again) = (of(100), of(200), of(200));
        assert_eq!(look(), Some((3, 100)));
        drop(old);
        assert_eq!(look(), Some((2, 200)));
        drop((new, again));
        assert_eq!(look(), None);
    }
}
