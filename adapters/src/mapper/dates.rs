//! Dates and times: ISO 8601, a register's own form, and the calendar between them.
//!
//! Proleptic Gregorian calendar, years 1 to 9999; no time zone database, only fixed offsets.

mod reading;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

pub(crate) use reading::offset;
use reading::{by_form, iso};

/// Why a text is not a date, or a date not what was asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DateError {
    /// Not in the expected form.
    #[error("is not a date in the expected form")]
    Form,
    /// No such day or time.
    #[error("is no day of the calendar")]
    Calendar,
    /// Month or day is missing where a whole day is needed.
    #[error("is not a whole day")]
    Partial,
}

/// A form as written with `%` codes cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`%{0}` is not known: use %Y %m %d %H %M %S %f %z %s and %%")]
pub(crate) struct UnknownCode(String);

/// How a register writes dates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DateForm {
    /// `None`: ISO 8601.
    pieces: Option<Vec<Piece>>,
    /// Offset of times that carry none; days are counted in it.
    utc_offset: Option<UtcOffset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(char),
    Code(char),
}

/// A point in time or a day, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// 1 to 9999.
    pub(crate) year: u16,
    /// 1 to 12, 0 where it is not known.
    pub(crate) month: u8,
    /// 1 to 31, 0 where it is not known.
    pub(crate) day: u8,
    time: Time,
    offset: Option<UtcOffset>,
}

impl DateForm {
    /// Reads a form such as `%d.%m.%Y`, and an offset such as `+01:00`.
    pub(crate) fn parse(form: Option<&str>) -> Result<Self, UnknownCode> {
        let Some(form) = form else {
            return Ok(Self::default());
        };
        let mut pieces = Vec::new();
        let mut chars = form.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                pieces.push(Piece::Literal(c));
                continue;
            }
            match chars.next() {
                Some('%') => pieces.push(Piece::Literal('%')),
                Some(code @ ('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'f' | 'z' | 's')) => {
                    pieces.push(Piece::Code(code));
                }
                other => return Err(UnknownCode(other.map(String::from).unwrap_or_default())),
            }
        }
        Ok(Self { pieces: Some(pieces), utc_offset: None })
    }

    /// The same with an offset for times that carry none.
    pub(crate) fn with_offset(mut self, offset: UtcOffset) -> Self {
        self.utc_offset = Some(offset);
        self
    }

    /// Reads the register's text.
    pub(crate) fn read(&self, text: &str) -> Result<Moment, DateError> {
        let mut moment = match &self.pieces {
            None => iso(text.trim())?,
            Some(pieces) => by_form(text.trim(), pieces)?,
        };
        if let Some(zone) = self.utc_offset {
            match moment.offset {
                None => moment.offset = Some(zone),
                Some(_) => moment = Moment::from_instant(moment.instant()?.to_offset(zone)),
            }
        }
        Ok(moment)
    }

    /// Writes the register's text.
    pub(crate) fn write(&self, moment: &Moment) -> Result<String, DateError> {
        let moment = match (self.utc_offset, moment.offset) {
            (Some(zone), Some(_)) => Moment::from_instant(moment.instant()?.to_offset(zone)),
            _ => *moment,
        };
        match &self.pieces {
            None => Ok(moment.to_iso()),
            Some(pieces) => moment.write_form(pieces),
        }
    }
}

impl Moment {
    /// A day; zeros where month or day are not known.
    pub(crate) fn day(year: i32, month: i32, day: i32) -> Result<Self, DateError> {
        let part = |value: i32| u8::try_from(value).map_err(|_| DateError::Calendar);
        let year = u16::try_from(year).map_err(|_| DateError::Calendar)?;
        let moment = Self { year, month: part(month)?, day: part(day)?, time: Time::MIDNIGHT, offset: None };
        moment.checked()
    }

    /// A point in time.
    pub(crate) fn from_unix(seconds: i64, nanos: u32) -> Result<Self, DateError> {
        let instant = OffsetDateTime::from_unix_timestamp(seconds)
            .and_then(|at| at.replace_nanosecond(nanos))
            .map_err(|_| DateError::Calendar)?;
        if !(1..=9999).contains(&instant.year()) {
            return Err(DateError::Calendar);
        }
        Ok(Self::from_instant(instant))
    }

    fn from_instant(at: OffsetDateTime) -> Self {
        Self {
            year: u16::try_from(at.year()).unwrap_or(0),
            month: at.month().into(),
            day: at.day(),
            time: at.time(),
            offset: Some(at.offset()),
        }
    }

    fn checked(self) -> Result<Self, DateError> {
        if !(1..=9999).contains(&self.year) || self.month > 12 || self.month == 0 && self.day > 0 {
            return Err(DateError::Calendar);
        }
        if self.day > 0 {
            self.date()?;
        }
        Ok(self)
    }

    fn date(&self) -> Result<Date, DateError> {
        if self.month == 0 || self.day == 0 {
            return Err(DateError::Partial);
        }
        let month = Month::try_from(self.month).map_err(|_| DateError::Calendar)?;
        Date::from_calendar_date(i32::from(self.year), month, self.day).map_err(|_| DateError::Calendar)
    }

    fn instant(&self) -> Result<OffsetDateTime, DateError> {
        let local = PrimitiveDateTime::new(self.date()?, self.time);
        Ok(local.assume_offset(self.offset.unwrap_or(UtcOffset::UTC)))
    }

    /// Seconds since 1970-01-01 UTC and nanoseconds; UTC where the moment carries no offset.
    pub(crate) fn unix(&self) -> Result<(i64, i32), DateError> {
        let at = self.instant()?;
        let nanos = i32::try_from(at.nanosecond()).map_err(|_| DateError::Calendar)?;
        Ok((at.unix_timestamp(), nanos))
    }

    /// ISO 8601: as much of the day as is known; with the time where an offset is known or it is
    /// not midnight.
    pub(crate) fn to_iso(self) -> String {
        let mut text = format!("{:04}", self.year);
        if self.month > 0 {
            text += &format!("-{:02}", self.month);
        }
        if self.day > 0 {
            text += &format!("-{:02}", self.day);
        }
        if self.offset.is_some() || self.time != Time::MIDNIGHT {
            let (h, m, s, nanos) = self.time.as_hms_nano();
            text += &format!("T{h:02}:{m:02}:{s:02}");
            if nanos > 0 {
                text += format!(".{nanos:09}").trim_end_matches('0');
            }
        }
        match self.offset {
            Some(offset) if offset == UtcOffset::UTC => text.push('Z'),
            Some(offset) => text += &offset_text(offset),
            None => {}
        }
        text
    }

    fn write_form(&self, pieces: &[Piece]) -> Result<String, DateError> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(c) => text.push(*c),
                Piece::Code('Y') => text += &format!("{:04}", self.year),
                Piece::Code('m') if self.month == 0 => return Err(DateError::Partial),
                Piece::Code('m') => text += &format!("{:02}", self.month),
                Piece::Code('d') if self.day == 0 => return Err(DateError::Partial),
                Piece::Code('d') => text += &format!("{:02}", self.day),
                Piece::Code('H') => text += &format!("{:02}", self.time.hour()),
                Piece::Code('M') => text += &format!("{:02}", self.time.minute()),
                Piece::Code('S') => text += &format!("{:02}", self.time.second()),
                Piece::Code('f') => text += &format!("{:09}", self.time.nanosecond()),
                Piece::Code('z') => text += &offset_text(self.offset.unwrap_or(UtcOffset::UTC)),
                Piece::Code(_) => text += &self.instant()?.unix_timestamp().to_string(),
            }
        }
        Ok(text)
    }
}

fn offset_text(offset: UtcOffset) -> String {
    let (h, m, _) = offset.as_hms();
    let sign = if offset.is_negative() { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", h.unsigned_abs(), m.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_is_read_and_written() {
        for (text, back) in [
            ("2026-11-22", "2026-11-22"),
            ("2026-11", "2026-11"),
            ("2026", "2026"),
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-22 10:00:00.500+01", "2026-11-22T10:00:00.5+01:00"),
            ("2026-11-22T10:01", "2026-11-22T10:01:00"),
            (" 2024-02-29 ", "2024-02-29"),
        ] {
            let moment = DateForm::default().read(text).expect(text);
            assert_eq!(moment.to_iso(), back);
        }
        for bad in [
            "",
            "22.11.2026",
            "2026-13-01",
            "2026-02-30",
            "2026-11-22x",
            "0000-01-01",
            "2026-11-22T25:00:00Z",
            "infinity",
            "2026-1-2",
        ] {
            assert!(DateForm::default().read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn own_forms_are_read_and_written() {
        for (form, text, iso) in [
            ("%d.%m.%Y", "03.04.2026", "2026-04-03"),
            ("%Y%m%d", "20260403", "2026-04-03"),
            ("%d/%m/%Y %H:%M", "03/04/2026 09:07", "2026-04-03T09:07:00"),
            ("%s", "0", "1970-01-01T00:00:00Z"),
            ("%Y-%m-%dT%H:%M:%S%z", "2026-04-03T09:07:01+01:00", "2026-04-03T09:07:01+01:00"),
        ] {
            let form = DateForm::parse(Some(form)).expect(form);
            let moment = form.read(text).expect(text);
            assert_eq!(moment.to_iso(), iso);
            assert_eq!(form.write(&moment).as_deref(), Ok(text));
        }
        let form = DateForm::parse(Some("%d.%m.%Y")).expect("known codes");
        assert_eq!(form.read("3.4.2026").expect("one digit").to_iso(), "2026-04-03");
        assert!(form.read("2026-04-03").is_err());
        let year = Moment::day(2026, 0, 0).expect("a year");
        assert_eq!(form.write(&year), Err(DateError::Partial));
        assert!(DateForm::parse(Some("%q")).is_err());
    }

    #[test]
    fn offsets_move_the_day() {
        let zone = offset("+01:00").expect("an offset");
        let form = DateForm::default().with_offset(zone);
        let moment = form.read("2026-11-22T23:30:00Z").expect("a time");
        assert_eq!((moment.day, moment.unix()), (23, Ok((1_795_390_200, 0))));
        let local = form.read("2026-11-22 10:00:00").expect("a time");
        assert_eq!(local.to_iso(), "2026-11-22T10:00:00+01:00");
        assert_eq!(
            form.write(&Moment::from_unix(0, 0).expect("epoch")).as_deref(),
            Ok("1970-01-01T01:00:00+01:00")
        );
        assert_eq!(offset("+1"), None);
    }
}
