//! The rules that operators are given: approved by promtool, each alert tested, and each leading to a
//! section that says what to do.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{numbers, pages::Shown};

/// The folder of the rules.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// The rules.
pub fn rules() -> String {
    read("ura.rules.yml")
}

/// Each alert with its lines.
pub fn alerts(rules: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in rules.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            found.push((name.to_owned(), String::new()));
        } else if let Some((_, lines)) = found.last_mut() {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    found
}

fn promtool(dir: &Path, arguments: &[&str]) -> Output {
    let program = std::env::var_os("URA_TEST_PROMTOOL").expect("eval \"$(./test tools)\"");
    Command::new(program).args(arguments).current_dir(dir).output().unwrap()
}

fn approved(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// The unit tests of one alert, as a file of their own.
fn tests_of(alert: &str) -> String {
    let all = read("ura.rules.test.yml");
    let mut groups = all.split("  - name: ");
    let head = groups.next().unwrap();
    let own = groups.find(|group| group.lines().next() == Some(alert));
    format!("{head}  - name: {}", own.unwrap_or_else(|| panic!("{alert} has no unit test")))
}

/// Whether the unit tests of an alert hold for these rules.
fn holds(alert: &str, rules: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ura.rules.yml"), rules).unwrap();
    fs::write(dir.path().join("tests.yml"), tests_of(alert)).unwrap();
    promtool(dir.path(), &["test", "rules", "tests.yml"]).status.success()
}

#[test]
fn promtool_approves_rules_and_sample() {
    approved(&promtool(&folder(), &["check", "rules", "ura.rules.yml"]));
    approved(&promtool(&folder(), &["check", "config", "prometheus.yml"]));
    approved(&promtool(&folder(), &["test", "rules", "ura.rules.test.yml"]));
}

/// The rules with another condition of one alert.
fn with_condition(rules: &str, alert: &str, condition: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut inside, mut replacing) = (false, false);
    for line in rules.lines() {
        let word = line.trim();
        if let Some(name) = word.strip_prefix("- alert: ") {
            inside = name == alert;
        }
        let key = ["expr:", "for:", "labels:"].iter().any(|key| word.starts_with(key));
        replacing = inside && (word.starts_with("expr:") || (replacing && !key));
        if !replacing {
            lines.push(line.to_owned());
        } else if word.starts_with("expr:") {
            lines.push(format!("        expr: {condition}"));
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn no_alert_is_without_a_test_that_can_fail() {
    let rules = rules();
    let all = alerts(&rules);
    assert!(all.len() > 15, "{} alerts were found", all.len());
    for (alert, _) in &all {
        assert!(holds(alert, &rules), "{alert}");
        for (what, condition) in [("never", "vector(1) > 1"), ("always", "vector(1)")] {
            let broken = with_condition(&rules, alert, condition);
            assert_ne!(broken, rules);
            assert!(!holds(alert, &broken), "no test notices that {alert} {what} fires");
        }
    }
}

/// The anchors of a page, as Markdown renderers make them from headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        page.lines().filter(|line| line.starts_with("##")).map(|line| line.trim_start_matches('#'));
    let kept = |c: &char| c.is_alphanumeric() || "-_".contains(*c);
    headings.map(|text| text.trim().to_lowercase().replace(' ', "-").chars().filter(kept).collect()).collect()
}

#[test]
fn each_alert_says_what_is_wrong_and_what_to_do() {
    let operators = fs::read_to_string(folder().join("../../docs/operators.md")).unwrap();
    let anchors = anchors(&operators);
    for (alert, lines) in alerts(&rules()) {
        let of = |key: &str| {
            let line = lines.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{alert} has no {key}")).trim().trim_matches('"')
        };
        assert!(of("summary:").len() > 20 && of("description:").len() > 60, "{alert}");
        assert!(["{severity: page}", "{severity: ticket}"].contains(&of("labels:")), "{alert}");
        let (page, anchor) = of("runbook_url:").split_once('#').unwrap();
        assert_eq!(page, "docs/operators.md", "{alert}");
        assert!(anchors.contains(anchor), "{alert}: docs/operators.md has no heading #{anchor}: {anchors:?}");
        assert!(operators.contains(&format!("`{alert}`")), "docs/operators.md does not name {alert}");
    }
}

#[tokio::test]
async fn every_number_that_rules_ask_for_is_shown() {
    let world = numbers::world().await;
    let portal = world.portal().await;
    assert_eq!(portal.call("Read", &[], &numbers::wish("")).await.status(), 0);
    let counted = |shown: &Shown| shown.samples("ura_exchanges_total").count() == 1;
    let shown = Shown::when(&world, counted).await;
    let names = shown.names();
    let mut asked = BTreeSet::new();
    for (_, lines) in alerts(&rules()) {
        let condition = lines.split("labels: {severity").next().unwrap().to_owned();
        let words = condition.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        asked.extend(words.filter(|word| word.starts_with("ura_")).map(str::to_owned));
    }
    assert!(asked.len() > 15, "{asked:?}");
    let missing: Vec<_> = asked.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "no gateway shows {missing:?}");
    world.end().await;
}
