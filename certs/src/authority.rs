//! The root, the issuing authority below it, and what it issues.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::{
    CertsError, ISSUING_LIFETIME, LEAF_LIFETIME_MAX, ROOT_LIFETIME,
    folder::{self, NewFile, PRIVATE, PUBLIC},
    names,
};

const ROOT: &str = "root.pem";
const ROOT_KEY: &str = "root.key.pem";
const ISSUING: &str = "issuing.pem";
const ISSUING_KEY: &str = "issuing.key.pem";

/// How far before now the authorities begin, for clocks that are late.
const BACKDATED: Duration = Duration::hours(1);
/// Random bytes of a serial number (RFC 5280 section 4.1.2.2 allows 20).
const SERIAL_BYTES: usize = 16;
/// Longest organisation in a subject, in characters (RFC 5280 appendix A, ub-organization-name).
const ORGANISATION_CHARS_MAX: usize = 64;

/// An issuing authority, able to sign. The root's key is needed only to make it, and may be taken out
/// of the folder.
pub struct Authority {
    trust_domain: String,
    root_pem: String,
    issuing_pem: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: OffsetDateTime,
}

/// What a system's certificate is to say.
#[derive(Clone, Debug)]
pub struct Issue {
    /// `<member>/<system>`, each 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter.
    pub system: String,
    /// DNS names or IP addresses, for systems that ordinary clients dial; at most [`crate::NAMES_MAX`].
    pub names: Vec<String>,
    /// Begin of validity; a little in the past suits peers whose clocks are late.
    pub not_before: OffsetDateTime,
    /// Length of validity; more than nothing, at most [`LEAF_LIFETIME_MAX`].
    pub lifetime: Duration,
    /// What the certificate may be used for.
    pub usage: Usage,
}

/// Which side of TLS a certificate may stand for (extended key usage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// Client and server: what every system of the bus needs, since roles switch on a connection.
    #[default]
    Both,
    /// Client only.
    Client,
    /// Server only.
    Server,
}

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The folder: `cert.pem` (leaf, then issuing authority), `key.pem`, `ca.pem` (the root).
    pub dir: PathBuf,
    /// `spiffe://<trust domain>/<member>/<system>`.
    pub spiffe_id: String,
    /// Serial number, hexadecimal with colons.
    pub serial: String,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

impl Authority {
    /// Makes a root and an issuing authority in `dir`, which may exist but hold neither.
    ///
    /// # Errors
    /// [`CertsError::TrustDomain`], [`CertsError::Exists`], [`CertsError::File`]; then nothing was left
    /// behind.
    pub fn init(dir: &Path, trust_domain: &str, now: OffsetDateTime) -> Result<Self, CertsError> {
        names::check_trust_domain(trust_domain)?;
        let begin = now - BACKDATED;
        let root_key = new_key()?;
        let root = authority_params(trust_domain, "Ura root authority", 1, begin, ROOT_LIFETIME)?;
        let root_pem = root.self_signed(&root_key)?.pem();
        let issuing_key = new_key()?;
        let issuing = authority_params(trust_domain, "Ura issuing authority", 0, begin, ISSUING_LIFETIME)?;
        let issuing_pem = issuing.signed_by(&issuing_key, &Issuer::from_params(&root, &root_key))?.pem();
        folder::write(
            dir,
            &[
                NewFile { name: ROOT_KEY, mode: PRIVATE, content: &root_key.serialize_pem() },
                NewFile { name: ISSUING_KEY, mode: PRIVATE, content: &issuing_key.serialize_pem() },
                NewFile { name: ROOT, mode: PUBLIC, content: &root_pem },
                NewFile { name: ISSUING, mode: PUBLIC, content: &issuing_pem },
            ],
        )?;
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            root_pem,
            issuing_pem,
            not_after: issuing.not_after,
            issuer: Issuer::new(issuing, issuing_key),
        })
    }

    /// Opens a folder that [`Authority::init`] made. Does not need the root's key.
    ///
    /// # Errors
    /// [`CertsError::File`], or [`CertsError::Content`] where a file is not what it should be.
    pub fn open(dir: &Path) -> Result<Self, CertsError> {
        let (root, issuing, key_path) = (dir.join(ROOT), dir.join(ISSUING), dir.join(ISSUING_KEY));
        let root_pem = folder::read(&root)?;
        folder::certificates(&root, &root_pem)?;
        let issuing_pem = folder::read(&issuing)?;
        let content = |path: &Path, reason: String| CertsError::Content { path: path.to_owned(), reason };
        let key = KeyPair::from_pem(&folder::read(&key_path)?)
            .map_err(|error| content(&key_path, format!("not a private key: {error}")))?;
        let chain = folder::certificates(&issuing, &issuing_pem)?;
        let der = chain.first().ok_or_else(|| content(&issuing, "no certificate in it".to_owned()))?;
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| content(&issuing, format!("not a certificate: {error}")))?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(content(&key_path, format!("is not the key of {}", issuing.display())));
        }
        let trust_domain = authority_domain(&certificate)
            .ok_or_else(|| content(&issuing, "no authority of a SPIFFE trust domain".to_owned()))?;
        let not_after = OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp())
            .map_err(|error| content(&issuing, format!("its end cannot be read: {error}")))?;
        Ok(Self {
            trust_domain,
            root_pem,
            issuer: Issuer::from_ca_cert_der(der, key)?,
            issuing_pem,
            not_after,
        })
    }

    /// The trust domain of every certificate that it issues.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Makes a key and a certificate in `out_dir`, which may exist but hold no identity.
    ///
    /// # Errors
    /// A name or lifetime that is not allowed, or [`CertsError::Exists`] or [`CertsError::File`]; then
    /// nothing was left behind.
    pub fn issue(&self, request: &Issue, out_dir: &Path) -> Result<Issued, CertsError> {
        let (member, system) = names::split_system(&request.system)?;
        if !request.lifetime.is_positive() || request.lifetime > LEAF_LIFETIME_MAX {
            return Err(CertsError::Lifetime(request.lifetime));
        }
        let spiffe_id = format!("spiffe://{}/{member}/{system}", self.trust_domain);
        let serial = serial();
        let mut params = params(member, system, request.not_before, request.lifetime)?;
        if params.not_after > self.not_after {
            return Err(CertsError::BeyondAuthority { leaf: params.not_after, authority: self.not_after });
        }
        params.serial_number = Some(serial.clone());
        params.subject_alt_names = names::alternative_names(&request.names)?;
        params.subject_alt_names.insert(0, SanType::URI(spiffe_id.as_str().try_into()?));
        // Explicit, because only then the subject's key identifier is written.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match request.usage {
            Usage::Both => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        let key = new_key()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        folder::write(
            out_dir,
            &[
                NewFile { name: "key.pem", mode: PRIVATE, content: &key.serialize_pem() },
                NewFile { name: "ca.pem", mode: PUBLIC, content: &self.root_pem },
                NewFile { name: "cert.pem", mode: PUBLIC, content: &(leaf.pem() + &self.issuing_pem) },
            ],
        )?;
        Ok(Issued {
            dir: out_dir.to_owned(),
            spiffe_id,
            serial: serial.to_string(),
            not_after: params.not_after,
        })
    }
}

fn new_key() -> Result<KeyPair, CertsError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn authority_params(
    trust_domain: &str,
    name: &str,
    path_length: u8,
    not_before: OffsetDateTime,
    lifetime: Duration,
) -> Result<CertificateParams, CertsError> {
    let organisation: String = trust_domain.chars().take(ORGANISATION_CHARS_MAX).collect();
    let mut params = params(&organisation, name, not_before, lifetime)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // An authority's SPIFFE id is the bare trust domain (X.509-SVID section 4.1 and SPIFFE-ID 2.2).
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
    Ok(params)
}

fn params(
    organisation: &str,
    name: &str,
    not_before: OffsetDateTime,
    lifetime: Duration,
) -> Result<CertificateParams, CertsError> {
    // X.509 knows whole seconds only.
    let not_before = not_before.replace_nanosecond(0).unwrap_or(not_before);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organisation);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = not_before;
    params.not_after = not_before.checked_add(lifetime).ok_or(CertsError::Lifetime(lifetime))?;
    params.serial_number = Some(serial());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A random, positive serial number of full length.
fn serial() -> SerialNumber {
    let mut bytes: [u8; SERIAL_BYTES] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// The trust domain of an authority's certificate.
fn authority_domain(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let domain = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    })?;
    names::check_trust_domain(domain).ok()?;
    certificate.is_ca().then(|| domain.to_owned())
}

#[cfg(test)]
mod tests;
