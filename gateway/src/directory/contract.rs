//! Approved contracts: their methods as the exchange path needs them, what they are called, and their
//! shape, to be held against what an adapter reflects.

mod built_in;
mod shape;
mod words;

use std::{path::Path, path::PathBuf, sync::Arc};

use prost_reflect::{FileDescriptor, MethodDescriptor, ServiceDescriptor};
use ura_proto::contract::ContractError;

use super::{
    subject::{Plan, PlanError},
    titles::Titles,
};
pub(crate) use built_in::is_of_the_bus;
use shape::Shape;
pub(crate) use words::WordsError;
use words::{legal_basis, titles};

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
    /// What it is called towards citizens, where the contract says so.
    pub(crate) title: Option<Titles>,
    /// The law that lets the institution answer, where the contract says so.
    pub(crate) legal_basis: Option<Box<str>>,
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
    /// Its titles or legal basis.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// A contract of the bus itself is another one than the gateway answers.
    #[error(
        "{0} is a contract of the bus itself and differs from the one of this program; leave out proto and descriptor_set"
    )]
    NotOfThisProgram(String),
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
    /// Files it was compiled from; none where the program brought them along.
    pub(crate) paths: Vec<PathBuf>,
    /// What it is called towards citizens, where it says so.
    pub(crate) title: Option<Titles>,
    /// Days for which entries of its exchanges are kept, 1 to 36500; without, for good.
    pub(crate) retention_days: Option<u32>,
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
    /// In the program itself: contracts of the bus.
    BuiltIn,
}

impl Contract {
    /// Compiles and checks a contract.
    pub(crate) fn approve(
        name: &str,
        files: &Files<'_>,
        retention_days: Option<u32>,
    ) -> Result<Self, ApprovalError> {
        let compiled = match files {
            Files::Proto(path, roots) => ura_proto::contract::Contract::from_proto(name, path, roots)?,
            Files::DescriptorSet(path) => ura_proto::contract::Contract::from_descriptor_set(name, path)?,
            Files::BuiltIn => built_in::contract(name)?,
        };
        // The gateway answers by its own program, whatever a file says.
        if is_of_the_bus(name)
            && Shape::of(&compiled.service) != Shape::of(&built_in::contract(name)?.service)
        {
            return Err(ApprovalError::NotOfThisProgram(name.to_owned()));
        }
        let name: Arc<str> = name.into();
        let methods =
            compiled.service.methods().map(|m| method(&name, &m).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            methods,
            shape: Shape::of(&compiled.service),
            title: titles(&compiled.service.options(), "service_title", compiled.service.full_name())?,
            retention_days,
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
        title: titles(&method.options(), "title", method.full_name())?,
        legal_basis: legal_basis(&method.options(), method.full_name())?,
    })
}
