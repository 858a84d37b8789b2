//! The options of one rule, checked against the kind of its field.

use prost_reflect::{Kind, Value};
use ura_runtime::config::{Problems, Spanned};

use super::raw;
use crate::{
    mapper::{
        dates::{self, DateForm},
        scalar::{self, Form, Shape},
    },
    tree::Tree,
};

/// Most decimals of a currency's unit.
const MINOR_DIGITS_MAX: u32 = 9;

/// Notes every option that is given and has no meaning here.
pub(super) fn refuse(options: &raw::Options, names: &[&str], place: &str, problems: &mut Problems) {
    for (name, span) in options.given() {
        if names.contains(&name) {
            problems.at(span, format!("`{name}` has no meaning {place}"));
        }
    }
}

impl raw::Options {
    /// The options that stand in the file, with their places.
    fn given(&self) -> Vec<(&'static str, std::ops::Range<usize>)> {
        let mut given = Vec::new();
        macro_rules! note {
            ($($field:ident = $name:literal),*) => {
                $(if let Some(option) = &self.$field { given.push(($name, option.span())); })*
            };
        }
        note!(
            from = "from",
            value = "value",
            default = "default",
            date = "date",
            utc_offset = "utc_offset",
            enumeration = "enum",
            boolean = "bool",
            money = "money",
            minor_digits = "minor_digits",
            null_if_default = "null_if_default",
            each = "each",
            key = "key",
            fields = "fields"
        );
        given
    }
}

/// The form of a value of this kind; tables are read apart, they differ by direction.
pub(super) fn form(options: &raw::Options, kind: &Kind, problems: &mut Problems) -> Form {
    let shape = kind.as_message().map(scalar::shape);
    let mut form = Form::default();
    if let Some(date) = options.date.as_ref().or(options.utc_offset.as_ref())
        && !(matches!(shape, Some(Shape::Date | Shape::Timestamp)) || *kind == Kind::String)
    {
        problems.at(
            date.span(),
            format!("a date fits a message of year, month and day, a google.protobuf.Timestamp or a string, not {}", article(kind)),
        );
    }
    match DateForm::parse(options.date.as_ref().map(|d| d.as_ref().as_str())) {
        Ok(date) => form.date = date,
        Err(error) => {
            let span = options.date.as_ref().map(Spanned::span).unwrap_or_default();
            problems.at(span, error.to_string());
        }
    }
    if let Some(offset) = &options.utc_offset {
        match dates::offset(offset.as_ref()) {
            Some(zone) => form.date = form.date.with_offset(zone),
            None => problems.at(offset.span(), "an offset is written +01:00, -05:30 or Z"),
        }
    }
    if let Some(money) = &options.money {
        if !matches!(shape, Some(Shape::Minor | Shape::UnitsNanos)) {
            problems.at(
                money.span(),
                format!("money fits a message with currency_code and one int64 of minor units (or units and nanos), not {}; for an integer use minor_digits", article(kind)),
            );
        }
        if money.as_ref().is_empty() {
            problems.at(money.span(), "the currency is missing: write its code, for example \"EUR\"");
        }
        form.money = Some(money.as_ref().clone());
    }
    if let Some(digits) = &options.minor_digits {
        if form.money.is_none() && !is_integer(kind) {
            problems.at(
                digits.span(),
                format!("minor_digits fits an integer field, or stands beside money, not {}", article(kind)),
            );
        }
        if *digits.as_ref() > MINOR_DIGITS_MAX {
            problems.at(digits.span(), format!("at most {MINOR_DIGITS_MAX}"));
        }
        form.minor_digits = Some(*digits.as_ref());
    }
    form
}

fn is_integer(kind: &Kind) -> bool {
    matches!(kind, Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Sfixed32 | Kind::Sfixed64)
}

/// A kind in words, for messages.
pub(super) fn article(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!("the message {}", message.full_name()),
        Kind::Enum(descriptor) => format!("the enum {}", descriptor.full_name()),
        other => format!("a field of type {other:?}").to_lowercase(),
    }
}

/// The kind whose values an `enum` or `bool` table names: a wrapper's own.
fn table_kind(kind: &Kind) -> Kind {
    match kind.as_message() {
        Some(message) if scalar::shape(message) == Shape::Wrapper => {
            message.get_field_by_name("value").map_or_else(|| kind.clone(), |f| f.kind())
        }
        _ => kind.clone(),
    }
}

/// The table that is given, with the kind that it must fit.
fn given_table<'a>(
    options: &'a raw::Options,
    kind: &Kind,
    problems: &mut Problems,
) -> Option<(&'a raw::Entries<Spanned<raw::Constant>>, Kind)> {
    let kind = table_kind(kind);
    if let Some(table) = &options.enumeration {
        if kind.as_enum().is_none() {
            problems.at(table.span(), format!("enum fits an enum field, not {}", article(&kind)));
            return None;
        }
        if let Some(boolean) = &options.boolean {
            problems.at(boolean.span(), "give either enum or bool, not both");
        }
        return Some((table.as_ref(), kind));
    }
    let table = options.boolean.as_ref()?;
    if kind != Kind::Bool {
        problems.at(table.span(), format!("bool fits a bool field, not {}", article(&kind)));
        return None;
    }
    Some((table.as_ref(), kind))
}

/// For fields: the register's text = value of the contract.
pub(super) fn table_from_register(
    options: &raw::Options,
    kind: &Kind,
    problems: &mut Problems,
) -> Option<Vec<(String, Value)>> {
    let (table, kind) = given_table(options, kind, problems)?;
    let mut pairs = Vec::new();
    for (key, value) in &table.0 {
        if let Some(of_contract) = contract_value(&kind, &value.as_ref().0, value.span(), problems) {
            pairs.push((key.as_ref().clone(), of_contract));
        }
    }
    Some(pairs)
}

/// For parameters: value of the contract = the register's value.
pub(super) fn table_to_register(
    options: &raw::Options,
    kind: &Kind,
    problems: &mut Problems,
) -> Option<Vec<(Value, Tree)>> {
    let (table, kind) = given_table(options, kind, problems)?;
    let mut pairs = Vec::new();
    for (key, value) in &table.0 {
        let name = Tree::Text(key.as_ref().clone());
        if let Some(of_contract) = contract_value(&kind, &name, key.span(), problems) {
            pairs.push((of_contract, value.as_ref().0.clone()));
        }
    }
    Some(pairs)
}

fn contract_value(
    kind: &Kind,
    tree: &Tree,
    span: std::ops::Range<usize>,
    problems: &mut Problems,
) -> Option<Value> {
    match scalar::read(kind, tree, &Form::default()) {
        Ok(Some(value)) => Some(value),
        Ok(None) | Err(_) => {
            let known = match kind.as_enum() {
                Some(descriptor) => {
                    let names: Vec<_> = descriptor.values().map(|v| v.name().to_owned()).collect();
                    format!(
                        "the enum {} has no value `{}`; {}",
                        descriptor.full_name(),
                        tree.to_text(),
                        super::one_of(names.iter().map(String::as_str))
                    )
                }
                None => "write true or false".to_owned(),
            };
            problems.at(span, known);
            None
        }
    }
}
