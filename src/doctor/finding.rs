//! What a check found, and how all of it is told: one line each, or JSON. Pure.

use std::fmt;

use serde_json::json;

use crate::evidence::print::{json_line, plain};

/// How bad it is. In this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Will become a problem, or cannot be told.
    Warning,
    /// The bus, or this part of it, does not work as it should now.
    Problem,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at: `certificate`, `clock` …
    pub(super) check: &'static str,
    /// What was found.
    pub(super) what: String,
    /// What to do; empty where nothing is to be done.
    pub(super) todo: String,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, what: impl fmt::Display) -> Self {
        Self { level: Level::Ok, check, what: what.to_string(), todo: String::new() }
    }

    /// Something to see to by daylight.
    pub(super) fn warning(check: &'static str, what: impl fmt::Display, todo: impl fmt::Display) -> Self {
        Self { level: Level::Warning, check, what: what.to_string(), todo: todo.to_string() }
    }

    /// Something to see to now.
    pub(super) fn problem(check: &'static str, what: impl fmt::Display, todo: impl fmt::Display) -> Self {
        Self { level: Level::Problem, check, what: what.to_string(), todo: todo.to_string() }
    }
}

/// Everything that was found about one configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// The configuration file.
    pub(super) file: String,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// The worst of all; `Ok` of none.
pub(super) fn worst(reports: &[Report]) -> Level {
    let levels = reports.iter().flat_map(|report| &report.findings).map(|finding| finding.level);
    levels.max().unwrap_or(Level::Ok)
}

/// The exit code: 0 ok, 1 a warning, 2 a problem.
pub(super) const fn exit_code(worst: Level) -> u8 {
    match worst {
        Level::Ok => 0,
        Level::Warning => 1,
        Level::Problem => 2,
    }
}

/// For people: a line for each check, and one for all.
pub(super) fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut counts = [0_usize; 3];
    for report in reports {
        text.push_str(&format!("{}\n", one_line(&report.file)));
        for finding in &report.findings {
            counts[usize::from(exit_code(finding.level))] += 1;
            let todo = if finding.todo.is_empty() { String::new() } else { format!(" -> {}", finding.todo) };
            let line = format!("{:<8} {:<13} {}{todo}", finding.level.as_str(), finding.check, finding.what);
            text.push_str(&format!("  {}\n", one_line(&line)));
        }
    }
    let [ok, warnings, problems] = counts;
    text + &format!("{problems} problems, {warnings} warnings, {ok} ok\n")
}

/// For programs: one object.
pub(super) fn json(reports: &[Report]) -> String {
    let findings = |report: &Report| -> Vec<serde_json::Value> {
        let one = |finding: &Finding| {
            json!({
                "level": finding.level.as_str(),
                "check": finding.check,
                "what": finding.what,
                "todo": finding.todo,
            })
        };
        report.findings.iter().map(one).collect()
    };
    let files: Vec<_> =
        reports.iter().map(|report| json!({ "file": report.file, "findings": findings(report) })).collect();
    let program = env!("CARGO_PKG_VERSION");
    json_line(&json!({ "worst": worst(reports).as_str(), "program": program, "files": files })) + "\n"
}

/// One line that does nothing to a terminal: some of it comes from files and from others.
fn one_line(text: &str) -> String {
    plain(&text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> Vec<Report> {
        let findings = vec![
            Finding::ok("disk", "half is free"),
            Finding::warning("clock", "two\nlines\u{1b}[2J\u{61c}", "look"),
            Finding::problem("key", "open", "chmod 600"),
        ];
        vec![Report { file: "gateway.toml".to_owned(), findings }]
    }

    #[test]
    fn a_line_for_each_check_and_what_to_do() {
        assert_eq!(
            text(&reports()),
            "gateway.toml\n  ok       disk          half is free\n  \
             warning  clock         two; lines\\u{1b}[2J\\u{61c} -> look\n  \
             problem  key           open -> chmod 600\n1 problems, 1 warnings, 1 ok\n"
        );
        let all: serde_json::Value = serde_json::from_str(&json(&reports())).expect("JSON");
        assert_eq!(all["worst"], "problem");
        assert_eq!(all["files"][0]["findings"][1]["what"], "two\nlines\u{1b}[2J\u{61c}");
        let shown = json(&reports());
        assert!(!shown.trim_end().contains(|c: char| c.is_control() || c == '\u{61c}'), "{shown:?}");
        assert_eq!(all["files"][0]["findings"][2]["todo"], "chmod 600");
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let mut all = reports();
        for (left, code) in [(3, 2), (2, 1), (1, 0), (0, 0)] {
            all[0].findings.truncate(left);
            assert_eq!(exit_code(worst(&all)), code);
        }
    }
}
