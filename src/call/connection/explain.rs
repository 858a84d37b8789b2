//! Failures of connections in plain words: what failed, and what would be right. Pure.

use std::{error::Error, io, path::Path};

use rustls::{AlertDescription, CertificateError};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_runtime::{process::chain, tls::TlsError};

use super::{ConnectError, Dialled};

/// Alerts by which a gateway says what it has against this side's certificate.
const ALERTS: [AlertDescription; 12] = [
    AlertDescription::UnknownCA,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::CertificateRequired,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
    AlertDescription::HandshakeFailure,
    AlertDescription::ProtocolVersion,
    AlertDescription::NoApplicationProtocol,
];

const ANOTHER_PORT: &str = "give the address of the bus's own port with --gateway";

fn told(what: String, advice: impl Into<String>) -> ConnectError {
    ConnectError { what, advice: advice.into() }
}

/// `--gateway` is not an address.
pub(super) fn address(gateway: &str) -> ConnectError {
    told(format!("`{gateway}` is not an address"), "write --gateway HOST:PORT, such as 127.0.0.1:7443")
}

/// The identity folder cannot be used.
pub(super) fn identity(dir: &Path, error: &TlsError) -> ConnectError {
    const ADVICE: &str =
        "--identity takes the folder that `ura certs issue` made: cert.pem, key.pem and ca.pem";
    let shown = dir.display();
    let what = match error {
        TlsError::File { .. } if !dir.exists() => format!("there is no folder {shown}"),
        TlsError::File { .. } if !dir.is_dir() => format!("{shown} is not a folder"),
        TlsError::File { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("{shown} is not an identity folder: there is no {name} in it")
        }
        TlsError::File { source, .. } => format!("{error}: {source}"),
        _ => chain(error),
    };
    told(what, ADVICE)
}

/// The other side speaks TLS but no HTTP/2.
pub(super) fn no_http2(dialled: &Dialled) -> ConnectError {
    told(format!("{} does not speak HTTP/2", dialled.gateway), ANOTHER_PORT)
}

/// No connection came about.
pub(super) fn tls(error: &TlsError, dialled: &Dialled) -> ConnectError {
    let gateway = &dialled.gateway;
    match error {
        TlsError::Address(_) => address(gateway),
        TlsError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => told(
            format!("nobody listens at {gateway}"),
            "start the gateway (`ura demo`, or `ura gateway --config FILE`), or give its address with --gateway",
        ),
        TlsError::Connect { source, .. } => told(
            format!("{gateway} cannot be reached: {source}"),
            "check host and port in --gateway, and the network",
        ),
        TlsError::Timeout { timeout, .. } => told(
            format!("{gateway} did not answer within {} s", timeout.as_secs()),
            "check host and port in --gateway, and whether a firewall is in between",
        ),
        TlsError::Peer { source, .. } => told(
            format!("what answers at {gateway} is no gateway of this bus: {source}"),
            "check --gateway, and that --identity is a folder of the same bus",
        ),
        TlsError::Handshake { source, .. } => handshake(source, dialled),
        other => told(chain(other), "check --identity and --gateway"),
    }
}

/// A connection that had come about failed.
pub(super) fn lost(error: &(dyn Error + 'static), dialled: &Dialled) -> ConnectError {
    match alert_in(error) {
        Some(alert) => refused_by(alert, dialled),
        None if dialled.not_after_unix_s <= dialled.now_unix_s => {
            refused_by(AlertDescription::CertificateExpired, dialled)
        }
        None => told(
            format!("the connection to {} was lost: {}", dialled.gateway, chain(error)),
            "again; if it is lost each time, ask the gateway's operator for its log: it may refuse the certificate",
        ),
    }
}

fn handshake(source: &io::Error, dialled: &Dialled) -> ConnectError {
    let gateway = &dialled.gateway;
    let ca = dialled.identity.join("ca.pem");
    let Some(error) = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return told(format!("{gateway} broke off the TLS handshake: {source}"), ANOTHER_PORT);
    };
    let wrong = |what: &str| format!("the certificate of {gateway} {what}");
    let renew = "the gateway's operator has to renew it; if it is valid, the clock of this machine is wrong";
    match error {
        rustls::Error::AlertReceived(alert) => refused_by(*alert, dialled),
        rustls::Error::InvalidMessage(_) => {
            told(format!("what listens at {gateway} does not speak TLS"), ANOTHER_PORT)
        }
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => told(
                wrong(&format!("is not of the authority in {}", ca.display())),
                "take an identity folder of the bus that you call: this one is of another, or something else listens there",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                told(wrong("has expired"), renew)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                told(wrong("is not valid yet"), renew)
            }
            CertificateError::NotValidForName => {
                told(wrong("names other hosts"), "call it by a name that it has")
            }
            CertificateError::NotValidForNameContext { presented, .. } => told(
                wrong(&format!("names other hosts: {}", presented.join(", "))),
                "call it by one of these names with --gateway, or have it issued for this one (`ura certs issue --name`)",
            ),
            other => told(wrong(&format!("is refused: {other}")), "ask the gateway's operator"),
        },
        other => told(format!("TLS with {gateway} failed: {other}"), ANOTHER_PORT),
    }
}

/// The gateway said by an alert what it has against this side.
fn refused_by(alert: AlertDescription, dialled: &Dialled) -> ConnectError {
    let gateway = &dialled.gateway;
    let cert = dialled.identity.join("cert.pem");
    let refuses = |why: &str| format!("{gateway} refuses the certificate {}: {why}", cert.display());
    let ended = OffsetDateTime::from_unix_timestamp(dialled.not_after_unix_s).ok();
    let ended = ended.and_then(|end| end.format(&Rfc3339).ok()).unwrap_or_default();
    const ISSUE: &str = "have a new one issued (`ura certs issue`)";
    match alert {
        AlertDescription::CertificateExpired if dialled.not_after_unix_s > dialled.now_unix_s => {
            told(refuses("it has expired, by the gateway's clock"), "compare the clocks of both machines")
        }
        AlertDescription::CertificateExpired => told(refuses(&format!("it ended at {ended}")), ISSUE),
        AlertDescription::CertificateRevoked => told(refuses("it is revoked"), ISSUE),
        AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::DecryptError => {
            told(
                refuses("it is not of an authority that the gateway trusts"),
                "take an identity folder of the bus that you call",
            )
        }
        AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => told(
            refuses("it does not name a system of this bus, or may not be used by clients"),
            "see what it says (`ura certs show`), and have one issued for this system",
        ),
        AlertDescription::NoApplicationProtocol => no_http2(dialled),
        other => told(format!("{gateway} refuses the TLS connection ({other:?})"), ANOTHER_PORT),
    }
}

/// The alert in an error or its causes. HTTP/2 keeps of its causes only the text.
fn alert_in(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref::<rustls::Error>() {
            return Some(*alert);
        }
        let text = error.to_string();
        let known =
            |alert: &&AlertDescription| text.ends_with(&rustls::Error::AlertReceived(**alert).to_string());
        if let Some(alert) = ALERTS.iter().find(known) {
            return Some(*alert);
        }
        at = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests;
