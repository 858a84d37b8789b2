//! A table as both databases tell of it, and what is drafted of it. Pure.

/// A table or view.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// As it stands in a statement.
    pub(super) sql: String,
    /// Its bare name.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Columns that name one row, the primary key first, each as positions in `columns`.
    pub(super) keys: Vec<Vec<usize>>,
    /// Tables whose rows belong to one of this.
    pub(super) children: Vec<Child>,
}

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its bare name.
    pub(super) name: String,
    /// As it stands in a statement.
    pub(super) sql: String,
    pub(super) kind: Kind,
    /// An array of it.
    pub(super) list: bool,
    pub(super) nullable: bool,
    /// The contract has it as text, which the statement must say.
    pub(super) cast: bool,
}

/// A table that refers to another one.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// Without children of its own.
    pub(super) table: Table,
    /// Positions of the columns: in the child, and in the table that it refers to.
    pub(super) link: Vec<(usize, usize)>,
}

/// What a column's values are in a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Float,
    Double,
    Text,
    Bytes,
    Date,
    Timestamp,
}

impl Kind {
    /// The type of a field.
    pub(super) const fn proto(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Date => "google.type.Date",
            Self::Timestamp => "google.protobuf.Timestamp",
        }
    }

    /// The file that a contract imports for it.
    pub(super) const fn import(self) -> Option<&'static str> {
        match self {
            Self::Date => Some("google/type/date.proto"),
            Self::Timestamp => Some("google/protobuf/timestamp.proto"),
            _ => None,
        }
    }

    /// Whether a field of it says by itself that it is not there.
    pub(super) const fn is_message(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp)
    }

    /// Whether it may name a subject.
    pub(super) const fn names_subjects(self) -> bool {
        matches!(self, Self::Text | Self::Int32 | Self::Int64)
    }
}

impl Table {
    /// The position of the column of that name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}
