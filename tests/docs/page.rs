//! A Markdown page as its fenced blocks, and the marks on them:
//!
//! - a first line that is a comment with a file name: the block is that file, whole; with `drafted` a run before has
//!   made it, and the lines below the name are what it holds;
//! - ```` ```sql postgres ````: is run in the database of the walk;
//! - ```` ```sh run ````: is run and must end well; `run fails`: must end badly; `background`: is started and runs on;
//! - ```` ```text output ````: lines that the run before must have printed, in this order; `log`: lines that the process
//!   in the background prints. `…` stands for anything, alone in a line for any lines.

use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its language.
    pub language: String,
    /// The words after the language.
    pub marks: Vec<String>,
    /// Its text, with a line end after each line.
    pub text: String,
    /// The line on which its text begins, from 1.
    pub line: usize,
}

impl Block {
    /// Whether a word stands after its language.
    pub fn is(&self, mark: &str) -> bool {
        self.marks.iter().any(|known| known == mark)
    }

    /// The name of the file that it is.
    pub fn file_name(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let name = ["# ", "// ", "-- "].iter().find_map(|comment| first.strip_prefix(comment))?;
        let extension = Path::new(name).extension()?.to_str()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (name.chars().all(plain) && extension.chars().all(|c| c.is_ascii_lowercase())).then_some(name)
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages for people, relative to the root.
pub fn pages() -> Vec<String> {
    let mut found: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].iter().map(|name| (*name).to_owned()).collect();
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("the documentation");
        let names = entries.map(|entry| PathBuf::from(entry.expect("an entry").file_name()));
        let pages = names.filter(|name| name.extension().is_some_and(|extension| extension == "md"));
        found.extend(pages.map(|name| format!("{folder}/{}", name.display())));
    }
    found.sort();
    assert!(found.len() > 6, "the documentation was not found: {found:?}");
    found
}

/// The fenced blocks of a page, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(head), None) => {
                let mut words = head.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                open = Some(Block { language, marks: words.collect(), text: String::new(), line: at + 2 });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    found
}

/// What of the expected lines was not printed, in their order; `None` where all were.
pub fn missing<'e>(expected: &'e str, printed: &str) -> Option<&'e str> {
    let mut printed = printed.lines();
    expected
        .lines()
        .filter(|line| !line.trim().is_empty() && line.trim() != "…")
        .find(|wanted| !printed.any(|line| matches(wanted, line)))
}

/// Whether a line is as expected, where `…` stands for anything.
fn matches(wanted: &str, line: &str) -> bool {
    let mut rest = line.trim_end();
    let mut parts = wanted.trim_end().split('…').peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let found = match (first, last) {
            (true, true) => (rest == part).then_some(""),
            (true, false) => rest.strip_prefix(part),
            (false, true) => rest.ends_with(part).then_some(""),
            (false, false) => rest.split_once(part).map(|(_, after)| after),
        };
        let Some(found) = found else { return false };
        rest = found;
        first = false;
    }
    true
}

#[test]
fn blocks_are_read_with_their_marks() {
    let found = blocks("a\n```sh run fails\nx\n```\n\n```toml\n# a/b.toml\ny = 1\n```\n");
    assert_eq!(found.len(), 2);
    assert!(found[0].is("run") && found[0].is("fails") && found[0].file_name().is_none());
    assert_eq!((found[1].file_name(), found[1].line), (Some("a/b.toml"), 7));
    for no_name in ["# [section]\n", "# a comment of words.\n", "# https://a.example/b.c?d\n", "key = 1\n"] {
        let block = Block { text: no_name.to_owned(), ..found[1].clone() };
        assert_eq!(block.file_name(), None, "{no_name}");
    }
}

#[test]
fn expected_lines_are_found_in_their_order() {
    let printed = "one 1\ntwo 22 x\nthree\n";
    for good in ["one 1\nthree", "one …\n…\ntwo …x", "… 22 …\n\nthree"] {
        assert_eq!(missing(good, printed), None, "{good}");
    }
    for (bad, line) in [("three\none 1", "one 1"), ("one", "one"), ("two …y", "two …y"), ("four", "four")]
    {
        assert_eq!(missing(bad, printed), Some(line), "{bad}");
    }
}
