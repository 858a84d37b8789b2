//! Numbers of persons, businesses, invoices and vehicles, as the registers write them. Pure.

/// Distinct personal numbers that exist.
const PERSONAL_NUMBERS: u64 = 100_000_000;
/// Distinct plates of one region: 101 to 999, two letters of 17.
pub(crate) const PLATES_PER_REGION: u64 = 899 * 17 * 17;

/// A decimal digit as a character.
fn digit(value: u64) -> char {
    char::from_digit(u32::try_from(value % 10).unwrap_or(0), 10).unwrap_or('0')
}

/// Personal number of the person with this index: 10 digits, distinct for distinct indexes below 10^8.
///
/// Carries no birth date. The last digit is the reported check digit: weights 4,3,2,7,6,5,4,3,2;
/// 11 - sum mod 11; 10 and 11 become 0. No official source for it was found.
pub(crate) fn personal_number(seed: u64, index: u64) -> String {
    let scattered = (index % PERSONAL_NUMBERS * 61_803_399 + seed % 9_973 * 7_919) % PERSONAL_NUMBERS;
    let body = 100_000_000 + scattered;
    format!("{body}{}", digit(personal_check(body)))
}

/// Check digit over the nine digits of `body`.
fn personal_check(body: u64) -> u64 {
    const WEIGHTS: [u64; 9] = [2, 3, 4, 5, 6, 7, 2, 3, 4];
    let mut rest = body;
    let mut sum = 0;
    for weight in WEIGHTS {
        sum += rest % 10 * weight;
        rest /= 10;
    }
    match 11 - sum % 11 {
        10 | 11 => 0,
        check => check,
    }
}

/// Unique number (NUI) of the business with this index: 9 digits.
pub(crate) fn business_number(index: u64) -> String {
    format!("81{:07}", index * 7_919 % 10_000_000)
}

/// UNIREF: payee (3 digits), year (2), serial (9), check (2): the whole number modulo 97 is 1.
pub(crate) fn uniref(payee: u64, year: u64, serial: u64) -> String {
    let body = (payee % 1000 * 100 + year % 100) * 1_000_000_000 + serial % 1_000_000_000;
    let check = (98 - body % 97 * 100 % 97) % 97;
    format!("{body:014}{check:02}")
}

/// Plate of a region (1 to 7) with this index, distinct for distinct indexes below [`PLATES_PER_REGION`].
pub(crate) fn plate(region: u64, index: u64) -> String {
    let scattered = index * 104_729 % PLATES_PER_REGION;
    let letters = scattered % 289;
    format!(
        "{region:02}-{}-{}{}",
        101 + scattered / 289,
        plate_letter(letters / 17),
        plate_letter(letters % 17)
    )
}

/// A letter from A to Q.
fn plate_letter(value: u64) -> char {
    char::from(b'A' + u8::try_from(value % 17).unwrap_or(0))
}

/// Chassis number: maker's code (3), vehicle's code (5), check (1), year (1), plant (1), serial (6).
/// ISO 3779; the check character is that of 49 CFR 565.15.
pub(crate) fn chassis_number(maker: &str, code: &str, year: i32, index: u64) -> String {
    const YEARS: [char; 30] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'R', 'S', 'T', 'V', 'W', 'X',
        'Y', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    ];
    let year = YEARS[usize::try_from((year - 1980).rem_euclid(30)).expect("0 to 29")];
    let plant = char::from(b'A' + u8::try_from(index / 1_000_000 % 8).expect("0 to 7"));
    let tail = format!("{year}{plant}{:06}", index % 1_000_000);
    let check = chassis_check(&format!("{maker}{code}0{tail}"));
    format!("{maker}{code}{check}{tail}")
}

/// Check character over the 17 characters of a chassis number; the ninth has no weight.
fn chassis_check(number: &str) -> char {
    const WEIGHTS: [u64; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let sum: u64 = number.bytes().zip(WEIGHTS).map(|(byte, weight)| chassis_value(byte) * weight).sum();
    match sum % 11 {
        10 => 'X',
        rest => digit(rest),
    }
}

/// Value of a character of a chassis number (49 CFR 565.15, table III).
fn chassis_value(byte: u8) -> u64 {
    u64::from(match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'H' => byte - b'A' + 1,
        b'J'..=b'N' => byte - b'J' + 1,
        b'P' => 7,
        b'R' => 9,
        b'S'..=b'Z' => byte - b'S' + 2,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_reported_example_has_its_check_digit() {
        assert_eq!(personal_check(123_456_789), 2);
    }

    #[test]
    fn personal_numbers_are_ten_digits_and_distinct() {
        let numbers: HashSet<String> = (0..20_000).map(|index| personal_number(7, index)).collect();
        assert_eq!(numbers.len(), 20_000);
        assert!(numbers.iter().all(|n| n.len() == 10 && n.bytes().all(|b| b.is_ascii_digit())));
    }

    #[test]
    fn unirefs_are_one_modulo_97() {
        for serial in [0, 1, 4_217, 999_999_999] {
            let text = uniref(127, 2026, serial);
            assert_eq!(text.len(), 16, "{text}");
            assert!(text.starts_with("12726"), "{text}");
            assert_eq!(text.parse::<u64>().expect("digits") % 97, 1, "{text}");
        }
    }

    #[test]
    fn plates_are_distinct_and_in_their_form() {
        let plates: HashSet<String> = (0..PLATES_PER_REGION).map(|index| plate(3, index)).collect();
        assert_eq!(plates.len(), usize::try_from(PLATES_PER_REGION).expect("small"));
        assert!(plates.contains("03-101-AA") && plates.contains("03-999-QQ"));
    }

    #[test]
    fn chassis_numbers_check() {
        // The worked example of 49 CFR 565.15 has the check character X.
        assert_eq!(chassis_check("1M8GDM9A0KP042788"), 'X');
        let number = chassis_number("WVW", "ZZZ1K", 2009, 12);
        assert_eq!(number.len(), 17);
        assert!(number.starts_with("WVWZZZ1K") && number.ends_with("9A000012"), "{number}");
    }
}
