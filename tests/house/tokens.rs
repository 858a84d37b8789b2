//! Rust source as tokens: enough to see paths, items and their lines. Comments and the text of
//! literals are left out. Knows no rule of the house.

/// Stands for any string or character literal.
pub(crate) const LITERAL: &str = "\"";

/// Words that begin an item, after its attributes and visibility.
const ITEMS: [&str; 14] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "use",
];

/// A word, a `::`, one other character of punctuation, or [`LITERAL`].
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// A source without the items that only tests compile.
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    /// Modules in files of their own that stand under `#[cfg(test)]`.
    pub(crate) test_modules: Vec<String>,
}

/// The text of a token; empty beyond the end.
pub(crate) fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// The place after the bracket that closes the one at `open`.
pub(crate) fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth <= 1 => return at + 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Reads a source and leaves out what stands under `#[cfg(test)]`.
pub(crate) fn read(source: &str) -> Source {
    let all = tokens(source);
    if is_cfg_test(&all, 2) && text(&all, 1) == "!" {
        return Source { tokens: Vec::new(), test_modules: Vec::new() };
    }
    let (mut kept, mut test_modules, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(token) = all.get(at) {
        if token.text == "#" && is_cfg_test(&all, at + 1) {
            let (end, module) = item(&all, at);
            test_modules.extend(module);
            at = end;
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    Source { tokens: kept, test_modules }
}

/// Whether `[cfg(test)]` stands at a place.
fn is_cfg_test(tokens: &[Token], at: usize) -> bool {
    ["[", "cfg", "(", "test", ")", "]"].iter().enumerate().all(|(n, part)| text(tokens, at + n) == *part)
}

/// The place after the item whose first attribute stands at `at`; its name where it is `mod name;`.
fn item(tokens: &[Token], mut at: usize) -> (usize, Option<String>) {
    while text(tokens, at) == "#" {
        at = after_group(tokens, at + 1);
    }
    if text(tokens, at) == "pub" {
        at += 1;
        if text(tokens, at) == "(" {
            at = after_group(tokens, at);
        }
    }
    let word = text(tokens, at);
    let file = word == "mod" && text(tokens, at + 2) == ";";
    let module = file.then(|| text(tokens, at + 1).to_owned());
    let to_semicolon =
        matches!(word, "use" | "static" | "type") || (word == "const" && text(tokens, at + 1) != "fn");
    let is_item = ITEMS.contains(&word);
    loop {
        match text(tokens, at) {
            // Beyond the end, or the end of what encloses a field or an arm.
            "" | "}" | ")" | "]" => return (at, module),
            ";" => return (at + 1, module),
            "," if !is_item => return (at + 1, module),
            "{" if !to_semicolon => return (after_group(tokens, at), module),
            "{" | "(" | "[" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
}

/// All tokens of a source.
fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { chars: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(c) = reader.peek(0) {
        let line = reader.line;
        let text = match (c, reader.peek(1)) {
            ('/', Some('/')) => reader.skip_until(|r| r.peek(0) == Some('\n')),
            ('/', Some('*')) => reader.skip_comment(),
            ('"', _) => reader.skip_string(),
            ('\'', _) => reader.skip_quote(),
            (':', Some(':')) => {
                reader.skip(2);
                Some("::".to_owned())
            }
            _ if c.is_alphanumeric() || c == '_' => Some(reader.word()),
            _ => {
                reader.skip(1);
                (!c.is_whitespace()).then(|| c.to_string())
            }
        };
        tokens.extend(text.map(|text| Token { text, line }));
    }
    tokens
}

/// A place in a source.
struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    /// Skips to the place where `end` holds, or to the end.
    fn skip_until(&mut self, end: impl Fn(&Self) -> bool) -> Option<String> {
        while self.at < self.chars.len() && !end(self) {
            self.skip(1);
        }
        None
    }

    /// Block comments nest.
    fn skip_comment(&mut self) -> Option<String> {
        let mut depth = 0_usize;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                break;
            }
        }
        None
    }

    fn skip_string(&mut self) -> Option<String> {
        self.skip(1);
        while self.peek(0).is_some_and(|c| c != '"') {
            self.skip(if self.peek(0) == Some('\\') { 2 } else { 1 });
        }
        self.skip(1);
        Some(LITERAL.to_owned())
    }

    /// A character, or the tick of a lifetime.
    fn skip_quote(&mut self) -> Option<String> {
        if self.peek(1) != Some('\\') && self.peek(2) != Some('\'') {
            self.skip(1);
            self.word();
            return None;
        }
        self.skip(if self.peek(1) == Some('\\') { 3 } else { 2 });
        self.skip_until(|r| r.peek(0) == Some('\''));
        self.skip(1);
        Some(LITERAL.to_owned())
    }

    /// A word or a number; or the literal that the word is the prefix of (`r"`, `br#"`, `b'`).
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek(0).filter(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
            self.skip(1);
        }
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == Some('#')).count();
        match (word.as_str(), self.peek(hashes)) {
            ("r" | "br" | "cr", Some('"')) => {
                self.skip(hashes + 1);
                self.skip_until(|r| {
                    r.peek(0) == Some('"') && (1..=hashes).all(|ahead| r.peek(ahead) == Some('#'))
                });
                self.skip(hashes + 1);
                LITERAL.to_owned()
            }
            ("b" | "c", Some('"')) if hashes == 0 => self.skip_string().unwrap_or_default(),
            ("b", Some('\'')) if hashes == 0 => self.skip_quote().unwrap_or_default(),
            // A raw identifier is the identifier.
            ("r", Some(_)) if hashes == 1 => {
                self.skip(1);
                self.word()
            }
            _ => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> String {
        read(source).tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn literals_and_comments_say_nothing() {
        let source =
            "a /* x /* y */ z */ \"b \\\" c\" r#\"d \" e\"# b'\\'' 'f' b\"g\" // h\n &'i j '\\u{1F600}' k";
        assert_eq!(words(source), "a \" \" \" \" \" & j \" k");
        assert_eq!(read("\"1\n2\"\n\nx").tokens.last().map(|token| token.line), Some(4));
        assert_eq!(words("r#type::x 1.5 'a'..='z'"), "type :: x 1 . 5 \" . . = \"");
    }

    #[test]
    fn test_items_are_left_out_and_no_more_than_they() {
        for (source, kept) in [
            ("#[cfg(test)] mod tests { fn a() {} } b", "b"),
            ("#[cfg(test)]\n#[path = \"x\"] pub(crate) use a::{b, c}; d", "d"),
            ("struct A { #[cfg(test)] b: C<D>, e: F }", "struct A { e : F }"),
            ("#[cfg(test)] fn a<B, C>(b: B) -> [C; 2] { d } e", "e"),
            ("#[cfg(test)] const A: [u8; 2] = [1, 2]; b", "b"),
            ("#[cfg(not(test))] a", "# [ cfg ( not ( test ) ) ] a"),
            ("#![cfg(test)] a", ""),
        ] {
            assert_eq!(words(source), kept, "{source}");
        }
        assert_eq!(read("#[cfg(test)] mod tests; mod a;").test_modules, ["tests"]);
    }
}
