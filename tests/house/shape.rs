//! What a file may look like: its length, its functions' lengths, its name, its first line.

use crate::{
    tokens::{Token, after_group, text},
    tree::File,
};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

/// A file that is too long.
pub(crate) fn length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    let long = lines > FILE_LINES_MAX;
    long.then(|| format!("{}: {lines} lines, at most {FILE_LINES_MAX}: split it by noun", file.path))
        .into_iter()
        .collect()
}

/// Functions that are too long. Those of tests may be: a table is no branch.
pub(crate) fn functions(file: &File) -> Vec<String> {
    let tokens = &file.tokens;
    let mut problems = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "fn") {
        let name = text(tokens, at + 1);
        // `fn(u8) -> u8` is a type.
        let Some(body) = (name != "(").then(|| body(tokens, at)).flatten() else { continue };
        let end = after_group(tokens, body);
        let last = tokens.get(end - 1).map_or(token.line, |last| last.line);
        let lines = last - token.line + 1;
        if lines > FUNCTION_LINES_MAX {
            problems.push(format!(
                "{}:{}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                file.path, token.line
            ));
        }
    }
    problems
}

/// The place of the brace that opens a function's body; a declaration has none.
fn body(tokens: &[Token], mut at: usize) -> Option<usize> {
    loop {
        match text(tokens, at) {
            "{" => return Some(at),
            ";" | "" => return None,
            "(" | "[" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
}

/// `mod.rs`, and modules whose name says nothing.
pub(crate) fn names(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = file.path.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") {
        problems.push(format!("{}: write foo.rs beside foo/, not foo/mod.rs", file.path));
    }
    let inline = file.tokens.windows(2).filter_map(|pair| match pair {
        [word, name] if word.text == "mod" => Some(name.text.as_str()),
        _ => None,
    });
    for name in parts.iter().copied().chain(inline).filter(|name| EMPTY_NAMES.contains(name)) {
        problems.push(format!("{}: {name} does not say what is inside", file.path));
    }
    problems
}

/// A module that does not begin by saying its job.
pub(crate) fn job(file: &File) -> Vec<String> {
    let told = file.text.lines().next().is_some_and(|line| line.starts_with("//! "));
    (!told).then(|| format!("{}: begins without //! that says its job", file.path)).into_iter().collect()
}

/// `unwrap` outside tests.
pub(crate) fn unwraps(file: &File) -> Vec<String> {
    let called = file.tokens.windows(3).filter_map(|three| match three {
        [dot, name, open]
            if matches!(dot.text.as_str(), "." | "::") && matches!(open.text.as_str(), "(" | ")" | ",") =>
        {
            Some(name)
        }
        _ => None,
    });
    called
        .filter(|name| matches!(name.text.as_str(), "unwrap" | "unwrap_err"))
        .map(|name| {
            format!("{}:{}: {}: return an error, or expect with the reason", file.path, name.line, name.text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn found(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> usize {
        tree::files(vec![(path.to_owned(), text.to_owned())]).iter().map(|file| rule(file).len()).sum()
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(found(length, "a.rs", &"\n".repeat(400)), 0);
        assert_eq!(found(length, "a.rs", &"\n".repeat(401)), 1);
    }

    #[test]
    fn a_long_function_is_found() {
        let of = |lines: usize| {
            format!(
                "impl A {{\n  async fn f<T>(a: [u8; 2]) -> B<T> where T: C {{{}}}\n}}",
                "\n".repeat(lines - 1)
            )
        };
        assert_eq!(found(functions, "a.rs", &of(70)), 0);
        assert_eq!(found(functions, "a.rs", &of(71)), 1);
        assert_eq!(found(functions, "a/tests/b.rs", &of(71)), 0);
        assert_eq!(found(functions, "a.rs", &format!("#[cfg(test)] mod tests {{ {} }}", of(71))), 0);
        let declared = format!("trait A {{ fn f(); const G: fn(u8) -> u8 = g; {} }}", "\n".repeat(100));
        assert_eq!(found(functions, "a.rs", &declared), 0);
    }

    #[test]
    fn an_empty_name_is_found() {
        assert_eq!(found(names, "a/b.rs", "mod manages { } // mod util"), 0);
        for (path, text) in
            [("a/mod.rs", ""), ("a/util.rs", ""), ("helpers/a.rs", ""), ("a.rs", "mod common { }")]
        {
            assert_eq!(found(names, path, text), 1, "{path}: {text}");
        }
    }

    #[test]
    fn a_module_without_its_job_is_found() {
        assert_eq!(found(job, "a.rs", "//! What it does.\n"), 0);
        for text in ["", "use a;\n//! late", "// plain"] {
            assert_eq!(found(job, "a.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn an_unwrap_is_found() {
        let good = "// a.unwrap()\nfn f() { a.unwrap_or(b); a.expect(\"c.unwrap()\"); } #[cfg(test)] fn g() { a.unwrap() }";
        assert_eq!(found(unwraps, "a.rs", good), 0);
        assert_eq!(found(unwraps, "tests/a.rs", "fn f() { a.unwrap() }"), 0);
        for bad in ["fn f() { a\n.unwrap() }", "fn f() { a.map(B::unwrap) }", "fn f() { a.unwrap_err(); }"] {
            assert_eq!(found(unwraps, "a.rs", bad), 1, "{bad}");
        }
    }
}
