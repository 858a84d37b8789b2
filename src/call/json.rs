//! JSON to messages, by the proto3 JSON mapping (<https://protobuf.dev/programming-guides/json/>), with
//! errors that name the field. Knows nothing of where the text comes from.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{StreamDeserializer, Value, de::IoRead};

/// Names of fields or enum values that an error lists.
const NAMES_MAX: usize = 40;

/// Why a text is not the request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// Not JSON, or it cannot be read.
    #[error("not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field that the message does not have.
    #[error("{message} has no field `{path}`; {fields}")]
    UnknownField {
        /// The message's type.
        message: String,
        /// Where in the request.
        path: String,
        /// The fields that there are.
        fields: String,
    },
    /// A field that cannot take the value.
    #[error("`{path}` takes {wants}: {reason}")]
    Field {
        /// Where in the request.
        path: String,
        /// What the field takes.
        wants: String,
        /// Why this value is not it.
        reason: String,
    },
    /// A message that cannot be read as a whole.
    #[error("{place} is no {message}: {reason}")]
    Message {
        /// Where in the request.
        place: String,
        /// The message's type.
        message: String,
        /// Why.
        reason: String,
    },
}

/// JSON values that stand one after another, each read when it is asked for.
pub(super) struct Values<R: Read> {
    values: StreamDeserializer<'static, IoRead<Bounded<R>>, Value>,
    read_bytes: Rc<Cell<u64>>,
    failed: bool,
}

/// A reader that gives up when one value is too long.
struct Bounded<R> {
    inner: R,
    read_bytes: Rc<Cell<u64>>,
    value_bytes_max: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read_bytes.get() >= self.value_bytes_max {
            return Err(io::Error::other(format!("one value is longer than {} bytes", self.value_bytes_max)));
        }
        let read = self.inner.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get().saturating_add(u64::try_from(read).unwrap_or(u64::MAX)));
        Ok(read)
    }
}

impl<R: Read> Values<R> {
    /// Values of `reader`, which is read byte by byte: give it a buffer.
    pub(super) fn new(reader: R, value_bytes_max: u64) -> Self {
        let read_bytes = Rc::new(Cell::new(0));
        let bounded = Bounded { inner: reader, read_bytes: Rc::clone(&read_bytes), value_bytes_max };
        Self { values: serde_json::Deserializer::from_reader(bounded).into_iter(), read_bytes, failed: false }
    }
}

impl<R: Read> Iterator for Values<R> {
    type Item = Result<Value, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.read_bytes.set(0);
        let value = self.values.next()?;
        self.failed = value.is_err();
        Some(value.map_err(JsonError::Syntax))
    }
}

/// The message that a JSON value stands for. Unknown fields are errors.
pub(super) fn message(of: &MessageDescriptor, value: &Value) -> Result<DynamicMessage, JsonError> {
    read(of, value).map_err(|error| complaint(of, value, "", &error))
}

fn read(of: &MessageDescriptor, value: &Value) -> Result<DynamicMessage, serde_json::Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(of.clone(), value, &options)
}

/// Finds the field that `error` is about, by reading each alone.
fn complaint(of: &MessageDescriptor, value: &Value, path: &str, error: &serde_json::Error) -> JsonError {
    let fields = value.as_object().filter(|_| !has_own_form(of)).into_iter().flatten();
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let Some(field) = of.fields().find(|field| field.json_name() == key || field.name() == key) else {
            return JsonError::UnknownField {
                message: of.full_name().to_owned(),
                path,
                fields: names_of(of),
            };
        };
        let alone = Value::Object([(key.clone(), value.clone())].into_iter().collect());
        let Err(error) = read(of, &alone) else { continue };
        for (place, child, value) in children(&field, value) {
            if let Err(error) = read(&child, value) {
                return complaint(&child, value, &format!("{path}{place}"), &error);
            }
        }
        return JsonError::Field { path, wants: wants(&field), reason: error.to_string() };
    }
    let place = if path.is_empty() { "the request".to_owned() } else { format!("`{path}`") };
    JsonError::Message { place, message: of.full_name().to_owned(), reason: error.to_string() }
}

/// Whether JSON writes this message in a form of its own, such as a time as text.
fn has_own_form(of: &MessageDescriptor) -> bool {
    of.package_name() == "google.protobuf"
}

/// The messages inside a field's value, each with its place.
fn children<'v>(field: &FieldDescriptor, value: &'v Value) -> Vec<(String, MessageDescriptor, &'v Value)> {
    let Kind::Message(of) = field.kind() else { return Vec::new() };
    if field.is_map() {
        let (Kind::Message(of), Some(entries)) = (of.map_entry_value_field().kind(), value.as_object())
        else {
            return Vec::new();
        };
        return entries.iter().map(|(key, value)| (format!("[\"{key}\"]"), of.clone(), value)).collect();
    }
    match value {
        Value::Array(items) if field.is_list() => {
            items.iter().enumerate().map(|(at, item)| (format!("[{at}]"), of.clone(), item)).collect()
        }
        Value::Null => Vec::new(),
        value if !field.is_list() => vec![(String::new(), of, value)],
        _ => Vec::new(),
    }
}

/// What a field takes, in words.
fn wants(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "an object (map)".to_owned();
    }
    let one = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => format!("one of {}", listed(of.values().map(|value| value.name().to_owned()))),
        Kind::Bytes => "bytes in base64".to_owned(),
        scalar => format!("{scalar:?}"),
    };
    if field.is_list() { format!("a list, each {one}") } else { one }
}

/// The fields of a message, in words.
fn names_of(of: &MessageDescriptor) -> String {
    if of.fields().len() == 0 {
        return "it has no fields at all".to_owned();
    }
    format!("it has {}", listed(of.fields().map(|field| field.json_name().to_owned())))
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.take(NAMES_MAX + 1).collect();
    if names.len() > NAMES_MAX {
        names.truncate(NAMES_MAX);
        names.push("…".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
