//! A first contract and adapter file, drafted from a table that is there.
//!
//! Knows what the two files look like and what a database says of its tables; must not know the bus. What comes out
//! is a beginning that works at once: names and meaning are for people to mend before others build on it.

mod contract;
mod file;
mod names;
mod postgres;
mod sqlite;
mod table;

use std::{io, path::PathBuf};

use self::{
    names::{pascal, plural},
    table::Table,
};
use crate::declared::environment;

/// What is to be drafted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Address of the database as an adapter file has it, `${NAME}` included.
    pub url: String,
    /// The table or view, with its schema where the database needs it.
    pub table: String,
    /// Columns that name one row; where empty, the primary key or a unique index.
    pub key: Vec<String>,
    /// Package of the contract, such as `ks.permits.v1`.
    pub package: String,
    /// Service of the contract, such as `PermitService`.
    pub service: String,
    /// What one row is called, such as `Permit`; the table's own name where there is none.
    pub entity: Option<String>,
    /// Columns that name whom a row is about, each with the kind of subject, such as `person`.
    pub subjects: Vec<(String, String)>,
}

/// Files that make a contract answered, relative to the folder of the adapter file.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The adapter file.
    pub adapter_file: PathBuf,
    /// Its text.
    pub adapter_text: String,
    /// The contract.
    pub contract_file: PathBuf,
    /// Its text.
    pub contract_text: String,
    /// Full name of the contract.
    pub contract: String,
    /// Short names of the methods.
    pub methods: Vec<String>,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A name of the contract cannot be one.
    #[error("{0}")]
    Name(String),
    /// The address is of no database that can be read.
    #[error("{0}")]
    Url(String),
    /// The database cannot be reached, or does not answer.
    #[error("the database cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    /// No such table.
    #[error("there is no table `{table}`; there is: {known}")]
    NoTable {
        /// What was asked for.
        table: String,
        /// Tables that there are.
        known: String,
    },
    /// No such column.
    #[error("the table has no column `{column}`; there is: {known}")]
    NoColumn {
        /// What was asked for.
        column: String,
        /// Columns that there are.
        known: String,
    },
    /// Nothing names one row.
    #[error(
        "nothing names one row of {table}: it has no primary key and no unique columns that are never NULL; name columns with --key, of: {known}"
    )]
    NoKey {
        /// The table.
        table: String,
        /// Columns that there are.
        known: String,
    },
    /// The column cannot name whom a row is about.
    #[error("the column `{0}` cannot name a subject: only text and whole numbers can")]
    Subject(String),
}

/// One row as a message.
struct Entity<'t> {
    table: &'t Table,
    message: String,
    /// Name of the field for each column.
    fields: Vec<String>,
    /// Positions of the columns that name one row.
    key: Vec<usize>,
    /// Positions of the columns that name whom it is about, with the kind of subject.
    subjects: Vec<(usize, String)>,
    parts: Vec<Part<'t>>,
}

/// Rows of another table that belong to one row.
struct Part<'t> {
    table: &'t Table,
    message: String,
    /// Name of the field in the entity.
    field: String,
    /// Name of the field for each column; columns that only say to whom the row belongs have none.
    fields: Vec<Option<String>>,
    link: &'t [(usize, usize)],
}

impl Entity<'_> {
    /// The subject by which entries are listed: one that a row is found by no quicker.
    fn listed_by(&self) -> Option<usize> {
        self.subjects.iter().map(|(at, _)| *at).find(|at| self.key != [*at])
    }

    /// Whether entries are listed. Where each is about the one that names it, a list would be of people.
    fn is_listed(&self) -> bool {
        self.subjects.is_empty() || self.listed_by().is_some()
    }

    fn get(&self) -> String {
        format!("Get{}", self.message)
    }

    fn list(&self) -> String {
        format!("List{}", plural(&self.message))
    }
}

/// Asks the database about the table and drafts both files. Writes nothing.
///
/// # Errors
/// Names that cannot be, a database that cannot be read, a table, column or key that is not there.
pub async fn draft(wish: &Wish) -> Result<Draft, DraftError> {
    let stem = check(wish)?;
    let url = environment::put_in(&wish.url).map_err(DraftError::Url)?;
    let mut written_url = wish.url.clone();
    let table = match url.strip_prefix("sqlite:") {
        Some(path) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path == wish.url.trim_start_matches("sqlite:").trim_start_matches("//") {
                // The adapter file lies elsewhere than where the command was given.
                let whole = std::path::absolute(path)
                    .map_err(|error: io::Error| DraftError::Url(error.to_string()))?;
                written_url = format!("sqlite:{}", whole.display());
            }
            sqlite::read(path, &wish.table).await?
        }
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            postgres::read(&url, &wish.table).await?
        }
        None => return Err(DraftError::Url("a url begins with postgres:// or sqlite:".to_owned())),
    };
    let entity = entity(wish, &table)?;
    let folder = wish.package.replace('.', "/");
    let proto = format!("proto/{folder}/{stem}.proto");
    let mut methods = vec![entity.get()];
    methods.extend(entity.is_listed().then(|| entity.list()));
    Ok(Draft {
        adapter_file: PathBuf::from(format!("{stem}.toml")),
        adapter_text: file::text(wish, &entity, &proto, &written_url),
        contract_text: contract::text(wish, &entity),
        contract_file: PathBuf::from(proto),
        contract: format!("{}.{}", wish.package, wish.service),
        methods,
    })
}

/// The name of the files: the last part of the package that is no version.
fn check(wish: &Wish) -> Result<String, DraftError> {
    let parts: Vec<&str> = wish.package.split('.').collect();
    let is_part = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let is_version = |part: &&&str| {
        part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let stem = parts.iter().rev().find(|part| !is_version(part)).filter(|_| parts.iter().all(is_part));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    for name in std::iter::once(&wish.service).chain(&wish.entity) {
        if !is_name(name) {
            return Err(DraftError::Name(format!(
                "`{name}` is no name of a service or message: write it like PermitService"
            )));
        }
    }
    for (_, kind) in &wish.subjects {
        let sound = kind.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !sound || !(1..=32).contains(&kind.len()) {
            return Err(DraftError::Name(format!(
                "`{kind}` is no kind of subject: write 1 to 32 small letters, digits and hyphens, such as person"
            )));
        }
    }
    stem.map(|stem| (*stem).to_owned()).ok_or_else(|| {
        DraftError::Name(format!("`{}` is no package: write it like ks.permits.v1", wish.package))
    })
}

fn entity<'t>(wish: &Wish, table: &'t Table) -> Result<Entity<'t>, DraftError> {
    let known = || table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let position = |column: &String| {
        let missing = || DraftError::NoColumn { column: column.clone(), known: known() };
        table.position(column).ok_or_else(missing)
    };
    let wished = wish.key.iter().map(position).collect::<Result<Vec<_>, _>>()?;
    let key = match table.keys.first() {
        _ if !wished.is_empty() => wished,
        Some(key) if !key.is_empty() => key.clone(),
        _ => return Err(DraftError::NoKey { table: table.name.clone(), known: known() }),
    };
    let mut subjects = Vec::new();
    for (column, kind) in &wish.subjects {
        let at = position(column)?;
        if table.columns.get(at).is_none_or(|column| !column.kind.names_subjects() || column.list) {
            return Err(DraftError::Subject(column.clone()));
        }
        subjects.push((at, kind.clone()));
    }
    let message = wish.entity.clone().unwrap_or_else(|| pascal(&names::snake(&table.name)));
    let mut messages = names::Given::default();
    for taken in ["{}", "Get{}Request", "Get{}Response"] {
        messages.message(&taken.replace("{}", &message));
    }
    for taken in ["List{}Request", "List{}Response"] {
        messages.message(&taken.replace("{}", &plural(&message)));
    }
    messages.message(&wish.service);
    let mut given = names::Given::fields();
    let fields = table.columns.iter().map(|column| given.field(&column.name)).collect();
    let parts = table.children.iter().map(|child| {
        let mut own = names::Given::fields();
        let belongs = |at| child.link.iter().any(|(of_child, _)| *of_child == at);
        let named = child.table.columns.iter().enumerate();
        Part {
            table: &child.table,
            message: messages.message(&pascal(&names::snake(&child.table.name))),
            field: given.field(&child.table.name),
            fields: named.map(|(at, column)| (!belongs(at)).then(|| own.field(&column.name))).collect(),
            link: &child.link,
        }
    });
    let parts = parts.filter(|part| part.fields.iter().any(Option::is_some)).collect();
    Ok(Entity { table, message, fields, key, subjects, parts })
}

#[cfg(test)]
mod tests;
