//! A PostgreSQL server of its own, from the binaries of the system, in a temporary folder.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::process::Process;

/// Ports that are tried: another process may take one between the look and the start.
const PORTS_TRIED_MAX: usize = 10;
const USER: &str = "gjendja";
const PASSWORD: &str = "vetem-per-prove";
const DATABASE: &str = "gjendja_civile";

pub struct Postgres {
    _process: Process,
    port: u16,
    _dir: TempDir,
}

impl Postgres {
    /// A server with an empty database.
    pub async fn start() -> Self {
        let bin = binaries();
        let dir = tempfile::tempdir().expect("temporary folder");
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).expect("a password");
        if is_root() {
            // PostgreSQL does not run as root.
            run(Command::new("chown").args(["-R", "nobody:nogroup"]).arg(dir.path()));
        }
        let data = dir.path().join("data");
        run(as_nobody(&bin.join("initdb"), dir.path())
            .arg("-D")
            .arg(&data)
            .args(["-U", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pwfile")
            .arg(&password));
        for _ in 0..PORTS_TRIED_MAX {
            let port = free_port();
            let mut command = as_nobody(&bin.join("postgres"), dir.path());
            command.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
            command.arg("-c").arg(format!("port={port}"));
            command.arg("-c").arg(format!("unix_socket_directories={}", dir.path().display()));
            let process = Process::start("postgres", &mut command).ends_by("QUIT");
            if process.said(&["database system is ready to accept connections"]).await.is_some() {
                let server = Self { _process: process, port, _dir: dir };
                let client = server.connect("postgres").await;
                client.batch_execute(&format!("create database {DATABASE}")).await.expect("a database");
                return server;
            }
        }
        panic!("PostgreSQL found no free port in {PORTS_TRIED_MAX} attempts");
    }

    /// The database, as a register's url.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// A connection to the database, past the bus.
    pub async fn client(&self) -> Client {
        self.connect(DATABASE).await
    }

    async fn connect(&self, database: &str) -> Client {
        let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("PostgreSQL");
        tokio::spawn(connection);
        client
    }
}

/// The folder with `initdb` and `postgres`: of the newest version that is installed.
fn binaries() -> PathBuf {
    if let Some(bin) = std::env::var_os("URA_TEST_POSTGRES_BIN") {
        return bin.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .max_by_key(|bin| {
            bin.parent().and_then(|v| v.file_name()?.to_str()?.parse::<u32>().ok()).unwrap_or(0)
        });
    found.unwrap_or_else(|| {
        panic!(
            "PostgreSQL is not installed: `./test` installs it (Debian: apt-get install postgresql), \
             or name the folder of initdb and postgres in URA_TEST_POSTGRES_BIN"
        )
    })
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The command, as somebody who is not root.
fn as_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // The present folder may be closed to nobody.
    command.current_dir(folder).env("LC_ALL", "C");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
