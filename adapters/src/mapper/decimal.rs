//! Decimal text and minor units, exactly: money never passes through floating point.

/// Why a decimal does not become minor units.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Not a decimal number.
    #[error("is not a decimal number")]
    Syntax,
    /// More decimals than the currency has.
    #[error("has more decimals than the contract's unit allows")]
    Decimals,
    /// Does not fit 64 bits.
    #[error("is too large")]
    Range,
}

/// The value × 10^digits as an integer. Decimals beyond `digits` must be zeros. Exponents are read.
pub(crate) fn to_minor(text: &str, digits: u32) -> Result<i64, DecimalError> {
    let text = text.trim();
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| DecimalError::Syntax)?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(DecimalError::Syntax);
    }
    let significant: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    // Position of the unit's last digit inside `significant`.
    let end = i64::try_from(whole.len()).map_err(|_| DecimalError::Range)?
        + i64::from(exponent)
        + i64::from(digits);
    let mut value: i128 = 0;
    for (at, digit) in significant.iter().enumerate() {
        let at = i64::try_from(at).map_err(|_| DecimalError::Range)?;
        if at >= end {
            if *digit != b'0' {
                return Err(DecimalError::Decimals);
            }
            continue;
        }
        value = shift(value)? + i128::from(*digit - b'0');
    }
    let count = i64::try_from(significant.len()).map_err(|_| DecimalError::Range)?;
    if value != 0 {
        for _ in count..end {
            value = shift(value)?;
        }
    }
    i64::try_from(if negative { -value } else { value }).map_err(|_| DecimalError::Range)
}

fn shift(value: i128) -> Result<i128, DecimalError> {
    let value = value * 10;
    if value > i128::from(u64::MAX) {
        return Err(DecimalError::Range);
    }
    Ok(value)
}

/// Minor units as decimal text with `digits` decimals: `1235`, 2 is `12.35`.
pub(crate) fn from_minor(minor: i64, digits: u32) -> String {
    let digits = usize::try_from(digits).unwrap_or(0);
    let text = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = text.split_at_checked(text.len() - digits).unwrap_or((&text, ""));
    let sign = if minor < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, digits, minor) in [
            ("12.35", 2, 1235),
            ("12.3", 2, 1230),
            ("12", 2, 1200),
            ("-0.05", 2, -5),
            (".5", 2, 50),
            ("12.3500", 2, 1235),
            ("1.2e3", 2, 120_000),
            ("1235e-2", 2, 1235),
            ("0.29", 2, 29),
            ("92233720368547758.07", 2, i64::MAX),
            ("-92233720368547758.08", 2, i64::MIN),
            ("0e999999", 2, 0),
            ("+7", 0, 7),
        ] {
            assert_eq!(to_minor(text, digits), Ok(minor), "{text}");
        }
        for (text, error) in [
            ("12.355", DecimalError::Decimals),
            ("1e-9", DecimalError::Decimals),
            ("92233720368547758.08", DecimalError::Range),
            ("1e999999999", DecimalError::Range),
            ("12,35", DecimalError::Syntax),
            ("", DecimalError::Syntax),
            ("-", DecimalError::Syntax),
            ("NaN", DecimalError::Syntax),
            ("1 2", DecimalError::Syntax),
        ] {
            assert_eq!(to_minor(text, 2), Err(error), "{text}");
        }
    }

    #[test]
    fn minor_units_are_written_exactly() {
        for (minor, digits, text) in [
            (1235, 2, "12.35"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (i64::MIN, 2, "-92233720368547758.08"),
        ] {
            assert_eq!(from_minor(minor, digits), text);
            assert_eq!(to_minor(text, digits), Ok(minor));
        }
    }
}
