//! The tax register's JSON: Albanian keys, decimals in text, days as `yyyy-mm-dd`. Pure.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json, value::RawValue};
use time::{Date, Month};

use super::{Ledger, Payment};
use crate::population::{Category, Relief};

/// A payment as it arrives.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentBody {
    pub(crate) uniref: String,
    /// A decimal, as text or as a number.
    #[serde(deserialize_with = "decimal_text")]
    pub(crate) shuma: String,
    pub(crate) monedha: String,
    pub(crate) data_pageses: String,
    pub(crate) paguesi: PayerBody,
}

/// Who paid.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayerBody {
    pub(crate) emri: String,
    pub(crate) nr_personal: Option<String>,
    pub(crate) nui: Option<String>,
}

/// The digits of a decimal as they stand: a number never passes through floating point.
fn decimal_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    match serde_json::from_str(raw.get()) {
        Ok(Value::Number(_)) => Ok(raw.get().to_owned()),
        Ok(Value::String(text)) => Ok(text),
        _ => Err(serde::de::Error::custom("not a decimal")),
    }
}

/// Cents of a decimal with two places, `45.50`.
pub(crate) fn cents(text: &str) -> Option<i64> {
    let (euros, cents) = text.split_once('.')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if cents.len() != 2 || !digits(euros) || !digits(cents) {
        return None;
    }
    euros.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents.parse().ok()?)
}

/// A decimal with two places.
pub(crate) fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// A day of `yyyy-mm-dd`.
pub(crate) fn day(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}

fn day_text(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

/// An invoice.
pub(super) fn invoice(ledger: &Ledger, at: usize) -> Value {
    let invoice = ledger.invoice(at);
    let (status, outstanding) = ledger.state(at);
    let property = &ledger.population.properties[invoice.property];
    let lines: Vec<Value> = invoice
        .lines
        .iter()
        .map(|(text, cents)| json!({ "pershkrimi": text, "shuma": decimal(*cents) }))
        .collect();
    json!({
        "uniref": invoice.uniref,
        "viti": invoice.year,
        "statusi": status.text(),
        "dt_leshimit": day_text(invoice.issued_on),
        "dt_afatit": day_text(invoice.due_on),
        "shuma": decimal(invoice.total_cents()),
        "mbetja": decimal(outstanding),
        "monedha": "EUR",
        "lehtesimi": match invoice.relief {
            Relief::None => "ASNJE",
            Relief::PrimaryResidence => "BANIM_PRIMAR",
            Relief::SocialAssistance => "ASISTENCE_SOCIALE",
            Relief::WarInvalid => "INVALID_LUFTE",
        },
        "prona": {
            "nr_prones": property.number,
            "komuna": ledger.population.municipality(property.municipality).name_sq,
            "adresa": property.address,
            "zona": property.zone,
            "kategoria": match property.category {
                Category::Residential => "BANIM",
                Category::Commercial => "AFARIST",
                Category::Industrial => "INDUSTRIAL",
                Category::Agricultural => "BUJQESOR",
            },
            "siperfaqja_m2": property.area_m2,
            "pjesa": format!("1/{}", property.owners.len()),
            "banim_primar": property.primary_residence,
        },
        "rreshtat": lines,
    })
}

/// Who owes an invoice.
pub(super) fn taxpayer(ledger: &Ledger, at: usize) -> Value {
    let person = &ledger.population.people[ledger.invoice(at).person];
    json!({ "nr_personal": person.personal_number, "emri": person.given_name, "mbiemri": person.family_name })
}

/// A payment that was taken.
pub(super) fn payment(payment: &Payment) -> Value {
    json!({
        "nr_konfirmimit": payment.confirmation,
        "dt_konfirmimit": day_text(payment.confirmed_on),
        "statusi": payment.status.text(),
        "mbetja": decimal(payment.outstanding_cents),
        "monedha": "EUR",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_both_ways() {
        for (text, value) in [("0.00", 0), ("0.05", 5), ("45.50", 4550), ("1000000.99", 100_000_099)] {
            assert_eq!(cents(text), Some(value));
            assert_eq!(decimal(value), text);
        }
        assert_eq!(decimal(-1505), "-15.05");
        for bad in ["", "1", "1.", ".50", "1.5", "1.555", "-1.00", "+1.00", "1,00", "99999999999999999999.00"]
        {
            assert_eq!(cents(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_amount_may_be_text_or_number() {
        let body = |amount: &str| {
            let text = format!(
                r#"{{"uniref":"1","shuma":{amount},"monedha":"EUR","data_pageses":"2026-06-01","paguesi":{{"emri":"x"}}}}"#
            );
            serde_json::from_str::<PaymentBody>(&text).map(|body| body.shuma)
        };
        assert_eq!(body("\"10.00\"").expect("text"), "10.00");
        assert_eq!(body("10.00").expect("a number, its last zero kept"), "10.00");
        assert!(body("[1]").is_err() && body("null").is_err());
    }

    #[test]
    fn days_are_strict() {
        assert_eq!(day("2024-02-29").map(day_text).as_deref(), Some("2024-02-29"));
        for bad in ["2023-02-29", "2024-2-29", "29.02.2024", "2024-02-29-", "", "2024-13-01"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }
}
