//! `ura evidence receipt`: one exchange as a file that proves itself, from the store or from a gateway.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;
use ura_evidence::{
    entry::{decode, kind},
    find::{self, Found as Entry, ReadError},
    receipt::{Receipt as File, make},
    store::Reader,
};
use ura_log::note::{Key, Note};
use ura_proto::{ExchangeId, v1::entry::Kind};

use super::{
    announce::announced,
    failure::{Ended, Failure, Verdict, say, tell},
    place::{Found, Place},
    remote::{Gateway, Remote},
};

/// How long is waited for the exchange's end and for a checkpoint that covers it: they come within moments.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often is asked meanwhile.
const POLL: Duration = Duration::from_millis(250);

/// Make the receipt of an exchange
///
/// A receipt is one JSON file that proves the exchange offline: its entries, a proof for each, a checkpoint that
/// covers them with its signatures, and the salt of the digests. Whoever has the salt can check guesses at small
/// messages: give it to nobody whom the exchange does not concern. `ura evidence verify` checks a receipt.
#[derive(Debug, clap::Args)]
pub(super) struct Receipt {
    /// Id of the exchange, as callers get it in `ura-exchange-id`
    exchange: ExchangeId,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    gateway: Gateway,
    /// Folder of the epoch keys, for the salt; the configuration's where it is not given
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Write it into this new file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave the salt out, so that nobody can check bytes or guesses against it
    #[arg(long)]
    without_salt: bool,
}

impl Receipt {
    /// Makes and writes it.
    pub(super) async fn run(self) -> Ended {
        if self.place.is_named() == self.gateway.is_named() {
            return Err(Failure::usage(
                "say where the receipt comes from: --config, --dir or --store, or else --gateway with --identity",
            ));
        }
        let made = if self.gateway.is_named() { self.ask().await } else { self.make().await };
        let Some(mut receipt) = made? else {
            tell(&format!("no exchange {} is recorded here, or its time is over", self.exchange));
            return Ok(Verdict::DoesNot);
        };
        if self.without_salt {
            receipt.salt = None;
        }
        if !is_over(&receipt) {
            tell(&"the exchange goes on: this receipt proves its opening only");
        }
        let text = receipt.to_json();
        match &self.out {
            Some(path) => write_new(path, &text)?,
            None => say(&text.trim_end())?,
        }
        Ok(Verdict::Holds)
    }

    /// From the store.
    async fn make(&self) -> Result<Option<File>, Failure> {
        let place = self.place.find()?;
        let reader = place.reader().await?;
        let until = Instant::now() + PATIENCE;
        loop {
            let found = find::exchange(&reader, self.exchange).await?;
            let Some(opening) = found.iter().find(|entry| entry.kind == kind::OPENING) else {
                return Ok(None);
            };
            let salt = self.salt(&place, opening);
            match make(&reader, self.exchange, salt, &[]).await {
                Ok(mut receipt) if is_over(&receipt) || Instant::now() >= until => {
                    if salt.is_none() && !self.without_salt {
                        tell(
                            &"without the salt: its epoch key is not here, so kept bytes cannot be checked by this receipt",
                        );
                    }
                    receipt.keys = keys(&place, &reader, &receipt).await?;
                    return Ok(Some(receipt));
                }
                Ok(_) => {}
                Err(ReadError::NotCovered { .. }) if Instant::now() < until => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The salt, where its epoch key is here.
    fn salt(&self, place: &Found, opening: &Entry) -> Option<[u8; 32]> {
        let Some(Kind::Opening(opening)) = &opening.entry()?.kind else { return None };
        match place.epoch_keys(self.keys.as_deref()) {
            Ok(keys) => Some(keys?.by_id(&opening.epoch)?.salt(self.exchange)),
            Err(error) => {
                tell(&error);
                None
            }
        }
    }

    /// From a gateway.
    async fn ask(&self) -> Result<Option<File>, Failure> {
        let mut remote = self.gateway.connect().await?;
        let until = Instant::now() + PATIENCE;
        loop {
            let is_late = Instant::now() >= until;
            match self.answer(&mut remote).await {
                Ok(receipt) if is_late || receipt.as_ref().is_ok_and(is_over) => return receipt.map(Some),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) => {}
                Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
                Err(status)
                    if status.code() == tonic::Code::Unavailable && !is_late && is_answer(&status) => {}
                Err(status) => return Err(remote.failed(status).await),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn answer(&self, remote: &mut Remote) -> Result<Result<File, Failure>, tonic::Status> {
        let text = remote.receipt(self.exchange).await?;
        let receipt = File::from_json(&text).map_err(|error| Failure::content("the gateway's answer", error));
        Ok(receipt.and_then(|receipt| match receipt.exchange == self.exchange {
            true => Ok(receipt),
            false => Err(Failure::content("the gateway's answer", "it is the receipt of another exchange")),
        }))
    }
}

/// Whether the gateway itself said so; else nobody answered, and waiting mends nothing.
fn is_answer(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_none()
}

/// Whether the exchange was refused or closed.
fn is_over(receipt: &File) -> bool {
    receipt.entries.iter().any(|piece| match decode(&piece.body).ok().and_then(|entry| entry.kind) {
        Some(Kind::Opening(opening)) => !opening.refusal.is_empty(),
        Some(Kind::Closing(_)) => true,
        _ => false,
    })
}

/// The log's own key that signed the checkpoint, as a hint: from beside the log, or as the log announces it.
async fn keys(place: &Found, reader: &Reader, receipt: &File) -> Result<Vec<Key>, Failure> {
    let mut known = place.own_keys();
    known.extend(announced(reader, &receipt.log).await?);
    let Ok(note) = Note::parse(&receipt.checkpoint) else { return Ok(Vec::new()) };
    let signed = known.into_iter().find(|key| note.verify(std::slice::from_ref(key)).is_ok());
    Ok(signed.into_iter().collect())
}

/// Writes a new file, for its owner only.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} exists already and is not overwritten: name another file",
            path.display()
        )),
        _ => Failure::file(path)(source),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Failure::file(path))
}
