//! The directory file as it is written. Knows shapes only; what they mean is checked elsewhere.

use serde::Deserialize;
use ura_runtime::config::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDirectory {
    pub(super) version: Spanned<String>,
    #[serde(default)]
    pub(super) gateways: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) members: Vec<RawMember>,
    #[serde(default)]
    pub(super) systems: Vec<RawSystem>,
    #[serde(default)]
    pub(super) contracts: Vec<RawContract>,
    #[serde(default)]
    pub(super) services: Vec<RawService>,
    #[serde(default)]
    pub(super) purposes: Vec<RawPurpose>,
    #[serde(default)]
    pub(super) grants: Vec<RawGrant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMember {
    pub(super) id: Spanned<String>,
    pub(super) name: RawTitles,
}

/// A text in the three languages; English may stand alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTitles {
    pub(super) en: String,
    pub(super) sq: Option<String>,
    pub(super) sr: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSystem {
    pub(super) id: Spanned<String>,
    pub(super) roles: Vec<Spanned<Role>>,
    pub(super) dial: Option<Spanned<String>>,
    pub(super) cosigner: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Consumer,
    Provider,
    Gateway,
    Auditor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawContract {
    pub(super) name: Spanned<String>,
    pub(super) proto: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) proto_paths: Vec<String>,
    pub(super) descriptor_set: Option<Spanned<String>>,
    pub(super) retention_days: Option<Spanned<i64>>,
    /// Approved versions before this one, oldest first.
    #[serde(default)]
    pub(super) older: Vec<RawVersion>,
    pub(super) deprecated: Option<Spanned<RawDeprecated>>,
}

/// Where the files of a version are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVersion {
    pub(super) proto: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) proto_paths: Vec<String>,
    pub(super) descriptor_set: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeprecated {
    pub(super) since: Option<Spanned<toml::value::Datetime>>,
    pub(super) until: Option<Spanned<toml::value::Datetime>>,
    #[serde(rename = "use")]
    pub(super) instead: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) contract: Spanned<String>,
    pub(super) provider: Spanned<String>,
    pub(super) validate: Option<RawValidate>,
    pub(super) calls_in_flight_max: Option<Spanned<i64>>,
    pub(super) queue_max: Option<Spanned<i64>>,
    pub(super) wait_ms: Option<Spanned<i64>>,
    pub(super) timeout_ms: Option<Spanned<i64>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawValidate {
    Off,
    Log,
    Enforce,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPurpose {
    pub(super) code: Spanned<String>,
    pub(super) legal_basis: Spanned<String>,
    pub(super) title: RawTitles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGrant {
    pub(super) id: Spanned<String>,
    pub(super) consumer: Spanned<String>,
    pub(super) provider: Spanned<String>,
    pub(super) contract: Spanned<String>,
    pub(super) methods: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) purposes: Vec<Spanned<String>>,
    pub(super) from: Option<Spanned<toml::value::Datetime>>,
    pub(super) until: Option<Spanned<toml::value::Datetime>>,
    /// A word or a table of one key.
    pub(super) disclosure: Option<Spanned<toml::Value>>,
}
