//! The clock of this machine, held against the `date` of an answer of a gateway. Pure.

use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::finding::Finding;

const CHECK: &str = "clock";

/// So far apart clocks may be, in seconds; `date` has whole seconds, and the answer was under way for some time.
const APART_S_MAX: i64 = 2;
/// Beyond this, new certificates (which begin five minutes before they are issued) and the times of evidence go wrong,
/// in seconds.
const WRONG_S_MIN: i64 = 60;

/// The time of an HTTP `date` (RFC 9110 section 5.6.7), seconds since 1970-01-01 UTC.
pub(super) fn date(value: &str) -> Option<i64> {
    let value = value.strip_suffix("GMT").map_or_else(|| value.to_owned(), |rest| format!("{rest}+0000"));
    OffsetDateTime::parse(&value, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}

/// What the own time, before and after the question, and the gateway's say.
pub(super) fn judge(gateway: &str, asked_us: i64, answered_us: i64, theirs_s: Option<i64>) -> Finding {
    let Some(theirs_s) = theirs_s else {
        let todo = "compare both machines' time by hand (`date -u`)";
        return Finding::warning(CHECK, format!("{gateway} told no time"), todo);
    };
    let (first_s, last_s) = (asked_us.div_euclid(1_000_000), answered_us.div_euclid(1_000_000));
    let apart_s = if theirs_s < first_s { theirs_s - first_s } else { (theirs_s - last_s).max(0) };
    let what = match apart_s {
        0 => format!("as {gateway} has it, to the second"),
        late if late > 0 => format!("{late} s behind that of {gateway}"),
        early => format!("{} s ahead of that of {gateway}", -early),
    };
    let todo =
        "one of the two is wrong: see whether both follow a time server (`timedatectl`, `chronyc tracking`)";
    match apart_s.abs() {
        apart if apart <= APART_S_MAX => Finding::ok(CHECK, what),
        apart if apart < WRONG_S_MIN => Finding::warning(CHECK, what, todo),
        _ => Finding::problem(CHECK, what, todo),
    }
}

#[cfg(test)]
mod tests {
    use ura_runtime::clock::Clock;

    use super::{super::finding::Level, *};

    #[test]
    fn a_clock_that_is_off_is_told() {
        let theirs = date("Sun, 22 Nov 2026 12:00:00 GMT");
        assert_eq!(theirs, Some(1_795_348_800));
        let (clock, hand) = Clock::manual(1_795_348_800_000_000);
        for (off_s, level, says) in [
            (0, Level::Ok, "to the second"),
            (2, Level::Ok, "2 s ahead"),
            (-3, Level::Warning, "3 s behind"),
            (59, Level::Warning, "59 s ahead"),
            (600, Level::Problem, "600 s ahead"),
            (-86_400, Level::Problem, "86400 s behind"),
        ] {
            hand.set_unix_us(1_795_348_800_400_000);
            hand.advance_us(off_s * 1_000_000);
            let asked = clock.unix_us();
            hand.advance_us(100_000);
            let found = judge("g:1", asked, clock.unix_us(), theirs);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.what.contains(says), "{found:?}");
        }
    }

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        let found = judge("g:1", 100_000_000, 109_000_000, Some(104));
        assert_eq!(found.level, Level::Ok, "{found:?}");
        assert_eq!(judge("g:1", 0, 0, date("yesterday")).level, Level::Warning);
    }
}
