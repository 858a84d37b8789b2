//! One field in both versions, or one extension: type, cardinality, default, oneof and names.

use std::collections::BTreeMap;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    Value,
};

use super::{Breaks, Place, Rule, compared};

/// What is compared of a field or an extension.
pub(super) struct Field {
    file: FileDescriptor,
    path: Vec<i32>,
    full_name: String,
    name: String,
    /// `None` for extensions, whose JSON name nobody can choose.
    json_name: Option<String>,
    kind: Kind,
    is_group: bool,
    label: Label,
    /// `None` where there is nothing to have one.
    default: Option<Value>,
    oneof: Option<String>,
    in_map_entry: bool,
}

/// How often a field may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Single,
    Required,
    List,
    Map,
}

impl Label {
    fn of(cardinality: Cardinality, is_map: bool) -> Self {
        match cardinality {
            Cardinality::Optional => Self::Single,
            Cardinality::Required => Self::Required,
            Cardinality::Repeated if is_map => Self::Map,
            Cardinality::Repeated => Self::List,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Single => "a single value",
            Self::Required => "required",
            Self::List => "repeated",
            Self::Map => "a map",
        }
    }

    /// A map is a list of entries on the wire, and something else in JSON.
    fn on_the_wire(self) -> Self {
        if self == Self::Map { Self::List } else { self }
    }
}

impl Field {
    pub(super) fn of(field: &FieldDescriptor) -> Self {
        let label = Label::of(field.cardinality(), field.is_map());
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        Self {
            file: field.parent_file(),
            path: field.path().to_vec(),
            full_name: field.full_name().to_owned(),
            name: field.name().to_owned(),
            json_name: Some(field.json_name().to_owned()),
            kind: field.kind(),
            is_group: field.is_group(),
            label,
            default: default(label, &field.kind(), || field.default_value()),
            oneof: oneof.map(|oneof| oneof.name().to_owned()),
            in_map_entry: field.parent_message().is_map_entry(),
        }
    }

    fn of_extension(field: &ExtensionDescriptor) -> Self {
        let label = Label::of(field.cardinality(), field.is_map());
        Self {
            file: field.parent_file(),
            path: field.path().to_vec(),
            full_name: field.full_name().to_owned(),
            // An extension is known by its whole name.
            name: field.full_name().to_owned(),
            json_name: None,
            kind: field.kind(),
            is_group: field.is_group(),
            label,
            default: default(label, &field.kind(), || field.default_value()),
            oneof: None,
            in_map_entry: false,
        }
    }
}

/// The default of a single value that is no message.
fn default(label: Label, kind: &Kind, value: impl FnOnce() -> Value) -> Option<Value> {
    let single = matches!(label, Label::Single | Label::Required);
    (single && !matches!(kind, Kind::Message(_))).then(value)
}

/// Compares the extensions of both versions, by what they extend and their numbers.
pub(super) fn extensions(old: &DescriptorPool, new: &DescriptorPool, breaks: &mut Breaks) {
    let key = |extension: &ExtensionDescriptor| {
        (extension.containing_message().full_name().to_owned(), extension.number())
    };
    let after: BTreeMap<_, _> = new.all_extensions().map(|extension| (key(&extension), extension)).collect();
    for before in old.all_extensions().filter(|extension| compared(&extension.parent_file())) {
        if let Some(after) = after.get(&key(&before)) {
            compare(&Field::of_extension(&before), &Field::of_extension(after), breaks);
        }
    }
}

/// Compares a field that both versions have.
pub(super) fn compare(before: &Field, after: &Field, breaks: &mut Breaks) {
    let place = Place::new(&after.file, &after.path, &after.full_name);
    names(before, after, &place, breaks);
    cardinality(before, after, &place, breaks);
    kind(before, after, &place, breaks);
    oneof(before, after, &place, breaks);
    if let (Some(was), Some(is)) = (&before.default, &after.default)
        && !same_default(was, is)
    {
        let problem = format!("its default was {was} and is {is}");
        breaks.add(Rule::FieldDefault, &place, problem, format!("keep the default {was}"));
    }
}

fn names(before: &Field, after: &Field, place: &Place, breaks: &mut Breaks) {
    if before.name != after.name {
        let problem = format!("its name was {} and is {}", before.name, after.name);
        breaks.add(Rule::FieldSameName, place, problem, format!("keep the name {}", before.name));
    }
    if let (Some(was), Some(is)) = (&before.json_name, &after.json_name)
        && was != is
    {
        let problem = format!("its name in JSON was {was} and is {is}");
        breaks.add(Rule::FieldJsonName, place, problem, format!("write [json_name = {was:?}]"));
    }
}

fn cardinality(before: &Field, after: &Field, place: &Place, breaks: &mut Breaks) {
    // Entries of a map are made, not written.
    if before.in_map_entry && after.in_map_entry {
        return;
    }
    let (was, is) = (before.label, after.label);
    let problem = || format!("it was {} and is {}", was.word(), is.word());
    let mend = "keep it as it was, and add a field with a number of its own";
    if was.on_the_wire() != is.on_the_wire() {
        breaks.add(Rule::FieldCardinality, place, problem(), mend);
    }
    if was != is {
        breaks.add(Rule::FieldJsonCardinality, place, problem(), mend);
    }
}

fn kind(before: &Field, after: &Field, place: &Place, breaks: &mut Breaks) {
    let mend = "keep the type, and add a field with a number of its own";
    let problem = || format!("its type was {} and is {}", word(before), word(after));
    let text_to_bytes = before.kind == Kind::String && after.kind == Kind::Bytes;
    let (was, is) = (wire_group(before), wire_group(after));
    if was != is {
        // Every text is bytes; bytes need not be text.
        if !text_to_bytes {
            breaks.add(Rule::FieldType, place, problem(), mend);
        }
    } else if another_type(before, after) {
        breaks.add(Rule::FieldType, place, problem(), mend);
    }
    let (was, is) = (json_group(before), json_group(after));
    if was != is || another_type(before, after) {
        breaks.add(Rule::FieldJsonType, place, problem(), mend);
    }
}

fn oneof(before: &Field, after: &Field, place: &Place, breaks: &mut Breaks) {
    let problem = match (&before.oneof, &after.oneof) {
        (None, None) => return,
        (Some(was), Some(is)) if was == is => return,
        (Some(was), Some(is)) => format!("it was in oneof {was} and is in oneof {is}"),
        (Some(was), None) => format!("it was in oneof {was} and is in none"),
        (None, Some(is)) => format!("it was in no oneof and is in {is}"),
    };
    let mend = "leave it where it was, and add a field with a number of its own";
    breaks.add(Rule::FieldOneof, place, problem, mend);
}

/// Types whose bytes are read alike have one number (protobuf.dev, "Updating A Message Type").
fn wire_group(field: &Field) -> u8 {
    match &field.kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool => 1,
        Kind::Sint32 | Kind::Sint64 => 2,
        Kind::String => 3,
        Kind::Bytes => 4,
        Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::Fixed64 | Kind::Sfixed64 => 6,
        Kind::Double => 7,
        Kind::Float => 8,
        Kind::Message(_) if field.is_group => 9,
        Kind::Message(_) => 10,
        Kind::Enum(_) => 11,
    }
}

/// Types that are read alike and written alike in JSON have one number (protobuf.dev, "ProtoJSON").
fn json_group(field: &Field) -> u8 {
    match &field.kind {
        Kind::Int32 | Kind::Uint32 => 1,
        // JSON writes 64 bits as text.
        Kind::Int64 | Kind::Uint64 => 12,
        Kind::Bool => 13,
        Kind::Sint64 => 14,
        _ => wire_group(field),
    }
}

/// Whether both are messages, or both are enums, of types that differ.
fn another_type(before: &Field, after: &Field) -> bool {
    match (&before.kind, &after.kind) {
        (Kind::Message(was), Kind::Message(is)) => {
            before.is_group == after.is_group && was.full_name() != is.full_name()
        }
        (Kind::Enum(was), Kind::Enum(is)) => {
            was.full_name() != is.full_name() && (was.name() != is.name() || !has_all(is, was))
        }
        _ => false,
    }
}

/// Whether an enum has every value of another, under its name and number.
fn has_all(wide: &EnumDescriptor, narrow: &EnumDescriptor) -> bool {
    let values = |of: &EnumDescriptor| -> BTreeMap<String, i32> {
        let proto = of.enum_descriptor_proto();
        proto.value.iter().map(|value| (value.name().to_owned(), value.number())).collect()
    };
    let wide = values(wide);
    values(narrow).iter().all(|(name, number)| wide.get(name) == Some(number))
}

/// A type as a contract writes it.
fn word(field: &Field) -> String {
    match &field.kind {
        Kind::Message(message) if field.is_group => format!("group {}", message.full_name()),
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// Whether a reader that finds nothing is told the same. Types may differ: that is another rule's matter.
fn same_default(was: &Value, is: &Value) -> bool {
    let (was, is) = (Plain::of(was), Plain::of(is));
    if was.is_zero() && is.is_zero() {
        return true;
    }
    match (was, is) {
        (Plain::Text(was), Plain::Text(is)) => was == is,
        (Plain::Integer(was), Plain::Integer(is)) => was == is,
        (Plain::Single(was), Plain::Single(is)) => was == is || (was.is_nan() && is.is_nan()),
        (Plain::Double(was), Plain::Double(is)) => was == is || (was.is_nan() && is.is_nan()),
        // At the precision that both have.
        (Plain::Single(single), Plain::Double(double)) | (Plain::Double(double), Plain::Single(single)) => {
            #[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
            let rounded = double as f32;
            rounded == single || (rounded.is_nan() && single.is_nan())
        }
        (Plain::Integer(whole), Plain::Single(other)) | (Plain::Single(other), Plain::Integer(whole)) => {
            is_whole(f64::from(other), whole)
        }
        (Plain::Integer(whole), Plain::Double(other)) | (Plain::Double(other), Plain::Integer(whole)) => {
            is_whole(other, whole)
        }
        (Plain::Text(_), _) | (_, Plain::Text(_)) => false,
    }
}

/// Whether a number is this integer exactly.
fn is_whole(number: f64, whole: i128) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "the range of 64 bits was checked")]
    let exact = || number as i128 == whole;
    number.fract() == 0.0 && number.abs() < 2f64.powi(65) && exact()
}

/// A default without its width.
enum Plain<'v> {
    Text(&'v [u8]),
    Integer(i128),
    Single(f32),
    Double(f64),
}

impl<'v> Plain<'v> {
    fn of(value: &'v Value) -> Self {
        match value {
            Value::Bool(value) => Self::Integer(i128::from(*value)),
            Value::I32(value) | Value::EnumNumber(value) => Self::Integer(i128::from(*value)),
            Value::I64(value) => Self::Integer(i128::from(*value)),
            Value::U32(value) => Self::Integer(i128::from(*value)),
            Value::U64(value) => Self::Integer(i128::from(*value)),
            Value::F32(value) => Self::Single(*value),
            Value::F64(value) => Self::Double(*value),
            Value::String(text) => Self::Text(text.as_bytes()),
            Value::Bytes(bytes) => Self::Text(bytes),
            // Messages, lists and maps have no default: see `default`.
            Value::Message(_) | Value::List(_) | Value::Map(_) => Self::Text(&[]),
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Integer(value) => *value == 0,
            Self::Single(value) => *value == 0.0,
            Self::Double(value) => *value == 0.0,
        }
    }
}
