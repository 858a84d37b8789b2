//! `ura trace`: where the time of a call went, and what evidence says of it; found by whatever names it.

mod wanted;
mod waterfall;

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

use serde_json::json;
use ura_evidence::{
    entry::kind,
    find,
    store::{Filter, Reader},
};
use ura_proto::ExchangeId;
use ura_traces::store::{Kept, Store};

use crate::{
    evidence::{
        facts::hex,
        failure::{Ended, Failure, Verdict, exit_code, output, tell},
        place::Place,
        print::exchange,
    },
    exchanges::Summary,
};
use wanted::Wanted;

/// Longest text that is looked through, in bytes.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Exchanges of one trace that are shown.
const EXCHANGES_MAX: u32 = 50;

/// Show where the time of a call went, and what evidence says of it
///
/// The call is found by the id of its exchange, by its trace id, or by any text in which one of them stands, such as
/// a whole refusal; `-` reads that text from standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceCommand {
    /// Id of an exchange or a trace, or text that contains one
    #[arg(required = true, value_name = "ID|TEXT|-")]
    what: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// JSON, one object
    #[arg(long)]
    json: bool,
}

impl TraceCommand {
    /// Exit code 0: it was found; 1: it was not; 2: it could not be read.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        exit_code(match runtime {
            Ok(runtime) => runtime.block_on(Box::pin(self.show())),
            Err(error) => Err(Failure::Content(format!("the runtime cannot start: {error}"))),
        })
    }

    async fn show(self) -> Ended {
        let wanted = wanted::wanted(&self.text()?).ok_or_else(|| {
            Failure::usage(
                "there is neither an exchange id (as callers get it in `ura-exchange-id`) nor a trace id (32 hexadecimal digits) in this text",
            )
        })?;
        let place = self.place.find()?;
        let reader = place.reader().await?;
        let (trace, exchanges) = look_up(&reader, &wanted).await?;
        let spans = match trace {
            Some(trace) => match Store::open_reading(&place.address).await? {
                Some(store) => store.trace(trace).await?,
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        if exchanges.is_empty() && spans.is_empty() {
            tell(&format!("{wanted} is not known here"));
            return Ok(Verdict::DoesNot);
        }
        let mut out = output();
        if self.json {
            writeln!(out, "{}", json_of(trace, &spans, &exchanges))?;
        } else {
            for line in text_of(trace, &spans, &exchanges) {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()?;
        Ok(Verdict::Holds)
    }

    fn text(&self) -> Result<String, Failure> {
        if self.what != ["-"] {
            return Ok(self.what.join(" "));
        }
        let mut text = Vec::new();
        std::io::stdin().take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The trace and the exchanges that are meant.
async fn look_up(reader: &Reader, wanted: &Wanted) -> Result<(Option<[u8; 16]>, Vec<Summary>), Failure> {
    let (trace, ids) = match wanted {
        Wanted::Exchange(id) => {
            let found = find::exchange(reader, *id).await?;
            if found.is_empty() {
                return Ok((None, Vec::new()));
            }
            let trace = Summary::of(*id, &found).trace_id();
            // The others of the trace are shown by its own id.
            (trace, vec![*id])
        }
        Wanted::Trace(trace) => (Some(*trace), exchanges_of(reader, *trace).await?),
    };
    let mut summaries = Vec::new();
    for id in ids {
        summaries.push(Summary::of(id, &find::exchange(reader, id).await?));
    }
    Ok((trace, summaries))
}

/// The exchanges of a trace, oldest first.
async fn exchanges_of(reader: &Reader, trace: [u8; 16]) -> Result<Vec<ExchangeId>, Failure> {
    let filter = Filter { trace_id: Some(trace), kind: Some(kind::OPENING), ..Filter::default() };
    let found = find::find(reader, &filter, None, EXCHANGES_MAX).await?.entries;
    Ok(found.iter().rev().filter_map(|found| exchange(found.entry()?)).collect())
}

fn text_of(trace: Option<[u8; 16]>, spans: &[Kept], exchanges: &[Summary]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(trace) = trace {
        lines.push(format!("trace {}", hex(&trace)));
    }
    if spans.is_empty() {
        lines.push(
            "  no span of it is kept: it was not sampled and nothing in it failed or was slow, or its time is over"
                .to_owned(),
        );
    }
    lines.extend(waterfall::lines(spans));
    for exchange in exchanges {
        lines.push(String::new());
        lines.extend(exchange.lines());
    }
    lines
}

fn json_of(trace: Option<[u8; 16]>, spans: &[Kept], exchanges: &[Summary]) -> serde_json::Value {
    let spans: Vec<_> = spans
        .iter()
        .map(|kept| {
            json!({
                "system": kept.system,
                "span": hex(&kept.span.span_id),
                "parent": hex(&kept.span.parent_span_id),
                "name": kept.span.name,
                "start_unix_ns": kept.span.start_time_unix_nano,
                "duration_ns": kept.span.end_time_unix_nano.saturating_sub(kept.span.start_time_unix_nano),
                "result": waterfall::result(&kept.span),
            })
        })
        .collect();
    let exchanges: Vec<serde_json::Value> =
        exchanges.iter().filter_map(|exchange| serde_json::from_str(&exchange.json()).ok()).collect();
    json!({ "trace": trace.map(|trace| hex(&trace)), "spans": spans, "exchanges": exchanges })
}
