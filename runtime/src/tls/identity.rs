//! An identity folder: `cert.pem`, `key.pem` and `ca.pem`, and the TLS settings made of them.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, danger::ClientCertVerifier as _},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

use super::{
    SpiffeId, TlsError, Verify,
    spiffe::Leaf,
    verify::{ClientVerifier, ServerVerifier},
};

/// Largest file of an identity folder, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Who this process is: its certificate chain and key, and the roots that it trusts. Cheap to clone.
///
/// It does not check that its own certificate is still valid: an expired one is refused by the peer.
#[derive(Clone)]
pub struct Identity {
    leaf: Leaf,
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// Reads a folder: `cert.pem` (leaf, then issuing authority), `key.pem` (PKCS#8) and `ca.pem`
    /// (trusted roots).
    ///
    /// # Errors
    /// A file that is missing, too large or not PEM; a key that does not belong to the certificate;
    /// a certificate without exactly one SPIFFE id. Each names the file.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let (cert_path, key_path, ca_path) = (dir.join("cert.pem"), dir.join("key.pem"), dir.join("ca.pem"));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&cert_path)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|error| content(&key_path, format!("not a private key in PEM: {error}")))?;
        let leaf = match chain.first() {
            Some(leaf) => Leaf::read(leaf).map_err(|error| content(&cert_path, error.to_string()))?,
            None => return Err(content(&cert_path, "no certificate in it".to_owned())),
        };
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            content(&key_path, format!("does not go with {}: {error}", cert_path.display()))
        })?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&ca_path)? {
            roots.add(root).map_err(|error| content(&ca_path, format!("cannot be trusted: {error}")))?;
        }
        Ok(Self { leaf, key: Arc::new(key), roots: Arc::new(roots), provider })
    }

    /// The own name.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// End of the own certificate, seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn not_after_unix_s(&self) -> i64 {
        self.leaf.not_after_unix_s
    }

    /// SHA-256 of the own certificate in DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.leaf.fingerprint
    }

    /// Checks the own certificate as a peer with the same `ca.pem` would at that time, in seconds since 1970-01-01 UTC:
    /// chain, validity, usage and trust domain.
    ///
    /// # Errors
    /// [`TlsError::Own`] says why it would be refused.
    pub fn check_chain(&self, unix_s: i64) -> Result<(), TlsError> {
        let verifier = ClientVerifier::new(&self.roots, &self.provider, &self.leaf.id.trust_domain)?;
        let (own, above) = self.key.cert.split_first().expect("loading demanded a certificate");
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(unix_s).unwrap_or(0)));
        verifier.verify_client_cert(own, above, at).map(drop).map_err(TlsError::Own)
    }

    /// Settings for a server that requires a client certificate of `ca.pem`; `alpn` in order of
    /// preference. Each call makes settings of their own: nothing is resumed across them.
    ///
    /// # Errors
    /// [`TlsError::Settings`] where rustls refuses the roots.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier = ClientVerifier::new(&self.roots, &self.provider, &self.leaf.id.trust_domain)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // Resumption would skip the check of the client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// Settings for a client; `alpn` in order of preference.
    ///
    /// # Errors
    /// [`TlsError::Settings`] where rustls refuses the roots.
    pub fn client_config(&self, alpn: &[&[u8]], verify: Verify) -> Result<Arc<ClientConfig>, TlsError> {
        let trust_domain = &self.leaf.id.trust_domain;
        let verifier = ServerVerifier::new(&self.roots, &self.provider, trust_domain, verify)?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, format!("not certificates in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(content(path, "no certificate in it".to_owned()));
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(content(path, format!("larger than {FILE_BYTES_MAX} bytes")))
    }
}

fn content(path: &Path, reason: String) -> TlsError {
    TlsError::Content { path: PathBuf::from(path), reason }
}
