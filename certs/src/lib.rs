//! The bus's own PKI in folders: a root, an issuing authority, and certificates for systems.
//!
//! Every certificate names its owner by a SPIFFE id (X.509-SVID,
//! <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>). Keys are ECDSA P-256. No
//! file is ever overwritten. Knows nothing of the directory: whether a system is a member's is for
//! whoever calls to know.

mod authority;
mod folder;
mod names;
mod show;

use std::path::PathBuf;

pub use authority::{Authority, Issue, Issued, Usage};
pub use show::{CertificateView, Description, ShownFile, Validity, show};
use time::{Duration, OffsetDateTime};

/// Lifetime of the root.
pub const ROOT_LIFETIME: Duration = Duration::days(20 * 365 + 5);
/// Lifetime of the issuing authority.
pub const ISSUING_LIFETIME: Duration = Duration::days(5 * 365 + 1);
/// Lifetime of a system's certificate where nobody says otherwise.
pub const LEAF_LIFETIME: Duration = Duration::days(90);
/// Longest lifetime of a system's certificate: what is renewed less than once a year is forgotten.
pub const LEAF_LIFETIME_MAX: Duration = Duration::days(398);
/// DNS names and IP addresses in one certificate.
pub const NAMES_MAX: usize = 100;

/// What goes wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file is there already.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be read or written.
    #[error("{} cannot be {action}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// `read`, `written` …
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a trust domain.
    #[error("`{0}` is not a trust domain: write 1 to 255 of a-z, 0-9, `.`, - and _")]
    TrustDomain(String),
    /// Not a system's name.
    #[error(
        "`{0}` is not a system: write <member>/<system>, each 1 to 63 of a-z, 0-9 and -, beginning with a letter"
    )]
    System(String),
    /// Not a name that a server may have.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    Name(String),
    /// More than [`NAMES_MAX`] names.
    #[error("{0} names are too many for one certificate: at most {NAMES_MAX}")]
    TooManyNames(usize),
    /// A lifetime of nothing, or beyond [`LEAF_LIFETIME_MAX`].
    #[error("a lifetime of {0} is not allowed: write more than nothing and at most {max} days", max = LEAF_LIFETIME_MAX.whole_days())]
    Lifetime(Duration),
    /// The certificate would outlive the authority that vouches for it.
    #[error("the certificate would end on {leaf}, but its issuing authority ends on {authority}")]
    BeyondAuthority {
        /// End of the certificate.
        leaf: OffsetDateTime,
        /// End of the issuing authority.
        authority: OffsetDateTime,
    },
    /// A key or certificate could not be made.
    #[error("a key or certificate cannot be made")]
    Make(#[from] rcgen::Error),
}
