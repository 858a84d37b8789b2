//! What may stand in a certificate.

use std::net::IpAddr;

use rcgen::SanType;
use ura_runtime::tls::is_trust_domain;

use crate::{CertsError, NAMES_MAX};

/// Longest DNS name, in bytes (RFC 1035 section 2.3.4).
const DNS_NAME_BYTES_MAX: usize = 253;
/// Longest part of a system's name and of a DNS name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Refuses what is no trust domain (SPIFFE-ID section 2.1).
pub(crate) fn check_trust_domain(text: &str) -> Result<(), CertsError> {
    if is_trust_domain(text) { Ok(()) } else { Err(CertsError::TrustDomain(shortened(text))) }
}

/// Member and system of `<member>/<system>`.
pub(crate) fn split_system(text: &str) -> Result<(&str, &str), CertsError> {
    match text.split_once('/') {
        Some((member, system)) if is_part(member) && is_part(system) => Ok((member, system)),
        _ => Err(CertsError::System(shortened(text))),
    }
}

/// DNS names and IP addresses as subject alternative names, each once.
pub(crate) fn alternative_names(names: &[String]) -> Result<Vec<SanType>, CertsError> {
    if names.len() > NAMES_MAX {
        return Err(CertsError::TooManyNames(names.len()));
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let refused = || CertsError::Name(shortened(name));
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if is_dns_name(name) => {
                SanType::DnsName(name.to_ascii_lowercase().try_into().map_err(|_| refused())?)
            }
            Err(_) => return Err(refused()),
        };
        if !found.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

fn is_part(text: &str) -> bool {
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whole names only: a wildcard would let one gateway speak for another. A last part of digits would be
/// read as an address (RFC 1123 section 2.1).
fn is_dns_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= DNS_NAME_BYTES_MAX
        && text.split('.').all(is_label)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_label(text: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::{alternative_names, check_trust_domain, split_system};

    #[test]
    fn systems() {
        let longest = format!("{0}/{0}", "a".repeat(63));
        for good in ["arc/civil-status", "a/b", "a1-/z9-", &longest] {
            assert!(split_system(good).is_ok(), "{good}");
        }
        let too_long = format!("a/{}", "a".repeat(64));
        for bad in [
            "", "a", "/", "a/", "/b", "a/b/c", "a//b", "1a/b", "-a/b", "a/1", "A/b", "a_b/c", "ë/b", "a/b ",
            " a/b", "a/b\n", "../b", "a/..", &too_long,
        ] {
            assert!(split_system(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn trust_domains() {
        for good in ["ura.example", "a", "a-b_c.1"] {
            assert!(check_trust_domain(good).is_ok(), "{good}");
        }
        for bad in ["", "Ura.example", "a/b", "a:1", "spiffe://a", "ë", "a b", &"a".repeat(256)] {
            assert!(check_trust_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        let names =
            |names: &[&str]| alternative_names(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let good = names(&["gateway.example", "127.0.0.1", "::1", "localhost", "GATEWAY.example", "a-1.2b"]);
        assert_eq!(good.expect("all are names").len(), 5, "the same name is taken once");
        let long = format!("{}.example", "a".repeat(64));
        let longer = format!("{}example", "a.".repeat(124));
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "*.example",
            "a b",
            "ë.example",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "[::1]",
            "a:443",
            "a/b",
            "a_b",
            &long,
            &longer,
        ] {
            assert!(names(&[bad]).is_err(), "{bad}");
        }
        assert!(names(&["a"; 101]).is_err());
    }
}
