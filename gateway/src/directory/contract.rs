//! Approved contracts: their methods as the exchange path needs them, and their shape, to be held
//! against what an adapter reflects.

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use prost_reflect::{
    Cardinality, EnumDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};
use ura_proto::contract::ContractError;

use super::subject::{Plan, PlanError};

/// Files of the services that the gateway answers itself.
const OWN_FILES: [&str; 3] = ["health.proto", "reflection_v1.proto", "reflection_v1alpha.proto"];

/// What a call of a method may do at the register (`idempotency_level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effects {
    /// `NO_SIDE_EFFECTS`: it only reads.
    None,
    /// `IDEMPOTENT`: a repetition with the same key changes nothing more.
    Idempotent,
    /// Unspecified: it may change something each time.
    Write,
}

/// One method of an approved contract.
#[derive(Debug)]
pub(crate) struct Method {
    /// `/package.Service/Method`.
    pub(crate) path: Arc<str>,
    /// `Method`.
    pub(crate) name: Box<str>,
    /// `package.Service`.
    pub(crate) contract: Arc<str>,
    /// What a call may do.
    pub(crate) effects: Effects,
    /// Whether the request is a stream.
    pub(crate) streams_request: bool,
    /// Whether the reply is a stream.
    pub(crate) streams_reply: bool,
    /// How to find the subjects of a request message.
    pub(crate) request_subjects: Option<Plan>,
    /// How to find the subjects of a reply message.
    pub(crate) reply_subjects: Option<Plan>,
}

impl Method {
    /// Whether a call may change the register.
    pub(crate) fn writes(&self) -> bool {
        self.effects != Effects::None
    }
}

/// Why a contract cannot be approved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApprovalError {
    /// Its files.
    #[error(transparent)]
    Files(#[from] ContractError),
    /// Its annotations.
    #[error(transparent)]
    Annotations(#[from] PlanError),
    /// A write that streams both ways: no record could be durable before each of its parts.
    #[error(
        "{0} streams both ways and is not marked NO_SIDE_EFFECTS; a bidirectional write cannot be recorded before it happens"
    )]
    BidirectionalWrite(String),
}

/// One approved contract.
#[derive(Debug)]
pub(crate) struct Contract {
    /// `package.Service`.
    pub(crate) name: Arc<str>,
    /// Its methods.
    pub(crate) methods: Vec<Arc<Method>>,
    /// Serialised `google.protobuf.FileDescriptorSet`.
    pub(crate) descriptor_set: Vec<u8>,
    /// Files it was compiled from.
    pub(crate) paths: Vec<PathBuf>,
    /// The file that defines the service, by its path below the import root.
    file: FileDescriptor,
    shape: Shape,
}

/// Where a contract's files are.
pub(crate) enum Files<'p> {
    /// A `.proto` file and the roots of its imports.
    Proto(&'p Path, &'p [PathBuf]),
    /// A serialised `google.protobuf.FileDescriptorSet`.
    DescriptorSet(&'p Path),
}

impl Contract {
    /// Compiles and checks a contract.
    pub(crate) fn approve(name: &str, files: &Files<'_>) -> Result<Self, ApprovalError> {
        let compiled = match files {
            Files::Proto(path, roots) => ura_proto::contract::Contract::from_proto(name, path, roots)?,
            Files::DescriptorSet(path) => ura_proto::contract::Contract::from_descriptor_set(name, path)?,
        };
        let name: Arc<str> = name.into();
        let methods =
            compiled.service.methods().map(|m| method(&name, &m).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            methods,
            shape: Shape::of(&compiled.service),
            file: compiled.service.parent_file(),
            descriptor_set: compiled.descriptor_set,
            paths: compiled.paths,
        })
    }

    /// Path of the file that defines the service, where one of the gateway's own has it too: reflection
    /// tells files apart by nothing else.
    pub(crate) fn own_file(&self) -> Option<&str> {
        Some(self.file.name()).filter(|name| OWN_FILES.contains(name))
    }

    /// Path of the file that defines the service, where this contract's is another one of that path.
    pub(crate) fn same_file(&self, other: &Self) -> Option<&str> {
        let (mine, others) = (self.file.file_descriptor_proto(), other.file.file_descriptor_proto());
        (mine.name == others.name && mine != others).then(|| self.file.name())
    }

    /// What differs between this contract and one that an adapter reflects, in words; `None` where
    /// they agree in names, numbers and types. Comments and annotations may differ: only the
    /// approved ones count.
    pub(crate) fn difference(&self, reflected: &ServiceDescriptor) -> Option<String> {
        self.shape.difference(&Shape::of(reflected))
    }
}

/// One method, annotations compiled.
fn method(contract: &Arc<str>, method: &MethodDescriptor) -> Result<Method, ApprovalError> {
    let pool = method.parent_pool();
    let extension = pool.get_extension_by_name("ura.v1.data_subject");
    // google.protobuf.MethodOptions.IdempotencyLevel: 0 unknown, 1 NO_SIDE_EFFECTS, 2 IDEMPOTENT.
    let level =
        method.method_descriptor_proto().options.as_ref().map_or(0, |o| o.idempotency_level.unwrap_or(0));
    let effects = match level {
        1 => Effects::None,
        2 => Effects::Idempotent,
        _ => Effects::Write,
    };
    if method.is_client_streaming() && method.is_server_streaming() && effects != Effects::None {
        return Err(ApprovalError::BidirectionalWrite(method.full_name().to_owned()));
    }
    Ok(Method {
        path: format!("/{contract}/{}", method.name()).into(),
        name: method.name().into(),
        contract: contract.clone(),
        effects,
        streams_request: method.is_client_streaming(),
        streams_reply: method.is_server_streaming(),
        request_subjects: Plan::compile(&method.input(), extension.as_ref())?,
        reply_subjects: Plan::compile(&method.output(), extension.as_ref())?,
    })
}

/// Everything of a contract that two programs must agree on, one line per thing.
#[derive(Debug, PartialEq, Eq)]
struct Shape(BTreeMap<String, String>);

impl Shape {
    fn of(service: &ServiceDescriptor) -> Self {
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
    fn difference(&self, other: &Self) -> Option<String> {
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
