//! The annotated fields of a message type, compiled once when a contract is approved.

use std::{collections::HashMap, sync::Arc};

use prost_reflect::{ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as Reflected};
use ura_proto::v1::CanonicalForm;

use super::wire::{Reader, Value, WireError};

/// Why annotations cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PlanError {
    /// The annotation stands on a field that cannot name a subject.
    #[error(
        "{field}: data_subject is allowed on string, int32, int64, uint32, uint64, sint32, sint64 and fixed-size integer fields"
    )]
    FieldType {
        /// Full name of the field.
        field: String,
    },
    /// The kind is not a name.
    #[error("{field}: data_subject.kind `{kind}` is not 1 to 32 of a-z, 0-9 and -")]
    Kind {
        /// Full name of the field.
        field: String,
        /// The kind as written.
        kind: String,
    },
}

/// How a scalar stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Text,
    Unsigned,
    Signed,
    ZigZag,
    Unsigned32,
    Signed32,
    ZigZag32,
    Fixed32,
    SignedFixed32,
    Fixed64,
    SignedFixed64,
}

impl Scalar {
    /// The scalar of a field kind, where it may name a subject.
    fn of(kind: &Kind) -> Option<Self> {
        Some(match kind {
            Kind::String => Self::Text,
            Kind::Uint64 => Self::Unsigned,
            Kind::Int64 => Self::Signed,
            Kind::Sint64 => Self::ZigZag,
            Kind::Uint32 => Self::Unsigned32,
            Kind::Int32 => Self::Signed32,
            Kind::Sint32 => Self::ZigZag32,
            Kind::Fixed32 => Self::Fixed32,
            Kind::Sfixed32 => Self::SignedFixed32,
            Kind::Fixed64 => Self::Fixed64,
            Kind::Sfixed64 => Self::SignedFixed64,
            _ => return None,
        })
    }

    /// Hands out the values in one occurrence of a repeated field: several where it is packed.
    pub(crate) fn each<'m, E: From<WireError>>(
        self,
        value: Value<'m>,
        mut take: impl FnMut(Value<'m>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (Value::Bytes(bytes), true) = (value, self != Self::Text) else { return take(value) };
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            take(match self {
                Self::Fixed32 | Self::SignedFixed32 => Value::Fixed32(reader.fixed32()?),
                Self::Fixed64 | Self::SignedFixed64 => Value::Fixed64(reader.fixed64()?),
                _ => Value::Varint(reader.varint()?),
            })?;
        }
        Ok(())
    }

    /// The value as text; integers in decimal. Zero, the default, is no subject.
    pub(crate) fn text(self, value: Value<'_>) -> Vec<u8> {
        let number: i128 = match value {
            Value::Bytes(bytes) => return bytes.to_vec(),
            Value::Group => return Vec::new(),
            // A parser keeps the low 32 bits of a longer number (protobuf.dev, "Encoding").
            Value::Varint(v) if self == Self::Unsigned32 => low(v).into(),
            Value::Varint(v) if self == Self::Signed32 => low(v).cast_signed().into(),
            Value::Varint(v) if self == Self::ZigZag32 => {
                ((low(v) >> 1) ^ (low(v) & 1).wrapping_neg()).cast_signed().into()
            }
            Value::Varint(v) if self == Self::Signed => v.cast_signed().into(),
            Value::Varint(v) if self == Self::ZigZag => {
                ((v >> 1) ^ (v & 1).wrapping_neg()).cast_signed().into()
            }
            Value::Varint(v) => v.into(),
            Value::Fixed32(v) if self == Self::SignedFixed32 => v.cast_signed().into(),
            Value::Fixed32(v) => v.into(),
            Value::Fixed64(v) if self == Self::SignedFixed64 => v.cast_signed().into(),
            Value::Fixed64(v) => v.into(),
        };
        if number == 0 { Vec::new() } else { number.to_string().into_bytes() }
    }
}

/// The low 32 bits.
fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// How a value is brought into one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form(CanonicalForm);

impl Form {
    /// The canonical form. Where nothing of the value would be left, its trimmed bytes stand: a
    /// value that is not in the expected form still names whom was asked for.
    pub(crate) fn apply(self, value: &[u8]) -> Vec<u8> {
        let trimmed = value.trim_ascii();
        let kept: Vec<u8> = match self.0 {
            CanonicalForm::Unspecified => return trimmed.to_vec(),
            CanonicalForm::Digits => trimmed.iter().copied().filter(u8::is_ascii_digit).collect(),
            CanonicalForm::Alphanumeric => {
                trimmed.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect()
            }
        };
        if kept.is_empty() { trimmed.to_vec() } else { kept }
    }
}

/// What is done with a field.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// It names a subject.
    Subject { kind: Arc<str>, form: Form, scalar: Scalar, repeated: bool },
    /// Its message names one.
    Nested { node: usize, repeated: bool },
    /// It only displaces the other members of its oneof.
    Ignore { wire: Wire },
}

/// Wire type of a field that is only watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
}

/// A field that the scan looks at.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// Index of the oneof it belongs to.
    pub(crate) oneof: Option<usize>,
    pub(crate) action: Action,
}

impl Field {
    /// Whether a value has the wire type of the field; others are unknown fields to a parser.
    pub(crate) fn accepts(&self, value: &Value<'_>) -> bool {
        let wire = match value {
            Value::Varint(_) => Wire::Varint,
            Value::Fixed32(_) => Wire::Fixed32,
            Value::Fixed64(_) => Wire::Fixed64,
            Value::Bytes(_) => Wire::Bytes,
            Value::Group => return false,
        };
        match &self.action {
            Action::Ignore { wire: expected } => wire == *expected,
            Action::Nested { .. } => wire == Wire::Bytes,
            Action::Subject { scalar, repeated, .. } => {
                wire == wire_of(*scalar) || (*repeated && wire == Wire::Bytes)
            }
        }
    }
}

/// Wire type of a scalar.
const fn wire_of(scalar: Scalar) -> Wire {
    match scalar {
        Scalar::Text => Wire::Bytes,
        Scalar::Unsigned
        | Scalar::Signed
        | Scalar::ZigZag
        | Scalar::Unsigned32
        | Scalar::Signed32
        | Scalar::ZigZag32 => Wire::Varint,
        Scalar::Fixed32 | Scalar::SignedFixed32 => Wire::Fixed32,
        Scalar::Fixed64 | Scalar::SignedFixed64 => Wire::Fixed64,
    }
}

/// One message type; its fields by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) fields: Vec<Field>,
}

/// The message types reachable from one, as far as they name subjects.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    nodes: Vec<Node>,
}

impl Plan {
    /// Compiles the annotations of a message type; `None` where it names nobody.
    pub(crate) fn compile(
        message: &MessageDescriptor,
        extension: Option<&ExtensionDescriptor>,
    ) -> Result<Option<Self>, PlanError> {
        let Some(extension) = extension else { return Ok(None) };
        let mut builder = Builder { extension, nodes: Vec::new(), known: HashMap::new() };
        builder.add(message)?;
        let useful = builder.useful();
        if !useful[0] {
            return Ok(None);
        }
        Ok(Some(Self { nodes: prune(builder.nodes, &useful) }))
    }

    /// The message type the plan was made for.
    pub(crate) fn root(&self) -> &Node {
        &self.nodes[0]
    }

    /// A nested message type.
    pub(crate) fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }
}

/// Collects message types; recursive ones once.
struct Builder<'e> {
    extension: &'e ExtensionDescriptor,
    nodes: Vec<Node>,
    known: HashMap<String, usize>,
}

impl Builder<'_> {
    fn add(&mut self, message: &MessageDescriptor) -> Result<usize, PlanError> {
        if let Some(index) = self.known.get(message.full_name()) {
            return Ok(*index);
        }
        let index = self.nodes.len();
        self.known.insert(message.full_name().to_owned(), index);
        self.nodes.push(Node::default());
        let mut fields = Vec::new();
        for field in message.fields() {
            let oneof = field.containing_oneof().filter(|o| !o.is_synthetic()).map(|o| {
                message.oneofs().position(|other| other.full_name() == o.full_name()).unwrap_or(usize::MAX)
            });
            fields.push(Field { number: field.number(), oneof, action: self.action(&field)? });
        }
        fields.sort_unstable_by_key(|field| field.number);
        self.nodes[index].fields = fields;
        Ok(index)
    }

    fn action(&mut self, field: &FieldDescriptor) -> Result<Action, PlanError> {
        let repeated = field.is_list() || field.is_map();
        if let Some((kind, form)) = self.annotation(field)? {
            let scalar = Scalar::of(&field.kind()).filter(|_| !field.is_map());
            let scalar =
                scalar.ok_or_else(|| PlanError::FieldType { field: field.full_name().to_owned() })?;
            return Ok(Action::Subject { kind, form, scalar, repeated });
        }
        Ok(match field.kind() {
            Kind::Message(message) if !field.is_group() => {
                Action::Nested { node: self.add(&message)?, repeated }
            }
            kind => Action::Ignore { wire: plain_wire(&kind) },
        })
    }

    /// The field's annotation.
    fn annotation(&self, field: &FieldDescriptor) -> Result<Option<(Arc<str>, Form)>, PlanError> {
        let options = field.options();
        if !options.has_extension(self.extension) {
            return Ok(None);
        }
        let value = options.get_extension(self.extension);
        let Reflected::Message(subject) = value.as_ref() else { return Ok(None) };
        let kind =
            subject.get_field_by_name("kind").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let form = subject.get_field_by_name("form").and_then(|v| v.as_enum_number()).unwrap_or(0);
        let well_formed = (1..=32).contains(&kind.len())
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !well_formed {
            return Err(PlanError::Kind { field: field.full_name().to_owned(), kind });
        }
        let form = CanonicalForm::try_from(form).unwrap_or(CanonicalForm::Unspecified);
        Ok(Some((kind.into(), Form(form))))
    }

    /// Which message types lead to a subject: spread from those that name one until nothing changes.
    fn useful(&self) -> Vec<bool> {
        let mut useful = vec![false; self.nodes.len()];
        loop {
            let before = useful.clone();
            for (index, node) in self.nodes.iter().enumerate() {
                useful[index] |= node.fields.iter().any(|field| match &field.action {
                    Action::Subject { .. } => true,
                    Action::Nested { node, .. } => before[*node],
                    Action::Ignore { .. } => false,
                });
            }
            if useful == before {
                return useful;
            }
        }
    }
}

/// Leaves only fields that name a subject, lead to one, or displace one in a oneof.
fn prune(mut nodes: Vec<Node>, useful: &[bool]) -> Vec<Node> {
    for node in &mut nodes {
        for field in &mut node.fields {
            if matches!(field.action, Action::Nested { node, .. } if !useful[node]) {
                field.action = Action::Ignore { wire: Wire::Bytes };
            }
        }
        let telling: Vec<usize> = node
            .fields
            .iter()
            .filter(|field| !matches!(field.action, Action::Ignore { .. }))
            .filter_map(|field| field.oneof)
            .collect();
        node.fields.retain(|field| {
            !matches!(field.action, Action::Ignore { .. })
                || field.oneof.is_some_and(|o| telling.contains(&o))
        });
    }
    nodes
}

/// Wire type of any field kind.
const fn plain_wire(kind: &Kind) -> Wire {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Wire::Fixed64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Wire::Fixed32,
        Kind::String | Kind::Bytes | Kind::Message(_) => Wire::Bytes,
        _ => Wire::Varint,
    }
}
