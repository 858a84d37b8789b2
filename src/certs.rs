//! `ura certs`: the bus's PKI from the command line.

use std::{error::Error, io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use time::{Duration, OffsetDateTime};
use ura_certs::{Authority, CertsError, Issue, LEAF_LIFETIME, LEAF_LIFETIME_MAX, Usage};
use ura_runtime::clock::Clock;

/// How far before now a certificate begins, for peers whose clocks are late.
const BACKDATED: Duration = Duration::minutes(5);

/// Make an authority, issue certificates for systems, show what a certificate says.
#[derive(Args, Debug)]
pub(crate) struct CertsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a root and an issuing authority
    Init {
        /// Folder for the authority; nothing in it is overwritten
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Trust domain of all certificates, such as ura.example
        #[arg(long, value_name = "NAME")]
        trust_domain: String,
    },
    /// Issue a key and a certificate for a system
    Issue {
        /// Folder of the authority
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The system, <member>/<system>
        #[arg(long, value_name = "SYSTEM")]
        system: String,
        /// Folder for cert.pem, key.pem and ca.pem; nothing in it is overwritten
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// DNS name or IP address by which ordinary clients call it; may stand several times
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// Days of validity
        #[arg(long, default_value_t = LEAF_LIFETIME.whole_days(),
              value_parser = clap::value_parser!(i64).range(1..=LEAF_LIFETIME_MAX.whole_days()))]
        days: i64,
    },
    /// Show what certificates say
    Show {
        /// A PEM file, an identity folder or an authority's folder
        path: PathBuf,
    },
}

impl CertsCommand {
    /// Runs it. Exit code 1 when it fails, with the reason on stderr.
    pub(crate) fn run(self) -> ExitCode {
        match self.action.text() {
            // A reader that has gone, as `head` does, is no failure.
            Ok(text) => match writeln!(std::io::stdout(), "{}", text.trim_end()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            },
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                // A closed stderr leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "error: {error}{cause}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Action {
    /// Does it, and says what was done.
    fn text(self) -> Result<String, CertsError> {
        match self {
            Self::Init { dir, trust_domain } => {
                Authority::init(&dir, &trust_domain, now())?;
                Ok(format!(
                    "{} holds the authority of {trust_domain}. \
                     root.key.pem is needed only for a new issuing authority: keep it elsewhere.",
                    dir.display()
                ))
            }
            Self::Issue { ca, system, out, names, days } => {
                let request = Issue {
                    system,
                    names,
                    not_before: now() - BACKDATED,
                    lifetime: Duration::days(days),
                    usage: Usage::Both,
                };
                let issued = Authority::open(&ca)?.issue(&request, &out)?;
                Ok(format!(
                    "{} holds the identity of {}, valid until {}.",
                    issued.dir.display(),
                    issued.spiffe_id,
                    issued.not_after.date()
                ))
            }
            Self::Show { path } => Ok(ura_certs::show(&path)?.to_string()),
        }
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(Clock::system().unix_us().div_euclid(1_000_000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
