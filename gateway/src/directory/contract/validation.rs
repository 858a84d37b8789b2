//! Whether a message is what its contract says: fields that are known, with the wire types of their types, text that
//! is UTF-8, numbers that an enum has. Walks the wire format and builds nothing; knows no calls.
//!
//! Not looked into: groups of proto2, what an `Any` carries, and whether required fields of proto2 are there.

use std::{collections::BTreeMap, fmt};

use prost_reflect::{EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax};

use crate::directory::subject::wire::{Reader, Value, WireError};

/// Messages may nest this deep, as in the common protobuf parsers.
const DEPTH_MAX: usize = 100;

/// Whether messages of a service are held against its contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Validate {
    /// They are not looked at.
    #[default]
    Off,
    /// What is wrong is logged.
    Log,
    /// What is wrong is refused.
    Enforce,
}

/// What is wrong with a field. Never says the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// No such number.
    #[error("{0} has no field of this number")]
    Unknown(String),
    /// Bytes that cannot be of its type.
    #[error("its bytes are not those of a {0}")]
    WireType(String),
    /// Bytes that are no text.
    #[error("its text is not UTF-8")]
    Utf8,
    /// A number that the enum does not have.
    #[error("{0} has no value of this number")]
    EnumNumber(String),
    /// Nested too deep.
    #[error("messages nested deeper than {DEPTH_MAX}")]
    Depth,
    /// A number that was a field's once; an older program may still know it.
    #[error("{0} has reserved this number")]
    Reserved(String),
    /// The bytes are not protobuf.
    #[error("not a protobuf message: {0}")]
    Wire(#[from] WireError),
}

/// A problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The way to the field, `invoice.lines[2].text`; an unknown one by its number; empty for the message itself.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return self.problem.fmt(f);
        }
        write!(f, "field {}: {}", self.field, self.problem)
    }
}

/// Holds a message against its type.
///
/// # Errors
/// The first thing that is wrong. What only another version of the contract knows is not: a number that an open enum
/// does not have, a field that was taken out with its number reserved. The first such is returned where nothing
/// is wrong.
pub(crate) fn check(of: &MessageDescriptor, message: &[u8]) -> Result<Option<Fault>, Fault> {
    let mut walk = Walk { way: Vec::new(), other: None };
    match walk.message(of, message) {
        Ok(()) => Ok(walk.other),
        Err(problem) => Err(walk.fault(problem)),
    }
}

/// A field of a message, or an extension of it.
struct Field {
    name: String,
    kind: Kind,
    is_list: bool,
    is_group: bool,
}

impl Field {
    fn of(field: &FieldDescriptor) -> Self {
        Self {
            name: field.name().to_owned(),
            kind: field.kind(),
            is_list: field.is_list(),
            is_group: field.is_group(),
        }
    }

    fn of_extension(field: &ExtensionDescriptor) -> Self {
        Self {
            // As text format and JSON write an extension.
            name: format!("[{}]", field.full_name()),
            kind: field.kind(),
            is_list: field.is_list(),
            is_group: field.is_group(),
        }
    }
}

/// A walk through one message.
struct Walk {
    /// Where it is: fields, each with its index where it is a list.
    way: Vec<(String, Option<usize>)>,
    /// The first thing that another version of the contract may know.
    other: Option<Fault>,
}

impl Walk {
    fn fault(&self, problem: Problem) -> Fault {
        let step = |(name, index): &(String, Option<usize>)| match index {
            Some(index) => format!("{name}[{index}]"),
            None => name.clone(),
        };
        Fault { field: self.way.iter().map(step).collect::<Vec<_>>().join("."), problem }
    }

    /// One message. The way is left where something is wrong.
    fn message(&mut self, of: &MessageDescriptor, bytes: &[u8]) -> Result<(), Problem> {
        if self.way.len() > DEPTH_MAX {
            return Err(Problem::Depth);
        }
        // Fields of this message that were met, and how many elements of each.
        let mut met: BTreeMap<u32, (Field, usize)> = BTreeMap::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next()? {
            let (field, count) = match met.entry(number) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let field = of.get_field(number).map(|field| Field::of(&field));
                    let Some(field) =
                        field.or_else(|| of.get_extension(number).map(|e| Field::of_extension(&e)))
                    else {
                        self.way.push((number.to_string(), None));
                        if of.reserved_ranges().any(|range| range.contains(&number)) {
                            self.note(Problem::Reserved(of.full_name().to_owned()));
                            self.way.pop();
                            continue;
                        }
                        return Err(Problem::Unknown(of.full_name().to_owned()));
                    };
                    new.insert((field, 0))
                }
            };
            self.way.push((field.name.clone(), field.is_list.then_some(*count)));
            self.field(field, value)?;
            self.way.pop();
            *count += 1;
        }
        Ok(())
    }

    /// One occurrence of a field.
    fn field(&mut self, field: &Field, value: Value<'_>) -> Result<(), Problem> {
        match (&field.kind, value) {
            (Kind::Message(_), Value::Group) if field.is_group => Ok(()),
            (Kind::Message(of), Value::Bytes(bytes)) if !field.is_group => self.message(of, bytes),
            (Kind::String, Value::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map(|_| ()).map_err(|_| Problem::Utf8)
            }
            (Kind::Bytes, Value::Bytes(_)) => Ok(()),
            (kind, Value::Bytes(bytes)) if field.is_list && is_number(kind) => self.packed(kind, bytes),
            (kind, value) => self.number(kind, value),
        }
    }

    /// The elements of a packed list.
    fn packed(&mut self, kind: &Kind, bytes: &[u8]) -> Result<(), Problem> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let value = match width(kind) {
                Width::Varint => Value::Varint(reader.varint()?),
                Width::Fixed32 => Value::Fixed32(reader.fixed32()?),
                Width::Fixed64 => Value::Fixed64(reader.fixed64()?),
                Width::None => return Err(Problem::WireType(word(kind))),
            };
            self.number(kind, value)?;
        }
        Ok(())
    }

    /// One number, or what is none.
    fn number(&mut self, kind: &Kind, value: Value<'_>) -> Result<(), Problem> {
        match (width(kind), value, kind) {
            (Width::Varint, Value::Varint(number), Kind::Enum(of)) => self.enumeration(of, number),
            (Width::Varint, Value::Varint(_), _)
            | (Width::Fixed32, Value::Fixed32(_), _)
            | (Width::Fixed64, Value::Fixed64(_), _) => Ok(()),
            _ => Err(Problem::WireType(word(kind))),
        }
    }

    fn enumeration(&mut self, of: &EnumDescriptor, number: u64) -> Result<(), Problem> {
        // The lower half, as parsers take it: negative numbers are sent with ten bytes.
        let [a, b, c, d, ..] = number.to_le_bytes();
        if of.get_value(i32::from_le_bytes([a, b, c, d])).is_some() {
            return Ok(());
        }
        let problem = Problem::EnumNumber(of.full_name().to_owned());
        if of.parent_file().syntax() == Syntax::Proto2 {
            return Err(problem);
        }
        self.note(problem);
        Ok(())
    }

    /// Keeps the first of what is not wrong.
    fn note(&mut self, problem: Problem) {
        if self.other.is_none() {
            self.other = Some(self.fault(problem));
        }
    }
}

/// How a number stands on the wire (protobuf.dev, "Encoding").
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Varint,
    Fixed32,
    Fixed64,
    /// It is no number.
    None,
}

fn width(kind: &Kind) -> Width {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Sint32 | Kind::Sint64 => {
            Width::Varint
        }
        Kind::Bool | Kind::Enum(_) => Width::Varint,
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => Width::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Width::Fixed64,
        Kind::String | Kind::Bytes | Kind::Message(_) => Width::None,
    }
}

fn is_number(kind: &Kind) -> bool {
    width(kind) != Width::None
}

/// A type as a contract writes it.
fn word(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
