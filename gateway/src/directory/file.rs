//! The directory file: its raw form, and its checking into a snapshot. Every error is reported with
//! its line; a file with an error changes nothing.

mod raw;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_proto::{SystemId, refusal::Language};
use ura_runtime::config::{self, ConfigErrors, Problems, Source, Spanned};

use raw::{
    RawContract, RawDirectory, RawGrant, RawMember, RawPurpose, RawService, RawSystem, RawTitles, Role,
};

use super::{
    contract::{Contract, Files},
    snapshot::{Grant, Purpose, Service, ServiceKey, Snapshot, System, is_address},
};

/// Longest code, id or version, in bytes.
const CODE_BYTES_MAX: usize = 128;

/// A checked file, and what must be watched for changes.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    pub(super) paths: Vec<PathBuf>,
}

/// Checks a directory file as the gateway would.
///
/// # Errors
/// Every error of the file, with line and column.
pub fn check(path: &Path) -> Result<String, ConfigErrors> {
    load(path).map(|loaded| {
        let Snapshot { version, systems, contracts, .. } = &loaded.snapshot;
        format!("directory {version}: {} systems, {} contracts", systems.len(), contracts.len())
    })
}

/// Reads and checks a directory file.
pub(super) fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let document = config::read::<RawDirectory>(path)?;
    let mut checker = Checker { problems: document.source.problems(), source: &document.source };
    let raw = document.value;
    checker.name(&raw.version, "version");
    let members = checker.members(&raw.members);
    let mut systems = checker.systems(&raw.systems, &members);
    let contracts = checker.contracts(&raw.contracts);
    let services = checker.services(&raw.services, &systems, &contracts);
    let purposes = checker.purposes(&raw.purposes);
    checker.grants(&raw.grants, &mut systems, &contracts, &services, &purposes);

    let mut paths = vec![path.to_path_buf()];
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(document.source.text().as_bytes());
    let mut names: Vec<_> = contracts.keys().cloned().collect();
    names.sort_unstable();
    for contract in names.iter().filter_map(|name| contracts.get(name)) {
        hash.update(&contract.descriptor_set);
        paths.extend(contract.paths.iter().cloned());
    }
    let digest = hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    let methods = contracts.values().flat_map(|c| &c.methods).map(|m| (m.path.clone(), m.clone())).collect();
    let version = raw.version.into_inner().into();
    let snapshot = Snapshot { version, digest, systems, contracts, methods, services };
    checker.problems.into_result(Loaded { snapshot, paths })
}

/// Collects problems while the parts are put together.
struct Checker<'s> {
    problems: Problems,
    source: &'s Source,
}

impl Checker<'_> {
    fn at<T>(&mut self, place: &Spanned<T>, message: impl Into<String>) {
        self.problems.at(place.span(), message);
    }

    /// A code, id or version: it goes into headers and records.
    fn name(&mut self, text: &Spanned<String>, what: &str) -> bool {
        let good = (1..=CODE_BYTES_MAX).contains(&text.get_ref().len())
            && text.get_ref().bytes().all(|b| (0x21..0x7f).contains(&b));
        if !good {
            self.at(
                text,
                format!("{what} must be 1 to {CODE_BYTES_MAX} visible ASCII characters without spaces"),
            );
        }
        good
    }

    fn titles(&mut self, place: &Spanned<String>, titles: &RawTitles) {
        for (language, text) in [
            (Language::English, Some(&titles.en)),
            (Language::Albanian, titles.sq.as_ref()),
            (Language::Serbian, titles.sr.as_ref()),
        ] {
            if text.is_some_and(|text| text.trim().is_empty() || text.chars().count() > 200) {
                self.at(place, format!("the {} text must have 1 to 200 characters", language.tag()));
            }
        }
    }

    fn system_id(&mut self, text: &Spanned<String>) -> Option<SystemId> {
        match text.get_ref().parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.at(text, format!("{error}"));
                None
            }
        }
    }

    fn members(&mut self, raw: &[RawMember]) -> HashSet<String> {
        let mut members = HashSet::new();
        for member in raw {
            self.titles(&member.id, &member.name);
            if format!("{}/x", member.id.get_ref()).parse::<SystemId>().is_err() {
                self.at(&member.id, "a member id is 1 to 63 of a-z, 0-9 and -, beginning with a letter");
            } else if !members.insert(member.id.get_ref().clone()) {
                self.at(&member.id, format!("member {} stands twice", member.id.get_ref()));
            }
        }
        members
    }

    fn systems(&mut self, raw: &[RawSystem], members: &HashSet<String>) -> HashMap<SystemId, System> {
        let mut systems = HashMap::new();
        for entry in raw {
            let Some(id) = self.system_id(&entry.id) else { continue };
            if !members.contains(id.member()) {
                self.at(&entry.id, format!("member {} is not in [[members]]", id.member()));
            }
            let has = |role| entry.roles.iter().any(|r| *r.get_ref() == role);
            let system = System {
                consumer: has(Role::Consumer),
                provider: has(Role::Provider),
                gateway: has(Role::Gateway),
                dial: entry.dial.as_ref().map(|d| d.get_ref().as_str().into()),
                grants: HashMap::new(),
            };
            if entry.roles.is_empty() {
                self.at(&entry.id, "roles must name at least one of \"consumer\", \"provider\", \"gateway\"");
            }
            if let Some(dial) = &entry.dial {
                if !is_address(dial.get_ref()) {
                    self.at(dial, "dial must be host:port");
                }
                if !system.provider {
                    self.at(dial, "only a system with the role provider can be dialled");
                }
            }
            if systems.insert(id, system).is_some() {
                self.at(&entry.id, format!("system {} stands twice", entry.id.get_ref()));
            }
        }
        systems
    }

    fn contracts(&mut self, raw: &[RawContract]) -> HashMap<Arc<str>, Contract> {
        let mut contracts: HashMap<Arc<str>, Contract> = HashMap::new();
        for entry in raw {
            let roots: Vec<PathBuf> =
                entry.proto_paths.iter().map(|path| self.source.resolve(path)).collect();
            let (files_at, path) = match (&entry.proto, &entry.descriptor_set) {
                (Some(proto), None) => (proto, self.source.resolve(proto.get_ref())),
                (None, Some(set)) => (set, self.source.resolve(set.get_ref())),
                _ => {
                    self.at(&entry.name, "give either proto or descriptor_set");
                    continue;
                }
            };
            let files =
                if entry.proto.is_some() { Files::Proto(&path, &roots) } else { Files::DescriptorSet(&path) };
            match Contract::approve(entry.name.get_ref(), &files) {
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

    fn services(
        &mut self,
        raw: &[RawService],
        systems: &HashMap<SystemId, System>,
        contracts: &HashMap<Arc<str>, Contract>,
    ) -> HashMap<Arc<str>, Vec<Arc<Service>>> {
        let mut services: HashMap<Arc<str>, Vec<Arc<Service>>> = HashMap::new();
        for entry in raw {
            let contract = self.known_contract(&entry.contract, contracts);
            let provider = self.known_system(&entry.provider, systems, |system| system.provider, "provider");
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

    fn purposes(&mut self, raw: &[RawPurpose]) -> HashMap<String, Arc<Purpose>> {
        let mut purposes = HashMap::new();
        for entry in raw {
            self.titles(&entry.code, &entry.title);
            if entry.legal_basis.get_ref().trim().is_empty() {
                self.at(&entry.legal_basis, "a purpose needs its legal basis: act and article");
            }
            if self.name(&entry.code, "a purpose code") {
                let purpose = Arc::new(Purpose { code: entry.code.get_ref().as_str().into() });
                if purposes.insert(entry.code.get_ref().clone(), purpose).is_some() {
                    self.at(&entry.code, format!("purpose {} stands twice", entry.code.get_ref()));
                }
            }
        }
        purposes
    }

    fn grants(
        &mut self,
        raw: &[RawGrant],
        systems: &mut HashMap<SystemId, System>,
        contracts: &HashMap<Arc<str>, Contract>,
        services: &HashMap<Arc<str>, Vec<Arc<Service>>>,
        purposes: &HashMap<String, Arc<Purpose>>,
    ) {
        let mut ids = HashSet::new();
        for entry in raw {
            self.name(&entry.id, "a grant id");
            if !ids.insert(entry.id.get_ref().as_str()) {
                self.at(&entry.id, format!("grant {} stands twice", entry.id.get_ref()));
            }
            let consumer = self.known_system(&entry.consumer, systems, |system| system.consumer, "consumer");
            let provider = self.known_system(&entry.provider, systems, |system| system.provider, "provider");
            let contract = self.known_contract(&entry.contract, contracts);
            let methods = contract.as_ref().and_then(|name| self.methods(entry, &contracts[name]));
            let named = self.named_purposes(entry, purposes);
            let (from_unix_us, until_unix_us) = self.window(entry);
            let (Some(consumer), Some(provider), Some(contract)) = (consumer, provider, contract) else {
                continue;
            };
            let service = services.get(&contract).into_iter().flatten().find(|s| s.key.provider == provider);
            let Some(service) = service else {
                self.at(
                    &entry.provider,
                    format!("{provider} does not offer {contract}; add it to [[services]]"),
                );
                continue;
            };
            let grant = Grant {
                id: entry.id.get_ref().as_str().into(),
                service: service.clone(),
                methods,
                purposes: named,
                from_unix_us,
                until_unix_us,
            };
            if let Some(system) = systems.get_mut(&consumer) {
                system.grants.entry(contract).or_default().push(Arc::new(grant));
            }
        }
    }

    /// The methods of a grant; `None` for all.
    fn methods(&mut self, entry: &RawGrant, contract: &Contract) -> Option<Vec<Box<str>>> {
        if entry.methods.is_empty() {
            self.at(&entry.id, "methods must name at least one method, or \"*\" for all");
        }
        if entry.methods.iter().any(|method| method.get_ref() == "*") {
            return None;
        }
        for method in &entry.methods {
            if !contract.methods.iter().any(|m| *m.name == **method.get_ref()) {
                let known: Vec<_> = contract.methods.iter().map(|m| &*m.name).collect();
                let text = format!(
                    "{} has no method {}; it has {}",
                    contract.name,
                    method.get_ref(),
                    known.join(", ")
                );
                self.at(method, text);
            }
        }
        Some(entry.methods.iter().map(|method| method.get_ref().as_str().into()).collect())
    }

    fn named_purposes(
        &mut self,
        entry: &RawGrant,
        purposes: &HashMap<String, Arc<Purpose>>,
    ) -> Vec<Arc<Purpose>> {
        let mut named = Vec::new();
        for code in &entry.purposes {
            match purposes.get(code.get_ref()) {
                Some(purpose) => named.push(purpose.clone()),
                None => self.at(code, format!("purpose {} is not in [[purposes]]", code.get_ref())),
            }
        }
        named
    }

    /// Validity, from (inclusive) and until (exclusive).
    fn window(&mut self, entry: &RawGrant) -> (i64, i64) {
        let from = entry.from.as_ref().and_then(|t| self.instant(t)).unwrap_or(i64::MIN);
        let until = entry.until.as_ref().and_then(|t| self.instant(t)).unwrap_or(i64::MAX);
        if from >= until {
            self.at(&entry.id, "until must be later than from");
        }
        (from, until)
    }

    fn instant(&mut self, datetime: &Spanned<toml::value::Datetime>) -> Option<i64> {
        let parsed = OffsetDateTime::parse(&datetime.get_ref().to_string(), &Rfc3339).ok();
        let unix_us = parsed.and_then(|t| i64::try_from(t.unix_timestamp_nanos() / 1000).ok());
        if unix_us.is_none() {
            self.at(datetime, "write date, time and offset, for example 2027-01-01T00:00:00Z");
        }
        unix_us
    }

    fn known_contract(
        &mut self,
        name: &Spanned<String>,
        contracts: &HashMap<Arc<str>, Contract>,
    ) -> Option<Arc<str>> {
        let known = contracts.get_key_value(name.get_ref().as_str()).map(|(key, _)| key.clone());
        if known.is_none() {
            self.at(
                name,
                format!("contract {} is not in [[contracts]], or has errors there", name.get_ref()),
            );
        }
        known
    }

    fn known_system(
        &mut self,
        text: &Spanned<String>,
        systems: &HashMap<SystemId, System>,
        has_role: impl Fn(&System) -> bool,
        role: &str,
    ) -> Option<SystemId> {
        let id = self.system_id(text)?;
        match systems.get(&id) {
            None => self.at(text, format!("{id} is not in [[systems]]")),
            Some(system) if !has_role(system) => self.at(text, format!("{id} does not have the role {role}")),
            Some(_) => return Some(id),
        }
        None
    }
}

#[cfg(test)]
mod tests;
