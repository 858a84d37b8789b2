//! A provider's permission: its terms, the text that its digest is made of, and when subjects may be
//! told of exchanges under it. Knows no calls: who may ask is decided elsewhere.

use std::{fmt::Write as _, sync::Arc};

use aws_lc_rs::digest;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_proto::SystemId;

use super::snapshot::{Purpose, Service};

/// Microseconds in a day.
const DAY_US: i64 = 86_400 * 1_000_000;

/// The largest time: "when the grant says so".
const WITHHELD_US: i64 = i64::MAX;

/// When the subjects may be told of an exchange under a grant (a criminal inquiry may have to wait).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disclosure {
    /// At once.
    Immediate,
    /// So many days after the exchange was recorded, 1 to 3650.
    Delayed {
        /// Days of 24 hours.
        days: u32,
    },
    /// From this time on, microseconds since 1970-01-01 UTC.
    WithheldUntil {
        /// The time.
        unix_us: i64,
    },
    /// Not while the grant says so.
    Withheld,
}

impl Disclosure {
    /// From when on the subjects may be told of an exchange that was recorded at `recorded_us`, both in
    /// microseconds since 1970-01-01 UTC: 0 for at once, `i64::MAX` for "when the grant says so".
    #[expect(clippy::wrong_self_convention, reason = "the time from which on, not a conversion")]
    pub(crate) fn from_us(self, recorded_us: i64) -> i64 {
        match self {
            Self::Immediate => 0,
            // A time that is no time is reserved for the word "withheld".
            Self::Delayed { days } => {
                recorded_us.saturating_add(i64::from(days) * DAY_US).clamp(0, WITHHELD_US - 1)
            }
            Self::WithheldUntil { unix_us } => unix_us.clamp(0, WITHHELD_US - 1),
            Self::Withheld => WITHHELD_US,
        }
    }

    /// As the canonical text of a grant has it.
    fn canonical(self) -> String {
        match self {
            Self::Immediate => "immediate".to_owned(),
            Self::Delayed { days } => format!("delay_days {days}"),
            Self::WithheldUntil { unix_us } => format!("withheld_until {}", instant_text(unix_us)),
            Self::Withheld => "withheld".to_owned(),
        }
    }
}

/// A provider's permission.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Its id, as evidence names it.
    pub(crate) id: Arc<str>,
    /// Who may ask.
    pub(crate) consumer: SystemId,
    /// The service it is for.
    pub(crate) service: Arc<Service>,
    /// Methods by name; `None` for all of the contract.
    pub(crate) methods: Option<Vec<Box<str>>>,
    /// Purposes; empty where the grant asks for none.
    pub(crate) purposes: Vec<Arc<Purpose>>,
    /// First microsecond since 1970-01-01 UTC at which it holds; `i64::MIN` where it always did.
    pub(crate) from_unix_us: i64,
    /// First microsecond at which it holds no more; `i64::MAX` where it has no end.
    pub(crate) until_unix_us: i64,
    /// When subjects may be told.
    pub(crate) disclosure: Disclosure,
    /// SHA-256 of [`Grant::canonical`], as evidence names the grant.
    pub(crate) digest: [u8; 32],
}

impl Grant {
    /// The same with its digest computed.
    pub(super) fn with_digest(mut self) -> Self {
        let digest = digest::digest(&digest::SHA256, self.canonical().as_bytes());
        self.digest = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        self
    }

    /// The text that the digest is made of: UTF-8, one `key value` per line, each line ended by a line
    /// feed (0x0A), in this order:
    ///
    /// ```text
    /// format ura-grant/1
    /// id <id>
    /// consumer <member>/<system>
    /// provider <member>/<system>
    /// contract <package.Service>
    /// method <name>
    /// purpose <code>
    /// from <time>
    /// until <time>
    /// disclosure <disclosure>
    /// ```
    ///
    /// * `method`: one line per method of the grant, each once, in ascending order of their bytes; the one
    ///   line `method *` where the grant has `"*"`, alone or with others.
    /// * `purpose`: one line per purpose code, each once, in ascending order; no line where there is none.
    /// * `from`, `until`: no line where the file has none. A time is written in UTC as RFC 3339,
    ///   `2026-01-01T00:00:00Z`; parts of a second only where there are any, without zeros at their end,
    ///   and what is below a microsecond is cut off.
    /// * `disclosure`: `immediate` (also where the file says nothing), `delay_days <N>`, `withheld`, or
    ///   `withheld_until <time>`.
    ///
    /// Values stand as in the directory file, without quotation marks. None can hold a line feed.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::from("format ura-grant/1\n");
        let mut line = |key: &str, value: &str| {
            writeln!(text, "{key} {value}").expect("writing to a String cannot fail");
        };
        line("id", &self.id);
        line("consumer", self.consumer.as_str());
        line("provider", self.service.key.provider.as_str());
        line("contract", &self.service.key.contract);
        let methods = self.methods.as_ref().map_or_else(|| vec!["*"], |m| m.iter().map(|m| &**m).collect());
        for method in sorted(methods) {
            line("method", method);
        }
        for purpose in sorted(self.purposes.iter().map(|purpose| &*purpose.code).collect()) {
            line("purpose", purpose);
        }
        if self.from_unix_us != i64::MIN {
            line("from", &instant_text(self.from_unix_us));
        }
        if self.until_unix_us != i64::MAX {
            line("until", &instant_text(self.until_unix_us));
        }
        line("disclosure", &self.disclosure.canonical());
        text
    }
}

/// Names in ascending order of their bytes, each once.
fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

/// A time in UTC, RFC 3339. The directory's reader admits only years that have four digits.
fn instant_text(unix_us: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_us) * 1000)
        .ok()
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .unwrap_or_else(|| unix_us.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::ServiceKey;

    #[test]
    fn subjects_are_told_when_the_grant_says() {
        const NOW: i64 = 1_795_348_800_000_000;
        for (disclosure, recorded_us, from_us) in [
            (Disclosure::Immediate, NOW, 0),
            (Disclosure::Immediate, i64::MAX, 0),
            (Disclosure::Delayed { days: 1 }, NOW, NOW + 86_400_000_000),
            (Disclosure::Delayed { days: 3650 }, NOW, NOW + 3650 * 86_400_000_000),
            (Disclosure::Delayed { days: 3650 }, i64::MAX, i64::MAX - 1),
            (Disclosure::Delayed { days: 1 }, i64::MIN, 0),
            (Disclosure::WithheldUntil { unix_us: NOW + 5 }, NOW, NOW + 5),
            (Disclosure::WithheldUntil { unix_us: NOW - 5 }, NOW, NOW - 5),
            (Disclosure::WithheldUntil { unix_us: -5 }, NOW, 0),
            (Disclosure::Withheld, NOW, i64::MAX),
            (Disclosure::Withheld, 0, i64::MAX),
        ] {
            assert_eq!(disclosure.from_us(recorded_us), from_us, "{disclosure:?} at {recorded_us}");
        }
    }

    fn grant() -> Grant {
        let key = ServiceKey { contract: "t.v1.S".into(), provider: "arc/civil".parse().expect("valid") };
        Grant {
            id: "g1".into(),
            consumer: "ais/portal".parse().expect("valid"),
            service: Arc::new(Service { key, limits: Default::default(), validate: Default::default() }),
            methods: Some(["Write", "Read", "Read"].map(Into::into).into()),
            purposes: ["tax", "birth"].map(|code| Arc::new(Purpose::for_tests(code))).into(),
            from_unix_us: 1_767_222_000_000_000,
            until_unix_us: 1_798_761_600_250_000,
            disclosure: Disclosure::Delayed { days: 30 },
            digest: [0; 32],
        }
    }

    #[test]
    fn the_canonical_text_is_the_documented_one() {
        assert_eq!(
            grant().canonical(),
            "format ura-grant/1\nid g1\nconsumer ais/portal\nprovider arc/civil\ncontract t.v1.S\n\
             method Read\nmethod Write\npurpose birth\npurpose tax\n\
             from 2025-12-31T23:00:00Z\nuntil 2027-01-01T00:00:00.25Z\ndisclosure delay_days 30\n"
        );
        let open = Grant {
            methods: None,
            purposes: Vec::new(),
            from_unix_us: i64::MIN,
            until_unix_us: i64::MAX,
            disclosure: Disclosure::Immediate,
            ..grant()
        };
        assert_eq!(
            open.canonical(),
            "format ura-grant/1\nid g1\nconsumer ais/portal\nprovider arc/civil\ncontract t.v1.S\n\
             method *\ndisclosure immediate\n"
        );
        let until = Disclosure::WithheldUntil { unix_us: 1_767_222_000_000_000 };
        assert_eq!(until.canonical(), "withheld_until 2025-12-31T23:00:00Z");
        assert_eq!(Disclosure::Withheld.canonical(), "withheld");
    }

    #[test]
    fn every_term_changes_the_digest() {
        let digest = |grant: Grant| grant.with_digest().digest;
        let first = digest(grant());
        assert_ne!(first, [0; 32]);
        let service = |contract: &str, provider: &str| {
            let key = ServiceKey { contract: contract.into(), provider: provider.parse().expect("valid") };
            Arc::new(Service { key, limits: Default::default(), validate: Default::default() })
        };
        let changed = [
            Grant { id: "g2".into(), ..grant() },
            Grant { consumer: "ais/other".parse().expect("valid"), ..grant() },
            Grant { service: service("t.v1.T", "arc/civil"), ..grant() },
            Grant { service: service("t.v1.S", "arc/other"), ..grant() },
            Grant { methods: None, ..grant() },
            Grant { methods: Some(vec!["Read".into()]), ..grant() },
            Grant { purposes: Vec::new(), ..grant() },
            Grant { from_unix_us: grant().from_unix_us + 1, ..grant() },
            Grant { until_unix_us: i64::MAX, ..grant() },
            Grant { disclosure: Disclosure::Immediate, ..grant() },
        ];
        let mut digests: Vec<_> = changed.into_iter().map(digest).chain([first]).collect();
        let all = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all);
        let reordered = Grant { methods: Some(["Read", "Write"].map(Into::into).into()), ..grant() };
        assert_eq!(digest(reordered), first, "order and repetition mean nothing");
    }
}
