//! The files of the workspace. Knows no rule of the house.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::tokens::{self, Token};

/// One Rust file.
pub(crate) struct File {
    /// Relative to the folder it was looked for in, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without the items that only tests compile; none where the whole file is a test.
    pub(crate) tokens: Vec<Token>,
    /// Whether only tests compile it.
    pub(crate) is_test: bool,
}

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder, in order of their paths.
pub(crate) fn rust_files(folder: &Path) -> io::Result<Vec<File>> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        sources.push((relative, fs::read_to_string(&path)?));
    }
    Ok(files(sources))
}

/// Files made of paths and texts.
pub(crate) fn files(sources: Vec<(String, String)>) -> Vec<File> {
    let read: Vec<_> = sources.iter().map(|(_, text)| tokens::read(text)).collect();
    let tests: Vec<String> = sources
        .iter()
        .zip(&read)
        .flat_map(|((path, _), source)| source.test_modules.iter().map(|name| child(path, name)))
        .collect();
    let is_test = |path: &str| {
        path.starts_with("tests/")
            || path.contains("/tests/")
            || tests.iter().any(|test| {
                path.strip_prefix(test.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    };
    sources
        .into_iter()
        .zip(read)
        .map(|((path, text), source)| {
            let is_test = is_test(&path);
            let tokens = if is_test { Vec::new() } else { source.tokens };
            File { path, text, tokens, is_test }
        })
        .collect()
}

/// Path, without `.rs`, of the module `name` that the file at `path` declares.
fn child(path: &str, name: &str) -> String {
    let folder = path.trim_end_matches(".rs");
    let folder = folder.strip_suffix("lib").or_else(|| folder.strip_suffix("main")).unwrap_or(folder);
    format!("{}/{name}", folder.trim_end_matches('/')).trim_start_matches('/').to_owned()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_file_is_known_by_its_place_or_its_declaration() {
        let found = files(
            [
                ("src/a.rs", "#[cfg(test)] mod proofs; mod tests;"),
                ("src/a/proofs.rs", ""),
                ("src/a/proofs/more.rs", ""),
                ("src/a/tests.rs", ""),
                ("src/lib.rs", "#[cfg(test)] mod b;"),
                ("src/b.rs", ""),
                ("x/tests/y.rs", ""),
            ]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into(),
        );
        let tests: Vec<&str> =
            found.iter().filter(|file| file.is_test).map(|file| file.path.as_str()).collect();
        assert_eq!(tests, ["src/a/proofs.rs", "src/a/proofs/more.rs", "src/b.rs", "x/tests/y.rs"]);
    }
}
