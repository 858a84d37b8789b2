//! Mutually authenticated TLS 1.3: identity folders, SPIFFE ids, a listener and a dialler.
//!
//! One provider (aws-lc-rs), no earlier version, no resumption: each connection is verified. Knows
//! SPIFFE ids, but not what systems, members or protocols they stand for.

mod connect;
mod identity;
mod listener;
mod spiffe;
mod verify;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use connect::{connect, secure};
pub use identity::Identity;
pub use listener::{Accepted, ConnectionSlot, Listener, ListenerCounters, ListenerLimits, Reloader};
pub use spiffe::{SpiffeId, SpiffeIdError, is_trust_domain};
pub use verify::Verify;

/// Who is at the other end of a connection, as its verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The only URI name of its certificate.
    pub id: SpiffeId,
    /// End of its certificate, seconds since 1970-01-01 UTC. The connection is not to outlive it.
    pub not_after_unix_s: i64,
    /// SHA-256 of its certificate in DER.
    pub fingerprint: [u8; 32],
    /// Where it is.
    pub address: SocketAddr,
}

/// What goes wrong with TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of an identity folder cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of an identity folder is readable, but not what it should be.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer's certificate is valid, but not the one wanted.
    #[error("{address} is refused")]
    Peer {
        /// Whom this side called.
        address: String,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// rustls refused a setting.
    #[error("TLS settings cannot be used")]
    Settings(#[from] rustls::Error),
    /// The own certificate is not what others of the bus would take.
    #[error("the own certificate would be refused")]
    Own(#[source] rustls::Error),
    /// Not `host:port`.
    #[error("`{0}` is not an address: write host:port")]
    Address(String),
    /// No TCP connection came about.
    #[error("cannot connect to {address}")]
    Connect {
        /// Whom.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The handshake failed.
    #[error("TLS handshake with {address} failed")]
    Handshake {
        /// With whom.
        address: String,
        /// Why; holds a `rustls::Error` where TLS itself refused.
        #[source]
        source: std::io::Error,
    },
    /// Connecting and the handshake took too long.
    #[error("no connection to {address} within {timeout:?}")]
    Timeout {
        /// Whom.
        address: String,
        /// The time that was given.
        timeout: Duration,
    },
}

/// Why a certificate that is otherwise valid is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// None was shown.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// Not X.509, or a broken extension.
    #[error("the certificate cannot be parsed: {0}")]
    Malformed(String),
    /// No URI name at all (X.509-SVID section 2 wants exactly one).
    #[error("the certificate has no SPIFFE id")]
    NoId,
    /// Several URI names.
    #[error("the certificate has {0} URI names, but must have exactly one")]
    ManyIds(usize),
    /// A URI name that is no SPIFFE id.
    #[error("the certificate's URI name is no SPIFFE id: {0}")]
    Id(#[from] SpiffeIdError),
    /// The id belongs to another trust domain than the authorities that vouch for it.
    #[error("{id} is not of trust domain {expected}")]
    TrustDomain {
        /// The peer's id.
        id: SpiffeId,
        /// The trust domain of this side's own certificate.
        expected: String,
    },
    /// The peer is somebody else than whom was called.
    #[error("the peer is {found}, not {expected}")]
    OtherPeer {
        /// Whom the connection was for.
        expected: SpiffeId,
        /// Who answered.
        found: SpiffeId,
    },
}

impl CertificateError {
    /// What the own checks said, where they are why a handshake failed; rustls shows it unreadably.
    fn in_handshake(error: &std::io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref()? {
            rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
                other.0.downcast_ref()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
