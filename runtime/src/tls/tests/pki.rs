//! A PKI for one test: a root, an issuing authority and identity folders.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::{clock::Clock, tls::Identity};

pub(super) const GATEWAY: &str = "spiffe://ura.example/ais/gateway";
pub(super) const PORTAL: &str = "spiffe://ura.example/ais/portal";

pub(super) struct Pki {
    dir: tempfile::TempDir,
    root_pem: String,
    issuing_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf says; the default is a good portal.
pub(super) struct Leaf<'a> {
    pub(super) uris: &'a [&'a str],
    pub(super) names: &'a [&'a str],
    pub(super) begins: Duration,
    pub(super) ends: Duration,
    pub(super) usage: &'a [ExtendedKeyUsagePurpose],
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Self {
            uris: &[PORTAL],
            names: &["127.0.0.1"],
            begins: Duration::hours(-1),
            ends: Duration::hours(1),
            usage: &[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        }
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(Clock::system().unix_us().div_euclid(1_000_000)).expect("a time")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Pki {
    pub(super) fn new() -> Self {
        Self::named("ours")
    }

    fn named(name: &str) -> Self {
        let (root, root_key) = (authority(&format!("root, {name}")), KeyPair::generate().expect("a key"));
        let (issuing, key) = (authority(&format!("issuing, {name}")), KeyPair::generate().expect("a key"));
        let root_pem = root.self_signed(&root_key).expect("a root").pem();
        let signed = issuing.signed_by(&key, &Issuer::from_params(&root, &root_key));
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            root_pem,
            issuing_pem: signed.expect("an authority").pem(),
            issuer: Issuer::new(issuing, key),
        }
    }

    /// An identity folder with this leaf, and the leaf's text.
    pub(super) fn folder(&self, name: &str, leaf: &Leaf<'_>) -> PathBuf {
        let names: Vec<String> = leaf.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        for uri in leaf.uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().expect("ASCII")));
        }
        params.not_before = now() + leaf.begins;
        params.not_after = now() + leaf.ends;
        params.extended_key_usages = leaf.usage.to_vec();
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a leaf");
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).expect("a new folder");
        for (file, text) in [
            ("cert.pem", cert.pem() + &self.issuing_pem),
            ("key.pem", key.serialize_pem()),
            ("ca.pem", self.root_pem.clone()),
        ] {
            std::fs::write(dir.join(file), text).expect("written");
        }
        dir
    }

    pub(super) fn identity(&self, name: &str, leaf: &Leaf<'_>) -> Identity {
        Identity::load(&self.folder(name, leaf)).expect("a good folder")
    }

    pub(super) fn gateway(&self) -> Identity {
        self.identity("gateway", &Leaf { uris: &[GATEWAY], ..Leaf::default() })
    }

    pub(super) fn portal(&self) -> Identity {
        self.identity("portal", &Leaf::default())
    }

    /// Who trusts our roots, but has a certificate of another authority; that one may call itself `ours`.
    pub(super) fn foreigner(&self, authority: &str) -> Identity {
        let other = Self::named(authority);
        let dir = other.folder("foreigner", &Leaf { uris: &[GATEWAY], ..Leaf::default() });
        std::fs::write(dir.join("ca.pem"), &self.root_pem).expect("written");
        Identity::load(&dir).expect("a good folder")
    }
}
