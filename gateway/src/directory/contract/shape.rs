//! The shape of a contract: names, numbers and types, without comments and annotations.

use std::collections::BTreeMap;

use prost_reflect::{Cardinality, EnumDescriptor, Kind, MessageDescriptor, ServiceDescriptor};

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
            let kind = match field.kind() {
                Kind::Message(inner) => {
                    self.message(&inner);
                    inner.full_name().to_owned()
                }
                Kind::Enum(inner) => {
                    self.enumeration(&inner);
                    inner.full_name().to_owned()
                }
                scalar => format!("{scalar:?}").to_lowercase(),
            };
            let oneof = field.containing_oneof().map(|o| format!(" in {}", o.name())).unwrap_or_default();
            self.0.insert(
                format!("field {} = {}", message.full_name(), field.number()),
                format!("{cardinality}{kind} {}{oneof}", field.name()),
            );
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

    /// The first difference, in words.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        for (key, approved) in &self.0 {
            match other.0.get(key) {
                None => return Some(format!("{key} {approved}: approved, but the adapter does not have it")),
                Some(reflected) if reflected != approved => {
                    return Some(format!("{key}: approved is `{approved}`, the adapter has `{reflected}`"));
                }
                Some(_) => {}
            }
        }
        other
            .0
            .iter()
            .find(|(key, _)| !self.0.contains_key(*key))
            .map(|(key, value)| format!("{key} {value}: the adapter has it, but it is not approved"))
    }
}
