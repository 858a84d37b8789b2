//! What the mocks are made of and where they listen.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use serde::Deserialize;

use crate::error::MocksError;

/// Most people: above it personal numbers would still be distinct, but memory would not do.
pub const PEOPLE_MAX: usize = 2_000_000;

/// Configuration of all mocks, `config/mocks.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MocksConfig {
    /// Seed of everybody and everything.
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// People, 1 to [`PEOPLE_MAX`].
    #[serde(default = "defaults::people")]
    pub people: usize,
    /// Control port, loopback; port 0 takes a free one.
    #[serde(default = "defaults::listen")]
    pub control: SocketAddr,
    /// Requests kept per register, 1 to 100000.
    #[serde(default = "defaults::requests_kept_max")]
    pub requests_kept_max: usize,
    /// The civil status database.
    pub civil_status: CivilStatusConfig,
    /// The tax service.
    #[serde(default)]
    pub property_tax: PropertyTaxConfig,
    /// The vehicle service.
    #[serde(default)]
    pub vehicles: VehiclesConfig,
}

/// The civil status database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CivilStatusConfig {
    /// `sqlite:PATH` or `postgres://user:password@host:port/db`.
    pub url: String,
    /// Birth certificate documents that are made; about 3.3 KB each on average.
    #[serde(default = "defaults::documents_max")]
    pub documents_max: usize,
}

/// The tax service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PropertyTaxConfig {
    /// Loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Payments kept, 1 to 10000000.
    pub payments_max: usize,
}

/// The vehicle service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VehiclesConfig {
    /// Loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for PropertyTaxConfig {
    fn default() -> Self {
        Self { listen: defaults::listen(), payments_max: 1_000_000 }
    }
}

impl Default for VehiclesConfig {
    fn default() -> Self {
        Self { listen: defaults::listen() }
    }
}

mod defaults {
    use super::{Ipv4Addr, SocketAddr};

    pub(super) fn seed() -> u64 {
        1
    }
    pub(super) fn people() -> usize {
        10_000
    }
    pub(super) fn listen() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }
    pub(super) fn requests_kept_max() -> usize {
        1000
    }
    pub(super) fn documents_max() -> usize {
        10_000
    }
}

impl MocksConfig {
    /// So many people of this seed, with their civil status in this database, on free loopback ports.
    #[must_use]
    pub fn new(seed: u64, people: usize, civil_status_url: impl Into<String>) -> Self {
        Self {
            seed,
            people,
            control: defaults::listen(),
            requests_kept_max: defaults::requests_kept_max(),
            civil_status: CivilStatusConfig {
                url: civil_status_url.into(),
                documents_max: defaults::documents_max(),
            },
            property_tax: PropertyTaxConfig::default(),
            vehicles: VehiclesConfig::default(),
        }
    }

    /// Takes a relative SQLite path as relative to this folder (that of the configuration file).
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        if let Some(path) = self.civil_status.url.strip_prefix("sqlite:")
            && !path.starts_with('/')
        {
            let path = folder.join(path);
            let path = std::path::absolute(&path).unwrap_or(path);
            self.civil_status.url = format!("sqlite:{}", path.display());
        }
        self
    }

    /// Every value that is out of its range: `key: what is wrong`, in the order of the keys.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, address) in [
            ("control", self.control),
            ("property_tax.listen", self.property_tax.listen),
            ("vehicles.listen", self.vehicles.listen),
        ] {
            if !address.ip().is_loopback() {
                problems.push(format!(
                    "{key}: {address} is not a loopback address; mocks are never served to others"
                ));
            }
        }
        for (key, value, max) in [
            ("people", self.people, PEOPLE_MAX),
            ("requests_kept_max", self.requests_kept_max, 100_000),
            ("property_tax.payments_max", self.property_tax.payments_max, 10_000_000),
        ] {
            if !(1..=max).contains(&value) {
                problems.push(format!("{key}: {value} is not between 1 and {max}"));
            }
        }
        let url = &self.civil_status.url;
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            problems.push("civil_status.url: begin with sqlite: or postgres://".to_owned());
        }
        problems
    }

    /// Refuses values that are out of their ranges.
    pub(crate) fn validate(&self) -> Result<(), MocksError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(MocksError::Config(problems.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_valid() {
        let text = include_str!("../../config/mocks.toml");
        let config: MocksConfig = toml::from_str(text).expect("the sample parses");
        config.validate().expect("the sample is valid");
        let config = config.relative_to(Path::new("/srv/ura"));
        assert!(config.civil_status.url.starts_with("sqlite:/srv/ura/"), "{}", config.civil_status.url);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let base = MocksConfig::new(1, 10, "sqlite:x.db");
        assert!(base.validate().is_ok());
        type Change = fn(&mut MocksConfig);
        let cases: [(&str, Change); 5] = [
            ("people", |c| c.people = 0),
            ("people", |c| c.people = PEOPLE_MAX + 1),
            ("control", |c| c.control = ([0, 0, 0, 0], 0).into()),
            ("requests_kept_max", |c| c.requests_kept_max = 0),
            ("civil_status.url", |c| c.civil_status.url = "mysql://x".to_owned()),
        ];
        for (key, change) in cases {
            let mut config = base.clone();
            change(&mut config);
            let problems = config.problems();
            assert!(problems.len() == 1 && problems[0].starts_with(key), "{problems:?}");
            assert!(config.validate().is_err());
        }
        assert!(toml::from_str::<MocksConfig>("sead = 1\n[civil_status]\nurl = \"sqlite:x\"").is_err());
    }
}
