//! `ura evidence logs` and `ura evidence seal`: all logs of a store, and the end of one.

use std::sync::Arc;

use serde_json::json;
use ura_evidence::{
    keys::LogKeys,
    registry::{Own, RegistryReport, verify_registry},
    seal::{SealError, seal},
    store::{LogRow, Reader},
};
use ura_runtime::clock::Clock;

use super::{
    facts::time,
    failure::{Ended, Failure, Verdict, say, tell},
    place::Place,
    report::{self, name},
    trust::Keys,
};

/// Show the logs of a store
///
/// With their sizes, who writes them, and whether the signed registry lists them so.
#[derive(Debug, clap::Args)]
pub(super) struct Logs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    keys: Keys,
    /// JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Logs {
    /// Reads and prints.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let reader = place.reader().await?;
        let keys = if self.keys.is_empty() { place.own_keys() } else { self.keys.read()? };
        let registry = verify_registry(&reader, &keys).await?;
        for log in reader.logs().await? {
            let signed = reader.newest_checkpoint(log.log).await?.map_or(0, |checkpoint| checkpoint.size);
            if self.json {
                say(&object(&log, signed, &registry))?;
            } else {
                say(&text(&log, signed, &registry))?;
            }
        }
        if self.json {
            say(&report::registry_json(&registry))?;
        } else {
            report::registry_text(&registry, &mut std::io::stdout().lock())?;
        }
        Ok(if registry.problems.is_empty() { Verdict::Holds } else { Verdict::DoesNot })
    }
}

fn text(log: &LogRow, signed: u64, registry: &RegistryReport) -> String {
    let mut text = format!("log {}", log.origin);
    let mut line = |name: &str, value: &str| text.push_str(&format!("\n  {name:<18}{value}"));
    line("gateway", &log.gateway);
    line("entries", &format!("{}, of which {signed} are signed", log.size));
    line("written by", &holder(log));
    match registry.logs.iter().find(|listed| listed.origin == log.origin) {
        Some(listed) => line("registry", &format!("listed with key {}", name(&listed.key))),
        None => line("registry", "not listed yet"),
    }
    text
}

fn object(log: &LogRow, signed: u64, registry: &RegistryReport) -> serde_json::Value {
    let key =
        registry.logs.iter().find(|listed| listed.origin == log.origin).map(|listed| listed.key.to_string());
    json!({
        "log": log.origin, "gateway": log.gateway, "size": log.size, "signed_size": signed,
        "sealed": log.sealed, "holder": log.holder, "renewed": time(log.renewed_us), "key": key,
    })
}

/// Who writes a log.
fn holder(log: &LogRow) -> String {
    match (log.sealed, log.token) {
        (true, _) => "nobody: it is sealed".to_owned(),
        (false, 0) => "nobody now".to_owned(),
        (false, _) => {
            let mut text = format!("process {}, last seen at {}", log.holder, time(log.renewed_us));
            if log.previous_token != 0 {
                text.push_str(&format!("; process {} ends what it began", log.previous_holder));
            }
            text
        }
    }
}

/// End the log of a gateway that does not come back
///
/// To be run where another gateway of the same store is configured: the last checkpoint is signed with that one's key,
/// and what it says stands in the log and in the registry. A gateway that lives is not overruled. A running gateway
/// does this by itself for one that is silent longer than `seal_after_ms`.
#[derive(Debug, clap::Args)]
pub(super) struct Seal {
    /// The log to be ended
    origin: String,
    #[command(flatten)]
    place: Place,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "ended by an operator")]
    reason: String,
}

impl Seal {
    /// Seals.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let config = place.config("a log is sealed by another gateway's key")?;
        let reader = place.reader().await?;
        let own = place.log(&reader, None).await?;
        let keys = LogKeys::read(&config.evidence.log_keys, &own.origin)?;
        let gateway =
            own.gateway.parse().map_err(|error| Failure::content(format!("log {}", own.origin), error))?;
        let epochs = place.marking_keys(None)?;
        let own = Own { origin: own.origin, gateway, signer: Arc::clone(&keys.newest()), epochs };
        let mut store = place.writer().await?;
        let sealed =
            Box::pin(seal(&mut store, &reader, &self.origin, &own, &self.reason, &Clock::system())).await;
        match sealed {
            Ok(sealed) => {
                let (origin, size) = (&self.origin, sealed.size);
                say(&format!("log {origin} is sealed at {size} entries"))?;
                if sealed.closed > 0 {
                    tell(&format!("{} exchanges were closed, with an unknown outcome", sealed.closed));
                }
                Ok(Verdict::Holds)
            }
            Err(SealError::NoLog(_)) => self.no_such_log(&reader).await,
            Err(SealError::Store(error)) => Err(error.into()),
            Err(error) => Err(Failure::Content(error.to_string())),
        }
    }

    async fn no_such_log(&self, reader: &Reader) -> Ended {
        let known: Vec<String> = reader.logs().await?.into_iter().map(|log| log.origin).collect();
        Err(Failure::usage(format!("the store has no log {}; it has {}", self.origin, known.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_a_log() {
        let row = |token, previous_token, sealed| LogRow {
            log: 1,
            origin: "l".into(),
            gateway: "ais/gateway".into(),
            token,
            holder: if token == 0 { String::new() } else { "b/1".into() },
            previous_token,
            previous_holder: "b/0".into(),
            last_token: token,
            beat: 0,
            renewed_us: 1_000_000,
            size: 3,
            swept: 0,
            sealed,
            mark: Vec::new(),
        };
        for (row, says) in [
            (row(0, 0, false), "nobody now"),
            (row(2, 0, false), "process b/1, last seen at 1970-01-01T00:00:01Z"),
            (row(2, 1, false), "process b/0 ends what it began"),
            (row(2, 0, true), "it is sealed"),
        ] {
            let found = holder(&row);
            assert!(found.contains(says), "{found}");
        }
        let shown = text(&row(0, 0, false), 2, &RegistryReport::default());
        assert!(shown.contains("  entries           3, of which 2 are signed\n"), "{shown}");
    }
}
