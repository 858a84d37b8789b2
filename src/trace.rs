//! `ura trace`: where the time of a call went, and what evidence says of it; found by whatever names it.

mod wanted;
mod waterfall;

use std::{
    io::{Read, Write as _},
    process::ExitCode,
};

use serde_json::json;
use ura_evidence::{
    entry::kind,
    find,
    store::{Filter, Reader},
};
use ura_proto::ExchangeId;
use ura_traces::store::{Kept, Store, TRACE_SPANS_MAX};

use crate::{
    evidence::{
        facts::hex,
        failure::{Ended, Failure, Verdict, exit_code, output, tell},
        place::Place,
        print::{exchange, json_line},
    },
    exchanges::Summary,
};
use wanted::Wanted;

/// The end of a text that is looked through, in bytes.
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
            writeln!(out, "{}", json_line(&json_of(trace, &spans, &exchanges)))?;
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
        let text = last_of(std::io::stdin().lock())?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The last [`TEXT_BYTES_MAX`] of what is read: the last refusal in it is meant.
fn last_of(mut from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let read = (&mut from).take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
        let too_much = text.len().saturating_sub(usize::try_from(TEXT_BYTES_MAX).unwrap_or(usize::MAX));
        text.drain(..too_much);
        if read == 0 {
            return Ok(text);
        }
    }
}

/// Whether the store may have more spans of the trace than are read at once.
fn is_cut(spans: &[Kept]) -> bool {
    i64::try_from(spans.len()).is_ok_and(|spans| spans >= TRACE_SPANS_MAX)
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
    if is_cut(spans) {
        lines.push(format!(
            "  there are more: of each system only its first spans are shown, {TRACE_SPANS_MAX} of all"
        ));
    }
    for exchange in exchanges {
        lines.push(String::new());
        lines.extend(exchange.lines());
    }
    lines
}

fn json_of(trace: Option<[u8; 16]>, spans: &[Kept], exchanges: &[Summary]) -> serde_json::Value {
    let is_cut = is_cut(spans);
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
    json!({
        "trace": trace.map(|trace| hex(&trace)),
        "spans": spans,
        "is_cut": is_cut,
        "exchanges": exchanges,
    })
}

#[cfg(test)]
mod tests {
    use ura_traces::Span;

    use super::*;

    #[test]
    fn the_end_of_a_long_text_is_read() {
        let bytes_max = usize::try_from(TEXT_BYTES_MAX).expect("small");
        for before in [0, 1, bytes_max - 3, bytes_max, 5 * bytes_max + 7] {
            let text = ["x".repeat(before).as_bytes(), b"end"].concat();
            let read = last_of(text.as_slice()).expect("read");
            assert!(read.len() <= bytes_max && read.ends_with(b"end"), "{before}");
            assert_eq!(read.len(), text.len().min(bytes_max));
        }
    }

    #[test]
    fn what_somebody_wrote_does_nothing_to_a_terminal() {
        let span = Span { name: "x\u{9b}2J\u{202e}".to_owned(), ..Span::default() };
        let kept = Kept { system: "a/b".to_owned(), span };
        let shown = json_line(&json_of(None, std::slice::from_ref(&kept), &[]));
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
        let told: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(told["spans"][0]["name"], kept.span.name.as_str());
        assert_eq!(told["is_cut"], false);
        let many = vec![kept; usize::try_from(TRACE_SPANS_MAX).expect("small")];
        assert!(text_of(None, &many, &[]).iter().any(|line| line.contains("there are more")));
    }
}
