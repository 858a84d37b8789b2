//! The shape of a contract: names, numbers and types, without comments and annotations.

use std::collections::BTreeMap;

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
};

/// Everything of a contract that two programs must agree on, one line per thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape(BTreeMap<String, String>);

impl Shape {
    /// The shape of a service: its methods and every message that they lead to.
    pub(super) fn of(service: &ServiceDescriptor) -> Self {
        let mut shape = Self(BTreeMap::new());
        for method in service.methods() {
            let stream = |yes: bool| if yes { "stream " } else { "" };
            shape.0.insert(
                format!("rpc {}", method.full_name()),
                format!(
                    "({}{}) returns ({}{})",
                    stream(method.is_client_streaming()),
                    method.input().full_name(),
                    stream(method.is_server_streaming()),
                    method.output().full_name()
                ),
            );
            shape.message(&method.input());
            shape.message(&method.output());
        }
        shape
    }

    fn message(&mut self, message: &MessageDescriptor) {
        let key = format!("message {}", message.full_name());
        if self.0.insert(key, String::new()).is_some() {
            return;
        }
        for field in message.fields() {
            let cardinality = match field.cardinality() {
                _ if field.is_map() => "map ",
                Cardinality::Repeated => "repeated ",
                Cardinality::Required => "required ",
                Cardinality::Optional => "",
            };
            let kind = self.kind(&field.kind());
            let oneof = field.containing_oneof().map(|o| format!(" in {}", o.name())).unwrap_or_default();
            self.0.insert(
                format!("field {} = {}", message.full_name(), field.number()),
                format!("{cardinality}{kind} {}{oneof}{}", field.name(), default(&field)),
            );
        }
    }

    /// The words for a type; messages and enums that it leads to are taken in.
    fn kind(&mut self, kind: &Kind) -> String {
        match kind {
            // An entry's name is on no wire, and not every compiler gives it the one of the language guide.
            Kind::Message(entry) if entry.is_map_entry() => {
                let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                format!("<{}, {}>", self.kind(&key.kind()), self.kind(&value.kind()))
            }
            Kind::Message(inner) => {
                self.message(inner);
                inner.full_name().to_owned()
            }
            Kind::Enum(inner) => {
                self.enumeration(inner);
                inner.full_name().to_owned()
            }
            scalar => format!("{scalar:?}").to_lowercase(),
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) {
        for value in enumeration.values() {
            self.0.insert(
                format!("enum {} = {}", enumeration.full_name(), value.number()),
                value.name().to_owned(),
            );
        }
    }

    /// What differs in an adapter's shape, in words.
    pub(super) fn differences(&self, adapters: &Self) -> impl Iterator<Item = String> {
        let mine = self.0.iter().filter_map(|(key, approved)| match adapters.0.get(key) {
            None => Some(format!("{key} {approved}: approved, but the adapter does not have it")),
            Some(reflected) if reflected != approved => {
                Some(format!("{key}: approved is `{approved}`, the adapter has `{reflected}`"))
            }
            Some(_) => None,
        });
        let theirs = adapters.0.iter().filter(|(key, _)| !self.0.contains_key(*key));
        mine.chain(
            theirs.map(|(key, value)| format!("{key} {value}: the adapter has it, but it is not approved")),
        )
    }
}

/// The default of a field that states one (proto2).
fn default(field: &FieldDescriptor) -> String {
    let proto = field.field_descriptor_proto();
    proto.default_value.as_ref().map(|value| format!(" [default = {value}]")).unwrap_or_default()
}
