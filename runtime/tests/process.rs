//! The life of a process, seen from outside: real signals and exit codes.
//!
//! Started with an argument it is the process under test; without, it starts itself once per case.

#![expect(clippy::print_stdout, reason = "it reports as a test harness does")]

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, ExitCode, Stdio},
};

use ura_runtime::{process, telemetry::TelemetryConfig};

const AN_HOUR_MS: u64 = 3_600_000;
/// Names the case to the child.
const CASE: &str = "URA_TEST_PROCESS_CASE";

/// Each case: the log lines that a SIGTERM is sent after, and the exit code.
const CASES: [(&str, &[&str], i32); 5] = [
    ("drains", &["starting"], 0),
    ("fails", &[], 1),
    ("misconfigured", &[], 1),
    ("too-slow", &["starting"], 2),
    ("told-twice", &["starting", "draining"], 2),
];

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        return child(&case);
    }
    for (case, terminate_after, code) in CASES {
        let mut child = start(case);
        let log = follow(&mut child, terminate_after);
        let status = child.wait().expect("the child ends");
        assert_eq!(status.code(), Some(code), "{case}: {status}\n{log}");
        println!("test {case} ... ok");
    }
    ExitCode::SUCCESS
}

/// The process under test.
fn child(case: &str) -> ExitCode {
    let log_filter = if case == "misconfigured" { "a=b=c" } else { "info" };
    let telemetry = TelemetryConfig { log_filter: log_filter.to_owned(), ..TelemetryConfig::default() };
    let drain_timeout_ms = if case == "too-slow" { 1 } else { AN_HOUR_MS };
    process::run(&telemetry, case, drain_timeout_ms, |shutdown| async move {
        match case {
            "drains" => shutdown.draining().await,
            "fails" => return Err(io::Error::other("on purpose")),
            _ => std::future::pending().await,
        }
        Ok(())
    })
}

fn start(case: &str) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program).env(CASE, case).stderr(Stdio::piped()).spawn().expect("a child")
}

/// Reads the log to its end, sending SIGTERM after each of the expected lines.
fn follow(child: &mut Child, terminate_after: &[&str]) -> String {
    let mut expected = terminate_after.iter();
    let mut next = expected.next();
    let mut log = String::new();
    for line in BufReader::new(child.stderr.take().expect("piped")).lines() {
        let line = line.expect("UTF-8");
        if next.is_some_and(|next| line.contains(next)) {
            let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
            assert!(sent.expect("kill runs").success());
            next = expected.next();
        }
        log.push_str(&line);
        log.push('\n');
    }
    assert!(next.is_none(), "no line with {next:?} in:\n{log}");
    log
}
