//! The mark of a log: what says that its entries were appended by who has the epoch keys, and not by somebody who
//! only has the database. Each append checks the one that stands and sets the next. Knows sizes and roots, no entry.

use ura_log::{Hash, tree::Frontier};

use crate::{
    keys::EpochKeys,
    store::{Append, StoreError},
};

/// What a log is marked with.
#[derive(Clone, Copy)]
pub(crate) struct Marks<'m> {
    /// Name of the log.
    pub(crate) origin: &'m str,
    /// The keys of the bus.
    pub(crate) epochs: &'m EpochKeys,
    /// The mark that is known to stand with the tree as it is held, where one is: by it no root need be computed.
    pub(crate) known: Option<&'m [u8]>,
}

impl<'m> Marks<'m> {
    /// The marks of a log of which nothing is known.
    pub(crate) const fn new(origin: &'m str, epochs: &'m EpochKeys) -> Self {
        Self { origin, epochs, known: None }
    }

    /// Whether a mark is right for this tree. A log without entries needs none. Where no key fits the folder is read
    /// anew: somebody may have begun an epoch since.
    pub(crate) fn are_right(&self, tree: &Frontier, mark: &[u8]) -> bool {
        if tree.size() == 0 {
            return true;
        }
        let root = tree.root();
        let is_marked = || self.epochs.marked(self.origin, tree.size(), &root, mark);
        is_marked() || (self.epochs.reload().is_ok() && is_marked())
    }

    /// Sets the mark of the log as an append makes it, where another one stands; returns it.
    pub(crate) async fn set(&self, append: &mut Append<'_>, tree: &Frontier) -> Result<Hash, StoreError> {
        // By the newest key: a mark stands no longer than its epoch.
        let mark = self.epochs.newest().mark(self.origin, tree.size(), &tree.root());
        if append.standing() != mark {
            append.mark(&mark).await?;
        }
        Ok(mark)
    }
}
