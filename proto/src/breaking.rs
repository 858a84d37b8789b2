//! Whether a new version of a contract breaks an old one: the rules of `buf breaking`, categories WIRE and
//! WIRE_JSON, and that nothing that callers name is taken away. Pure; knows no directory and no file on disk.
//!
//! Files, messages, enums and services are paired by their full names, fields and enum values by their
//! numbers, methods by their names, as buf does. What is only new breaks nothing.

mod fields;
mod methods;
mod types;

use std::fmt;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// Files that hold options of contracts and nothing that is ever sent: versions of them are not compared.
const OPTION_FILES: [&str; 2] = ["google/protobuf/descriptor.proto", "ura/v1/annotations.proto"];

/// Defines [`Rule`] from one table.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $wire:literal;)*) => {
        /// A rule, under the name that buf has for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in buf's documentation.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Whether it is of buf's category WIRE: bytes would be read otherwise than they were meant. The others
            /// are about names, in JSON, in adapter files and in calls.
            #[must_use]
            pub const fn is_wire(self) -> bool {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

rules! {
    /// A value of an enum is gone and its number is not reserved.
    EnumValueNumber = "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED", true;
    /// A field is gone and its number is not reserved.
    FieldNumber = "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", true;
    /// A field has another default.
    FieldDefault = "FIELD_SAME_DEFAULT", true;
    /// A field went into a oneof, out of one or into another.
    FieldOneof = "FIELD_SAME_ONEOF", true;
    /// A field is single, required or repeated, and was not.
    FieldCardinality = "FIELD_WIRE_COMPATIBLE_CARDINALITY", true;
    /// A field has a type whose bytes are read otherwise.
    FieldType = "FIELD_WIRE_COMPATIBLE_TYPE", true;
    /// A file has another package.
    FilePackage = "FILE_SAME_PACKAGE", true;
    /// A required field came or went.
    RequiredFields = "MESSAGE_SAME_REQUIRED_FIELDS", true;
    /// A reserved number or name of an enum is free again.
    EnumReserved = "RESERVED_ENUM_NO_DELETE", true;
    /// A reserved number or name of a message is free again.
    MessageReserved = "RESERVED_MESSAGE_NO_DELETE", true;
    /// A request is a stream and was not, or the other way round.
    ClientStreaming = "RPC_SAME_CLIENT_STREAMING", true;
    /// A method has other effects.
    IdempotencyLevel = "RPC_SAME_IDEMPOTENCY_LEVEL", true;
    /// A method takes another message.
    RequestType = "RPC_SAME_REQUEST_TYPE", true;
    /// A method answers with another message.
    ResponseType = "RPC_SAME_RESPONSE_TYPE", true;
    /// A reply is a stream and was not, or the other way round.
    ServerStreaming = "RPC_SAME_SERVER_STREAMING", true;
    /// An enum has no JSON form any more.
    EnumJsonFormat = "ENUM_SAME_JSON_FORMAT", false;
    /// A value of an enum is gone and its name is not reserved.
    EnumValueName = "ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED", false;
    /// A value of an enum has another name.
    EnumValueSameName = "ENUM_VALUE_SAME_NAME", false;
    /// A field is gone and its name is not reserved.
    FieldName = "FIELD_NO_DELETE_UNLESS_NAME_RESERVED", false;
    /// A field has another name in JSON.
    FieldJsonName = "FIELD_SAME_JSON_NAME", false;
    /// A field has another name.
    FieldSameName = "FIELD_SAME_NAME", false;
    /// A field is single, required, a list or a map, and was not.
    FieldJsonCardinality = "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY", false;
    /// A field has a type that JSON writes otherwise.
    FieldJsonType = "FIELD_WIRE_JSON_COMPATIBLE_TYPE", false;
    /// A message has no JSON form any more.
    MessageJsonFormat = "MESSAGE_SAME_JSON_FORMAT", false;
    /// A method is gone.
    MethodDeleted = "RPC_NO_DELETE", false;
    /// A service is gone. By its full name, wherever it stands; buf has a rule for files and one for packages.
    ServiceDeleted = "SERVICE_NO_DELETE", false;
}

/// One thing by which a new version breaks an old one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Break {
    /// File of the new version, by its path below the import root; of what is gone, where it was.
    pub file: String,
    /// Line in that file, from 1, where it is known.
    pub line: Option<u32>,
    /// What is meant: `ks.tax.v1.Invoice.amount`, a full name.
    pub place: String,
    /// What was changed.
    pub problem: String,
    /// What would be right.
    pub mend: String,
    /// The rule that it is against.
    pub rule: Rule,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {}; {} [{}]", self.place, self.problem, self.mend, self.rule.id())
    }
}

/// Everything by which `new` breaks `old`, in the order of files, lines and names.
#[must_use]
pub fn breaking(old: &DescriptorPool, new: &DescriptorPool) -> Vec<Break> {
    let mut breaks = Breaks::default();
    for file in old.files().filter(compared) {
        if let Some(now) = new.get_file_by_name(file.name())
            && now.package_name() != file.package_name()
        {
            breaks.add(
                Rule::FilePackage,
                &Place::new(&now, &[2], now.name()),
                format!(
                    "its package was `{}` and is `{}`; every name in it changes",
                    file.package_name(),
                    now.package_name()
                ),
                "keep the package, and put the new version beside it in a file of its own",
            );
        }
    }
    types::messages(old, new, &mut breaks);
    types::enums(old, new, &mut breaks);
    fields::extensions(old, new, &mut breaks);
    methods::services(old, new, &mut breaks);
    let mut found = breaks.0;
    found.sort();
    found
}

/// Whether what stands in a file is compared.
fn compared(file: &FileDescriptor) -> bool {
    !OPTION_FILES.contains(&file.name())
}

/// Where a break stands.
struct Place {
    file: String,
    line: Option<u32>,
    name: String,
}

impl Place {
    /// A thing by its full name; `path` leads to it in the file's descriptor.
    fn new(file: &FileDescriptor, path: &[i32], name: &str) -> Self {
        let info = file.file_descriptor_proto().source_code_info.as_ref();
        let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
        // SourceCodeInfo counts lines from 0.
        let line = location.and_then(|l| l.span.first()).and_then(|line| u32::try_from(line + 1).ok());
        Self { file: file.name().to_owned(), line, name: name.to_owned() }
    }
}

/// What was found so far.
#[derive(Default)]
struct Breaks(Vec<Break>);

impl Breaks {
    fn add(&mut self, rule: Rule, place: &Place, problem: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Break {
            file: place.file.clone(),
            line: place.line,
            place: place.name.clone(),
            problem: problem.into(),
            mend: mend.into(),
            rule,
        });
    }
}

#[cfg(test)]
mod tests;
