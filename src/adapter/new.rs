//! `ura adapter new`: a contract and an adapter file, drafted from a table that is there.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use ura_adapters::{
    declared::Declared,
    draft::{self, Draft, DraftError, Wish},
    schema,
};
use ura_runtime::config::ConfigErrors;

/// What the JSON Schema of adapter files is called beside one.
const SCHEMA_FILE: &str = "adapter-file.schema.json";

/// Draft a contract and an adapter file from a table of PostgreSQL or SQLite
///
/// Reads the table's columns, its keys and the tables that refer to it, and writes two files that `check`, `try` and
/// `run` take as they are: methods that get one row and list them all. Nothing is overwritten.
#[derive(Debug, clap::Args)]
pub(crate) struct NewCommand {
    /// Database: postgres://user@host:port/db or sqlite:FILE; '${NAME}' in it is taken from the environment
    #[arg(long)]
    url: String,
    /// Table or view, with its schema where the database needs it
    #[arg(long)]
    table: String,
    /// Package of the contract, such as ks.permits.v1
    #[arg(long)]
    package: String,
    /// Service of the contract, such as PermitService
    #[arg(long)]
    service: String,
    /// What one row is called, such as Permit; the table's name where it is not given
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// Columns that name one row; the primary key where they are not given
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    key: Vec<String>,
    /// Column that says whom a row is about, and the kind of subject, such as nrp=person. May stand several times
    #[arg(long = "subject", value_name = "COLUMN=KIND", value_parser = subject)]
    subjects: Vec<(String, String)>,
    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum NewError {
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error("{} exists already and is not overwritten: name another folder with --out, or remove it", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the draft has mistakes:\n{0}")]
    Mistaken(#[from] ConfigErrors),
}

fn subject(text: &str) -> Result<(String, String), String> {
    let (column, kind) = text.rsplit_once('=').ok_or("write COLUMN=KIND, such as nrp=person")?;
    Ok((column.to_owned(), kind.to_owned()))
}

impl NewCommand {
    /// Writes the files, and says what to do next.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let made =
            runtime.map_err(NewError::Runtime).and_then(|runtime| runtime.block_on(Box::pin(self.make())));
        match made {
            Ok(told) => {
                // A reader that has gone needs no advice.
                drop(io::stdout().write_all(told.as_bytes()));
                ExitCode::SUCCESS
            }
            Err(error) => {
                drop(writeln!(io::stderr(), "error: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn make(self) -> Result<String, NewError> {
        let wish = Wish {
            url: self.url,
            table: self.table,
            key: self.key,
            package: self.package,
            service: self.service,
            entity: self.entity,
            subjects: self.subjects,
        };
        let draft = draft::draft(&wish).await?;
        // `./` in front would only be noise in what is told.
        let out = self.out.strip_prefix(".").unwrap_or(&self.out);
        let (adapter, contract) = (out.join(&draft.adapter_file), out.join(&draft.contract_file));
        if let Some(there) = [&adapter, &contract].into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(NewError::Exists(there.clone()));
        }
        write(&contract, &draft.contract_text, true)?;
        write(&out.join(SCHEMA_FILE), schema::TEXT, false)?;
        write(&adapter, &format!("#:schema ./{SCHEMA_FILE}\n{}", draft.adapter_text), true)?;
        Declared::load(&adapter)?;
        Ok(told(&draft, &wish, &adapter, &contract))
    }
}

/// Writes a file with the folders above it.
fn write(path: &Path, text: &str, is_new: bool) -> Result<(), NewError> {
    let failed = |source| NewError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).create(true).create_new(is_new);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// What was made and what comes next.
fn told(draft: &Draft, wish: &Wish, adapter: &Path, contract: &Path) -> String {
    let last = draft.methods.last().map_or("", String::as_str);
    let mut told = format!(
        "{} is the contract {}: {}\n{adapter} answers it from the table {}\ntry it: ura adapter try {adapter} {last}\n",
        contract.display(),
        draft.contract,
        draft.methods.join(", "),
        wish.table,
        adapter = adapter.display(),
    );
    if wish.subjects.is_empty() {
        told.push_str("it says of nobody that a row is about them: where it is, draft it anew with --subject COLUMN=KIND\n");
    }
    if has_password(&wish.url) {
        told.push_str(&format!(
            "{} holds the password of the database: write ${{NAME}} for it, which is taken from the environment\n",
            adapter.display()
        ));
    }
    told
}

/// Whether a password stands in the address itself.
fn has_password(url: &str) -> bool {
    let user = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    password.is_some_and(|password| !password.starts_with("${"))
}
