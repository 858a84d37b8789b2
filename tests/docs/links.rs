//! Every relative link of the documentation leads to a file, and its anchor to a heading.

use std::path::Path;

use crate::page::{pages, read, root};

/// The targets of the links of a page, outside code.
fn targets(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        // Every second part stands between backquotes.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let links = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(links.map(|(target, _)| target.to_owned()));
    }
    found
}

/// The anchors of a page, as Markdown renderers make them from headings.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let Some(title) = line.trim_start_matches('#').strip_prefix(' ') else { continue };
        if fenced || !line.starts_with('#') {
            continue;
        }
        let kept = title.to_lowercase().replace(' ', "-");
        found.push(kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect());
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut problems = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap_or(Path::new(""));
        for target in targets(&text).into_iter().filter(|target| !target.contains("://")) {
            seen += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { root().join(&page) } else { root().join(folder).join(path) };
            if !file.exists() {
                problems.push(format!("{page}: {target}: no such file"));
                continue;
            }
            let heading = || anchors(&std::fs::read_to_string(&file).unwrap_or_default());
            if !anchor.is_empty() && !heading().iter().any(|known| known == anchor) {
                problems.push(format!("{page}: {target}: no such heading, there are {:?}", heading()));
            }
        }
    }
    assert!(seen > 10, "the links were not found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn links_and_headings_are_found() {
    let text = "# A B, c\n[x](y.md#z) `[no](code)` [w](v)\n```\n# code\n[no](code)\n```\n## `[reg]`\n";
    assert_eq!(targets(text), ["y.md#z", "v"]);
    assert_eq!(anchors(text), ["a-b-c", "reg"]);
}
