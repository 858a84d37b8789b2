//! `buf breaking` as the judge of changes.

use std::{collections::BTreeMap, path::Path, process::Command};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// What buf says of each file: rules broken, by file, each with its count.
pub(crate) type Verdicts = BTreeMap<String, Vec<String>>;

/// Asks buf, under these rules, of all files at once.
pub(crate) fn breaking(rules: &[&str], old: &FileDescriptorSet, new: &FileDescriptorSet) -> Verdicts {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (old_path, new_path) = (dir.path().join("old.binpb"), dir.path().join("new.binpb"));
    std::fs::write(&old_path, old.encode_to_vec()).expect("temporary folder");
    std::fs::write(&new_path, new.encode_to_vec()).expect("temporary folder");
    let config = serde_json::json!({ "version": "v2", "breaking": { "use": rules } }).to_string();
    let program = std::env::var("URA_TEST_BUF").unwrap_or_else(|_| "buf".to_owned());
    let output = Command::new(&program)
        .args(["breaking", "--error-format=json", "--limit-to-input-files=false", "--config", &config])
        .arg("--against")
        .args([&old_path, &new_path].map(|path: &std::path::PathBuf| Path::new(path)))
        .output()
        .unwrap_or_else(|error| panic!("{program} (`./test` installs it; URA_TEST_BUF names it): {error}"));
    // 100: it found something.
    assert!(
        matches!(output.status.code(), Some(0 | 100)) && output.stderr.is_empty(),
        "buf: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut verdicts = Verdicts::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let found: serde_json::Value = serde_json::from_str(line).expect("JSON a line");
        let text = |key: &str| found[key].as_str().unwrap_or_else(|| panic!("{key} in {line}")).to_owned();
        verdicts.entry(text("path")).or_default().push(text("type"));
    }
    verdicts.values_mut().for_each(|rules| rules.sort());
    verdicts
}
