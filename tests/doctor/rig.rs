//! A demo, files beside its own that are wrong in one thing each, and what the doctor says of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::process::Command;
use ura_certs::{Authority, Issue, Usage};
use ura_runtime::clock::Clock;

use crate::bus::{Demo, PATIENCE};

/// What the doctor said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    /// Level, check, what and what to do.
    pub findings: Vec<[String; 4]>,
}

impl Said {
    /// Whether this check found this, at this level, and said what to do where something is to be done.
    #[track_caller]
    pub fn says(&self, level: &str, check: &str, what: &str) {
        let found = self.findings.iter().any(|[l, c, w, todo]| {
            l == level && c == check && w.contains(what) && (todo.is_empty() == (level == "ok"))
        });
        assert!(found, "no {level} {check} with `{what}` in {self:#?}");
    }

    /// What is not as it should be. The disk is this machine's own matter.
    pub fn not_ok(&self) -> Vec<&[String; 4]> {
        self.findings.iter().filter(|[level, check, ..]| level != "ok" && check != "disk").collect()
    }
}

/// Runs the doctor; its exit code is that of the worst it said.
pub async fn doctor(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
    let command = command.arg("doctor").args(arguments).arg("--json").stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("it runs");
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    let all: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let files = all["files"].as_array().expect("files");
    let findings: Vec<[String; 4]> = files
        .iter()
        .flat_map(|file| file["findings"].as_array().expect("findings"))
        .map(|one| ["level", "check", "what", "todo"].map(|key| one[key].as_str().expect("text").to_owned()))
        .collect();
    let code = ended.status.code().expect("it ended by itself");
    let worst = ["problem", "warning", "ok"].into_iter().find(|w| findings.iter().any(|[l, ..]| l == w));
    assert_eq!(all["worst"].as_str(), worst);
    assert_eq!(
        ["ok", "warning", "problem"][usize::try_from(code).expect("0 to 2")],
        worst.expect("a finding")
    );
    Said { code, findings }
}

/// A demo that runs.
pub struct Rig {
    pub demo: Demo,
}

impl Rig {
    pub async fn start() -> Self {
        Self { demo: Demo::start().await }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.demo.path().join(name)
    }

    /// The gateway's configuration with one thing changed, beside its own; the running gateway is asked.
    pub async fn gateway_with(&self, old: &str, new: &str) -> Said {
        let text = fs::read_to_string(self.path("config/gateway.toml")).expect("the configuration");
        self.gateway_of(&replaced(&text, old, new)).await
    }

    /// The doctor on this configuration.
    pub async fn gateway_of(&self, text: &str) -> Said {
        let file = self.path("config/gateway-changed.toml");
        fs::write(&file, text).expect("a configuration");
        doctor(&["--config", &shown(&file), "--gateway", &self.demo.gateway]).await
    }

    /// Asks the tax register; how it ends does not matter.
    pub async fn ask_for_an_invoice(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
        command.args(["call", "ks.tax.v1.PropertyTaxService/GetInvoice", "--gateway", &self.demo.gateway]);
        command.args(["--purpose", "property-tax", "-d", r#"{"uniref":"1362400000000266"}"#, "--identity"]);
        command.arg(self.path("config/pki/ais-portal")).stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("it runs");
    }

    /// An identity of the demo's authority, begun and ended so many days from now.
    pub fn issue(&self, system: &str, from_days: i64, days: i64, name: &str) {
        let authority = Authority::open(&self.path("authority")).expect("the demo's authority");
        issue(&authority, &self.path("config/pki").join(name), system, from_days, days);
    }

    /// A copy of the evidence store, whole.
    pub async fn copy_store(&self, name: &str, then: &'static str) {
        use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
        let into = self.path("state").join(name);
        let live = SqliteConnectOptions::new().filename(self.demo.evidence());
        let mut live = live.connect().await.expect("the store");
        let copy = format!("vacuum into '{}'", into.display());
        sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&mut live).await.expect("a copy");
        live.close().await.expect("closed");
        let copied = SqliteConnectOptions::new().filename(&into);
        let mut copied = copied.connect().await.expect("the copy");
        sqlx::raw_sql(then).execute(&mut copied).await.expect(then);
        copied.close().await.expect("closed");
    }
}

/// Issues an identity.
pub fn issue(authority: &Authority, out: &Path, system: &str, from_days: i64, days: i64) {
    let request = Issue {
        system: system.to_owned(),
        names: vec!["127.0.0.1".to_owned()],
        not_before: now() + Duration::days(from_days),
        lifetime: Duration::days(days),
        usage: Usage::Both,
    };
    authority.issue(&request, out).expect("a certificate");
}

pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(Clock::system().unix_us()) * 1000).expect("a time")
}

/// A text with one thing changed, which must be there.
pub fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "`{old}` is not in\n{text}");
    text.replace(old, new)
}

pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
