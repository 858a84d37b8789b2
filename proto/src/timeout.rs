//! `grpc-timeout` (gRPC over HTTP/2, "Timeout"): 1 to 8 digits and a unit.

use std::time::Duration;

use http::HeaderValue;

/// Reads a timeout; `None` where it is not one.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes a timeout in the finest unit that eight digits can hold; rounds down.
///
/// # Panics
/// Never: digits and a letter are visible ASCII.
#[must_use]
pub fn value(left: Duration) -> HeaderValue {
    const DIGITS_MAX: u128 = 99_999_999;
    let (amount, unit) = if left.as_micros() <= DIGITS_MAX {
        (left.as_micros(), 'u')
    } else if left.as_millis() <= DIGITS_MAX {
        (left.as_millis(), 'm')
    } else {
        (u128::from(left.as_secs()).min(DIGITS_MAX), 'S')
    };
    HeaderValue::from_str(&format!("{amount}{unit}")).expect("digits and a letter are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_specification_allows() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("0S", Some(Duration::ZERO)),
            ("123456789m", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1.5S", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_and_never_grows() {
        for left in [
            Duration::ZERO,
            Duration::from_nanos(1_999),
            Duration::from_millis(250),
            Duration::from_secs(3600),
            Duration::from_secs(200_000),
            Duration::from_secs(u64::MAX),
        ] {
            let back = parse(value(left).as_bytes()).expect("own value");
            assert!(back <= left && left.as_millis().min(1) <= back.as_nanos().max(1), "{left:?} {back:?}");
        }
    }
}
