//! The `[register]` section.

mod credentials;
mod postgres;
mod soap;

use std::time::Duration;

use ura_runtime::config::{Problems, Source, Spanned};

use super::{environment, raw};
use crate::plan::{Limits, RegisterKind, RegisterPlan};

/// Checks the section. Where something is wrong it is noted, and a harmless value stands in.
pub(super) fn check(raw: &raw::Register, source: &Source, problems: &mut Problems) -> RegisterPlan {
    let url = expand(&raw.url, problems);
    let (kind, url) = kind(raw, &url, source, problems);
    let http = matches!(kind, RegisterKind::Rest | RegisterKind::Soap);
    if let Some(headers) = raw.headers.as_ref().and_then(|h| h.0.first())
        && !http
    {
        problems.at(headers.0.span(), "headers go with rest and soap only");
    }
    let tls = postgres::uses_tls(kind, &url);
    credentials::refuse(raw, kind, tls, problems);
    let (soap_version, wsdl) = soap::check(raw, source, problems);
    let limits = Limits {
        rows_max: count(&raw.rows_max, 10_000, 1_000_000, problems),
        stream_rows_max: count(&raw.stream_rows_max, 1_000_000, 1_000_000_000, problems),
        answer_bytes_max: count(&raw.answer_bytes_max, 16 << 20, 1 << 30, problems),
        stream_bytes_max: bounded(&raw.stream_bytes_max, 1 << 30, 1 << 40, problems),
    };
    RegisterPlan {
        kind,
        url,
        connections_max: bounded(&raw.connections_max, 8, 1000, problems),
        calls_in_flight_max: count(&raw.calls_in_flight_max, 64, 100_000, problems),
        wait: millis(&raw.wait_ms, 100, problems),
        timeout: millis(&raw.timeout_ms, 5000, problems),
        probe: millis(&raw.probe_ms, 1000, problems),
        headers: headers(raw, problems),
        ca_file: raw.ca_file.as_ref().map(|path| source.resolve(path.as_ref())),
        client_identity: raw
            .client_identity
            .as_ref()
            .map(|files| credentials::identity(files.as_ref(), source)),
        auth: raw.auth.as_ref().and_then(|auth| credentials::auth(auth, source, problems)),
        tls,
        soap_version,
        wsdl,
        limits,
    }
}

/// A time limit of a method or register.
pub(super) fn millis(given: &Option<Spanned<u64>>, default: u64, problems: &mut Problems) -> Duration {
    Duration::from_millis(bounded(given, default, 3_600_000, problems))
}

fn bounded<T: Copy + PartialOrd + From<u8> + std::fmt::Display>(
    given: &Option<Spanned<T>>,
    default: T,
    max: T,
    problems: &mut Problems,
) -> T {
    let Some(given) = given else {
        return default;
    };
    let value = *given.as_ref();
    if value < T::from(1) || value > max {
        problems.at(given.span(), format!("write a number from 1 to {max}"));
        return default;
    }
    value
}

fn count(given: &Option<Spanned<u32>>, default: u32, max: u32, problems: &mut Problems) -> usize {
    usize::try_from(bounded(given, default, max, problems)).unwrap_or(usize::MAX)
}

fn kind(raw: &raw::Register, url: &str, source: &Source, problems: &mut Problems) -> (RegisterKind, String) {
    let span = raw.url.span();
    match raw.kind {
        raw::Kind::Sql => {
            if let Some(path) = url.strip_prefix("sqlite:") {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() || path.contains('?') || path == ":memory:" {
                    problems.at(span, "write sqlite: and the path of the file");
                }
                let path = source.resolve(path);
                return (RegisterKind::Sqlite, path.to_string_lossy().into_owned());
            }
            if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
                problems.at(span, "a sql register's url begins with sqlite: or postgres://");
                return (RegisterKind::Postgres, url.to_owned());
            }
            (RegisterKind::Postgres, postgres::check(url, &span, problems))
        }
        raw::Kind::Rest | raw::Kind::Soap => {
            match reqwest::Url::parse(url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                    if !url.username().is_empty() || url.password().is_some() {
                        problems.at(span, "user and password go into [register.auth], kind = \"basic\"");
                    } else if url.query().is_some() || url.fragment().is_some() {
                        problems.at(span, "the url ends with the base path: ? and # go elsewhere");
                    }
                }
                _ => problems.at(span, "write http(s)://host:port/base"),
            }
            let kind = if raw.kind == raw::Kind::Rest { RegisterKind::Rest } else { RegisterKind::Soap };
            (kind, url.trim_end_matches('/').to_owned())
        }
    }
}

fn headers(raw: &raw::Register, problems: &mut Problems) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in raw.headers.iter().flat_map(|h| &h.0) {
        let text = expand(value, problems);
        if reqwest::header::HeaderName::from_bytes(name.as_ref().as_bytes()).is_err() {
            problems.at(name.span(), "no name of a header");
        } else if reqwest::header::HeaderValue::from_str(&text).is_err() {
            problems.at(value.span(), "no value of a header: visible ASCII only");
        } else {
            headers.push((name.as_ref().clone(), text));
        }
    }
    headers
}

/// Puts in `${NAME}` from the environment; the text as it stands where that fails, with the problem noted.
fn expand(text: &Spanned<String>, problems: &mut Problems) -> String {
    environment::put_in(text.as_ref()).unwrap_or_else(|problem| {
        problems.at(text.span(), problem);
        text.as_ref().clone()
    })
}
