//! The grants of a directory file, and the purposes that they name.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use ura_proto::SystemId;
use ura_runtime::config::Spanned;

use super::{
    Checker,
    raw::{RawGrant, RawPurpose},
};
use crate::directory::{
    contract::Contract,
    grant::{Disclosure, Grant},
    snapshot::{Purpose, Service, System},
};

/// Most characters of a purpose's legal basis.
const LEGAL_BASIS_CHARS_MAX: usize = 400;

/// Longest delay of a disclosure, in days.
const DELAY_DAYS_MAX: i64 = 3650;

/// How a disclosure is written.
const DISCLOSURES: &str = "disclosure is \"immediate\", \"withheld\", { delay_days = 1 to 3650 } or \
    { withheld_until = 2027-01-01T00:00:00Z }";

/// What grants refer to.
pub(super) struct Named<'n> {
    pub(super) contracts: &'n HashMap<Arc<str>, Contract>,
    pub(super) services: &'n HashMap<Arc<str>, Vec<Arc<Service>>>,
    pub(super) purposes: &'n HashMap<Arc<str>, Arc<Purpose>>,
}

impl Checker<'_> {
    pub(super) fn purposes(&mut self, raw: &[RawPurpose]) -> HashMap<Arc<str>, Arc<Purpose>> {
        let mut purposes = HashMap::new();
        for entry in raw {
            let title = self.titles(&entry.code, &entry.title);
            let legal_basis = entry.legal_basis.get_ref().trim();
            if legal_basis.is_empty() {
                self.at(&entry.legal_basis, "a purpose needs its legal basis: act and article");
            } else if legal_basis.chars().count() > LEGAL_BASIS_CHARS_MAX {
                let message = format!("a legal basis has at most {LEGAL_BASIS_CHARS_MAX} characters");
                self.at(&entry.legal_basis, message);
            }
            if self.name(&entry.code, "a purpose code")
                && let Some(title) = title
            {
                let code: Arc<str> = entry.code.get_ref().as_str().into();
                let purpose = Purpose { code: code.clone(), title, legal_basis: legal_basis.into() };
                if purposes.insert(code, Arc::new(purpose)).is_some() {
                    self.at(&entry.code, format!("purpose {} stands twice", entry.code.get_ref()));
                }
            }
        }
        purposes
    }

    /// Enters the grants with the consumers' systems; returns them by id.
    pub(super) fn grants(
        &mut self,
        raw: &[RawGrant],
        systems: &mut HashMap<SystemId, System>,
        named: &Named<'_>,
    ) -> HashMap<Arc<str>, Arc<Grant>> {
        let mut grants = HashMap::new();
        let mut ids = HashSet::new();
        for entry in raw {
            self.name(&entry.id, "a grant id");
            if !ids.insert(entry.id.get_ref().as_str()) {
                self.at(&entry.id, format!("grant {} stands twice", entry.id.get_ref()));
            }
            let Some(grant) = self.grant(entry, systems, named) else { continue };
            let grant = Arc::new(grant);
            if let Some(system) = systems.get_mut(&grant.consumer) {
                let contract = grant.service.key.contract.clone();
                system.grants.entry(contract).or_default().push(grant.clone());
            }
            if let Entry::Vacant(place) = grants.entry(grant.id.clone()) {
                place.insert(grant);
            }
        }
        grants
    }

    fn grant(
        &mut self,
        entry: &RawGrant,
        systems: &HashMap<SystemId, System>,
        named: &Named<'_>,
    ) -> Option<Grant> {
        let consumer = self.known_system(&entry.consumer, systems);
        let consumer = consumer.and_then(|(id, system)| {
            if !system.consumer {
                self.at(&entry.consumer, format!("{id} does not have the role consumer"));
            }
            system.consumer.then_some(id)
        });
        let provider = self.provider(&entry.provider, systems, entry.contract.get_ref());
        let contract = self.known_contract(&entry.contract, named.contracts);
        let methods = contract.as_ref().and_then(|name| self.methods(entry, &named.contracts[name]));
        let purposes = self.named_purposes(entry, named.purposes);
        let (from_unix_us, until_unix_us) = self.window(entry);
        let disclosure = self.disclosure(entry, from_unix_us);
        let (consumer, provider, contract) = (consumer?, provider?, contract?);
        let offers = named.services.get(&contract).into_iter().flatten();
        let Some(service) = offers.into_iter().find(|service| service.key.provider == provider) else {
            let message = format!("{provider} does not offer {contract}; add it to [[services]]");
            self.at(&entry.provider, message);
            return None;
        };
        let grant = Grant {
            id: entry.id.get_ref().as_str().into(),
            consumer,
            service: service.clone(),
            methods,
            purposes,
            from_unix_us,
            until_unix_us,
            disclosure,
            digest: [0; 32],
        };
        Some(grant.with_digest())
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
        purposes: &HashMap<Arc<str>, Arc<Purpose>>,
    ) -> Vec<Arc<Purpose>> {
        let mut named = Vec::new();
        for code in &entry.purposes {
            match purposes.get(code.get_ref().as_str()) {
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
        let unix_us = read_instant(datetime.get_ref());
        if unix_us.is_none() {
            self.at(datetime, INSTANT);
        }
        unix_us
    }

    /// When subjects may be told; at once where the file says nothing.
    fn disclosure(&mut self, entry: &RawGrant, from_unix_us: i64) -> Disclosure {
        let Some(written) = &entry.disclosure else { return Disclosure::Immediate };
        match read_disclosure(written.get_ref()) {
            Ok(Disclosure::WithheldUntil { unix_us }) if unix_us <= from_unix_us => {
                self.at(written, "withheld_until must be later than the grant's from");
            }
            Ok(disclosure) => return disclosure,
            Err(problem) => self.at(written, problem),
        }
        Disclosure::Withheld
    }
}

/// A disclosure as written.
fn read_disclosure(written: &toml::Value) -> Result<Disclosure, &'static str> {
    match written {
        toml::Value::String(word) if word == "immediate" => Ok(Disclosure::Immediate),
        toml::Value::String(word) if word == "withheld" => Ok(Disclosure::Withheld),
        toml::Value::Table(table) if table.len() == 1 => {
            match (table.get("delay_days"), table.get("withheld_until")) {
                (Some(toml::Value::Integer(days)), _) => u32::try_from(*days)
                    .ok()
                    .filter(|_| (1..=DELAY_DAYS_MAX).contains(days))
                    .map(|days| Disclosure::Delayed { days })
                    .ok_or("delay_days must be 1 to 3650"),
                (_, Some(toml::Value::Datetime(time))) => {
                    let unix_us = read_instant(time).ok_or(INSTANT)?;
                    Ok(Disclosure::WithheldUntil { unix_us })
                }
                _ => Err(DISCLOSURES),
            }
        }
        _ => Err(DISCLOSURES),
    }
}

/// How a time is written.
const INSTANT: &str = "write date, time and offset, for example 2027-01-01T00:00:00Z";

/// A time in microseconds since 1970-01-01 UTC; `None` without an offset, or outside of the years 0 to
/// 9999 in UTC.
fn read_instant(datetime: &toml::value::Datetime) -> Option<i64> {
    let instant = OffsetDateTime::parse(&datetime.to_string(), &Rfc3339).ok()?;
    let year = instant.checked_to_offset(UtcOffset::UTC)?.year();
    let unix_us = i64::try_from(instant.unix_timestamp_nanos().div_euclid(1000)).ok()?;
    (0..=9999).contains(&year).then_some(unix_us)
}
