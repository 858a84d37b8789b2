//! `ura evidence find`: entries by exchange, by what their openings say, by whom they are about.

use std::path::PathBuf;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_evidence::{
    entry::kind,
    find::{self, Found as Entry, Whom},
    store::{Cursor, Filter, Reader},
};
use ura_gateway::Outline;
use ura_proto::{ExchangeId, SystemId};

use super::{
    facts::KINDS,
    failure::{Ended, Failure, Verdict, tell},
    place::{Found, Place},
    print::{self, Shown},
};

/// Names of conditions, which an exchange's id goes without.
const CONDITIONS: [&str; 10] =
    ["subject", "consumer", "provider", "method", "reason", "trace", "kind", "since", "until", "limit"];

/// Show what is recorded
///
/// With an exchange id: all its entries, in their order. Else the openings that meet all conditions, newest first;
/// with --reason also closings, with --kind entries of that kind. What is shown was held against its leaf; that
/// the log itself is whole is shown by `ura evidence verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Find {
    /// Id of the exchange, as callers get it in `ura-exchange-id`
    #[arg(conflicts_with_all = CONDITIONS)]
    exchange: Option<ExchangeId>,
    #[command(flatten)]
    place: Place,
    /// Only this log, where the store has several
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// Folder of the epoch keys, for --subject; the configuration's where it is not given
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Whom the exchange is about, such as person=1234567892. With --store VALUE as it was recorded, in its canonical form
    #[arg(long, value_name = "KIND=VALUE", value_parser = subject, conflicts_with = "kind")]
    subject: Option<(String, String)>,
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
    /// Only entries of this kind
    #[arg(long, value_name = "NAME", value_parser = KINDS.map(|(name, _)| name))]
    kind: Option<String>,
    /// Recorded at this time or later, such as 2026-05-01T08:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = unix_us)]
    since: Option<i64>,
    /// Recorded before this time
    #[arg(long, value_name = "RFC3339", value_parser = unix_us)]
    until: Option<i64>,
    /// Most entries that are shown, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Find {
    /// Finds and prints.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let reader = place.reader().await?;
        if let Some(exchange) = self.exchange {
            let mut found = find::exchange(&reader, exchange).await?;
            found.retain(|entry| self.log.as_ref().is_none_or(|log| *log == *entry.log));
            return self.show(&found, &format!("no exchange {exchange} in this log"));
        }
        let filter = self.filter(&place, &reader).await?;
        let found = match &self.subject {
            None => find::find(&reader, &filter, None, self.limit).await?.entries,
            Some(subject) => self.about(&place, &reader, &filter, subject).await?,
        };
        if found.len() == usize::try_from(self.limit).unwrap_or(usize::MAX) {
            tell(&format!("stopped at --limit {}: raise it, or add --until for what is older", self.limit));
        }
        self.show(&found, "nothing recorded here meets all of these conditions")
    }

    fn show(&self, found: &[Entry], nothing: &str) -> Ended {
        print::entries(found.iter().map(Shown::from), self.json)?;
        if !found.is_empty() {
            return Ok(Verdict::Holds);
        }
        tell(&nothing);
        Ok(Verdict::DoesNot)
    }

    async fn filter(&self, place: &Found, reader: &Reader) -> Result<Filter, Failure> {
        let kind = self.kind.as_deref().and_then(|name| KINDS.iter().find(|(known, _)| *known == name));
        let kind = kind.map(|(_, number)| *number);
        let of_openings = self.consumer.is_some()
            || self.provider.is_some()
            || self.method.is_some()
            || self.trace.is_some();
        if of_openings && kind.is_some_and(|kind| kind != kind::OPENING) {
            let text =
                "--consumer, --provider, --method and --trace stand in openings only: leave out --kind";
            return Err(Failure::usage(text));
        }
        let log = match &self.log {
            Some(origin) => Some(place.log(reader, Some(origin)).await?.log),
            None => None,
        };
        Ok(Filter {
            log,
            exchange: None,
            from_us: self.since,
            until_us: self.until,
            consumer: self.consumer.as_ref().map(ToString::to_string),
            provider: self.provider.as_ref().map(ToString::to_string),
            method: self.method.as_deref().map(method),
            reason: self.reason.clone(),
            trace_id: self.trace,
            kind,
        })
    }

    /// Openings about a subject that the filter lets through, newest first.
    async fn about(
        &self,
        place: &Found,
        reader: &Reader,
        filter: &Filter,
        (kind, value): &(String, String),
    ) -> Result<Vec<Entry>, Failure> {
        let keys = place.epoch_keys(self.keys.as_deref())?;
        let keys = keys.ok_or_else(|| {
            Failure::usage("subjects are found with the epoch keys: name their folder, --keys DIR")
        })?;
        let canonical = canonical(place, kind, value)?;
        let origin = self.log.as_deref();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut found: Vec<Entry> = Vec::new();
        for canonical in &canonical {
            let whom = Whom { kind, canonical };
            let period = (filter.from_us.unwrap_or(i64::MIN), filter.until_us.unwrap_or(i64::MAX));
            let (mut after, mut taken) = (None::<Cursor>, 0);
            loop {
                let page = find::find_subject(reader, &keys.all(), whom, period, after, self.limit).await?;
                let fits = page.entries.into_iter().filter(|entry| meets(entry, filter, origin));
                let before = found.len();
                found.extend(fits);
                taken += found.len() - before;
                after = page.next;
                if after.is_none() || taken >= limit {
                    break;
                }
            }
        }
        found.sort_by(|a, b| (b.recorded_us, &b.log, b.index).cmp(&(a.recorded_us, &a.log, a.index)));
        found.dedup_by(|a, b| (&a.log, a.index) == (&b.log, b.index));
        found.truncate(limit);
        Ok(found)
    }
}

/// Whether an opening meets the conditions besides the subject's.
pub(crate) fn meets(entry: &Entry, filter: &Filter, origin: Option<&str>) -> bool {
    use ura_proto::v1::entry::Kind;
    let Some(Kind::Opening(opening)) = entry.entry().and_then(|entry| entry.kind.as_ref()) else {
        return false;
    };
    let same = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    same(&filter.consumer, &opening.consumer)
        && same(&filter.provider, &opening.provider)
        && same(&filter.reason, &opening.refusal)
        && filter.method.as_deref().is_none_or(|wanted| match wanted.ends_with('/') {
            true => opening.method.starts_with(wanted),
            false => opening.method == wanted,
        })
        && filter.trace_id.is_none_or(|trace| opening.trace_id == trace)
        && origin.is_none_or(|origin| *entry.log == *origin)
}

/// The forms in which a subject may have been recorded.
fn canonical(place: &Found, kind: &str, value: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let Some(config) = &place.config else { return Ok(vec![value.as_bytes().to_vec()]) };
    let outline = Outline::read(&config.directory)?;
    let forms: Vec<_> = outline.canonical(kind, value.as_bytes()).into_iter().collect();
    if !forms.is_empty() {
        return Ok(forms);
    }
    let known: Vec<&str> = outline.kinds().collect();
    Err(Failure::usage(format!(
        "no approved contract names a {kind}; they name: {}. For a kind of former contracts use --store and --keys, and \
         the value as it was recorded",
        if known.is_empty() { "nobody".to_owned() } else { known.join(", ") }
    )))
}

/// A method, or all of a contract.
pub(crate) fn method(text: &str) -> String {
    let text = text.strip_prefix('/').unwrap_or(text);
    if text.contains('/') { text.to_owned() } else { format!("{text}/") }
}

fn subject(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((kind, value)) if !kind.is_empty() && !value.trim().is_empty() => {
            Ok((kind.to_owned(), value.to_owned()))
        }
        _ => Err("write KIND=VALUE, such as person=1234567892".to_owned()),
    }
}

/// A trace id.
pub(crate) fn trace(text: &str) -> Result<[u8; 16], String> {
    let is_trace = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_trace);
    number.map(u128::to_be_bytes).ok_or_else(|| "write the 32 hexadecimal digits of the trace id".to_owned())
}

/// A time, as microseconds since 1970-01-01 UTC.
pub(crate) fn unix_us(text: &str) -> Result<i64, String> {
    let wrong = || "write a time with its zone, such as 2026-05-01T08:00:00Z (RFC 3339)".to_owned();
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_conditions() {
        for (text, expected) in [
            ("person=12", Some(("person", "12"))),
            ("plate=01=A", Some(("plate", "01=A"))),
            ("person=", None),
            ("person= ", None),
            ("=12", None),
            ("12", None),
        ] {
            let found = subject(text).ok();
            assert_eq!(
                found.as_ref().map(|(kind, value)| (kind.as_str(), value.as_str())),
                expected,
                "{text}"
            );
        }
        for (text, expected) in [("a.B", "a.B/"), ("a.B/C", "a.B/C"), ("/a.B/C", "a.B/C"), ("a.B/", "a.B/")] {
            assert_eq!(method(text), expected, "{text}");
        }
        for (text, expected) in [
            ("0af7651916cd43dd8448eb211c80319c", Some(0x0a)),
            ("0AF7651916CD43DD8448EB211C80319C", Some(0x0a)),
            ("0af7651916cd43dd8448eb211c80319", None),
            ("+af7651916cd43dd8448eb211c80319c", None),
            ("", None),
        ] {
            assert_eq!(trace(text).ok().map(|trace| trace[0]), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1_000_000)),
            ("1970-01-01T01:00:00.5+01:00", Some(500_000)),
            ("1970-01-01", None),
            ("1970-01-01T00:00:01", None),
            ("yesterday", None),
        ] {
            assert_eq!(unix_us(text).ok(), expected, "{text}");
        }
    }
}
