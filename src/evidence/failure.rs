//! How a command about evidence ends: what it found, or why it could not find it.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use ura_evidence::{
    find::ReadError,
    keys::KeysError,
    store::{Address, StoreError},
};
use ura_runtime::config::ConfigErrors;

use super::print::plain;
use crate::call::connection::ConnectError;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds, was found, or was done.
    Holds,
    /// It does not hold, or nothing was found; what was said says so.
    DoesNot,
}

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked cannot be: what would be right.
    #[error("{0}")]
    Usage(String),
    /// The gateway's configuration or directory.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store of spans.
    #[error(transparent)]
    Traces(#[from] ura_traces::store::StoreError),
    /// Entries or proofs.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A file of the command's own.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No connection to the gateway, or none any more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What the gateway said.
    #[error("{0}")]
    Status(String),
    /// What was read is not what it should be.
    #[error("{0}")]
    Content(String),
    /// Standard output.
    #[error("standard output cannot be written: {0}")]
    Print(#[from] io::Error),
}

/// How a command ended.
pub(crate) type Ended = Result<Verdict, Failure>;

impl Failure {
    /// What would be right.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// Something that was read, with its name, and what is wrong with it.
    pub(super) fn content(what: impl Display, error: impl Display) -> Self {
        Self::Content(format!("{what}: {error}"))
    }

    /// For `map_err` on what is done with a file.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// The exit code: 0 holds, 1 does not, 2 could not be told. Whatever failed is told on standard error.
pub(crate) fn exit_code(ended: Ended) -> ExitCode {
    match ended {
        Ok(Verdict::Holds) => ExitCode::SUCCESS,
        Ok(Verdict::DoesNot) => ExitCode::FAILURE,
        // A reader that has gone, as `head` does, is no failure.
        Err(Failure::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::from(2)
        }
    }
}

/// One line or more on standard error. Some of it may come from files.
pub(crate) fn tell(text: &impl Display) {
    // A closed stderr leaves nobody to tell.
    drop(writeln!(io::stderr(), "{}", lines(&text.to_string())));
}

/// One line or more on standard output. Some of it may come from files.
pub(super) fn say(text: &impl Display) -> Result<(), Failure> {
    let mut out = output();
    writeln!(out, "{}", lines(&text.to_string()))?;
    Ok(out.flush()?)
}

/// Lines that do nothing to a terminal.
fn lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// Standard output. That nobody reads it any more, as with `head`, changes no verdict: what is left goes nowhere.
pub(crate) fn output() -> Output<io::StdoutLock<'static>> {
    Output(Some(io::stdout().lock()))
}

/// Output to a reader who may go.
pub(crate) struct Output<W>(Option<W>);

impl<W: io::Write> Output<W> {
    fn with<T>(&mut self, gone: T, act: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        let Some(out) = &mut self.0 else { return Ok(gone) };
        match act(out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.0 = None;
                Ok(gone)
            }
            done => done,
        }
    }
}

impl<W: io::Write> io::Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with((), io::Write::flush)
    }
}

/// The address of a store, from the command line.
pub(super) fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose other end was closed, or a disk that is full.
    struct Broken(io::ErrorKind);

    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        let mut out = Output(Some(Broken(io::ErrorKind::BrokenPipe)));
        for _ in 0..2 {
            assert!(writeln!(out, "verdict").is_ok() && out.flush().is_ok());
        }
        assert!(writeln!(Output(Some(Broken(io::ErrorKind::StorageFull))), "verdict").is_err());
    }

    #[test]
    fn lines_stay_and_what_moves_the_cursor_goes() {
        let text = "a\u{1b}[2J\nb\u{9b}c\u{202e}d\u{2066}e";
        assert_eq!(lines(text), "a\\u{1b}[2J\nb\\u{9b}c\\u{202e}d\\u{2066}e");
    }
}
