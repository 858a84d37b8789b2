//! A PKI for one test: one authority, identity folders in a directory that goes with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use tempfile::TempDir;
use ura_runtime::tls::Identity;

pub const GATEWAY_ID: &str = "spiffe://td.test/ais/gateway";

pub struct Pki {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            ca: CertifiedIssuer::self_signed(params, key).expect("an authority"),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes (or writes anew) the identity folder of a system.
    pub fn issue(&self, system: &str) -> PathBuf {
        let dir = self.dir.path().join(system.replace('/', "-"));
        fs::create_dir_all(&dir).expect("a folder");
        let id = format!("spiffe://td.test/{system}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        let chain = format!("{}{}", certificate.pem(), self.ca.pem());
        fs::write(dir.join("cert.pem"), chain).expect("written");
        fs::write(dir.join("key.pem"), key.serialize_pem()).expect("written");
        fs::write(dir.join("ca.pem"), self.ca.pem()).expect("written");
        dir
    }

    pub fn identity(&self, system: &str) -> Identity {
        Identity::load(&self.issue(system)).expect("an identity")
    }
}
