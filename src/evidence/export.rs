//! `ura evidence export`: a log as files that other tools read.

use std::path::PathBuf;

use ura_evidence::export::{ExportError, Options, export};
use ura_log::note::Kind;

use super::{
    failure::{Ended, Failure, Verdict, say, tell},
    place::Place,
    progress::Progress,
    trust,
    verify::cosigners,
};

/// Export a log into a folder
///
/// The folder has the layout of C2SP tlog-tiles, with the entries beside it, and names nobody. Exporting again into the
/// same folder adds what is new, or goes on where it was broken off. `ura evidence verify FOLDER` checks it.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The folder; made where there is none
    folder: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Which log, where the store has several
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// Add what links entries to persons for whoever has the epoch keys: only for readers with the right to it
    #[arg(long)]
    with_pseudonyms: bool,
    /// Public key of a witness whose cosignatures are exported too; those of the directory where none is given
    #[arg(long = "witness", value_name = "KEY|FILE")]
    witnesses: Vec<String>,
}

impl Export {
    /// Exports.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let reader = place.reader().await?;
        let log = place.log(&reader, self.log.as_deref()).await?;
        let mut witnesses = Vec::new();
        for text in &self.witnesses {
            witnesses.extend(trust::read(text, Kind::CosignatureV1)?);
        }
        if witnesses.is_empty() {
            witnesses = cosigners(&place);
        }
        let mut keys = place.own_keys();
        keys.retain(|key| key.name() == log.origin);
        let options = Options { subjects: self.with_pseudonyms, keys, witnesses };
        let mut progress = Progress::new(format!("export of {}", log.origin));
        let done = |done, all| progress.tell(done, all);
        let exported = Box::pin(export(&reader, &log, &self.folder, &options, done)).await;
        drop(progress);
        let exported = match exported {
            Ok(exported) => exported,
            Err(ExportError::Store(error)) => return Err(error.into()),
            Err(error @ ExportError::Flawed { .. }) => {
                tell(&error);
                return Ok(Verdict::DoesNot);
            }
            Err(error) => return Err(Failure::Content(error.to_string())),
        };
        say(&format!(
            "{} entries of {} exported to {}: {} files written, {} were there",
            exported.size,
            log.origin,
            self.folder.display(),
            exported.written,
            exported.kept
        ))?;
        Ok(Verdict::Holds)
    }
}
