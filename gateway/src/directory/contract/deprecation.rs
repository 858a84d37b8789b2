//! What callers are told of a contract or a method that is on its way out. Knows no calls.

use http::HeaderValue;
use time::Date;

/// What the directory says of a contract that is on its way out; each part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deprecated {
    /// Since when.
    pub(crate) since: Option<Date>,
    /// The last day on which it is answered. Announced only: what ends it is its leaving the directory.
    pub(crate) until: Option<Date>,
    /// The contract to use instead, `package.Service`.
    pub(crate) instead: Option<Box<str>>,
}

impl Deprecated {
    /// The value of `ura-deprecated` for what is deprecated: `package.Service` or `package.Service/Method`.
    pub(super) fn header(&self, of: &str) -> HeaderValue {
        let mut text = format!("of={of}");
        for (key, date) in [("since", self.since), ("until", self.until)] {
            if let Some(date) = date {
                // Date's own form is that of ISO 8601.
                text.push_str(&format!(";{key}={date}"));
            }
        }
        if let Some(instead) = &self.instead {
            text.push_str(&format!(";use={instead}"));
        }
        HeaderValue::from_str(&text).expect("names and dates are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_told_where_it_is_known() {
        let date = |text: &str| {
            Date::parse(text, &time::format_description::well_known::Iso8601::DATE).expect("a date")
        };
        let all = Deprecated {
            since: Some(date("2026-10-01")),
            until: Some(date("2027-04-30")),
            instead: Some("a.v2.S".into()),
        };
        assert_eq!(all.header("a.v1.S"), "of=a.v1.S;since=2026-10-01;until=2027-04-30;use=a.v2.S");
        assert_eq!(Deprecated::default().header("a.v1.S/M"), "of=a.v1.S/M");
    }
}
