//! Which columns a SQL statement can answer with, as far as its text alone tells. Errs on the side of "it may":
//! what it does not list cannot come, what it lists need not. Knows no database.

use std::collections::BTreeSet;

use crate::sql::placeholders::opaque;

/// What a statement's text says of its columns.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// It answers with whatever a table has: `*`.
    all: bool,
    /// Every identifier of the text, as the database would name a column.
    words: BTreeSet<String>,
    /// The names after `as` in the outermost select list.
    pub(super) aliases: Vec<String>,
}

impl Columns {
    /// Whether a column of this name may come.
    pub(super) fn may_have(&self, name: &str) -> bool {
        self.all || self.words.contains(name)
    }

    /// Whether columns named `prefix.…` may come; nobody names those by `*`.
    pub(super) fn may_have_inside(&self, prefix: &str) -> bool {
        self.words.iter().any(|word| word.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Reads a statement. PostgreSQL makes small letters of names without quotes (`folds`), SQLite does not.
    pub(super) fn of(sql: &str, folds: bool) -> Self {
        let mut columns = Self::default();
        let (mut depth, mut select_list, mut after_as) = (0_usize, List::Before, false);
        let mut before = Lexeme::Other(' ');
        for lexeme in lexemes(sql) {
            let keyword = lexeme.keyword();
            match &lexeme {
                Lexeme::Other('(') => depth += 1,
                Lexeme::Other(')') => depth = depth.saturating_sub(1),
                Lexeme::Other('*') => columns.all |= before.can_precede_all_columns(),
                Lexeme::Other(_) => {}
                Lexeme::Word(word, quoted) => {
                    let name = if folds && !quoted { word.to_lowercase() } else { word.clone() };
                    if after_as && depth == 0 && select_list == List::Inside {
                        columns.aliases.push(name.clone());
                    }
                    columns.words.insert(name);
                    // `table t` and the rows of a function come with columns that the text does not name.
                    columns.all |= depth == 0 && matches!(keyword.as_str(), "table" | "call" | "execute");
                    match (depth, keyword.as_str(), select_list) {
                        (0, "select", List::Before) => select_list = List::Inside,
                        (0, "returning", _) => {
                            // A write answers with this list and not with the one that it took its rows from.
                            columns.aliases.clear();
                            select_list = List::Inside;
                        }
                        (0, "from" | "union" | "except" | "intersect", List::Inside) => {
                            select_list = List::After;
                        }
                        _ => {}
                    }
                }
            }
            after_as = keyword == "as";
            before = lexeme;
        }
        columns
    }
}

/// Where the reader is with respect to the outermost select list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Before,
    Inside,
    After,
}

/// A piece of SQL that matters here.
enum Lexeme {
    /// An identifier, a keyword or a number, and whether it stood in quotes.
    Word(String, bool),
    /// A sign.
    Other(char),
}

impl Lexeme {
    /// The keyword in small letters; empty where it cannot be one.
    fn keyword(&self) -> String {
        match self {
            Self::Word(word, false) => word.to_lowercase(),
            _ => String::new(),
        }
    }

    /// Whether a `*` after this can stand for columns and not for a multiplication or `count(*)`.
    fn can_precede_all_columns(&self) -> bool {
        match self {
            Self::Other(sign) => matches!(sign, ',' | '.' | ')'),
            Self::Word(_, true) => false,
            Self::Word(..) => matches!(self.keyword().as_str(), "select" | "distinct" | "all" | "returning"),
        }
    }
}

/// Words and signs of a statement, without comments, strings and spaces.
fn lexemes(sql: &str) -> Vec<Lexeme> {
    let bytes = sql.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while let Some(first) = sql.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = sql.get(at..).unwrap_or_default();
        let skip = opaque(bytes, at, rest);
        let length = match first {
            _ if skip > 0 => skip,
            '[' => rest.find(']').map_or(1, |end| end + 1),
            _ if is_word(first) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let text = rest.get(..length).unwrap_or_default();
        match first {
            '"' | '`' => {
                let inner = text.get(1..text.len().max(2) - 1).unwrap_or_default();
                let doubled: String = [first, first].iter().collect();
                found.push(Lexeme::Word(inner.replace(&doubled, &first.to_string()), true));
            }
            // SQLite's third way to quote; in PostgreSQL the index of an array, which names nothing else.
            '[' if length > 1 => {
                found.push(Lexeme::Word(text.trim_matches(['[', ']']).to_owned(), true));
            }
            _ if skip > 0 || first.is_whitespace() => {}
            _ if is_word(first) => found.push(Lexeme::Word(text.to_owned(), false)),
            sign => found.push(Lexeme::Other(sign)),
        }
        at += length.max(1);
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_may_come() {
        for (sql, folds, may, may_not) in [
            ("select a, b as c from t", true, vec!["a", "c"], vec!["d"]),
            ("select * from t", true, vec!["anything"], vec![]),
            ("select t.* from t", true, vec!["anything"], vec![]),
            ("select count(*) as n, 2 * 3 as m from t", true, vec!["n", "m"], vec!["d"]),
            ("select EMRI from t", true, vec!["emri"], vec!["EMRI"]),
            ("select EMRI from t", false, vec!["EMRI"], vec!["emri"]),
            ("select a as \"Emri i Plotë\" from t", true, vec!["Emri i Plotë"], vec!["emri"]),
            ("select 'hidden' /* hidden */ from t -- hidden", true, vec![], vec!["hidden"]),
            ("insert into t values ($1) returning *", true, vec!["anything"], vec![]),
            ("table t", true, vec!["anything"], vec![]),
            ("select `a`, [b c] from t", false, vec!["a", "b c"], vec!["d"]),
        ] {
            let columns = Columns::of(sql, folds);
            for name in may {
                assert!(columns.may_have(name), "{sql}: {name} {columns:?}");
            }
            for name in may_not {
                assert!(!columns.may_have(name), "{sql}: {name} {columns:?}");
            }
        }
        let dotted = Columns::of("select x as \"a.b\" from t", true);
        assert!(dotted.may_have_inside("a") && !dotted.may_have_inside("t"));
    }

    #[test]
    fn aliases_of_the_outermost_list() {
        for (sql, aliases) in [
            ("select a as b, cast(c as text) as \"d.e\" from t as u", vec!["b", "d.e"]),
            ("with w as (select 1 as x) select x as y from w as z", vec!["y"]),
            ("select (select 1 as q) as r", vec!["r"]),
            ("insert into t select 1 as n returning id as nr", vec!["nr"]),
            ("values (1)", vec![]),
        ] {
            assert_eq!(Columns::of(sql, true).aliases, aliases, "{sql}");
        }
    }
}
