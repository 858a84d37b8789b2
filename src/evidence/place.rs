//! Where a log is, as the command line names it: by the gateway's configuration, by a demo's folder, or by the
//! address of its store. Knows which keys belong to it; reads no entry.

use std::path::{Path, PathBuf};

use ura_evidence::{
    keys::{EpochKeys, KeysError, log_keys_of_file},
    store::{Address, LogRow, Reader, Store},
};
use ura_gateway::config::GatewayConfig;
use ura_log::note::Key;

use super::failure::{Failure, address, tell};

/// Where the log is.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub(crate) struct Place {
    /// Configuration of the gateway that keeps the log
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of a demo (`ura demo --dir`)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The store itself: sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    store: Option<Address>,
}

/// A place that was found.
pub(crate) struct Found {
    pub(crate) address: Address,
    /// The gateway's configuration, where it was named.
    pub(super) config: Option<Box<GatewayConfig>>,
}

impl Place {
    /// Whether one was named.
    pub(super) const fn is_named(&self) -> bool {
        self.config.is_some() || self.dir.is_some() || self.store.is_some()
    }

    /// Reads the configuration, where one is named.
    ///
    /// # Errors
    /// No place was named, or its configuration has errors.
    pub(crate) fn find(&self) -> Result<Found, Failure> {
        if let Some(address) = &self.store {
            return Ok(Found { address: address.clone(), config: None });
        }
        let file = match (&self.config, &self.dir) {
            (Some(file), _) => file.clone(),
            (None, Some(dir)) => dir.join("config/gateway.toml"),
            (None, None) => {
                return Err(Failure::usage(
                    "say where the log is: --config FILE, --dir DIR or --store ADDRESS",
                ));
            }
        };
        let config = GatewayConfig::load(&file)?;
        Ok(Found { address: Address::parse(&config.evidence.store)?, config: Some(Box::new(config)) })
    }
}

impl Found {
    /// Connections that read.
    pub(crate) async fn reader(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(&self.address).await?)
    }

    /// A connection that writes, to a store that is there.
    pub(super) async fn writer(&self) -> Result<Store, Failure> {
        // A store is made by its gateway: a wrong path makes none.
        self.reader().await?.close().await;
        Ok(Box::pin(Store::open(&self.address)).await?)
    }

    /// The log of a name; without one the log that this gateway writes now, or the only one of the store.
    pub(super) async fn log(&self, reader: &Reader, named: Option<&str>) -> Result<LogRow, Failure> {
        let origin = self.config.as_ref().map(|config| config.evidence.origin.as_str());
        choose(reader.logs().await?, named, origin)
    }

    /// The configuration.
    ///
    /// # Errors
    /// Only the store was named; `why` says what for the configuration is needed.
    pub(super) fn config(&self, why: &str) -> Result<&GatewayConfig, Failure> {
        let needed = || Failure::usage(format!("{why}: name the gateway's configuration, --config or --dir"));
        self.config.as_deref().ok_or_else(needed)
    }

    /// The epoch keys: those of a folder that was named, or those of the configuration.
    pub(super) fn epoch_keys(&self, named: Option<&Path>) -> Result<Option<EpochKeys>, KeysError> {
        let configured = self.config.as_ref().map(|config| config.evidence.keys.as_path());
        named.or(configured).map(EpochKeys::read).transpose()
    }

    /// The epoch keys, for who appends to the log: by them it marks what it appends.
    ///
    /// # Errors
    /// Only the store was named, and no folder of keys.
    pub(super) fn marking_keys(&self, named: Option<&Path>) -> Result<EpochKeys, Failure> {
        self.epoch_keys(named)?.ok_or_else(|| {
            Failure::usage(
                "what is appended to a log is marked with an epoch key: say where those are, --config FILE, --dir DIR or \
                 --keys DIR",
            )
        })
    }

    /// The public keys that lie beside the log, oldest first; none where only the store is known.
    pub(super) fn own_keys(&self) -> Vec<Key> {
        let Some(config) = &self.config else { return Vec::new() };
        log_keys_of_file(&config.evidence.log_keys).unwrap_or_else(|error| {
            tell(&format!("the log's own public keys are not known here: {error}"));
            Vec::new()
        })
    }
}

/// The log that is meant. One that somebody else sealed is followed by `<origin>/2`, `<origin>/3` …
fn choose(mut logs: Vec<LogRow>, named: Option<&str>, origin: Option<&str>) -> Result<LogRow, Failure> {
    let known = logs.iter().map(|log| log.origin.as_str()).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { "it has none yet".to_owned() } else { format!("it has {known}") };
    if let Some(named) = named {
        let found = logs.into_iter().find(|log| log.origin == named);
        return found.ok_or_else(|| Failure::usage(format!("the store has no log {named}; {known}")));
    }
    if let Some(origin) = origin {
        let newest = logs.into_iter().filter_map(|log| Some((generation(&log.origin, origin)?, log)));
        let newest = newest.max_by_key(|(generation, _)| *generation).map(|(_, log)| log);
        return newest.ok_or_else(|| Failure::usage(format!("the store has no log {origin}; {known}")));
    }
    match (logs.pop(), logs.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::usage("the store has no log yet: its gateway makes one when it starts")),
        (Some(_), false) => Err(Failure::usage(format!("say which log, --log ORIGIN; {known}"))),
    }
}

/// Which generation of the log `first` a name is, from 1.
pub(crate) fn generation(origin: &str, first: &str) -> Option<u64> {
    match origin.strip_prefix(first)? {
        "" => Some(1),
        rest => rest.strip_prefix('/')?.parse().ok().filter(|generation| *generation > 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(origin: &str) -> LogRow {
        LogRow {
            log: 1,
            origin: origin.to_owned(),
            gateway: String::new(),
            token: 0,
            holder: String::new(),
            previous_token: 0,
            previous_holder: String::new(),
            last_token: 0,
            beat: 0,
            renewed_us: 0,
            size: 0,
            swept: 0,
            sealed: false,
            mark: Vec::new(),
        }
    }

    #[test]
    fn the_log_that_is_meant() {
        let one = ["b/g"].as_slice();
        let three = ["b/g", "b/h", "b/g/2"].as_slice();
        for (logs, named, origin, expected) in [
            (one, None, None, Ok("b/g")),
            (one, Some("b/g"), None, Ok("b/g")),
            (one, Some("b/x"), Some("b/g"), Err("no log b/x; it has b/g")),
            (one, None, Some("b/x"), Err("no log b/x; it has b/g")),
            (three, None, None, Err("--log ORIGIN; it has b/g, b/h, b/g/2")),
            (three, None, Some("b/g"), Ok("b/g/2")),
            (three, None, Some("b/h"), Ok("b/h")),
            (three, Some("b/g"), Some("b/h"), Ok("b/g")),
            (&[], None, None, Err("no log yet")),
            (&[], None, Some("b/g"), Err("no log b/g; it has none yet")),
        ] {
            let found = choose(logs.iter().map(|origin| log(origin)).collect(), named, origin);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.origin, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, expected) => unreachable!("{found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn generations() {
        for (origin, expected) in
            [("g", Some(1)), ("g/2", Some(2)), ("g/12", Some(12)), ("g/1", None), ("g/x", None), ("g2", None)]
        {
            assert_eq!(generation(origin, "g"), expected, "{origin}");
        }
    }
}
