//! The two kinds of key that evidence rests on, each in a folder of its own, apart from the log.
//!
//! [`EpochKeys`] make salts and pseudonyms and are shared by all gateways; [`LogKeys`] sign the
//! checkpoints of one gateway's log. Everything here is blocking input and output on small files, but for
//! `newest`, which touches memory only. Knows no store, no entry and no clock.

mod epoch;
mod epochs;
mod folder;
mod log_key;
mod pem;
mod public;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

pub use epoch::{EpochKey, commitment, opens};
pub use epochs::EpochKeys;
pub use log_key::LogKeys;
pub use public::log_keys_of_file;
use ura_log::note::NoteError;

/// Why keys cannot be used or changed. No message holds a key, or a line of a file that may be one.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A folder or a file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may enter the folder.
    #[error("{path}: others may enter this folder of keys (mode {mode:o}); run `chmod 700` on it")]
    OpenFolder {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may read the key.
    #[error("{path}: others may read this key (mode {mode:o}); run `chmod 600` on it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What stands there is no key.
    #[error("{path}: {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What would be right.
        expected: &'static str,
    },
    /// A line of a file of verifier keys is none.
    #[error("{path}:{line}: {wrong}; a line holds one verifier key, as in name+id+base64")]
    MalformedLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// A name that keys of this folder do not have.
    #[error("{path}: keys of this folder are named {expected}; rename this file or take it away")]
    Name {
        /// The file.
        path: PathBuf,
        /// The form of right names.
        expected: &'static str,
    },
    /// Keys of the other kind.
    #[error("{path}: {holds} lie here; epoch keys and log keys need folders of their own")]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// What was found.
        holds: &'static str,
    },
    /// There is no key.
    #[error("{path}: there is no {what} in this folder; the gateway makes the first one when it starts")]
    Missing {
        /// The folder.
        path: PathBuf,
        /// Which kind of key.
        what: String,
    },
    /// No epoch key has this id.
    #[error("{path}: no epoch key here has the id {id:?}")]
    Unknown {
        /// The folder.
        path: PathBuf,
        /// The id that was asked for.
        id: String,
    },
    /// The newest epoch key is in use.
    #[error(
        "epoch key {id} is the newest: new records are made with it; rotate first, and destroy it when every \
         gateway has taken up the new one"
    )]
    Newest {
        /// Its id.
        id: String,
    },
    /// The public half of a log key is known, its private half is not there.
    #[error(
        "{path}: the private half of log key {key} is not here, so this log cannot be signed; put it back from \
         where it is kept, or begin a log under another origin"
    )]
    NoPrivateKey {
        /// The folder.
        path: PathBuf,
        /// The verifier key, which is public.
        key: String,
    },
    /// Others changed the folder each time that it was tried.
    #[error("{0}: others changed this folder of keys again and again; try once more")]
    Busy(PathBuf),
    /// No number is left for a key.
    #[error("{0}: keys are numbered up to 999999, and all numbers are used")]
    Full(PathBuf),
    /// A key cannot be made or used.
    #[error("{path}: {source}")]
    Note {
        /// The folder or file.
        path: PathBuf,
        /// Why; it names the log, never a key.
        source: NoteError,
    },
}
