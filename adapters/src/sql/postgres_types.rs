//! PostgreSQL's values: parameters in its text form, columns from its binary form.
//!
//! Text parameters let the server read each value as the type that it infers for the place (manual,
//! chapter 55.2.3 "Formats and Format Codes").

use std::{error::Error, fmt::Write as _};

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type};

use crate::{mapper::dates::Moment, tree::Tree};

type BoxError = Box<dyn Error + Sync + Send>;

/// 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_S: i64 = 946_684_800;
const DAY_S: i64 = 86_400;

/// A parameter that fits any type of the server.
#[derive(Debug)]
pub(super) struct PgParameter(pub(super) Tree);

impl ToSql for PgParameter {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match parameter_text(&self.0, ty) {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// `None` is NULL.
fn parameter_text(tree: &Tree, ty: &Type) -> Option<String> {
    match tree {
        Tree::Null => None,
        Tree::Bytes(bytes) if *ty == Type::BYTEA => Some(hex(bytes)),
        Tree::List(items) if matches!(ty.kind(), Kind::Array(_)) => Some(array_text(items, ty)),
        other => Some(other.to_text()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 2);
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An array literal (manual, chapter 8.15.2): every element quoted.
fn array_text(items: &[Tree], ty: &Type) -> String {
    let element = match ty.kind() {
        Kind::Array(element) => element,
        _ => ty,
    };
    let mut text = String::from("{");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match item {
            Tree::List(inner) => text.push_str(&array_text(inner, ty)),
            item => match parameter_text(item, element) {
                None => text.push_str("NULL"),
                Some(value) => {
                    text.push('"');
                    for c in value.chars() {
                        if matches!(c, '"' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                    text.push('"');
                }
            },
        }
    }
    text.push('}');
    text
}

/// A column of any common type.
#[derive(Debug)]
pub(super) struct PgTree(pub(super) Tree);

impl<'a> FromSql<'a> for PgTree {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        column(ty, raw).map(Self)
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self(Tree::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn column(ty: &Type, raw: &[u8]) -> Result<Tree, BoxError> {
    match ty.kind() {
        Kind::Array(_) => {
            let items = Vec::<PgTree>::from_sql(ty, raw)?;
            return Ok(Tree::List(items.into_iter().map(|item| item.0).collect()));
        }
        Kind::Enum(_) => return Ok(Tree::Text(utf8(raw)?)),
        Kind::Domain(inner) => return column(inner, raw),
        _ => {}
    }
    Ok(match *ty {
        Type::BOOL => Tree::Bool(bool::from_sql(ty, raw)?),
        Type::INT2 => Tree::integer(i16::from_sql(ty, raw)?),
        Type::INT4 => Tree::integer(i32::from_sql(ty, raw)?),
        Type::INT8 => Tree::integer(i64::from_sql(ty, raw)?),
        Type::OID => Tree::integer(u32::from_sql(ty, raw)?),
        Type::FLOAT4 => Tree::Number(f32::from_sql(ty, raw)?.to_string()),
        Type::FLOAT8 => Tree::Number(f64::from_sql(ty, raw)?.to_string()),
        Type::NUMERIC => numeric(raw)?,
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN | Type::XML => Tree::Text(utf8(raw)?),
        // Blanks at the end of char(n) are padding, not content (manual, chapter 8.3).
        Type::BPCHAR => Tree::Text(utf8(raw)?.trim_end_matches(' ').to_owned()),
        Type::CHAR => Tree::Text(utf8(raw)?),
        Type::JSON => Tree::from_json(&utf8(raw)?)?,
        // A version byte stands before the text.
        Type::JSONB => Tree::from_json(&utf8(raw.get(1..).unwrap_or_default())?)?,
        Type::BYTEA => Tree::Bytes(Bytes::copy_from_slice(raw)),
        Type::UUID => Tree::Text(uuid::Uuid::from_slice(raw)?.to_string()),
        Type::DATE => date(raw)?,
        Type::TIME => time_of_day(raw)?,
        Type::TIMESTAMP => timestamp(raw, "")?,
        Type::TIMESTAMPTZ => timestamp(raw, "Z")?,
        _ if ty.name() == "citext" => Tree::Text(utf8(raw)?),
        _ => return Err(format!("its type {} is not read: cast it to text", ty.name()).into()),
    })
}

fn utf8(raw: &[u8]) -> Result<String, BoxError> {
    Ok(std::str::from_utf8(raw)?.to_owned())
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], BoxError> {
    raw.try_into().map_err(|_| "its length is not that of its type".into())
}

fn date(raw: &[u8]) -> Result<Tree, BoxError> {
    let days = i32::from_be_bytes(fixed(raw)?);
    if days == i32::MAX || days == i32::MIN {
        return Ok(Tree::Text("infinity".to_owned()));
    }
    let text = Moment::from_unix(EPOCH_S + i64::from(days) * DAY_S, 0)?.to_iso();
    let day = text.split_once('T').map_or(text.as_str(), |(day, _)| day);
    Ok(Tree::Text(day.to_owned()))
}

fn timestamp(raw: &[u8], zone: &str) -> Result<Tree, BoxError> {
    let micros = i64::from_be_bytes(fixed(raw)?);
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(Tree::Text("infinity".to_owned()));
    }
    let nanos = u32::try_from(micros.rem_euclid(1_000_000))? * 1000;
    let text = Moment::from_unix(EPOCH_S + micros.div_euclid(1_000_000), nanos)?.to_iso();
    Ok(Tree::Text(format!("{}{zone}", text.trim_end_matches('Z'))))
}

fn time_of_day(raw: &[u8]) -> Result<Tree, BoxError> {
    let micros = i64::from_be_bytes(fixed(raw)?);
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        text += format!(".{fraction:06}").trim_end_matches('0');
    }
    Ok(Tree::Text(text))
}

/// Digits to the base 10000, a weight, a sign and a display scale (`numeric_send` in the server).
fn numeric(raw: &[u8]) -> Result<Tree, BoxError> {
    let word = |at: usize| -> Result<i16, BoxError> {
        let bytes = raw.get(at * 2..at * 2 + 2).ok_or("its length is not that of its type")?;
        Ok(i16::from_be_bytes(fixed(bytes)?))
    };
    let (count, weight, sign, scale) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let sign = match u16::from_be_bytes(sign.to_be_bytes()) {
        0x0000 => "",
        0x4000 => "-",
        _ => return Ok(Tree::Text("NaN".to_owned())),
    };
    let digit = |group: i32| -> Result<i16, BoxError> {
        match usize::try_from(group) {
            Ok(group) if group < usize::try_from(count)? => word(4 + group),
            _ => Ok(0),
        }
    };
    let mut text = String::from(sign);
    if weight < 0 {
        text.push('0');
    }
    for group in 0..=i32::from(weight) {
        let value = digit(group)?;
        let _ = if group == 0 { write!(text, "{value}") } else { write!(text, "{value:04}") };
    }
    let scale = usize::try_from(scale)?;
    if scale > 0 {
        let mut fraction = String::new();
        let mut group = i32::from(weight) + 1;
        while fraction.len() < scale {
            // Groups before the first digit are zero.
            let value = if group < 0 { 0 } else { digit(group)? };
            let _ = write!(fraction, "{value:04}");
            group += 1;
        }
        text.push('.');
        text.extend(fraction.chars().take(scale));
    }
    Ok(Tree::Number(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn numerics_become_exact_text() {
        let minus = 0x4000;
        for (raw, text) in [
            (words(&[2, 0, 0, 2, 12, 3500]), "12.35"),
            (words(&[0, 0, 0, 2]), "0.00"),
            (words(&[1, -1, 0, 4, 5]), "0.0005"),
            (words(&[1, -2, 0, 8, 1]), "0.00000001"),
            (words(&[1, 1, 0, 0, 1]), "10000"),
            (words(&[3, 2, minus, 1, 1, 2345, 6789]), "-123456789.0"),
            (words(&[1, -1, minus, 2, 500]), "-0.05"),
        ] {
            assert_eq!(numeric(&raw).expect(text), Tree::Number(text.into()));
        }
        assert!(numeric(&[0]).is_err());
    }

    #[test]
    fn dates_become_iso_text() {
        assert_eq!(date(&0_i32.to_be_bytes()).expect("a day"), Tree::Text("2000-01-01".into()));
        assert_eq!(date(&(-1_i32).to_be_bytes()).expect("a day"), Tree::Text("1999-12-31".into()));
        let noon = 43_200_500_000_i64.to_be_bytes();
        assert_eq!(timestamp(&noon, "").expect("a time"), Tree::Text("2000-01-01T12:00:00.5".into()));
        assert_eq!(timestamp(&noon, "Z").expect("a time"), Tree::Text("2000-01-01T12:00:00.5Z".into()));
        assert_eq!(time_of_day(&noon).expect("a time"), Tree::Text("12:00:00.5".into()));
    }

    #[test]
    fn parameters_are_text_that_the_server_reads() {
        let list = Tree::List(vec![Tree::Text("a\"b\\,{".into()), Tree::Null, Tree::integer(3)]);
        let text = |tree: &Tree, ty| parameter_text(tree, &ty);
        assert_eq!(text(&list, Type::TEXT_ARRAY).as_deref(), Some(r#"{"a\"b\\,{",NULL,"3"}"#));
        assert_eq!(text(&list, Type::JSONB).as_deref(), Some(r#"["a\"b\\,{",null,3]"#));
        assert_eq!(
            text(&Tree::Bytes(Bytes::from_static(&[0, 255])), Type::BYTEA).as_deref(),
            Some("\\x00ff")
        );
        assert_eq!(text(&Tree::Null, Type::TEXT), None);
        assert_eq!(text(&Tree::Bool(true), Type::BOOL).as_deref(), Some("true"));
    }
}
