//! A demo as a reader of the pages starts it, and processes whose output is waited for.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

/// Long enough for anything; a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A process that runs on, and what it has printed so far. Killed when dropped.
pub struct Running {
    child: Child,
    printed: watch::Receiver<String>,
}

impl Running {
    /// Starts it, without standard input.
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the process starts");
        let (sender, printed) = watch::channel(String::new());
        follow(child.stdout.take().expect("piped"), sender.clone());
        follow(child.stderr.take().expect("piped"), sender);
        Self { child, printed }
    }

    /// Waits until what it has printed is enough; returns it.
    pub async fn wait_for(&self, what: &str, enough: impl FnMut(&String) -> bool) -> String {
        let mut printed = self.printed.clone();
        let waited = tokio::time::timeout(PATIENCE, printed.wait_for(enough)).await;
        match waited {
            Ok(Ok(printed)) => printed.clone(),
            failed => {
                let why = if failed.is_err() { "not in time" } else { "it has ended" };
                panic!("waited for {what}: {why}; printed was\n{}", self.printed.borrow().as_str());
            }
        }
    }

    /// Ends it as a terminal's Ctrl-C would not have to: at once.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }
}

/// Collects lines until the end.
fn follow(stream: impl AsyncRead + Unpin + Send + 'static, printed: watch::Sender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            printed.send_modify(|all| {
                all.push_str(&line);
                all.push('\n');
            });
        }
    });
}

/// `ura demo --dir`, up and walked through.
pub struct Demo {
    pub gateway: String,
    /// Where its mock registers are controlled, `http://host:port`.
    #[allow(dead_code, reason = "not every test target orders faults")]
    pub control: String,
    running: Running,
    dir: tempfile::TempDir,
}

impl Demo {
    /// Starts it with its defaults, on a free port, and waits until it says what to try next.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
        let running = Running::start(command.arg("demo").arg("--dir").arg(dir.path().join("demo")));
        // Its last line is where the registers are controlled.
        let up = |printed: &String| printed.lines().any(|line| line.starts_with("http://"));
        let printed = running.wait_for("the demo", up).await;
        let gateway = printed.lines().find_map(|line| line.trim().strip_prefix("gateway listens on "));
        let gateway = gateway.expect("the demo says where its gateway listens").to_owned();
        let control =
            printed.lines().find(|line| line.starts_with("http://")).expect("its last line").to_owned();
        let demo = Self { gateway, control, running, dir };
        demo.all_registers_answer().await;
        demo
    }

    /// Waits for the register that went down at the end of the demo's walk.
    async fn all_registers_answer(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
        command.args(["call", "grpc.health.v1.Health/Watch", "--gateway", &self.gateway, "--identity"]);
        command.arg(self.path().join("config/pki/ais-portal"));
        command.args(["-d", r#"{"service":"ks.tax.v1.PropertyTaxService"}"#]);
        let watching = Running::start(&mut command);
        watching.wait_for("the tax register", |states| states.contains("\"SERVING\"")).await;
        watching.kill().await;
    }

    /// Its folder.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("demo")
    }

    /// Its evidence log.
    pub fn evidence(&self) -> PathBuf {
        self.path().join("state/evidence.db")
    }

    /// Ends it, and removes its folder.
    pub async fn end(self) {
        self.running.kill().await;
        self.dir.close().expect("the folder can be removed");
    }
}

/// The folder of the binary under test.
pub fn binary_folder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ura")).parent().expect("in a folder")
}
