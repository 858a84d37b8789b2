//! Text to dates: digits taken from the front, one part after the other.

use time::{Time, UtcOffset};

use super::{DateError, Moment, Piece};

/// Reads `+01:00`, `+0100`, `+01` or `Z`.
pub(crate) fn offset(text: &str) -> Option<UtcOffset> {
    let mut rest = text;
    let offset = take_offset(&mut rest)?;
    rest.is_empty().then_some(offset)
}

fn take_offset(rest: &mut &str) -> Option<UtcOffset> {
    if let Some(after) = rest.strip_prefix(['Z', 'z']) {
        *rest = after;
        return Some(UtcOffset::UTC);
    }
    let sign = match rest.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let mut inner = rest.get(1..)?;
    let hours = take_digits(&mut inner, 2, 2)?;
    inner = inner.strip_prefix(':').unwrap_or(inner);
    let minutes = take_digits(&mut inner, 2, 2).unwrap_or(0);
    *rest = inner;
    let whole = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    UtcOffset::from_whole_seconds(sign * whole).ok()
}

/// Takes `min` to `max` digits from the front.
fn take_digits(rest: &mut &str, min: usize, max: usize) -> Option<u32> {
    let count = rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if count < min {
        return None;
    }
    let (digits, after) = rest.split_at_checked(count)?;
    *rest = after;
    digits.parse().ok()
}

/// Takes a fraction of a second as nanoseconds; digits beyond nine are dropped.
fn take_fraction(rest: &mut &str) -> Option<u32> {
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at_checked(count)?;
    *rest = after;
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    if digits.is_empty() { None } else { nine.parse().ok() }
}

/// ISO 8601, calendar dates.
pub(super) fn iso(text: &str) -> Result<Moment, DateError> {
    let mut rest = text;
    let whole = |part: Option<u32>| part.ok_or(DateError::Form);
    let mut parts = [whole(take_digits(&mut rest, 4, 4))?, 0, 0];
    for part in &mut parts[1..] {
        if let Some(after) = rest.strip_prefix('-') {
            rest = after;
            *part = whole(take_digits(&mut rest, 2, 2))?;
        }
    }
    let mut clock = [0, 0, 0, 0];
    let mut zone = None;
    if let Some(after) = rest.strip_prefix(['T', 't', ' ']) {
        rest = after;
        clock[0] = whole(take_digits(&mut rest, 2, 2))?;
        rest = rest.strip_prefix(':').ok_or(DateError::Form)?;
        clock[1] = whole(take_digits(&mut rest, 2, 2))?;
        if let Some(after) = rest.strip_prefix(':') {
            rest = after;
            clock[2] = whole(take_digits(&mut rest, 2, 2))?;
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            clock[3] = whole(take_fraction(&mut rest))?;
        }
        rest = rest.trim_start();
        zone = take_offset(&mut rest);
    }
    if !rest.is_empty() {
        return Err(DateError::Form);
    }
    assemble(parts, clock, zone)
}

/// By a form with `%` codes.
pub(super) fn by_form(text: &str, pieces: &[Piece]) -> Result<Moment, DateError> {
    let mut rest = text;
    let mut day = [0, 0, 0];
    let mut clock = [0, 0, 0, 0];
    let mut zone = None;
    for piece in pieces {
        let whole = |part: Option<u32>| part.ok_or(DateError::Form);
        match piece {
            Piece::Literal(c) => rest = rest.strip_prefix(*c).ok_or(DateError::Form)?,
            Piece::Code('Y') => day[0] = whole(take_digits(&mut rest, 4, 4))?,
            Piece::Code('m') => day[1] = whole(take_digits(&mut rest, 1, 2))?,
            Piece::Code('d') => day[2] = whole(take_digits(&mut rest, 1, 2))?,
            Piece::Code('H') => clock[0] = whole(take_digits(&mut rest, 1, 2))?,
            Piece::Code('M') => clock[1] = whole(take_digits(&mut rest, 1, 2))?,
            Piece::Code('S') => clock[2] = whole(take_digits(&mut rest, 1, 2))?,
            Piece::Code('f') => clock[3] = whole(take_fraction(&mut rest))?,
            Piece::Code('z') => zone = Some(take_offset(&mut rest).ok_or(DateError::Form)?),
            Piece::Code(_) => {
                let seconds: i64 = rest.parse().map_err(|_| DateError::Form)?;
                return Moment::from_unix(seconds, 0);
            }
        }
    }
    if !rest.is_empty() {
        return Err(DateError::Form);
    }
    assemble(day, clock, zone)
}

fn assemble(day: [u32; 3], clock: [u32; 4], zone: Option<UtcOffset>) -> Result<Moment, DateError> {
    let part = |value: u32| u8::try_from(value).map_err(|_| DateError::Calendar);
    let time = Time::from_hms_nano(part(clock[0])?, part(clock[1])?, part(clock[2])?, clock[3])
        .map_err(|_| DateError::Calendar)?;
    Moment {
        year: u16::try_from(day[0]).map_err(|_| DateError::Calendar)?,
        month: part(day[1])?,
        day: part(day[2])?,
        time,
        offset: zone,
    }
    .checked()
}
