//! A request to the parameters of a register's operation.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};

use super::{
    dates::Moment,
    decimal,
    scalar::{self, Form, Shape, Unfit},
};
use crate::{
    plan::{PageValue, Parameter, Source},
    register::context::CallContext,
    tree::Tree,
};

/// A parameter that cannot be made of the request. Names the parameter, never the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadParameter {
    pub(crate) name: String,
    pub(crate) problem: String,
}

/// The values of all parameters, in their order.
pub(crate) fn resolve(
    parameters: &[Parameter],
    request: &DynamicMessage,
    context: &CallContext,
    page: impl Fn(PageValue) -> Tree,
) -> Result<Vec<Tree>, BadParameter> {
    parameters
        .iter()
        .map(|parameter| {
            let tree = match &parameter.source {
                Source::Constant(tree) => Ok(tree.clone()),
                Source::Page(value) => Ok(page(*value)),
                Source::Context(name) => {
                    Ok(context.value(*name).map_or(Tree::Null, |text| Tree::Text(text.to_owned())))
                }
                Source::Field(path) => field(path, request, parameter),
            };
            let tree =
                tree.map_err(|unfit| BadParameter { name: parameter.name.clone(), problem: unfit.0 })?;
            Ok(match (&tree, &parameter.default) {
                (Tree::Null, Some(default)) => default.clone(),
                _ => tree,
            })
        })
        .collect()
}

fn field(path: &[FieldDescriptor], request: &DynamicMessage, parameter: &Parameter) -> Result<Tree, Unfit> {
    let (last, message) = match path {
        [] => return Ok(Tree::Null),
        [last] => (last, request),
        [outer, rest @ ..] => {
            return match &*request.get_field(outer) {
                Value::Message(inner) if request.has_field(outer) => field(rest, inner, parameter),
                _ => Ok(Tree::Null),
            };
        }
    };
    let given = message.has_field(last);
    if !given && (last.supports_presence() || parameter.null_if_default) {
        return Ok(Tree::Null);
    }
    let value = message.get_field(last);
    if parameter.null_if_default && value.is_default(&last.kind()) {
        return Ok(Tree::Null);
    }
    if let Value::List(items) = &*value {
        return items
            .iter()
            .map(|item| write(&last.kind(), item, parameter))
            .collect::<Result<_, _>>()
            .map(Tree::List);
    }
    write(&last.kind(), &value, parameter)
}

fn write(kind: &Kind, value: &Value, parameter: &Parameter) -> Result<Tree, Unfit> {
    if let Some(table) = &parameter.table {
        let unspecified = *value == Value::EnumNumber(0);
        return match table.iter().find(|(key, _)| key == value) {
            Some((_, tree)) => Ok(tree.clone()),
            None if unspecified || parameter.default.is_some() => Ok(Tree::Null),
            None => Err(Unfit("is a value that this register does not know".into())),
        };
    }
    let form = &parameter.form;
    match (kind, value) {
        (Kind::Message(descriptor), Value::Message(message)) => match scalar::shape(descriptor) {
            Shape::Date | Shape::Timestamp => write_date(message, form),
            Shape::Minor | Shape::UnitsNanos if form.money.is_some() => write_money(message, form),
            _ => Ok(plain(kind, value)),
        },
        (_, Value::I64(minor)) if form.minor_digits.is_some() => {
            Ok(Tree::Number(decimal::from_minor(*minor, form.minor_digits.unwrap_or(0))))
        }
        (_, Value::I32(minor)) if form.minor_digits.is_some() => {
            Ok(Tree::Number(decimal::from_minor(i64::from(*minor), form.minor_digits.unwrap_or(0))))
        }
        (_, Value::String(text)) if form.date != super::dates::DateForm::default() && !text.is_empty() => {
            let day = super::dates::DateForm::default().read(text);
            let written = day.and_then(|day| form.date.write(&day));
            written.map(Tree::Text).map_err(|e| Unfit(e.to_string()))
        }
        _ => Ok(plain(kind, value)),
    }
}

fn number(message: &DynamicMessage, name: &str) -> i64 {
    message
        .get_field_by_name(name)
        .and_then(|v| v.as_i64().or_else(|| v.as_i32().map(i64::from)))
        .unwrap_or(0)
}

/// A date or timestamp in the register's form; the zero date is NULL.
fn write_date(message: &DynamicMessage, form: &Form) -> Result<Tree, Unfit> {
    let moment = if scalar::shape(&message.descriptor()) == Shape::Timestamp {
        let nanos = u32::try_from(number(message, "nanos")).map_err(|_| Unfit("is no time".into()))?;
        Moment::from_unix(number(message, "seconds"), nanos)
    } else {
        let part = |name| i32::try_from(number(message, name)).unwrap_or(-1);
        let (year, month, day) = (part("year"), part("month"), part("day"));
        if (year, month, day) == (0, 0, 0) {
            return Ok(Tree::Null);
        }
        Moment::day(year, month, day)
    };
    moment.and_then(|moment| form.date.write(&moment)).map(Tree::Text).map_err(|e| Unfit(e.to_string()))
}

fn write_money(message: &DynamicMessage, form: &Form) -> Result<Tree, Unfit> {
    let currency = message.get_field_by_name("currency_code");
    let currency = currency.as_ref().and_then(|v| v.as_str()).unwrap_or_default();
    if form.money.as_deref() != Some(currency) {
        return Err(Unfit("is not in the register's currency".into()));
    }
    let digits = form.minor_digits.unwrap_or(2);
    if scalar::shape(&message.descriptor()) == Shape::UnitsNanos {
        let nano = number(message, "units")
            .checked_mul(1_000_000_000)
            .and_then(|units| units.checked_add(number(message, "nanos")))
            .ok_or_else(|| Unfit("is too large".into()))?;
        let exact = decimal::to_minor(&decimal::from_minor(nano, 9), digits);
        let minor = exact.map_err(|e| Unfit(e.to_string()))?;
        return Ok(Tree::Number(decimal::from_minor(minor, digits)));
    }
    let minor = message
        .descriptor()
        .fields()
        .find(|f| f.kind() == Kind::Int64)
        .map_or(0, |f| number(message, f.name()));
    Ok(Tree::Number(decimal::from_minor(minor, digits)))
}

/// A value as it is, messages as objects of the fields that are set.
fn plain(kind: &Kind, value: &Value) -> Tree {
    match value {
        Value::Bool(value) => Tree::Bool(*value),
        Value::I32(value) => Tree::integer(*value),
        Value::I64(value) => Tree::integer(*value),
        Value::U32(value) => Tree::integer(*value),
        Value::U64(value) => Tree::integer(*value),
        Value::F32(value) => float(f64::from(*value), value.to_string()),
        Value::F64(value) => float(*value, value.to_string()),
        Value::String(text) => Tree::Text(text.clone()),
        Value::Bytes(bytes) => Tree::Bytes(bytes.clone()),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => descriptor
                .get_value(*number)
                .map_or(Tree::integer(*number), |v| Tree::Text(v.name().to_owned())),
            _ => Tree::integer(*number),
        },
        Value::List(items) => Tree::List(items.iter().map(|item| plain(kind, item)).collect()),
        Value::Map(entries) => {
            let value_kind = match kind {
                Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
                other => other.clone(),
            };
            let mut members: Vec<_> =
                entries.iter().map(|(key, value)| (key_text(key), plain(&value_kind, value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Tree::Object(members)
        }
        Value::Message(message) => message_tree(message),
    }
}

fn message_tree(message: &DynamicMessage) -> Tree {
    let descriptor = message.descriptor();
    match scalar::shape(&descriptor) {
        Shape::Date | Shape::Timestamp => write_date(message, &Form::default()).unwrap_or(Tree::Null),
        Shape::Wrapper => descriptor
            .get_field_by_name("value")
            .map_or(Tree::Null, |f| plain(&f.kind(), &message.get_field(&f))),
        _ => Tree::Object(
            descriptor
                .fields()
                .filter(|f| message.has_field(f))
                .map(|f| (f.name().to_owned(), plain(&f.kind(), &message.get_field(&f))))
                .collect(),
        ),
    }
}

/// JSON has no infinities and no NaN.
fn float(value: f64, text: String) -> Tree {
    if value.is_finite() { Tree::Number(text) } else { Tree::Text(text) }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
        MapKey::String(value) => value.clone(),
    }
}
