//! What is issued says what it should, and nothing is overwritten or left half made.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustls_pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime, macros::datetime};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer};

use super::{Authority, Issue, Usage};
use crate::CertsError;

const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

fn request(system: &str) -> Issue {
    Issue {
        system: system.to_owned(),
        names: Vec::new(),
        not_before: NOW,
        lifetime: Duration::days(90),
        usage: Usage::Both,
    }
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).expect("a file").collect::<Result<_, _>>().expect("PEM")
}

fn parsed<'a>(der: &'a CertificateDer<'static>) -> X509Certificate<'a> {
    X509Certificate::from_der(der).expect("a certificate").1
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Subject and authority key identifiers.
fn key_ids(certificate: &X509Certificate<'_>) -> (Vec<u8>, Vec<u8>) {
    let (mut subject, mut authority) = (Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => subject = id.0.to_vec(),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority = id.key_identifier.as_ref().expect("an id").0.to_vec();
            }
            _ => {}
        }
    }
    (subject, authority)
}

#[test]
fn an_authority_is_made_and_opened() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca = dir.path().join("ca");
    let made = Authority::init(&ca, "ura.example", NOW).expect("made");
    assert_eq!(made.trust_domain(), "ura.example");
    assert_eq!(entries(&ca), ["issuing.key.pem", "issuing.pem", "root.key.pem", "root.pem"]);
    assert_eq!(entries(dir.path()), ["ca"]);
    assert_eq!((mode(&ca.join("root.key.pem")), mode(&ca.join("issuing.key.pem"))), (0o600, 0o600));
    let (root, issuing) = (chain(&ca.join("root.pem")), chain(&ca.join("issuing.pem")));
    let (root, issuing) = (parsed(&root[0]), parsed(&issuing[0]));
    for (certificate, below, years) in [(&root, 1, 20), (&issuing, 0, 5)] {
        let constraints = certificate.basic_constraints().expect("parsed").expect("there");
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(below));
        let usage = certificate.key_usage().expect("parsed").expect("there");
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        assert_eq!(
            certificate.validity().not_before.timestamp(),
            (NOW - Duration::hours(1)).unix_timestamp()
        );
        let end = OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp());
        assert_eq!(end.expect("a time").date(), NOW.date().replace_year(NOW.year() + years).expect("a date"));
        certificate.verify_signature(Some(root.public_key())).expect("signed by the root");
    }
    assert_eq!(key_ids(&issuing).1, key_ids(&root).0);
    let opened = Authority::open(&ca).expect("opened");
    assert_eq!((opened.trust_domain(), opened.not_after), ("ura.example", made.not_after));
}

#[test]
fn an_authority_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    Authority::init(dir.path(), "ura.example", NOW).expect("an empty folder will do");
    let before = fs::read(dir.path().join("root.pem")).expect("read");
    let error = Authority::init(dir.path(), "ura.example", NOW).err().expect("refused");
    assert!(error.to_string().contains("root.key.pem exists already"), "{error}");
    fs::remove_file(dir.path().join("root.key.pem")).expect("removed");
    let error = Authority::init(dir.path(), "ura.example", NOW).err().expect("refused");
    assert!(error.to_string().contains("issuing.key.pem exists already"), "{error}");
    assert_eq!(fs::read(dir.path().join("root.pem")).expect("read"), before);
    assert_eq!(entries(dir.path()).len(), 3);
}

#[test]
fn a_folder_that_is_no_authority_is_not_opened() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    assert!(matches!(Authority::open(&one), Err(CertsError::File { .. })));
    let authority = Authority::init(&one, "ura.example", NOW).expect("made");
    Authority::init(&other, "ura.example", NOW).expect("made");
    fs::copy(other.join("issuing.key.pem"), one.join("issuing.key.pem")).expect("copied");
    let error = Authority::open(&one).err().expect("refused");
    assert!(error.to_string().contains("is not the key of"), "{error}");
    // A system's certificate and key do not make an authority.
    let leaf = dir.path().join("leaf");
    authority.issue(&request("arc/civil-status"), &leaf).expect("issued");
    fs::copy(leaf.join("cert.pem"), other.join("issuing.pem")).expect("copied");
    fs::copy(leaf.join("key.pem"), other.join("issuing.key.pem")).expect("copied");
    let error = Authority::open(&other).err().expect("refused");
    assert!(error.to_string().contains("no authority"), "{error}");
}

#[test]
fn a_certificate_says_what_it_should() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca = dir.path().join("ca");
    Authority::init(&ca, "ura.example", NOW).expect("made");
    fs::remove_file(ca.join("root.key.pem")).expect("the root's key is not needed to issue");
    let authority = Authority::open(&ca).expect("opened");
    let out = dir.path().join("gateway");
    let names = vec!["gateway.example".to_owned(), "127.0.0.1".to_owned()];
    let issued = authority.issue(&Issue { names, ..request("ais/gateway") }, &out).expect("issued");
    assert_eq!(issued.spiffe_id, "spiffe://ura.example/ais/gateway");
    assert_eq!(issued.not_after, NOW + Duration::days(90));
    assert_eq!(entries(&out), ["ca.pem", "cert.pem", "key.pem"]);
    assert_eq!(mode(&out.join("key.pem")), 0o600);
    assert_eq!(chain(&out.join("ca.pem")), chain(&ca.join("root.pem")));
    let certificates = chain(&out.join("cert.pem"));
    assert_eq!(certificates.get(1), chain(&ca.join("issuing.pem")).first());
    let (leaf, issuing) = (parsed(&certificates[0]), parsed(&certificates[1]));
    leaf.verify_signature(Some(issuing.public_key())).expect("signed by the issuing authority");
    assert_eq!((leaf.issuer(), key_ids(&leaf).1), (issuing.subject(), key_ids(&issuing).0));
    assert!(!key_ids(&leaf).0.is_empty() && !leaf.is_ca());
    assert_eq!(leaf.subject().to_string(), "O=ais, CN=gateway");
    let alternative = leaf.subject_alternative_name().expect("parsed").expect("there");
    let names: Vec<_> = alternative.value.general_names.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].contains("spiffe://ura.example/ais/gateway"), "{names:?}");
    let usage = leaf.key_usage().expect("parsed").expect("there");
    assert!(usage.critical && usage.value.flags == 1, "digital signature and nothing else");
    assert_eq!(leaf.raw_serial_as_string(), issued.serial);
    let other = authority.issue(&request("ais/gateway"), &dir.path().join("other")).expect("issued");
    assert_ne!(other.serial, issued.serial);
}

#[test]
fn usage_is_what_was_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::init(&dir.path().join("ca"), "ura.example", NOW).expect("made");
    for (usage, client, server) in
        [(Usage::Both, true, true), (Usage::Client, true, false), (Usage::Server, false, true)]
    {
        let out = dir.path().join(format!("{usage:?}"));
        authority.issue(&Issue { usage, ..request("a/b") }, &out).expect("issued");
        let certificates = chain(&out.join("cert.pem"));
        let leaf = parsed(&certificates[0]);
        let found = leaf.extended_key_usage().expect("parsed").expect("there").value;
        assert_eq!((found.client_auth, found.server_auth, found.any), (client, server, false), "{usage:?}");
    }
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::init(&dir.path().join("ca"), "ura.example", NOW).expect("made");
    let out = dir.path().join("out");
    let lifetime = |lifetime| Issue { lifetime, ..request("a/b") };
    let names = |name: &str| Issue { names: vec![name.to_owned()], ..request("a/b") };
    for (bad, said) in [
        (request("arc"), "is not a system"),
        (request("arc/../../etc"), "is not a system"),
        (names("*.example"), "neither a DNS name"),
        (lifetime(Duration::ZERO), "not allowed"),
        (lifetime(Duration::days(-1)), "not allowed"),
        (lifetime(Duration::days(399)), "not allowed"),
        (Issue { not_before: NOW + Duration::days(5 * 365), ..request("a/b") }, "issuing authority ends"),
    ] {
        let error = authority.issue(&bad, &out).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(entries(dir.path()), ["ca"]);
    }
    assert!(Authority::init(&dir.path().join("other"), "Ura", NOW).is_err());
    assert_eq!(entries(dir.path()), ["ca"]);
}

#[test]
fn an_identity_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::init(&dir.path().join("ca"), "ura.example", NOW).expect("made");
    let out = dir.path().join("out");
    fs::create_dir(&out).expect("made");
    fs::write(out.join("adapter.toml"), "mine").expect("written");
    authority.issue(&request("a/b"), &out).expect("other files do not matter");
    let before = fs::read(out.join("key.pem")).expect("read");
    let error = authority.issue(&request("a/b"), &out).expect_err("refused");
    assert!(error.to_string().contains("key.pem exists already"), "{error}");
    assert_eq!(fs::read(out.join("key.pem")).expect("read"), before);
    fs::remove_file(out.join("key.pem")).expect("removed");
    authority.issue(&request("a/b"), &out).expect_err("ca.pem and cert.pem are still there");
    assert_eq!(entries(&out), ["adapter.toml", "ca.pem", "cert.pem"]);
}
