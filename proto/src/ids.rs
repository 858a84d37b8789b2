//! Names of systems and exchanges, valid by construction.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

/// Longest member or system name, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Why a text is not an id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// Not `<member>/<system>`.
    #[error(
        "`{0}` is not a system id: write <member>/<system>, each 1 to 63 of a-z, 0-9 and -, beginning with a letter"
    )]
    System(String),
    /// Not a UUID of version 7.
    #[error("`{0}` is not an exchange id: write a UUID of version 7 (RFC 9562)")]
    Exchange(String),
}

/// An information system of a member, `<member>/<system>`: what a certificate names.
///
/// Both parts are 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemId(Arc<str>);

impl SystemId {
    /// The whole id, `<member>/<system>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member's part.
    #[must_use]
    pub fn member(&self) -> &str {
        self.0.split_once('/').map_or("", |(member, _)| member)
    }

    /// The id that a SPIFFE path names: the path without its leading slash.
    ///
    /// # Errors
    /// [`IdError::System`] where the path is not `/<member>/<system>`.
    pub fn from_spiffe_path(path: &str) -> Result<Self, IdError> {
        path.strip_prefix('/').ok_or_else(|| IdError::System(path.to_owned()))?.parse()
    }
}

/// Whether `name` may stand for a member or a system.
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.len() <= NAME_BYTES_MAX
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

impl FromStr for SystemId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            Some((member, system)) if is_name(member) && is_name(system) => Ok(Self(text.into())),
            _ => Err(IdError::System(text.chars().take(160).collect())),
        }
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for SystemId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Id of one exchange: a UUID of version 7, so that ids sort by time (RFC 9562 section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(Uuid);

impl ExchangeId {
    /// A new id at this time, in microseconds since 1970-01-01 UTC; the rest is random.
    #[must_use]
    pub fn at(unix_us: i64) -> Self {
        let us = u64::try_from(unix_us).unwrap_or(0);
        let nanos = u32::try_from(us % 1_000_000).unwrap_or(0) * 1000;
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, us / 1_000_000, nanos)))
    }

    /// The id's 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for ExchangeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match Uuid::try_parse(text) {
            Ok(id) if id.get_version_num() == 7 => Ok(Self(id)),
            _ => Err(IdError::Exchange(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_ids_are_two_names() {
        for good in ["arc/civil-status", "a/b", "ais/portal2"] {
            assert_eq!(good.parse::<SystemId>().expect(good).as_str(), good);
        }
        let long = format!("{}/b", "a".repeat(64));
        for bad in ["", "arc", "arc/", "/x", "a/b/c", "Arc/x", "arc/ë", "1a/b", "a b/c", "../x", &long] {
            assert!(bad.parse::<SystemId>().is_err(), "{bad}");
        }
        assert!(SystemId::from_spiffe_path("arc/x").is_err());
        assert_eq!(SystemId::from_spiffe_path("/arc/x").expect("valid").member(), "arc");
    }

    #[test]
    fn exchange_ids_carry_their_time_and_survive_text() {
        let early = ExchangeId::at(1_000_000);
        let late = ExchangeId::at(1_790_000_000_000_000);
        assert!(early < late);
        assert_eq!(late.to_string().parse::<ExchangeId>().expect("own text"), late);
        assert!("0190163d-8694-4b3e-8000-000000000000".parse::<ExchangeId>().is_err(), "version 4");
    }
}
