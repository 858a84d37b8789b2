//! Goes through a page as its reader would: writes its files, runs its commands, compares what they
//! print.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::process::Command;

use crate::{
    bus::{Demo, PATIENCE, Running, binary_folder},
    files::write,
    page::{Block, blocks, missing, read, root},
};

/// What the pages write for the address of the reader's own demo.
const GATEWAY: &str = "127.0.0.1:7400";

/// Names the Python that `./test` prepares; buf lies beside it.
const PYTHON: &str = "URA_TEST_PYTHON";

/// Commands that a machine may lack, and how to tell that it has them.
const TOOLS: [(&str, &str); 3] = [
    ("buf", "buf --version"),
    ("python3", "python3 -c 'import grpc, grpc_reflection, google.rpc'"),
    ("openssl", "openssl version"),
];

/// A walk through one page.
pub struct Walk<'d> {
    demo: &'d Demo,
    page: &'static str,
    dir: tempfile::TempDir,
    background: Vec<Running>,
    /// Address of a PostgreSQL database, and the variable that tells the reader's shell.
    database: Option<(&'static str, String)>,
    /// What else the reader's shell knows.
    variables: Vec<(&'static str, OsString)>,
}

/// What a page's runs printed, one after another.
pub type Printed = String;

impl<'d> Walk<'d> {
    pub fn new(demo: &'d Demo, page: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        Self { demo, page, dir, background: Vec::new(), database: None, variables: Vec::new() }
    }

    /// With a PostgreSQL database, whose address is in a variable of the shell.
    pub fn with_database(mut self, variable: &'static str, url: String) -> Self {
        self.database = Some((variable, url));
        self
    }

    /// With a variable in the shell.
    pub fn with_variable(mut self, variable: &'static str, value: OsString) -> Self {
        self.variables.push((variable, value));
        self
    }

    /// Whether a script ends well here.
    pub async fn can(&self, script: &str) -> bool {
        self.output(script).await.0
    }

    /// Where the reader is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Takes the page from top to bottom.
    pub async fn go(&mut self) -> Printed {
        self.through(blocks(&read(self.page))).await
    }

    /// Takes some blocks of the page.
    pub async fn through(&mut self, blocks: Vec<Block>) -> Printed {
        let (mut all, mut last) = (String::new(), None);
        let mut ran = 0;
        for block in blocks {
            if block.is("drafted") {
                self.compare_draft(&block);
                continue;
            }
            if let Some(name) = block.file_name() {
                write(&self.dir().join(name), &block.text.replace(GATEWAY, &self.demo.gateway));
            }
            if block.is("postgres") {
                self.postgres(&block).await;
            } else if block.language == "sql" {
                self.sql(&block).await;
            } else if block.is("run") {
                last = self.run(&block).await;
                ran += usize::from(last.is_some());
                all.extend(last.iter().cloned());
            } else if block.is("background") {
                let mut command = self.shell(&format!("exec {}", block.text));
                self.background.push(Running::start(&mut command));
            } else if block.is("output") {
                if let Some(printed) = &last {
                    self.compare(&block, printed);
                }
            } else if block.is("log") {
                let running = self.background.last().expect("a process in the background");
                // What a process does at once it may tell in any order.
                let told = |printed: &String| block.text.lines().all(|line| missing(line, printed).is_none());
                running.wait_for(&self.place(&block), told).await;
            }
        }
        assert!(ran > 0, "{}: nothing was run", self.page);
        all
    }

    /// Leaves nothing running.
    pub async fn end(self) {
        for running in self.background {
            running.kill().await;
        }
        self.dir.close().expect("the folder can be removed");
    }

    fn place(&self, block: &Block) -> String {
        format!("{}:{}", self.page, block.line)
    }

    /// What a run has drafted is what the page shows.
    fn compare_draft(&self, block: &Block) {
        let name = block.file_name().expect("a drafted block names its file");
        let drafted =
            fs::read_to_string(self.dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (_, shown) = block.text.split_once('\n').expect("lines below the name");
        assert_eq!(
            drafted,
            shown,
            "{}: left is what is drafted, right what the page shows",
            self.place(block)
        );
    }

    fn compare(&self, block: &Block, printed: &str) {
        if let Some(line) = missing(&block.text, printed) {
            panic!(
                "{}: not printed, or not in this order:\n{line}\nprinted was\n{printed}",
                self.place(block)
            );
        }
    }

    /// Runs a block; `None` where this machine lacks a tool for it. With the tools of `./test` none is lacking.
    async fn run(&self, block: &Block) -> Option<Printed> {
        for (tool, probe) in TOOLS {
            let wanted = block.text.split_whitespace().any(|word| word == tool);
            if wanted && !self.output(probe).await.0 {
                assert!(std::env::var_os(PYTHON).is_none(), "{}: {tool} does not work", self.place(block));
                eprintln!("{}: not run, for there is no working {tool}", self.place(block));
                return None;
            }
        }
        let (well, printed) = self.output(&block.text).await;
        assert_eq!(well, !block.is("fails"), "{}: how it ended; printed was\n{printed}", self.place(block));
        Some(printed)
    }

    /// Runs a script to its end: whether it ended well, and what it printed.
    async fn output(&self, script: &str) -> (bool, Printed) {
        let mut command = self.shell(&format!("exec 2>&1\n{script}"));
        let command = command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("not in time: {script}")).expect("sh starts");
        (ended.status.success(), String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// A shell as the pages take it to be.
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        let identity = self.demo.path().join("config/pki/ais-portal");
        command
            .args(["-euc", script])
            .current_dir(self.dir())
            .env("PATH", search_path())
            .env("DEMO", self.demo.path())
            .env("GATEWAY", &self.demo.gateway)
            .env("IDENTITY", identity)
            .envs(self.variables.iter().map(|(variable, value)| (*variable, value)))
            .envs(self.database.iter().map(|(variable, url)| (*variable, url)));
        command
    }

    /// Runs SQL in the database of the walk.
    async fn postgres(&self, block: &Block) {
        let (_, url) = self.database.as_ref().expect("a database for the page");
        run_in_postgres(url, &block.text)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", self.place(block)));
    }

    /// Runs SQL: a named file makes a database beside it, anything else asks the evidence log.
    async fn sql(&self, block: &Block) {
        let (path, text) = match block.file_name() {
            Some(name) => (self.dir().join(name).with_extension("db"), block.text.clone()),
            None => {
                let copy = self.dir().join("evidence-copy.db");
                let text = block.text.replace("evidence-copy.db", &copy.display().to_string());
                (self.demo.evidence(), text)
            }
        };
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(block.file_name().is_some());
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the database opens");
        let ended = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await;
        ended.unwrap_or_else(|error| panic!("{}: {error}", self.place(block)));
        connection.close().await.expect("the database closes");
    }
}

/// Runs statements in a database.
pub async fn run_in_postgres(url: &str, text: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

/// One number out of a database.
pub async fn number(database: &Path, query: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the database opens");
    let row = sqlx::query(query).fetch_one(&mut connection).await.expect(query);
    connection.close().await.expect("the database closes");
    row.get(0)
}

/// Where commands are looked for: the binary under test, the Python of the tests, the system.
fn search_path() -> OsString {
    let python = std::env::var_os(PYTHON).map(PathBuf::from);
    let python = python.unwrap_or_else(|| root().join("target/test-tools/python/bin/python"));
    let tools = python.parent().filter(|folder| fs::exists(folder).unwrap_or(false)).map(Path::to_path_buf);
    let system = std::env::var_os("PATH").unwrap_or_default();
    let folders = [Some(binary_folder().to_path_buf()), tools].into_iter().flatten();
    std::env::join_paths(folders.chain(std::env::split_paths(&system))).expect("folders without colons")
}
