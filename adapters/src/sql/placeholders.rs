//! Names of parameters in SQL text: `:name` becomes `$1` or `?1`.
//!
//! Reads just enough of SQL's lexical structure (PostgreSQL manual, chapter 4.1; SQLite's is a
//! subset) not to look inside string literals, quoted identifiers, comments, dollar quotes and `::`.

use crate::tree::Path;

/// A statement with numbered parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statement {
    /// Text for the server; holds nothing of a request.
    pub(crate) text: std::sync::Arc<str>,
    /// Where `$1`, `$2` … come from.
    pub(crate) slots: Vec<Slot>,
}

/// What a numbered parameter takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Index of the method's parameter.
    Parameter(usize),
    /// A column of the row above.
    Row(Path),
}

/// A piece of SQL text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Passed on as it stands.
    Text(&'a str),
    /// The name after a colon, dots included.
    Name(&'a str),
}

/// Splits SQL text at its parameters.
pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut start, mut at) = (0, 0);
    let bytes = sql.as_bytes();
    while at < bytes.len() {
        let rest = sql.get(at..).unwrap_or_default();
        let skip = opaque(bytes, at, rest);
        if skip > 0 {
            at += skip;
            continue;
        }
        let name = if rest.starts_with(':') { name_after_colon(rest) } else { "" };
        if name.is_empty() {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        tokens.extend(sql.get(start..at).filter(|t| !t.is_empty()).map(Token::Text));
        tokens.push(Token::Name(name));
        at += 1 + name.len();
        start = at;
    }
    tokens.extend(sql.get(start..).filter(|t| !t.is_empty()).map(Token::Text));
    tokens
}

/// Length of what begins here and is not looked into; 0 where nothing does.
pub(crate) fn opaque(bytes: &[u8], at: usize, rest: &str) -> usize {
    let before = at.checked_sub(1).and_then(|b| bytes.get(b)).copied().unwrap_or(b' ');
    let in_word = before.is_ascii_alphanumeric() || before == b'_' || before >= 0x80;
    match rest.as_bytes() {
        [b':', b':', ..] => 2,
        [b'-', b'-', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => comment(rest),
        [b'\'', ..] => quoted(rest, b'\'', false),
        [b'e' | b'E', b'\'', ..] if !in_word => 1 + quoted(rest.get(1..).unwrap_or_default(), b'\'', true),
        [b'"', ..] => quoted(rest, b'"', false),
        [b'`', ..] => quoted(rest, b'`', false),
        [b'$', ..] if !in_word => dollar(rest),
        _ => 0,
    }
}

/// Up to and with the closing quote; a doubled quote does not close.
fn quoted(rest: &str, quote: u8, backslashes: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' && backslashes {
            at += 2;
        } else if *byte != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    rest.len()
}

/// Comments nest in PostgreSQL.
fn comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (at, depth) = (at + 2, depth + 1),
            Some(b"*/") => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

/// `$tag$ … $tag$`.
fn dollar(rest: &str) -> usize {
    let Some(end) = rest.get(1..).and_then(|r| r.find('$')) else {
        return 0;
    };
    let tag = rest.get(..end + 2).unwrap_or_default();
    let inner = tag.trim_matches('$');
    let is_tag = inner.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !inner.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return 0;
    }
    match rest.get(tag.len()..).and_then(|r| r.find(tag)) {
        Some(close) => tag.len() * 2 + close,
        None => rest.len(),
    }
}

/// `name` or `name.name`; empty where no name follows.
fn name_after_colon(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    let is_start = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    let mut end = 1;
    if !is_start(bytes.get(end)) {
        return "";
    }
    while let Some(byte) = bytes.get(end) {
        let dot = *byte == b'.' && is_start(bytes.get(end + 1));
        if !(byte.is_ascii_alphanumeric() || *byte == b'_' || dot) {
            break;
        }
        end += 1;
    }
    rest.get(1..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Vec<&str> {
        tokens(sql)
            .into_iter()
            .filter_map(|t| match t {
                Token::Name(name) => Some(name),
                Token::Text(_) => None,
            })
            .collect()
    }

    #[test]
    fn names_are_found_only_where_sql_has_them() {
        for (sql, expected) in [
            ("select :a, :b_2", vec!["a", "b_2"]),
            ("where x = :payer.personal_number.", vec!["payer.personal_number"]),
            ("select ':no', 'it''s :no', :yes", vec!["yes"]),
            ("select E'\\' :no', e'\\\\', :yes", vec!["yes"]),
            ("select type'\\', :yes", vec!["yes"]),
            ("select \"a:no\", `b:no`, :yes", vec!["yes"]),
            ("select :a::date, x::int, now()::timestamptz", vec!["a"]),
            ("-- :no\nselect :yes -- :no", vec!["yes"]),
            ("/* :no /* :no */ :no */ :yes /* :no", vec!["yes"]),
            ("$$ :no $$ $q$ :no $$ :no $q$ :yes", vec!["yes"]),
            ("select $1, a$b$ :yes", vec!["yes"]),
            ("a[1:2], '12:30', :1x, x ->> ':no'", vec![]),
            ("select 'ë ç' as \"š\", :yes, 'đ'", vec!["yes"]),
            ("select 'open :no", vec![]),
            ("select :", vec![]),
        ] {
            assert_eq!(names(sql), expected, "{sql}");
        }
    }

    #[test]
    fn nothing_of_the_text_is_lost() {
        let sql = "select 'ë:x', :a, $t$ë$t$ /*ç*/ from \"t\" where b=:row.id::int -- ž";
        let back: String = tokens(sql)
            .iter()
            .map(|t| match t {
                Token::Text(text) => (*text).to_owned(),
                Token::Name(name) => format!(":{name}"),
            })
            .collect();
        assert_eq!(back, sql);
    }
}
