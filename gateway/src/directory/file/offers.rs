//! The approved contracts of a directory file, and who offers them.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use ura_proto::SystemId;

use super::{
    Checker,
    raw::{RawContract, RawService},
};
use crate::directory::{
    contract::{Contract, Files, is_of_the_bus},
    snapshot::{Service, ServiceKey, System},
};

/// Longest time for which entries can be kept, in days.
const RETENTION_DAYS_MAX: i64 = 36_500;

impl Checker<'_> {
    pub(super) fn contracts(&mut self, raw: &[RawContract]) -> HashMap<Arc<str>, Contract> {
        let mut contracts: HashMap<Arc<str>, Contract> = HashMap::new();
        for entry in raw {
            let roots: Vec<PathBuf> =
                entry.proto_paths.iter().map(|path| self.source.resolve(path)).collect();
            let resolve = |path: &str| self.source.resolve(path);
            let (files_at, path) = match (&entry.proto, &entry.descriptor_set) {
                (Some(proto), None) => (proto, resolve(proto.get_ref())),
                (None, Some(set)) => (set, resolve(set.get_ref())),
                (None, None) if is_of_the_bus(entry.name.get_ref()) => (&entry.name, PathBuf::new()),
                _ => {
                    self.at(&entry.name, "give either proto or descriptor_set");
                    continue;
                }
            };
            let files = match (&entry.proto, &entry.descriptor_set) {
                (Some(_), _) => Files::Proto(&path, &roots),
                (None, Some(_)) => Files::DescriptorSet(&path),
                (None, None) => Files::BuiltIn,
            };
            let retention_days = self.retention(entry);
            match Contract::approve(entry.name.get_ref(), &files, retention_days) {
                Ok(contract) => {
                    let same = contracts.values().find_map(|other| contract.same_file(other));
                    if let Some(file) = same.or(contract.own_file()) {
                        let message = format!(
                            "reflection has another file {file}: keep this one in a folder \
                            that repeats its package, below a root in proto_paths"
                        );
                        self.at(files_at, message);
                    }
                    if contracts.insert(contract.name.clone(), contract).is_some() {
                        self.at(&entry.name, format!("contract {} stands twice", entry.name.get_ref()));
                    }
                }
                Err(error) => self.at(files_at, error.to_string()),
            }
        }
        contracts
    }

    /// Days for which entries are kept; `None` for good.
    fn retention(&mut self, entry: &RawContract) -> Option<u32> {
        let written = entry.retention_days.as_ref()?;
        let days = *written.get_ref();
        if !(1..=RETENTION_DAYS_MAX).contains(&days) {
            let message = format!(
                "retention_days must be 1 to {RETENTION_DAYS_MAX}; leave it out to keep entries for good"
            );
            self.at(written, message);
        }
        u32::try_from(days).ok()
    }

    pub(super) fn services(
        &mut self,
        raw: &[RawService],
        systems: &HashMap<SystemId, System>,
        contracts: &HashMap<Arc<str>, Contract>,
    ) -> HashMap<Arc<str>, Vec<Arc<Service>>> {
        let mut services: HashMap<Arc<str>, Vec<Arc<Service>>> = HashMap::new();
        for entry in raw {
            let contract = self.known_contract(&entry.contract, contracts);
            let provider = self.provider(&entry.provider, systems, entry.contract.get_ref());
            let (Some(contract), Some(provider)) = (contract, provider) else { continue };
            let known = services.entry(contract.clone()).or_default();
            if known.iter().any(|service| service.key.provider == provider) {
                self.at(&entry.contract, format!("{provider} offers {contract} twice"));
                continue;
            }
            known.push(Arc::new(Service { key: ServiceKey { contract, provider } }));
        }
        services
    }
}
