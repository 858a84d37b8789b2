//! A running bus (`ura demo`) and the institution that joins it with files only: a database, a
//! contract, an adapter file, an identity, lines in the directory.

use std::{fs, path::PathBuf};

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::{
    process::{Process, ura},
    world::patient,
};

const CONTRACT: &str = "ks.health.v1.HealthService";
/// Where the contract is, in the institution's folder and in the bus's.
const PROTO_DIR: &str = "proto/ks/health/v1";

/// Ends in this order: the processes, then their folder.
pub(crate) struct Plugged {
    pub(crate) adapter: Process,
    bus: Process,
    gateway: String,
    dir: TempDir,
}

/// What a call printed.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) ok: bool,
    pub(crate) lines: Vec<String>,
}

impl Plugged {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut demo = ura();
        demo.args(["demo", "--people", "100", "--dir"]).arg(dir.path().join("bus"));
        let bus = Process::start("demo", &mut demo);
        let listens = bus.says(&["gateway listens on "]).await;
        let gateway = listens.rsplit(' ').next().expect("an address").to_owned();
        bus.says(&["The bus stays up"]).await;

        let own = dir.path().join("institution");
        for folder in [own.join(PROTO_DIR), dir.path().join("bus").join(PROTO_DIR)] {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("health.proto"), include_str!("health.proto")).expect("the contract");
        }
        for (name, text) in [
            ("health.toml", include_str!("health.toml")),
            ("adapter.toml", &include_str!("adapter.toml").replace("{gateway}", &gateway)),
        ] {
            fs::write(own.join(name), text).expect("a file");
        }
        make_register(&own.join("kartela.db"), include_str!("register.sql")).await;
        let mut issue = ura();
        issue.args(["certs", "issue", "--system", "ishp/health", "--ca"]);
        issue.arg(dir.path().join("bus/authority")).arg("--out").arg(own.join("pki"));
        assert!(Process::start("certs issue", &mut issue).ended().await.success());

        let adapter = Process::ura("adapter run", &own.join("adapter.toml"), &[]);
        adapter.says(&["the gateway refuses the contract", CONTRACT]).await;
        let plugged = Self { adapter, bus, gateway, dir };
        plugged.enter_in_directory();
        plugged.adapter.says(&["the gateway accepts the contract", CONTRACT]).await;
        // Health comes to the gateway on its own way.
        plugged.until("GetPatient", "{}", |told| told.contains("Nobody has this health card.")).await;
        plugged
    }

    fn enter_in_directory(&self) {
        let directory = self.path("bus/config/directory.toml");
        let text = fs::read_to_string(&directory).expect("the demo's directory");
        let (_, rest) = text.split_once("\nversion = ").expect("a version");
        let (_, rest) = rest.split_once('\n').expect("more lines");
        let next = self.path("bus/config/directory.next");
        let lines = include_str!("directory-lines.toml");
        fs::write(&next, format!("version = \"with-health\"\n{rest}{lines}")).expect("the directory");
        fs::rename(next, directory).expect("the directory");
    }

    /// A file of the institution's or the bus's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The database file.
    pub(crate) fn register(&self) -> PathBuf {
        self.path("institution/kartela.db")
    }

    /// `ura call` as this consumer, for this purpose.
    pub(crate) async fn call_as(&self, who: &str, purpose: &str, method: &str, more: &[&str]) -> Called {
        let mut command = ura();
        command.args(["call", &format!("{CONTRACT}/{method}"), "--gateway", &self.gateway]);
        command.args(["--timeout", "50s", "--purpose", purpose]).args(more);
        command.arg("--identity").arg(self.path("bus/config/pki").join(who));
        let mut call = Process::start("call", &mut command);
        let ok = call.ended().await.success();
        Called { ok, lines: call.lines() }
    }

    /// The messages of a portal's call that must succeed.
    pub(crate) async fn get(&self, method: &str, request: &str, more: &[&str]) -> Vec<Value> {
        let called =
            self.call_as("ais-portal", "health-card", method, &[&["-d", request], more].concat()).await;
        assert!(called.ok, "{method} {request}: {called:?}");
        let text = called.lines.join("\n");
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        values.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What a portal's call that must fail prints.
    pub(crate) async fn refused(&self, method: &str, request: &str, more: &[&str]) -> String {
        let called =
            self.call_as("ais-portal", "health-card", method, &[&["-d", request], more].concat()).await;
        assert!(!called.ok, "{method} {request}: {called:?}");
        called.lines.join("\n")
    }

    /// Asks until what is printed fits.
    pub(crate) async fn until(&self, method: &str, request: &str, fits: impl Fn(&str) -> bool) {
        let asked = async {
            while !fits(
                &self.call_as("ais-portal", "health-card", method, &["-d", request]).await.lines.join("\n"),
            ) {}
        };
        patient(asked).await;
    }

    /// What evidence keeps of an exchange.
    pub(crate) async fn evidence(&self, exchange: &str) -> String {
        let mut command = ura();
        command.args(["evidence", "find", exchange, "--dir"]).arg(self.path("bus"));
        let mut find = Process::start("evidence find", &mut command);
        assert!(find.ended().await.success());
        find.lines().join("\n")
    }

    /// The bus that was there before the institution came is the one that answered.
    pub(crate) fn never_restarted(&self) {
        assert!(!self.bus.has_ended(), "the bus runs");
        assert!(!self.adapter.has_ended(), "the adapter runs");
    }
}

/// Makes a database of these statements.
pub(crate) async fn make_register(path: &std::path::Path, sql: &'static str) {
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("a database");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("the tables");
    connection.close().await.expect("closed");
}
