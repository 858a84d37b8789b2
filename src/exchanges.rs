//! `ura exchanges`: what was asked across the bus, a line each, from evidence; with `--follow` as it happens.

mod following;
mod summary;

use std::{collections::HashSet, io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use ura_evidence::{
    find::{self, Found},
    store::{Filter, ROWS_MAX, Reader},
};
use ura_proto::{ExchangeId, SystemId};

use crate::evidence::{
    failure::{Ended, Failure, Verdict, exit_code, output, tell},
    find::{meets, method, trace, unix_us},
    place::Place,
    print::exchange,
};
use following::Following;
pub(crate) use summary::{Summary, duration};

/// How often what is new is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many entries that are not read yet are told of.
const BEHIND_ENTRIES: u64 = 10_000;

/// Show exchanges, newest first; with --follow as they end
///
/// A line each: when, id, who asked whom for what, how it ended. All of an exchange is shown by `ura trace ID` and by
/// `ura evidence find ID`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExchangesCommand {
    #[command(flatten)]
    place: Place,
    /// Who asked
    #[arg(long, value_name = "MEMBER/SYSTEM")]
    consumer: Option<SystemId>,
    /// Who was asked
    #[arg(long, value_name = "MEMBER/SYSTEM")]
    provider: Option<SystemId>,
    /// What was asked: CONTRACT, or CONTRACT/METHOD
    #[arg(long, value_name = "CONTRACT[/METHOD]")]
    method: Option<String>,
    /// Why the bus refused or ended it, such as GRANT_MISSING
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Trace that the call belonged to, 32 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = trace)]
    trace: Option<[u8; 16]>,
    /// Recorded at this time or later, such as 2026-05-01T08:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = unix_us)]
    since: Option<i64>,
    /// Recorded before this time
    #[arg(long, value_name = "RFC3339", value_parser = unix_us, conflicts_with = "follow")]
    until: Option<i64>,
    /// Most exchanges that are shown, 1 to 1000; with --follow, of those before
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on: show each exchange when it ends, until interrupted
    #[arg(long)]
    follow: bool,
    /// JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl ExchangesCommand {
    /// Exit code 0: some were found; 1: none; 2: they could not be read.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        exit_code(match runtime {
            Ok(runtime) => runtime.block_on(Box::pin(self.show())),
            Err(error) => Err(Failure::Content(format!("the runtime cannot start: {error}"))),
        })
    }

    async fn show(self) -> Ended {
        let reader = self.place.find()?.reader().await?;
        let filter = self.filter();
        // Read first: what comes from here on is followed.
        let mut following = Following::from(&reader.logs().await?);
        let found = exchanges(&reader, &filter, self.limit).await?;
        let mut summaries = Vec::new();
        for id in &found {
            let summary = Summary::of(*id, &find::exchange(&reader, *id).await?);
            following.known(*id, summary.has_ended());
            summaries.push(summary);
        }
        if self.follow {
            // As they will go on: the newest last.
            summaries.reverse();
        }
        for summary in &summaries {
            self.print(summary)?;
        }
        if self.follow {
            return self.follow(&reader, filter, following).await;
        }
        if summaries.is_empty() {
            tell(&"no exchange recorded here meets all of these conditions");
            return Ok(Verdict::DoesNot);
        }
        if found.len() == usize::try_from(self.limit).unwrap_or(usize::MAX) {
            tell(&format!("stopped at --limit {}: raise it, or add --until for what is older", self.limit));
        }
        Ok(Verdict::Holds)
    }

    fn filter(&self) -> Filter {
        Filter {
            from_us: self.since,
            until_us: self.until,
            consumer: self.consumer.as_ref().map(ToString::to_string),
            provider: self.provider.as_ref().map(ToString::to_string),
            method: self.method.as_deref().map(method),
            reason: self.reason.clone(),
            trace_id: self.trace,
            ..Filter::default()
        }
    }

    fn print(&self, summary: &Summary) -> Result<(), Failure> {
        let mut out = output();
        writeln!(out, "{}", if self.json { summary.json() } else { summary.line() })?;
        Ok(out.flush()?)
    }

    /// Shows what ends, until the reader of standard output has gone.
    async fn follow(&self, reader: &Reader, filter: Filter, mut following: Following) -> Ended {
        // Of the end it is known only then.
        let asked = Filter { reason: None, ..filter.clone() };
        let mut behind = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for log in reader.logs().await? {
                let origin: Arc<str> = log.origin.as_str().into();
                while following.left(&log) > 0 {
                    if !std::mem::replace(&mut behind, following.left(&log) > BEHIND_ENTRIES) && behind {
                        tell(&format!("{} entries of {origin} are not read yet", following.left(&log)));
                    }
                    let rows = reader.entries(log.log, following.next(&log), ROWS_MAX).await?;
                    if rows.is_empty() {
                        break;
                    }
                    let mut ended = Vec::new();
                    for row in rows {
                        let entry = Found::of(&origin, row)?;
                        ended.extend(following.take(&log, &entry, |entry| meets(entry, &asked, None)));
                    }
                    for id in ended {
                        let summary = Summary::of(id, &find::exchange(reader, id).await?);
                        if filter.reason.is_none() || summary.refusal() == filter.reason.as_deref() {
                            self.print(&summary)?;
                        }
                    }
                }
            }
        }
    }
}

/// Exchanges that meet a filter, newest first.
async fn exchanges(reader: &Reader, filter: &Filter, limit: u32) -> Result<Vec<ExchangeId>, Failure> {
    let found = find::find(reader, filter, None, limit).await?.entries;
    let mut seen = HashSet::new();
    let ids = found.iter().filter_map(|entry| exchange(entry.entry()?));
    Ok(ids.filter(|id| seen.insert(*id)).collect())
}
