//! One process: started, read line by line, signalled, and gone when the test ends, however it ends.
//! Knows nothing of what runs.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
};

use tokio::sync::watch;

use crate::world::patient;

/// Lines that are shown of a process when the test fails.
const LINES_SHOWN_MAX: usize = 80;

/// What a process wrote so far, on both of its outputs.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    /// Outputs that have ended.
    ended: usize,
}

pub struct Process {
    name: String,
    child: Child,
    log: watch::Receiver<Log>,
}

impl Process {
    /// Starts a command and reads what it writes.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        let (sender, log) = watch::channel(Log::default());
        follow(child.stdout.take().expect("piped"), sender.clone());
        follow(child.stderr.take().expect("piped"), sender);
        Self { name: name.to_owned(), child, log }
    }

    /// A role of the bus's own program, such as `gateway` or `adapter run`.
    pub fn ura(role: &str, config: &std::path::Path, environment: &[(&str, String)]) -> Self {
        let mut command = ura();
        command.args(role.split(' ')).arg("--config").arg(config);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        Self::start(
            &format!("{role} {}", config.file_stem().unwrap_or_default().to_string_lossy()),
            &mut command,
        )
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line that holds all these parts, now or when it comes.
    pub async fn says(&self, parts: &[&str]) -> String {
        self.said(parts).await.unwrap_or_else(|| panic!("{} ended without a line with {parts:?}", self.name))
    }

    /// [`Process::says`]; `None` where the process ended without it.
    pub async fn said(&self, parts: &[&str]) -> Option<String> {
        let mut log = self.log.clone();
        let mut read = 0;
        let found = async {
            loop {
                {
                    let now = log.borrow_and_update();
                    let fits = |line: &&String| parts.iter().all(|part| line.contains(part));
                    if let Some(line) = now.lines.get(read..).unwrap_or_default().iter().find(fits) {
                        return Some(line.clone());
                    }
                    read = now.lines.len();
                    if now.ended == 2 {
                        return None;
                    }
                }
                log.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(crate::world::PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("{} did not say {parts:?} within a minute", self.name))
    }

    /// The value of `key=` in the first line that holds these parts.
    pub async fn tells(&self, parts: &[&str], key: &str) -> String {
        let line = self.says(parts).await;
        value(&line, key).unwrap_or_else(|| panic!("{key} in {line}")).to_owned()
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.borrow().lines.clone()
    }

    pub fn has_ended(&self) -> bool {
        self.log.borrow().ended == 2
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill runs").success(), "{} can be signalled", self.name);
    }

    /// SIGKILL; when this returns, nothing of it runs any more.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        patient(self.log.wait_for(|log| log.ended == 2)).await.expect("its outputs end");
        // Its outputs are closed: it has ended or is about to.
        self.child.wait().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("KILL");
            self.child.wait().expect("it ends");
        }
        if std::thread::panicking() {
            let log = self.log.borrow();
            let hidden = log.lines.len().saturating_sub(LINES_SHOWN_MAX);
            eprintln!("---- {} ({hidden} lines before)", self.name);
            log.lines.iter().skip(hidden).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The bus's program.
pub fn ura() -> Command {
    Command::new(std::env::var_os("CARGO_BIN_EXE_ura").expect("cargo names the binary under test"))
}

/// The value behind `key=` in a log line, up to the next blank.
pub fn value<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let start = format!(" {key}=");
    line.split_once(start.as_str()).and_then(|(_, rest)| rest.split(' ').next())
}

/// Reads an output to its end on a thread of its own.
fn follow(output: impl Read + Send + 'static, log: watch::Sender<Log>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            log.send_modify(|log| log.lines.push(text));
            line.clear();
        }
        log.send_modify(|log| log.ended += 1);
    });
}
