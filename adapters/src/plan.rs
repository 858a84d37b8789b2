//! A validated adapter file: what `declared` makes and the backends carry out. Only valid states
//! can be written here; nothing is looked up by name at call time.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use prost_reflect::{FieldDescriptor, MethodDescriptor, Value};
use tonic::Code;

use crate::{
    mapper::scalar::Form,
    register::context::ContextName,
    sql::placeholders::Statement,
    tree::{Path, Tree},
    wsdl::Wsdl,
};

/// One adapter file.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) register: RegisterPlan,
    pub(crate) methods: HashMap<String, Arc<Method>>,
}

/// The register and its bulkhead.
#[derive(Debug)]
pub(crate) struct RegisterPlan {
    pub(crate) kind: RegisterKind,
    /// With environment variables put in: may hold a password, never log it.
    pub(crate) url: String,
    pub(crate) connections_max: u32,
    pub(crate) calls_in_flight_max: usize,
    pub(crate) wait: Duration,
    pub(crate) timeout: Duration,
    pub(crate) probe: Duration,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_identity: Option<IdentityFiles>,
    pub(crate) auth: Option<AuthPlan>,
    /// PostgreSQL: nothing is said without TLS.
    pub(crate) tls: bool,
    pub(crate) soap_version: SoapVersion,
    pub(crate) wsdl: Option<Wsdl>,
    pub(crate) limits: Limits,
}

/// PEM files of a client certificate.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How the adapter says who it is. Holds where the secrets are, never a secret.
#[derive(Debug)]
pub(crate) enum AuthPlan {
    Basic { user: String, password_file: PathBuf },
    Bearer { token_file: PathBuf },
    OAuth2 { token_url: reqwest::Url, client_id: String, secret_file: PathBuf, scopes: Vec<String> },
}

/// How much of an answer is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows_max: usize,
    pub(crate) stream_rows_max: usize,
    pub(crate) answer_bytes_max: usize,
    pub(crate) stream_bytes_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegisterKind {
    Postgres,
    Sqlite,
    Rest,
    Soap,
}

/// One method.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) descriptor: MethodDescriptor,
    /// Marked `NO_SIDE_EFFECTS`.
    pub(crate) read_only: bool,
    pub(crate) timeout: Duration,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) operation: Operation,
    pub(crate) answer: Answer,
    /// Rows must have the columns that `map` names.
    pub(crate) strict: bool,
    pub(crate) map: MessageMap,
    pub(crate) not_found: String,
    pub(crate) errors: HashMap<String, Refusal>,
    pub(crate) error_at: Option<Path>,
    /// rest, soap: where the row or rows are.
    pub(crate) at: Path,
}

impl Method {
    /// Short name.
    pub(crate) fn name(&self) -> &str {
        self.descriptor.name()
    }
}

/// What a refusal of the register means.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Parameter {
    /// For messages about the request.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) form: Form,
    /// Contract's enum number or truth value = register's value.
    pub(crate) table: Option<Vec<(Value, Tree)>>,
    pub(crate) null_if_default: bool,
    pub(crate) default: Option<Tree>,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// Fields from the request down.
    Field(Vec<FieldDescriptor>),
    Context(ContextName),
    Constant(Tree),
    Page(PageValue),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageValue {
    Limit,
    Offset,
    Size,
    Number,
    Cursor,
}

/// What is asked of the register.
#[derive(Debug)]
pub(crate) enum Operation {
    Sql(SqlPlan),
    Rest(RestPlan),
    Soap(SoapPlan),
}

#[derive(Debug)]
pub(crate) struct SqlPlan {
    /// At least one; the last one answers.
    pub(crate) statements: Vec<Statement>,
    pub(crate) nested: Vec<Nested>,
}

#[derive(Debug)]
pub(crate) struct Nested {
    pub(crate) name: String,
    pub(crate) statement: Statement,
    pub(crate) nested: Vec<Nested>,
}

#[derive(Debug)]
pub(crate) struct RestPlan {
    pub(crate) method: reqwest::Method,
    pub(crate) path: Vec<Piece>,
    pub(crate) query: Vec<(String, Template)>,
    pub(crate) headers: Vec<(reqwest::header::HeaderName, Template)>,
    pub(crate) body: Option<Template>,
}

#[derive(Debug)]
pub(crate) struct SoapPlan {
    pub(crate) version: SoapVersion,
    pub(crate) path: String,
    pub(crate) action: String,
    /// Of the operation's element.
    pub(crate) namespace: String,
    /// Name of that element.
    pub(crate) operation: String,
    /// Names without a prefix are in that namespace too, unless a shape says otherwise.
    pub(crate) qualified: bool,
    pub(crate) body: Vec<(String, Template)>,
    /// What the WSDL says of the elements inside the operation; empty where there is none.
    pub(crate) shapes: Vec<Shape>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SoapVersion {
    #[default]
    V1_1,
    V1_2,
}

/// An element of a request, in the order in which its schema wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) children: Vec<Shape>,
}

/// Text with parameters in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Literal(String),
    /// Index of the parameter.
    Slot(usize),
}

/// A value with parameters in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Template {
    Constant(Tree),
    Text(Vec<Piece>),
    List(Vec<Template>),
    Table(Vec<(String, Template)>),
}

impl Template {
    /// The value; `None` where it is one parameter that is absent.
    pub(crate) fn render(&self, values: &[Tree]) -> Option<Tree> {
        match self {
            Self::Constant(tree) => Some(tree.clone()),
            Self::Text(pieces) => match pieces.as_slice() {
                [Piece::Slot(at)] => values.get(*at).filter(|v| **v != Tree::Null).cloned(),
                pieces => Some(Tree::Text(
                    pieces
                        .iter()
                        .map(|piece| match piece {
                            Piece::Literal(text) => text.clone(),
                            Piece::Slot(at) => values.get(*at).map(Tree::to_text).unwrap_or_default(),
                        })
                        .collect(),
                )),
            },
            Self::List(items) => Some(Tree::List(items.iter().filter_map(|i| i.render(values)).collect())),
            Self::Table(members) => Some(Tree::Object(
                members
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), value.render(values)?)))
                    .collect(),
            )),
        }
    }
}

/// How rows become replies.
#[derive(Debug)]
pub(crate) enum Answer {
    One {
        into: Vec<FieldDescriptor>,
    },
    Many {
        into: FieldDescriptor,
        page: Option<Page>,
        reply: MessageMap,
    },
    Stream {
        into: Vec<FieldDescriptor>,
    },
    Chunks {
        field: FieldDescriptor,
        /// `None`: the HTTP body.
        from: Option<Path>,
        bytes_max: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) size_default: u32,
    pub(crate) size_max: u32,
    pub(crate) more: More,
    pub(crate) size_field: FieldDescriptor,
    pub(crate) token_field: FieldDescriptor,
    pub(crate) next_field: FieldDescriptor,
}

/// How one knows that there are more rows.
#[derive(Clone, Debug)]
pub(crate) enum More {
    /// One row more than the size was asked for.
    Limit,
    /// The page came full.
    Full,
    /// The register's cursor at this path of the answer.
    Cursor(Path),
}

/// How a message is filled: fields that are not listed take the value of the same name.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageMap {
    pub(crate) rules: Vec<(FieldDescriptor, Rule)>,
}

impl MessageMap {
    pub(crate) fn rule(&self, field: &FieldDescriptor) -> Option<&Rule> {
        self.rules.iter().find(|(f, _)| f == field).map(|(_, rule)| rule)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// Left unset.
    Skip,
    Take {
        from: Path,
        form: Form,
        default: Option<Value>,
    },
    Constant(Value),
    Context(ContextName),
    /// A nested message; `None`: its paths begin where the outer ones do.
    Inside {
        from: Option<Path>,
        map: MessageMap,
    },
    Each {
        each: Path,
        key: Option<Path>,
        item: Item,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Scalar { from: Path, form: Form },
    Message(MessageMap),
}
