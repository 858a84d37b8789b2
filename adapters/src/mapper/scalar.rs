//! One value of a register to one value of a contract, and back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};

use super::{
    dates::{DateForm, Moment},
    decimal,
};
use crate::tree::Tree;

/// Why a value does not fit. Says what is wrong, never the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

impl Unfit {
    fn new(problem: impl std::fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// What an adapter file says about a value's form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    /// The register's way to write dates.
    pub(crate) date: DateForm,
    /// The register's text = value of the contract (enums and truth values).
    pub(crate) table: Option<Vec<(String, Value)>>,
    /// Decimals of the unit that an integer counts.
    pub(crate) minor_digits: Option<u32>,
    /// Currency of a money message.
    pub(crate) money: Option<String>,
}

/// What a message stands for besides its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// int32 `year`, `month`, `day`.
    Date,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// A wrapper of one scalar, `google.protobuf.StringValue` and its like.
    Wrapper,
    /// `currency_code` and one 64-bit integer of minor units.
    Minor,
    /// `currency_code`, `units`, `nanos`.
    UnitsNanos,
    /// Anything else.
    Plain,
}

/// The shape of a message.
pub(crate) fn shape(message: &MessageDescriptor) -> Shape {
    let is = |name: &str, kind: Kind| {
        message.get_field_by_name(name).is_some_and(|f| f.kind() == kind && !f.is_list())
    };
    match message.full_name() {
        "google.protobuf.Timestamp" => return Shape::Timestamp,
        name if message.package_name() == "google.protobuf"
            && name.ends_with("Value")
            && message.fields().len() == 1
            && message.get_field_by_name("value").is_some() =>
        {
            return Shape::Wrapper;
        }
        _ => {}
    }
    let count = message.fields().len();
    if count == 3 && ["year", "month", "day"].iter().all(|name| is(name, Kind::Int32)) {
        Shape::Date
    } else if is("currency_code", Kind::String) {
        if is("units", Kind::Int64) && is("nanos", Kind::Int32) {
            Shape::UnitsNanos
        } else if message.fields().filter(|f| f.kind() == Kind::Int64 && !f.is_list()).count() == 1 {
            Shape::Minor
        } else {
            Shape::Plain
        }
    } else {
        Shape::Plain
    }
}

/// A register's value as a value of this kind; `None` where the register says nothing.
pub(crate) fn read(kind: &Kind, tree: &Tree, form: &Form) -> Result<Option<Value>, Unfit> {
    if *tree == Tree::Null || tree.is_empty() && !matches!(kind, Kind::String) {
        return Ok(None);
    }
    // A wrapper's table is that of its value, which comes here again.
    if let Some(table) = &form.table
        && kind.as_message().is_none()
    {
        let text = scalar_text(tree)?;
        return match table.iter().find(|(key, _)| *key == text.trim()) {
            Some((_, value)) => Ok(Some(value.clone())),
            None => Err(Unfit::new("has a value that the table does not list")),
        };
    }
    if let Some(digits) = form.minor_digits
        && form.money.is_none()
    {
        let minor = decimal::to_minor(&scalar_text(tree)?, digits).map_err(Unfit::new)?;
        return integer(kind, i128::from(minor)).map(Some);
    }
    match kind {
        Kind::Message(message) => read_message(message, tree, form),
        Kind::Enum(descriptor) => read_enum(descriptor, tree).map(Some),
        Kind::Bool => read_bool(tree).map(|value| Some(Value::Bool(value))),
        Kind::String => read_text(tree, form).map(|text| Some(Value::String(text))),
        Kind::Bytes => read_bytes(tree).map(|bytes| Some(Value::Bytes(bytes))),
        Kind::Float | Kind::Double => read_float(kind, tree).map(Some),
        _ => integer(kind, whole_number(tree)?).map(Some),
    }
}

fn scalar_text(tree: &Tree) -> Result<String, Unfit> {
    match tree {
        Tree::List(_) | Tree::Object(_) => Err(Unfit::new("is a list or object where one value is expected")),
        other => Ok(other.to_text()),
    }
}

fn whole_number(tree: &Tree) -> Result<i128, Unfit> {
    if let Tree::Bool(value) = tree {
        return Ok(i128::from(*value));
    }
    let text = scalar_text(tree)?;
    let text = text.trim();
    if let Ok(value) = text.parse::<i128>() {
        return Ok(value);
    }
    decimal::to_minor(text, 0).map(i128::from).map_err(|_| Unfit::new("is not a whole number"))
}

fn integer(kind: &Kind, value: i128) -> Result<Value, Unfit> {
    let fitted = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => i32::try_from(value).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => i64::try_from(value).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => u32::try_from(value).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => u64::try_from(value).map(Value::U64),
        _ => return Err(Unfit::new("is a number where the field is none")),
    };
    fitted.map_err(|_| Unfit::new("is out of the field's range"))
}

fn read_float(kind: &Kind, tree: &Tree) -> Result<Value, Unfit> {
    let text = scalar_text(tree)?;
    let number = || Unfit::new("is not a number");
    if *kind == Kind::Float {
        text.trim().parse().map(Value::F32).map_err(|_| number())
    } else {
        text.trim().parse().map(Value::F64).map_err(|_| number())
    }
}

fn read_bool(tree: &Tree) -> Result<bool, Unfit> {
    match scalar_text(tree)?.trim() {
        "true" | "TRUE" | "True" | "t" | "1" => Ok(true),
        "false" | "FALSE" | "False" | "f" | "0" => Ok(false),
        _ => Err(Unfit::new("is not true or false; map it with bool = { … }")),
    }
}

fn read_text(tree: &Tree, form: &Form) -> Result<String, Unfit> {
    let text = scalar_text(tree)?;
    if form.date == DateForm::default() || text.trim().is_empty() {
        return Ok(text);
    }
    form.date.read(&text).map(Moment::to_iso).map_err(Unfit::new)
}

fn read_bytes(tree: &Tree) -> Result<Bytes, Unfit> {
    match tree {
        Tree::Bytes(bytes) => Ok(bytes.clone()),
        Tree::Text(text) => {
            let compact: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            STANDARD.decode(compact).map(Bytes::from).map_err(|_| Unfit::new("is not base64"))
        }
        _ => Err(Unfit::new("is neither binary nor base64 text")),
    }
}

/// By full name, by name without the enum's prefix (any case of letters), or by number.
fn read_enum(descriptor: &EnumDescriptor, tree: &Tree) -> Result<Value, Unfit> {
    let text = scalar_text(tree)?;
    let text = text.trim();
    if let Ok(number) = text.parse::<i32>() {
        return match descriptor.get_value(number) {
            Some(_) => Ok(Value::EnumNumber(number)),
            None => Err(Unfit::new("has a number that the enum does not have")),
        };
    }
    let prefix = enum_prefix(descriptor.name());
    descriptor
        .values()
        .find(|value| {
            let name = value.name();
            name.eq_ignore_ascii_case(text)
                || name.strip_prefix(&prefix).is_some_and(|rest| rest.eq_ignore_ascii_case(text))
        })
        .map(|value| Value::EnumNumber(value.number()))
        .ok_or_else(|| Unfit::new("has a value that the enum does not have; map it with enum = { … }"))
}

/// `BookState` to `BOOK_STATE_`.
fn enum_prefix(name: &str) -> String {
    let mut prefix = String::new();
    let mut before_is_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && before_is_lower {
            prefix.push('_');
        }
        before_is_lower = !c.is_ascii_uppercase();
        prefix.push(c.to_ascii_uppercase());
    }
    prefix.push('_');
    prefix
}

fn read_message(message: &MessageDescriptor, tree: &Tree, form: &Form) -> Result<Option<Value>, Unfit> {
    let mut built = DynamicMessage::new(message.clone());
    match shape(message) {
        Shape::Date => {
            let day = form.date.read(&scalar_text(tree)?).map_err(Unfit::new)?;
            built.set_field_by_name("year", Value::I32(i32::from(day.year)));
            built.set_field_by_name("month", Value::I32(i32::from(day.month)));
            built.set_field_by_name("day", Value::I32(i32::from(day.day)));
        }
        Shape::Timestamp => {
            let moment = form.date.read(&scalar_text(tree)?).map_err(Unfit::new)?;
            let (seconds, nanos) = moment.unix().map_err(Unfit::new)?;
            built.set_field_by_name("seconds", Value::I64(seconds));
            built.set_field_by_name("nanos", Value::I32(nanos));
        }
        Shape::Wrapper => {
            let field = message.get_field_by_name("value").ok_or_else(|| Unfit::new("has no value"))?;
            let Some(value) = read(&field.kind(), tree, form)? else {
                return Ok(None);
            };
            built.set_field(&field, value);
        }
        Shape::Minor | Shape::UnitsNanos if form.money.is_some() => read_money(&mut built, tree, form)?,
        _ => return Err(Unfit::new("is one value where a message is expected")),
    }
    Ok(Some(Value::Message(built)))
}

fn read_money(built: &mut DynamicMessage, tree: &Tree, form: &Form) -> Result<(), Unfit> {
    let text = scalar_text(tree)?;
    let message = built.descriptor();
    if let Some(currency) = &form.money {
        built.set_field_by_name("currency_code", Value::String(currency.clone()));
    }
    if shape(&message) == Shape::UnitsNanos {
        let nano = decimal::to_minor(&text, 9).map_err(Unfit::new)?;
        built.set_field_by_name("units", Value::I64(nano / 1_000_000_000));
        let nanos = i32::try_from(nano % 1_000_000_000).map_err(Unfit::new)?;
        built.set_field_by_name("nanos", Value::I32(nanos));
        return Ok(());
    }
    let minor = decimal::to_minor(&text, form.minor_digits.unwrap_or(2)).map_err(Unfit::new)?;
    if let Some(field) = message.fields().find(|f| f.kind() == Kind::Int64) {
        built.set_field(&field, Value::I64(minor));
    }
    Ok(())
}

/// A key of a map field.
pub(crate) fn read_key(kind: &Kind, text: &str) -> Result<MapKey, Unfit> {
    read(kind, &Tree::Text(text.to_owned()), &Form::default())?
        .and_then(Value::into_map_key)
        .or_else(|| (*kind == Kind::String).then(|| MapKey::String(text.to_owned())))
        .ok_or_else(|| Unfit::new("has a key of another kind"))
}
