//! `ura evidence prove` and `ura evidence checkpoint`: what others hold and check.

use ura_evidence::{
    prove::{self, Covering, Under},
    store::Reader,
};
use ura_log::{proof_file::ProofFile, tree};

use super::{
    failure::{Ended, Failure, Verdict, say},
    place::Place,
    remote::Gateway,
};

/// Prove that an entry is in the log
///
/// Prints a tlog-proof (C2SP): the proof and the checkpoint that it leads to, with all its signatures. Anybody who
/// has the log's public key and the entry's leaf hash can check it: `ura evidence verify FILE --key … --leaf-hash …`.
#[derive(Debug, clap::Args)]
pub(super) struct Prove {
    /// Index of the entry
    index: u64,
    #[command(flatten)]
    place: Place,
    /// Which log, where the store has several
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// Lead to the checkpoint of this many entries; the newest one where it is not given
    #[arg(long, value_name = "N")]
    size: Option<u64>,
}

impl Prove {
    /// Proves and prints.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let reader = place.reader().await?;
        let log = place.log(&reader, self.log.as_deref()).await?;
        if self.index >= log.size {
            let (index, origin, size) = (self.index, &log.origin, log.size);
            return Err(Failure::usage(format!(
                "log {origin} has no entry {index}: it has {size}, from 0 on"
            )));
        }
        let text = match self.size {
            None => prove::proof_file(&reader, log.log, self.index, Under::Newest).await?,
            Some(size) => self.under(&reader, log.log, size).await?,
        };
        say(&text.trim_end())?;
        Ok(Verdict::Holds)
    }

    async fn under(&self, reader: &Reader, log: i64, size: u64) -> Result<String, Failure> {
        if self.index >= size {
            let text = format!("a checkpoint of {size} entries does not cover entry {}", self.index);
            return Err(Failure::usage(text));
        }
        let under: Covering = prove::under(reader, log, size, Under::Smallest).await?;
        let next = under.checkpoint.size;
        if next != size {
            let text = format!("no checkpoint of {size} entries is kept; the next larger one has {next}");
            return Err(Failure::usage(text));
        }
        let leaves = reader.leaves(log, self.index, self.index + 1).await?;
        let entries: Vec<_> = leaves.iter().map(|leaf| (self.index, tree::leaf_hash(leaf))).collect();
        let hashes = prove::inclusions(reader, &under, &entries).await?.pop().unwrap_or_default();
        Ok(ProofFile { extra: None, index: self.index, hashes, checkpoint: under.note }.encode())
    }
}

/// Print the newest checkpoint of a log
///
/// A checkpoint that somebody else than the operator holds is what later shows whether the log was changed: keep it,
/// and give it to `ura evidence verify --against`.
#[derive(Debug, clap::Args)]
pub(super) struct Checkpoint {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    gateway: Gateway,
    /// Which log, where there are several
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
}

impl Checkpoint {
    /// Prints the signed note with its cosignatures.
    pub(super) async fn run(self) -> Ended {
        if self.place.is_named() == self.gateway.is_named() {
            return Err(Failure::usage(
                "say where the checkpoint comes from: --config, --dir or --store, or else --gateway with --identity",
            ));
        }
        let note = if self.gateway.is_named() {
            let mut remote = self.gateway.connect().await?;
            match remote.checkpoint(self.log.as_deref().unwrap_or_default(), 0).await {
                Ok(note) => note,
                Err(status) => return Err(remote.failed(status).await),
            }
        } else {
            let place = self.place.find()?;
            let reader = place.reader().await?;
            let log = place.log(&reader, self.log.as_deref()).await?;
            prove::newest(&reader, log.log).await?.note.to_string()
        };
        say(&note.trim_end())?;
        Ok(Verdict::Holds)
    }
}
