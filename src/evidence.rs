//! `ura evidence`: reads the log.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_gateway::{StoredEntry, config::GatewayConfig, find_evidence};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Opening, Outcome, Progress, Subject, entry::Kind},
};

/// Read the evidence log
#[derive(Debug, clap::Args)]
pub(crate) struct EvidenceCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the records of one exchange
    Find {
        /// Id of the exchange, as callers get it in `ura-exchange-id`
        exchange: ExchangeId,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the log is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Configuration of the gateway that keeps the log
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The log itself, `sqlite:PATH`
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Folder of a demo (`ura demo --dir`)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl EvidenceCommand {
    /// Exit code 0 where something was found, 1 where not, 2 where the log cannot be read.
    pub(crate) fn run(self) -> ExitCode {
        let Action::Find { exchange, place } = self.action;
        match find(exchange, place) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => {
                writeln!(io::stderr(), "no exchange {exchange} in this log").ok();
                ExitCode::FAILURE
            }
            Err(error) => {
                writeln!(io::stderr(), "{error}").ok();
                ExitCode::from(2)
            }
        }
    }
}

fn find(exchange: ExchangeId, place: Place) -> Result<bool, Box<dyn std::error::Error>> {
    let store = match (place.store, place.config, place.dir) {
        (Some(store), ..) => store,
        (None, Some(config), _) => GatewayConfig::load(&config)?.evidence.store,
        (None, None, Some(dir)) => GatewayConfig::load(&dir.join("config/gateway.toml"))?.evidence.store,
        (None, None, None) => return Err("say where the log is: --config, --store or --dir".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entries = runtime.block_on(find_evidence(&store, exchange))?;
    let mut out = io::stdout().lock();
    for entry in &entries {
        print(&mut out, entry)?;
    }
    Ok(!entries.is_empty())
}

/// One record, a line per fact; empty facts are left out.
fn print(out: &mut impl Write, stored: &StoredEntry) -> io::Result<()> {
    let entry = &stored.entry;
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(entry.recorded_unix_us) * 1000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default();
    let (name, facts) = match &entry.kind {
        Some(Kind::Opening(opening)) => ("opening", opening_facts(opening)),
        Some(Kind::Progress(progress)) => ("progress", progress_facts(progress)),
        Some(Kind::Closing(closing)) => ("closing", closing_facts(closing)),
        Some(Kind::Gap(gap)) => ("gap", vec![("refused", gap.refused.to_string())]),
        None => ("unknown", Vec::new()),
    };
    writeln!(out, "{name} at {at}")?;
    writeln!(out, "  {:<18}{}", "index", stored.index)?;
    writeln!(out, "  {:<18}{}", "leaf hash", hex(&stored.leaf_hash))?;
    for (key, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "  {key:<18}{value}")?;
    }
    Ok(())
}

/// A fact's name and value.
type Fact = (&'static str, String);

fn opening_facts(opening: &Opening) -> Vec<Fact> {
    let decision = if opening.refusal.is_empty() {
        format!("permitted by grant {}", opening.grant)
    } else {
        format!("refused: {}", opening.refusal)
    };
    let mut facts = vec![
        ("consumer", opening.consumer.clone()),
        ("provider", opening.provider.clone()),
        ("method", opening.method.clone()),
        ("purpose", opening.purpose.clone()),
        ("case", opening.case_number.clone()),
        ("decision", decision),
        ("directory", format!("{} ({})", opening.directory_version, hex(&opening.directory_digest))),
        ("request digest", hex(&opening.request_digest)),
        ("request bytes", opening.request_bytes.to_string()),
        ("trace", hex(&opening.trace_id)),
        ("epoch", opening.epoch.clone()),
    ];
    facts.extend(opening.subjects.iter().map(subject));
    facts
}

fn progress_facts(progress: &Progress) -> Vec<Fact> {
    let told = if progress.from_reply { "named by the reply" } else { "" };
    let mut facts = vec![
        ("subjects", told.to_owned()),
        ("request digest", hex(&progress.request_digest)),
        ("request bytes", progress.request_bytes.to_string()),
    ];
    facts.extend(progress.subjects.iter().map(subject));
    facts
}

fn closing_facts(closing: &Closing) -> Vec<Fact> {
    let outcome = match closing.outcome() {
        Outcome::Answered => "answered",
        Outcome::NeverSent => "never sent",
        Outcome::MaybeExecuted => "maybe executed",
        Outcome::Unspecified => "",
    };
    let status = i32::try_from(closing.status).map_or(tonic::Code::Unknown, tonic::Code::from_i32);
    vec![
        ("status", format!("{} {status:?}", closing.status)),
        ("outcome", outcome.to_owned()),
        ("ended by the bus", closing.refusal.clone()),
        ("reply digest", hex(&closing.reply_digest)),
        ("reply bytes", closing.reply_bytes.to_string()),
        ("request bytes", closing.request_bytes.to_string()),
        ("request digest", hex(&closing.request_digest)),
        ("duration", format!("{} us", closing.duration_us)),
    ]
}

fn subject(subject: &Subject) -> Fact {
    ("subject", format!("{} {}", subject.kind, hex(&subject.pseudonym)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
