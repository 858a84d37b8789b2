//! The directory file: its raw form, and its checking into a snapshot. Every error is reported with
//! its line; a file with an error changes nothing.

mod contracts;
mod grants;
mod offers;
mod raw;
mod systems;

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use toml::de::{DeTable, DeValue};
use ura_proto::{SystemId, refusal::Language};
use ura_runtime::config::{self, ConfigErrors, FILE_BYTES_MAX, Problems, Source, Spanned};

use grants::Named;
use raw::{RawDirectory, RawTitles};

use super::{
    contract::{Contract, is_of_the_bus},
    snapshot::{Snapshot, System},
    titles::{TITLE_CHARS_MAX, Titles},
};

/// Longest code, id or version, in bytes.
const CODE_BYTES_MAX: usize = 128;

/// A checked file, and what must be watched for changes.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    pub(super) paths: Vec<PathBuf>,
}

/// A file with errors, as far as it could be read.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) errors: ConfigErrors,
    /// Version that it names; empty where it names none, or none that is well-formed.
    pub(super) version: Box<str>,
    /// SHA-256 of the file alone; `None` where it could not be read.
    pub(super) digest: Option<[u8; 32]>,
}

/// Checks a directory file as the gateway would.
///
/// # Errors
/// Every error of the file, with line and column.
pub fn check(path: &Path) -> Result<String, ConfigErrors> {
    let Loaded { snapshot, .. } = load(path).map_err(|refused| refused.errors)?;
    let Snapshot { version, systems, contracts, .. } = &snapshot;
    Ok(format!("directory {version}: {} systems, {} contracts", systems.len(), contracts.len()))
}

/// Reads and checks a directory file.
pub(super) fn load(path: &Path) -> Result<Loaded, Refused> {
    let bytes = read(path).map_err(|errors| Refused { errors, version: Box::default(), digest: None })?;
    let digest = digest::digest(&digest::SHA256, &bytes).as_ref().try_into().ok();
    let refused = |errors, text: &str| Refused { errors, version: named_version(text), digest };
    match String::from_utf8(bytes) {
        Ok(text) => checked(path, text.clone()).map_err(|errors| refused(errors, &text)),
        Err(_) => Err(refused(ConfigErrors::new(path, "cannot be read: it is not UTF-8"), "")),
    }
}

/// The bytes of a file.
fn read(path: &Path) -> Result<Vec<u8>, ConfigErrors> {
    let failed = |reason: String| ConfigErrors::new(path, format!("cannot be read: {reason}"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX);
    fits.then_some(bytes).ok_or_else(|| failed(format!("it is larger than {FILE_BYTES_MAX} bytes")))
}

/// The version that a file names, whatever else is wrong with it; empty where it cannot be made out.
fn named_version(text: &str) -> Box<str> {
    let (tree, _) = DeTable::parse_recoverable(text);
    match tree.get_ref().get("version").map(Spanned::get_ref) {
        Some(DeValue::String(version)) if is_name(version) => version.as_ref().into(),
        _ => Box::default(),
    }
}

/// Whether a text may stand as a code, an id or a version.
fn is_name(text: &str) -> bool {
    (1..=CODE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| (0x21..0x7f).contains(&b))
}

/// Checks a text into a snapshot.
fn checked(path: &Path, text: String) -> Result<Loaded, ConfigErrors> {
    let document = config::parse::<RawDirectory>(path, text)?;
    let mut checker = Checker { problems: document.source.problems(), source: &document.source };
    let raw = document.value;
    checker.name(&raw.version, "version");
    let gateways = checker.gateways(&raw.gateways);
    let members = checker.members(&raw.members);
    let mut systems = checker.systems(&raw.systems, &raw.members);
    let contracts = checker.contracts(&raw.contracts);
    let services = checker.services(&raw.services, &systems, &contracts);
    let purposes = checker.purposes(&raw.purposes);
    let named = Named { contracts: &contracts, services: &services, purposes: &purposes };
    let grants = checker.grants(&raw.grants, &mut systems, &named);

    let mut paths = vec![path.to_path_buf()];
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(document.source.text().as_bytes());
    let mut names: Vec<_> = contracts.keys().cloned().collect();
    names.sort_unstable();
    for contract in names.iter().filter_map(|name| contracts.get(name)) {
        let older = contract.older.iter().map(|older| (&older.descriptor_set, &older.paths));
        for (set, files) in older.chain([(&contract.descriptor_set, &contract.paths)]) {
            hash.update(set);
            paths.extend(files.iter().cloned());
        }
    }
    let digest = hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    let methods = contracts.values().flat_map(|c| &c.methods).map(|m| (m.path.clone(), m.clone())).collect();
    let version = raw.version.into_inner().into();
    let snapshot = Snapshot {
        version,
        digest,
        gateways,
        systems,
        contracts,
        methods,
        services,
        members,
        purposes,
        grants,
    };
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
        let good = is_name(text.get_ref());
        if !good {
            self.at(
                text,
                format!("{what} must be 1 to {CODE_BYTES_MAX} visible ASCII characters without spaces"),
            );
        }
        good
    }

    /// A text in three languages, of which English must be there.
    fn titles(&mut self, place: &Spanned<String>, titles: &RawTitles) -> Option<Titles> {
        for (language, text) in [
            (Language::English, Some(&titles.en)),
            (Language::Albanian, titles.sq.as_ref()),
            (Language::Serbian, titles.sr.as_ref()),
        ] {
            if text.is_some_and(|text| text.trim().is_empty() || text.chars().count() > TITLE_CHARS_MAX) {
                let tag = language.tag();
                self.at(place, format!("the {tag} text must have 1 to {TITLE_CHARS_MAX} characters"));
            }
        }
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        Titles::of(&titles.en, &or_empty(&titles.sq), &or_empty(&titles.sr))
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

    /// A system of the directory, whatever its roles.
    fn known_system<'d>(
        &mut self,
        text: &Spanned<String>,
        systems: &'d HashMap<SystemId, System>,
    ) -> Option<(SystemId, &'d System)> {
        let id = self.system_id(text)?;
        let Some(system) = systems.get(&id) else {
            self.at(text, format!("{id} is not in [[systems]]"));
            return None;
        };
        Some((id, system))
    }

    /// A system that may answer a contract: a gateway for those of the bus itself, else a provider.
    fn provider(
        &mut self,
        text: &Spanned<String>,
        systems: &HashMap<SystemId, System>,
        contract: &str,
    ) -> Option<SystemId> {
        let (id, system) = self.known_system(text, systems)?;
        let problem = match (is_of_the_bus(contract), system) {
            (true, System { gateway: true, .. }) => return Some(id),
            (true, _) => {
                "does not have the role gateway: contracts of the package ura.v1 are answered by gateways"
            }
            (false, System { gateway: true, .. }) => {
                "is a gateway: it answers contracts of the package ura.v1 and nothing else"
            }
            (false, System { provider: true, .. }) => return Some(id),
            (false, _) => "does not have the role provider",
        };
        self.at(text, format!("{id} {problem}"));
        None
    }
}

#[cfg(test)]
pub(super) mod tests;
