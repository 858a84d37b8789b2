//! `ura exchanges`: what was asked across the bus, a line each, from evidence; with `--follow` as it happens.

mod summary;

use std::{
    collections::{HashSet, VecDeque},
    io::Write as _,
    process::ExitCode,
    time::Duration,
};

use ura_evidence::{
    find,
    store::{Filter, Reader},
};
use ura_proto::{ExchangeId, SystemId};

use crate::evidence::{
    failure::{Ended, Failure, Verdict, exit_code, output, tell},
    find::{method, trace, unix_us},
    place::Place,
    print::exchange,
};
pub(crate) use summary::{Summary, duration};

/// How often what is new is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Records of one moment may be committed after one another; so far back is looked again, in microseconds.
const OVERLAP_US: i64 = 10_000_000;
/// An exchange that has not ended is told of after so many looks.
const LOOKS_MAX: u32 = 20;
/// New exchanges that are taken at one look.
const NEW_MAX: u32 = 1_000;
/// Exchanges that were shown are remembered, so that none is shown twice.
const SHOWN_MAX: usize = 100_000;

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
        let found = exchanges(&reader, &filter, self.limit).await?;
        let mut newest_us = 0;
        let mut shown = Shown::default();
        let mut summaries = Vec::new();
        for (id, recorded_us) in &found {
            newest_us = newest_us.max(*recorded_us);
            shown.add(*id);
            summaries.push(Summary::of(*id, &find::exchange(&reader, *id).await?));
        }
        if self.follow {
            // As they will go on: the newest last.
            summaries.reverse();
        }
        for summary in &summaries {
            self.print(summary)?;
        }
        if self.follow {
            return self.follow(&reader, filter, newest_us, shown).await;
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

    /// Shows what is new, until the reader of standard output has gone.
    async fn follow(
        &self,
        reader: &Reader,
        mut filter: Filter,
        mut newest_us: i64,
        mut shown: Shown,
    ) -> Ended {
        let mut waiting: VecDeque<(ExchangeId, u32)> = VecDeque::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            filter.from_us = self.since.max(newest_us.checked_sub(OVERLAP_US).filter(|from| *from > 0));
            let mut found = exchanges(reader, &filter, NEW_MAX).await?;
            found.reverse();
            for (id, recorded_us) in found {
                newest_us = newest_us.max(recorded_us);
                if shown.add(id) {
                    waiting.push_back((id, 0));
                }
            }
            for _ in 0..waiting.len() {
                let Some((id, looks)) = waiting.pop_front() else { break };
                let summary = Summary::of(id, &find::exchange(reader, id).await?);
                if summary.has_ended() || looks == LOOKS_MAX {
                    self.print(&summary)?;
                } else {
                    waiting.push_back((id, looks + 1));
                }
            }
        }
    }
}

/// Exchanges that meet a filter, newest first, each with when the entry was recorded by which it was found.
async fn exchanges(reader: &Reader, filter: &Filter, limit: u32) -> Result<Vec<(ExchangeId, i64)>, Failure> {
    let found = find::find(reader, filter, None, limit).await?.entries;
    let mut seen = HashSet::new();
    let ids = found.iter().filter_map(|entry| Some((exchange(entry.entry()?)?, entry.recorded_us)));
    Ok(ids.filter(|(id, _)| seen.insert(*id)).collect())
}

/// Exchanges that were shown or wait for their end.
#[derive(Default)]
struct Shown {
    ids: HashSet<ExchangeId>,
    order: VecDeque<ExchangeId>,
}

impl Shown {
    /// Remembers one; `false` where it was known.
    fn add(&mut self, id: ExchangeId) -> bool {
        let new = self.ids.insert(id);
        if new {
            self.order.push_back(id);
        }
        if self.order.len() > SHOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        new
    }
}
