//! Approved contracts: their methods as the exchange path needs them, what they are called, and their
//! shape, to be held against what an adapter reflects.

mod built_in;
mod deprecation;
mod shape;
mod validation;
mod versions;
mod words;

use std::{path::Path, path::PathBuf, sync::Arc};

use http::HeaderValue;
use prost_reflect::{FileDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor};
use ura_proto::contract::ContractError;

use super::{
    subject::{Plan, PlanError},
    titles::Titles,
};
pub(crate) use built_in::is_of_the_bus;
pub(crate) use deprecation::Deprecated;
use shape::Shape;
pub(crate) use validation::{Fault, Validate, check};
pub(crate) use versions::{Older, breaks, lost_subjects};
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
    /// The type of its requests.
    pub(crate) request: MessageDescriptor,
    /// The type of its replies.
    pub(crate) reply: MessageDescriptor,
    /// How to find the subjects of a request message.
    pub(crate) request_subjects: Option<Plan>,
    /// How to find the subjects of a reply message.
    pub(crate) reply_subjects: Option<Plan>,
    /// What it is called towards citizens, where the contract says so.
    pub(crate) title: Option<Titles>,
    /// The law that lets the institution answer, where the contract says so.
    pub(crate) legal_basis: Option<Box<str>>,
    /// `ura-deprecated` of its answers, where it or its contract is on its way out.
    pub(crate) deprecated: Option<HeaderValue>,
}

impl Method {
    /// Whether a call may change the register.
    pub(crate) fn writes(&self) -> bool {
        self.effects != Effects::None
    }

    /// Whether a call that may have been executed may be sent once more, as it was.
    pub(crate) fn may_repeat(&self) -> bool {
        self.effects != Effects::Write
    }

    /// Whether the request or the reply is a stream.
    pub(crate) fn streams(&self) -> bool {
        self.streams_request || self.streams_reply
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
    /// Versions before this one that adapters may still have, oldest first.
    pub(crate) older: Vec<Older>,
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

impl Files<'_> {
    /// Compiles the contract `name`.
    fn compile(&self, name: &str) -> Result<ura_proto::contract::Contract, ContractError> {
        match self {
            Self::Proto(path, roots) => ura_proto::contract::Contract::from_proto(name, path, roots),
            Self::DescriptorSet(path) => ura_proto::contract::Contract::from_descriptor_set(name, path),
            Self::BuiltIn => built_in::contract(name),
        }
    }
}

impl Contract {
    /// Compiles and checks a contract.
    pub(crate) fn approve(
        name: &str,
        files: &Files<'_>,
        retention_days: Option<u32>,
    ) -> Result<Self, ApprovalError> {
        let compiled = files.compile(name)?;
        // The gateway answers by its own program, whatever a file says.
        if is_of_the_bus(name)
            && Shape::of(&compiled.service) != Shape::of(&built_in::contract(name)?.service)
        {
            return Err(ApprovalError::NotOfThisProgram(name.to_owned()));
        }
        let name: Arc<str> = name.into();
        let methods =
            compiled.service.methods().map(|m| method(&name, &m).map(Arc::new)).collect::<Result<_, _>>()?;
        let options = compiled.service.service_descriptor_proto().options.as_ref();
        let deprecated = options.is_some_and(|options| options.deprecated());
        let mut contract = Self {
            name,
            methods,
            shape: Shape::of(&compiled.service),
            title: titles(&compiled.service.options(), "service_title", compiled.service.full_name())?,
            retention_days,
            older: Vec::new(),
            file: compiled.service.parent_file(),
            descriptor_set: compiled.descriptor_set,
            paths: compiled.paths,
        };
        if deprecated {
            contract.deprecate(&Deprecated::default());
        }
        Ok(contract)
    }

    /// Says of every method that the contract is on its way out. For a contract that nobody shares yet.
    pub(crate) fn deprecate(&mut self, notice: &Deprecated) {
        let header = notice.header(&self.name);
        for method in self.methods.iter_mut().filter_map(Arc::get_mut) {
            method.deprecated = Some(header.clone());
        }
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

    /// Why an adapter may not answer with the contract that it reflects, in words; `None` where that is one
    /// of the approved versions in names, numbers, types and defaults. Comments and annotations may differ:
    /// only those of the newest version count.
    pub(crate) fn difference(&self, reflected: &ServiceDescriptor) -> Option<String> {
        versions::difference(&self.shape, &self.older, reflected)
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
    let deprecated = method.method_descriptor_proto().options.as_ref().is_some_and(|o| o.deprecated());
    let notice = || Deprecated::default().header(&format!("{contract}/{}", method.name()));
    Ok(Method {
        path: format!("/{contract}/{}", method.name()).into(),
        name: method.name().into(),
        contract: contract.clone(),
        effects,
        streams_request: method.is_client_streaming(),
        streams_reply: method.is_server_streaming(),
        request: method.input(),
        reply: method.output(),
        request_subjects: Plan::compile(&method.input(), extension.as_ref())?,
        reply_subjects: Plan::compile(&method.output(), extension.as_ref())?,
        title: titles(&method.options(), "title", method.full_name())?,
        legal_basis: legal_basis(&method.options(), method.full_name())?,
        deprecated: deprecated.then(notice),
    })
}
