//! Strict configuration files in TOML: every mistake is reported at once, each with its file, line
//! and column.
//!
//! [`read`] finds mistakes of shape (unknown keys, wrong types, missing keys). Mistakes of meaning
//! are the caller's to find, with [`Source::problems`] and the spans of [`Spanned`] values. Knows no
//! particular configuration.

mod shape;

use std::{
    fmt,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;
pub use toml::Spanned;

/// Largest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Mistakes that are reported of one file; of the others only the number is told.
pub const PROBLEMS_MAX: usize = 100;

/// A configuration file that has the right shape.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// What stands in it.
    pub value: T,
    /// Where it stood.
    pub source: Source,
}

/// A configuration file as text, able to tell lines and columns. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Source(Arc<Text>);

#[derive(Debug)]
struct Text {
    path: PathBuf,
    text: String,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

/// Mistakes found so far in one file.
#[derive(Debug)]
#[must_use = "problems say nothing until they become a result"]
pub struct Problems {
    source: Source,
    found: Vec<(Option<usize>, String)>,
    beyond_max: usize,
}

/// One mistake in a configuration file. Displays as `path:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, both counted from 1, the column in characters; `None` for the whole file.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

/// All mistakes found, at least one, in file order. Displays as one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

/// Reads and checks a file.
///
/// # Errors
/// Every mistake of syntax; where there is none, every mistake of shape. Also a file that cannot be
/// read, is not UTF-8 or has more than [`FILE_BYTES_MAX`] bytes.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Document<T>, ConfigErrors> {
    let text =
        read_text(path).map_err(|reason| ConfigErrors::new(path, format!("cannot be read: {reason}")))?;
    parse(path, text)
}

/// Checks a text as if it had been read from `path`.
///
/// # Errors
/// As [`read`].
pub fn parse<T: DeserializeOwned>(path: &Path, text: String) -> Result<Document<T>, ConfigErrors> {
    let source = Source::new(path, text);
    let value = shape::read(&source)?;
    Ok(Document { value, source })
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        return Ok(text);
    }
    let reason = format!("it is larger than {FILE_BYTES_MAX} bytes");
    Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason))
}

impl Source {
    fn new(path: &Path, text: String) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self(Arc::new(Text { path: path.to_owned(), text, lines }))
    }

    /// The file's path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file's text; spans are byte ranges of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// An empty list of problems of this file.
    pub fn problems(&self) -> Problems {
        Problems { source: self.clone(), found: Vec::new(), beyond_max: 0 }
    }

    /// A path that is written in the file: relative to the file's folder, unless absolute.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.path().parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    /// Line and column of a byte offset, both from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.0.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.0.lines.get(line)).copied().unwrap_or(0);
        let before = self.text().as_bytes().get(start..offset.min(self.text().len())).unwrap_or(&[]);
        // Characters are counted by their first bytes, so that any offset is safe.
        let column = before.iter().filter(|b| (**b & 0b1100_0000) != 0b1000_0000).count();
        (line, column + 1)
    }
}

impl Problems {
    /// Something wrong at a place of the file.
    pub fn at(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(Some(span.start), message.into());
    }

    /// Something wrong with the file as a whole.
    pub fn whole(&mut self, message: impl Into<String>) {
        self.push(None, message.into());
    }

    /// The place of a word inside a span; the span itself where the word does not stand there letter by letter.
    #[must_use]
    pub fn inside(&self, span: Range<usize>, word: &str) -> Range<usize> {
        let text = self.source.text().get(span.clone()).unwrap_or_default();
        let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let is_whole = |at: &usize| {
            let after = text.get(at + word.len()..).unwrap_or_default();
            !after.starts_with(continues)
        };
        let found = text.match_indices(word).map(|(at, _)| at).find(is_whole);
        found.map_or(span.clone(), |at| span.start + at..span.start + at + word.len())
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `value` where nothing is wrong.
    ///
    /// # Errors
    /// The problems, in file order, those of the whole file first.
    pub fn into_result<T>(mut self, value: T) -> Result<T, ConfigErrors> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|(at, _)| *at);
        let source = &self.source;
        let mut errors: Vec<_> = self
            .found
            .into_iter()
            .map(|(at, message)| ConfigError {
                path: source.path().to_owned(),
                place: at.map(|offset| source.place(offset)),
                message,
            })
            .collect();
        errors.dedup();
        if self.beyond_max > 0 {
            let message = format!("and {} more problems", self.beyond_max);
            errors.push(ConfigError { path: source.path().to_owned(), place: None, message });
        }
        Err(ConfigErrors(errors))
    }

    fn push(&mut self, at: Option<usize>, message: String) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push((at, message));
        } else {
            self.beyond_max += 1;
        }
    }
}

impl ConfigErrors {
    /// One mistake that concerns a whole file.
    #[must_use]
    pub fn new(path: &Path, message: impl Into<String>) -> Self {
        Self(vec![ConfigError { path: path.to_owned(), place: None, message: message.into() }])
    }

    /// The same with those of another file after them.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The mistakes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// How many; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
