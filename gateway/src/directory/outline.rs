//! What commands about evidence need of a directory file: how long which records are kept, how subjects are
//! written, who cosigns. Knows nothing of evidence itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ura_log::note::Key;
use ura_runtime::config::ConfigErrors;

use super::{file, subject::Form};

/// An outline of a directory file.
#[derive(Debug)]
pub struct Outline {
    /// Approved contracts, `package.Service`, with the days for which entries of their exchanges are kept; without,
    /// for good.
    pub retention_days: BTreeMap<String, Option<u32>>,
    /// Public keys of witnesses.
    pub cosigners: Vec<Key>,
    /// Forms of subjects, by kind.
    forms: BTreeMap<String, Vec<Form>>,
}

impl Outline {
    /// Reads and checks a directory file as the gateway would.
    ///
    /// # Errors
    /// Every error of the file, with line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigErrors> {
        let snapshot = file::load(path).map_err(|refused| refused.errors)?.snapshot;
        let contracts = snapshot.contracts.values();
        let retention_days = contracts.map(|c| (c.name.to_string(), c.retention_days)).collect();
        let mut forms: BTreeMap<String, Vec<Form>> = BTreeMap::new();
        let methods = snapshot.contracts.values().flat_map(|contract| &contract.methods);
        let plans = methods.flat_map(|method| [&method.request_subjects, &method.reply_subjects]).flatten();
        for (kind, form) in plans.flat_map(|plan| plan.kinds()) {
            let known = forms.entry(kind.to_string()).or_default();
            if !known.contains(&form) {
                known.push(form);
            }
        }
        let cosigners = snapshot.systems.values().filter_map(|system| system.cosigner.clone()).collect();
        Ok(Self { retention_days, cosigners, forms })
    }

    /// The canonical forms of a subject, each once: contracts may write the same kind differently. None where
    /// no contract names subjects of this kind.
    #[must_use]
    pub fn canonical(&self, kind: &str, value: &[u8]) -> BTreeSet<Vec<u8>> {
        self.forms.get(kind).into_iter().flatten().map(|form| form.apply(value)).collect()
    }

    /// The kinds of subject that contracts name.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.forms.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_directory_tells_kinds_and_times() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/directory.toml"));
        let outline = Outline::read(path).expect("the sample is right");
        let kinds: Vec<&str> = outline.kinds().collect();
        assert!(kinds.contains(&"person"), "{kinds:?}");
        let found = outline.canonical("person", b" 1234 567-892 ");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [b"1234567892".to_vec()]);
        assert!(outline.canonical("ghost", b"1").is_empty());
        assert!(outline.retention_days.values().any(|days| *days == Some(3650)), "{outline:?}");
        assert!(outline.retention_days.values().any(Option::is_none), "{outline:?}");
    }
}
