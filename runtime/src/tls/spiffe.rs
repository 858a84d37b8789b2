//! SPIFFE ids (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>) and where they
//! stand in a certificate.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::CertificateError;

/// Longest SPIFFE id, in bytes (SPIFFE-ID section 2.3).
const ID_BYTES_MAX: usize = 2048;
/// Longest trust domain, in bytes (SPIFFE-ID section 2.3).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Name of a workload, `spiffe://<trust domain>/<path>`.
///
/// As text it parses strictly: exactly the characters that the standard allows (sections 2.1 and
/// 2.2), no percent-encoding, no query, no empty segment; and it must have a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// 1 to 255 of `a-z`, `0-9`, `.`, `-` and `_`.
    pub trust_domain: String,
    /// Begins with `/`; segments of `a-z`, `A-Z`, `0-9`, `.`, `-` and `_`.
    pub path: String,
}

/// The text is no SPIFFE id with a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form spiffe://trust-domain/path")]
pub struct SpiffeIdError(pub String);

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let parts = text
            .strip_prefix("spiffe://")
            .filter(|_| text.len() <= ID_BYTES_MAX)
            .and_then(|rest| rest.split_once('/'));
        match parts {
            Some((domain, path)) if is_trust_domain(domain) && path.split('/').all(is_segment) => {
                Ok(Self { trust_domain: domain.to_owned(), path: format!("/{path}") })
            }
            _ => Err(SpiffeIdError(text.chars().take(160).collect())),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

/// Whether a text is a trust domain: 1 to 255 of `a-z`, `0-9`, `.`, `-` and `_` (SPIFFE-ID section 2.1).
#[must_use]
pub fn is_trust_domain(text: &str) -> bool {
    (1..=TRUST_DOMAIN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// What the bus needs to know of a leaf certificate.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) id: SpiffeId,
    pub(super) not_after_unix_s: i64,
    pub(super) fingerprint: [u8; 32],
}

impl Leaf {
    /// Reads a certificate. Says nothing about whether it is to be trusted.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let malformed = |error: &dyn fmt::Display| CertificateError::Malformed(error.to_string());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| malformed(&error))?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed("bytes after its end".to_owned()));
        }
        let names = certificate.subject_alternative_name().map_err(|error| malformed(&error))?;
        let mut uris =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        let Some(uri) = uris.next() else {
            return Err(CertificateError::NoId);
        };
        match uris.count() {
            0 => Ok(Self {
                id: uri.parse()?,
                not_after_unix_s: certificate.validity().not_after.timestamp(),
                fingerprint: fingerprint(der),
            }),
            more => Err(CertificateError::ManyIds(more + 1)),
        }
    }
}

fn fingerprint(der: &CertificateDer<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::SpiffeId;

    #[test]
    fn ids_that_are() {
        for (text, domain, path) in [
            ("spiffe://ura.example/arc/civil-status", "ura.example", "/arc/civil-status"),
            ("spiffe://a/b", "a", "/b"),
            ("spiffe://a_b-1.c/X.y-Z_0/...", "a_b-1.c", "/X.y-Z_0/..."),
        ] {
            let id: SpiffeId = text.parse().expect(text);
            assert_eq!((id.trust_domain.as_str(), id.path.as_str()), (domain, path));
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn ids_that_are_not() {
        let long = format!("spiffe://a/{}", "b".repeat(2048));
        let wide = format!("spiffe://{}/b", "a".repeat(256));
        for text in [
            "",
            "spiffe://",
            "spiffe:///b",
            "spiffe://a",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://a/./b",
            "spiffe://a/../b",
            "spiffe://A/b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/%62",
            "spiffe://a/ë",
            "SPIFFE://a/b",
            "https://a/b",
            " spiffe://a/b",
            "spiffe://a/b ",
            "spiffe://a/b\0",
            &long,
            &wide,
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
