//! Certificates in words.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use ura_runtime::clock::Clock;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{ExtendedKeyUsage, GeneralName},
    prelude::FromDer,
    public_key::PublicKey,
};

use crate::{CertsError, folder};

/// Files that a folder of ours may have, in the order in which they are shown.
const FILES: [&str; 4] = ["cert.pem", "ca.pem", "root.pem", "issuing.pem"];
const MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
const SECONDS_PER_DAY: i64 = 86_400;

/// What one or more files of certificates say. Displays readably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The files, in a fixed order.
    pub files: Vec<ShownFile>,
}

/// One file of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownFile {
    /// The file.
    pub path: PathBuf,
    /// Its certificates, in file order; at least one.
    pub certificates: Vec<CertificateView>,
}

/// What a certificate says. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateView {
    /// Distinguished name of the owner.
    pub subject: String,
    /// URI names: one SPIFFE id, where all is well.
    pub uris: Vec<String>,
    /// Distinguished name of who signed it.
    pub issuer: String,
    /// Serial number, hexadecimal with colons.
    pub serial: String,
    /// Begin of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Whole days from now to the end; negative when it is over.
    pub days_left: i64,
    /// Validity as of now.
    pub state: Validity,
    /// Kind of key.
    pub key: String,
    /// Key usage and extended key usage, in words.
    pub usage: Vec<String>,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// Whether it may sign others, and how many authorities may follow below it.
    pub authority: Option<Option<u32>>,
}

/// Where a moment lies to a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Before it.
    NotYet,
    /// Inside.
    Now,
    /// After it.
    Over,
}

/// Describes a file of certificates, an identity folder or an authority's folder, as of now.
///
/// # Errors
/// [`CertsError::File`], or [`CertsError::Content`] where there is nothing to describe.
pub fn show(path: &Path) -> Result<Description, CertsError> {
    show_at(path, Clock::system().unix_us().div_euclid(1_000_000))
}

fn show_at(path: &Path, now_unix_s: i64) -> Result<Description, CertsError> {
    let paths: Vec<PathBuf> = if path.is_dir() {
        FILES.iter().map(|name| path.join(name)).filter(|path| path.exists()).collect()
    } else {
        vec![path.to_owned()]
    };
    if paths.is_empty() {
        let reason = format!("holds none of {}", FILES.join(", "));
        return Err(CertsError::Content { path: path.to_owned(), reason });
    }
    let files = paths.into_iter().map(|path| shown(path, now_unix_s)).collect::<Result<_, _>>()?;
    Ok(Description { files })
}

fn shown(path: PathBuf, now_unix_s: i64) -> Result<ShownFile, CertsError> {
    let text = folder::read(&path)?;
    let certificates = folder::certificates(&path, &text)?
        .iter()
        .enumerate()
        .map(|(index, der)| {
            view(der, now_unix_s).map_err(|reason| CertsError::Content {
                path: path.clone(),
                reason: format!("certificate {}: {reason}", index + 1),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(ShownFile { path, certificates })
}

fn view(der: &[u8], now_unix_s: i64) -> Result<CertificateView, String> {
    let said = |error: &dyn fmt::Display| error.to_string();
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| said(&error))?;
    let (begin, end) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let alternative = certificate.subject_alternative_name().map_err(|error| said(&error))?;
    let (mut uris, mut names) = (Vec::new(), Vec::new());
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => names.push(address(bytes)),
            other => names.push(other.to_string()),
        }
    }
    let constraints = certificate.basic_constraints().map_err(|error| said(&error))?;
    Ok(CertificateView {
        subject: certificate.subject().to_string(),
        uris,
        issuer: certificate.issuer().to_string(),
        serial: certificate.raw_serial_as_string(),
        not_before: OffsetDateTime::from_unix_timestamp(begin).map_err(|error| said(&error))?,
        not_after: OffsetDateTime::from_unix_timestamp(end).map_err(|error| said(&error))?,
        days_left: (end - now_unix_s).div_euclid(SECONDS_PER_DAY),
        state: match now_unix_s {
            now if now < begin => Validity::NotYet,
            now if now > end => Validity::Over,
            _ => Validity::Now,
        },
        key: key(&certificate),
        usage: usage(&certificate).map_err(|error| said(&error))?,
        names,
        authority: constraints.filter(|found| found.value.ca).map(|found| found.value.path_len_constraint),
    })
}

fn key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::EC(point)) => format!("ECDSA, {} bits", point.key_size()),
        Ok(PublicKey::RSA(key)) => format!("RSA, {} bits", key.key_size()),
        _ => certificate.public_key().algorithm.algorithm.to_id_string(),
    }
}

fn usage(certificate: &X509Certificate<'_>) -> Result<Vec<String>, x509_parser::error::X509Error> {
    let mut words = Vec::new();
    if let Some(usage) = certificate.key_usage()? {
        words.extend(usage.value.to_string().split(", ").map(str::to_lowercase));
    }
    if let Some(usage) = certificate.extended_key_usage()? {
        let ExtendedKeyUsage { any, server_auth, client_auth, .. } = usage.value;
        for (allowed, word) in [(any, "any"), (client_auth, "TLS client"), (server_auth, "TLS server")] {
            if *allowed {
                words.push(word.to_owned());
            }
        }
    }
    Ok(words)
}

fn address(bytes: &[u8]) -> String {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_or_else(|_| format!("an address of {} bytes", bytes.len()), |address| address.to_string())
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "{}", file.path.display())?;
            for (index, certificate) in file.certificates.iter().enumerate() {
                writeln!(f, "  {}. {}", index + 1, certificate.subject)?;
                write!(f, "{certificate}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CertificateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, what: &str, text: &str| writeln!(f, "     {what:<10} {text}");
        let minute = |time: OffsetDateTime| time.format(MINUTE).unwrap_or_else(|_| time.to_string());
        let left = match self.state {
            Validity::NotYet => "not yet valid".to_owned(),
            Validity::Now => format!("{} days left", self.days_left),
            Validity::Over => format!("expired {} days ago", -self.days_left - 1),
        };
        match self.uris.as_slice() {
            [] => line(f, "SPIFFE id", "none")?,
            uris => line(f, "SPIFFE id", &uris.join(", "))?,
        }
        line(f, "issuer", &self.issuer)?;
        line(f, "serial", &self.serial)?;
        line(f, "valid", &format!("{} to {} ({left})", minute(self.not_before), minute(self.not_after)))?;
        line(f, "key", &self.key)?;
        line(f, "usage", &self.usage.join(", "))?;
        match self.authority {
            None => {}
            Some(None) => line(f, "authority", "yes, any number of others below it")?,
            Some(Some(below)) => line(f, "authority", &format!("yes, at most {below} others below it"))?,
        }
        if !self.names.is_empty() {
            line(f, "names", &self.names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
