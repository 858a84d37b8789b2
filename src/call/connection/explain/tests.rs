//! Each failure says what failed and what would be right.

use std::{path::PathBuf, time::Duration};

use rustls::pki_types::ServerName;

use super::*;

fn dialled(not_after_unix_s: i64) -> Dialled {
    Dialled {
        gateway: "gateway.example:7443".to_owned(),
        identity: PathBuf::from("portal"),
        not_after_unix_s,
        now_unix_s: 1_790_000_000,
    }
}

fn of(error: rustls::Error) -> TlsError {
    TlsError::Handshake {
        address: "gateway.example:7443".to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

fn certificate(error: CertificateError) -> TlsError {
    of(rustls::Error::InvalidCertificate(error))
}

fn connect(kind: io::ErrorKind) -> TlsError {
    TlsError::Connect { address: "gateway.example:7443".to_owned(), source: kind.into() }
}

#[test]
fn connections_that_do_not_come_about() {
    let other_name = CertificateError::NotValidForNameContext {
        expected: ServerName::try_from("gateway.example").expect("a name"),
        presented: vec!["localhost".to_owned()],
    };
    for (error, what, advice) in [
        (connect(io::ErrorKind::ConnectionRefused), "nobody listens at gateway.example:7443", "ura demo"),
        (connect(io::ErrorKind::HostUnreachable), "cannot be reached", "check host"),
        (
            TlsError::Timeout { address: String::new(), timeout: Duration::from_secs(10) },
            "did not answer within 10 s",
            "firewall",
        ),
        (TlsError::Address("x".to_owned()), "is not an address", "HOST:PORT"),
        (certificate(CertificateError::UnknownIssuer), "is not of the authority in portal/ca.pem", "another"),
        (certificate(CertificateError::Expired), "has expired", "renew"),
        (certificate(CertificateError::NotValidYet), "not valid yet", "clock"),
        (certificate(other_name), "names other hosts: localhost", "--name"),
        (
            of(rustls::Error::AlertReceived(AlertDescription::UnknownCA)),
            "refuses the certificate portal/cert.pem",
            "bus",
        ),
        (
            of(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)),
            "does not speak HTTP/2",
            "port",
        ),
        (
            of(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)),
            "does not speak TLS",
            "--gateway",
        ),
        (
            TlsError::Handshake { address: String::new(), source: io::ErrorKind::UnexpectedEof.into() },
            "broke off the TLS handshake",
            "port",
        ),
    ] {
        let told = tls(&error, &dialled(1_800_000_000));
        assert!(told.what.contains(what) && told.advice.contains(advice), "{error:?}: {told}");
    }
}

#[test]
fn connections_that_are_lost() {
    // As HTTP/2 hands it on: the text of the TLS error, and nothing else of it.
    let as_text = |alert| io::Error::other(rustls::Error::AlertReceived(alert).to_string());
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    for (error, not_after_unix_s, what) in [
        (as_text(AlertDescription::UnknownCA), 1_800_000_000, "not of an authority that the gateway trusts"),
        (as_text(AlertDescription::CertificateExpired), 1_700_000_000, "it ended at 2023-11-14T22:13:20Z"),
        (as_text(AlertDescription::CertificateExpired), 1_800_000_000, "by the gateway's clock"),
        (as_text(AlertDescription::CertificateRevoked), 1_800_000_000, "revoked"),
        (as_text(AlertDescription::CertificateUnknown), 1_800_000_000, "does not name a system"),
        (reset(), 1_800_000_000, "the connection to gateway.example:7443 was lost"),
        (reset(), 1_700_000_000, "it ended at"),
    ] {
        let told = lost(&error, &dialled(not_after_unix_s));
        assert!(told.what.contains(what), "{error:?}: {told}");
    }
    let typed = io::Error::other(rustls::Error::AlertReceived(AlertDescription::UnknownCA));
    assert!(lost(&typed, &dialled(1_800_000_000)).what.contains("trusts"));
}

#[test]
fn identity_folders() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("cert.pem");
    std::fs::write(&file, "nothing").expect("temporary folder");
    let load = |path: &Path| ura_runtime::tls::Identity::load(path).map(|_| ()).expect_err("no identity");
    for (path, what) in [
        (PathBuf::from("/nowhere/portal"), "there is no folder /nowhere/portal"),
        (file, "is not a folder"),
        (dir.path().to_owned(), "cert.pem"),
    ] {
        let told = identity(&path, &load(&path));
        assert!(told.what.contains(what) && told.advice.contains("ura certs issue"), "{told}");
    }
    std::fs::remove_file(dir.path().join("cert.pem")).expect("temporary folder");
    let told = identity(dir.path(), &load(dir.path()));
    assert!(told.what.contains("there is no cert.pem in it"), "{told}");
}
