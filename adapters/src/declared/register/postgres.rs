//! The url of a PostgreSQL register: libpq's, with the modes of TLS that keep what they promise.

use std::{ops::Range, str::FromStr as _};

use tokio_postgres::{Config, config::SslMode};
use ura_runtime::config::Problems;

use crate::plan::RegisterKind;

/// Checks the url, and gives it back as the driver reads it.
pub(super) fn check(url: &str, span: &Range<usize>, problems: &mut Problems) -> String {
    let Some((mode, url)) = mode(url) else {
        problems.at(
            span.clone(),
            "write sslmode=verify-full, or sslmode=disable for a database on this machine: any other mode can be \
             talked out of TLS, or into that of somebody else",
        );
        return url.to_owned();
    };
    if let Err(error) = Config::from_str(&url) {
        let hint = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        problems.at(span.clone(), format!("not a PostgreSQL url: {hint}"));
    }
    format!("{url}{}sslmode={mode}", if url.contains('?') { '&' } else { '?' })
}

/// Whether a checked url asks for TLS.
pub(super) fn uses_tls(kind: RegisterKind, url: &str) -> bool {
    let config = (kind == RegisterKind::Postgres).then(|| Config::from_str(url));
    config.is_some_and(|config| config.is_ok_and(|config| config.get_ssl_mode() == SslMode::Require))
}

/// The driver's mode, and the url without one; `None` for modes that are not taken. `verify-full` is not known to the
/// driver, and its own `require` leaves the verification to us: it is always done.
fn mode(url: &str) -> Option<(&'static str, String)> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut mode = "disable";
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", "verify-full" | "require")) => mode = "require",
            Some(("sslmode", "disable")) => mode = "disable",
            Some(("sslmode", _)) => return None,
            _ => rest.push(pair),
        }
    }
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    Some((mode, format!("{base}{query}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modes_that_keep_their_promise_are_taken() {
        for (url, expected) in [
            ("postgres://h/d", Some(("disable", "postgres://h/d"))),
            ("postgres://h/d?sslmode=verify-full", Some(("require", "postgres://h/d"))),
            ("postgres://h/d?a=b&sslmode=require&c=d", Some(("require", "postgres://h/d?a=b&c=d"))),
            ("postgres://h/d?sslmode=disable", Some(("disable", "postgres://h/d"))),
            ("postgres://h/d?sslmode=prefer", None),
            ("postgres://h/d?sslmode=verify-ca", None),
            ("postgres://h/d?sslmode=", None),
        ] {
            let expected = expected.map(|(mode, url)| (mode, url.to_owned()));
            assert_eq!(mode(url), expected, "{url}");
        }
        assert!(uses_tls(RegisterKind::Postgres, "postgres://h/d?sslmode=require"));
        assert!(!uses_tls(RegisterKind::Postgres, "postgres://h/d?sslmode=disable"));
        assert!(!uses_tls(RegisterKind::Sqlite, "postgres://h/d?sslmode=require"));
    }
}
