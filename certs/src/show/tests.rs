//! Descriptions name what people look for.

use std::{fs, path::Path};

use time::{Duration, OffsetDateTime, macros::datetime};

use super::{Validity, show_at};
use crate::{Authority, CertsError, Issue, Usage};

const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

fn issued(dir: &Path) -> std::path::PathBuf {
    let authority = Authority::init(&dir.join("ca"), "ura.example", NOW).expect("made");
    let request = Issue {
        system: "ais/gateway".to_owned(),
        names: ["gateway.example", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        not_before: NOW,
        lifetime: Duration::days(90),
        usage: Usage::Both,
    };
    let out = dir.join("gateway");
    authority.issue(&request, &out).expect("issued");
    out
}

#[test]
fn an_identity_folder_in_words() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = issued(dir.path());
    let description = show_at(&out, (NOW + Duration::days(10)).unix_timestamp()).expect("described");
    let text = description.to_string();
    for expected in [
        "cert.pem\n  1. O=ais, CN=gateway\n",
        "SPIFFE id  spiffe://ura.example/ais/gateway\n",
        "issuer     O=ura.example, CN=Ura issuing authority\n",
        "valid      2026-11-22 10:00 UTC to 2027-02-20 10:00 UTC (80 days left)\n",
        "key        ECDSA, 256 bits\n",
        "usage      digital signature, TLS client, TLS server\n",
        "names      gateway.example, 127.0.0.1, ::1\n",
        "  2. O=ura.example, CN=Ura issuing authority\n",
        "authority  yes, at most 0 others below it\n",
        "ca.pem\n  1. O=ura.example, CN=Ura root authority\n",
        "usage      key cert sign, crl sign\n",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing in:\n{text}");
    }
    assert_eq!(description.files.len(), 2);
    assert_eq!(description.files[0].certificates.len(), 2);
    assert!(description.files[0].certificates[0].serial.len() > 40);
    assert_eq!(show_at(&dir.path().join("ca"), NOW.unix_timestamp()).expect("described").files.len(), 2);
    assert_eq!(show_at(&out.join("ca.pem"), NOW.unix_timestamp()).expect("described").files.len(), 1);
}

#[test]
fn validity_as_of_now() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cert = issued(dir.path()).join("cert.pem");
    for (days, seconds, state, left, said) in [
        (0, -1, Validity::NotYet, 90, "not yet valid"),
        (0, 0, Validity::Now, 90, "90 days left"),
        (89, 1, Validity::Now, 0, "0 days left"),
        (90, 0, Validity::Now, 0, "0 days left"),
        (90, 1, Validity::Over, -1, "expired 0 days ago"),
        (92, 1, Validity::Over, -3, "expired 2 days ago"),
    ] {
        let now = NOW + Duration::days(days) + Duration::seconds(seconds);
        let leaf = show_at(&cert, now.unix_timestamp()).expect("described").files[0].certificates[0].clone();
        assert_eq!((leaf.state, leaf.days_left), (state, left), "{now}");
        assert!(leaf.to_string().contains(said), "{leaf}");
    }
}

#[test]
fn what_cannot_be_described() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = issued(dir.path());
    let error = |path: &Path| show_at(path, 0).expect_err("refused");
    assert!(matches!(error(&dir.path().join("nothing")), CertsError::File { .. }));
    assert!(error(dir.path()).to_string().contains("holds none of cert.pem"));
    assert!(error(&out.join("key.pem")).to_string().contains("no certificate in it"));
    let broken = dir.path().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
    assert!(error(&broken).to_string().contains("certificate 1"));
}
