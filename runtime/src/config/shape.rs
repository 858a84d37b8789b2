//! Finds every mistake of shape in one file, although serde stops at the first.
//!
//! Each node of the parsed document gets a number in place of its span, so that an error names its
//! node exactly. The node is then cut out of the tree (or a missing key is filled in with something)
//! and the rest is tried again, until all is well or a limit is reached. What fails only because of
//! a cut or a filling is not reported. Knows nothing of files.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, Deserializer, Error},
};

use super::{ConfigErrors, Problems, Source};

/// How often a file is tried, at most.
const ATTEMPTS_MAX: usize = 2_000;
/// Bytes read again over all attempts, so that a large file with many mistakes does not take minutes.
const BYTES_TRIED_MAX: usize = 512 * 1024 * 1024;
/// What a missing key is filled with, one after the other, until its type is met.
const FILLINGS: [&str; 7] = ["\"\"", "1", "true", "1.5", "[]", "{}", "2000-01-01T00:00:00Z"];

/// The value, or all that is wrong with the text's syntax, or else with its shape.
pub(super) fn read<T: DeserializeOwned>(source: &Source) -> Result<T, ConfigErrors> {
    let (tree, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        return Err(syntax(source, &errors));
    }
    let first = match T::deserialize(Deserializer::from(tree.clone())) {
        Ok(value) => return Ok(value),
        Err(first) => first,
    };
    let mut hunt = Hunt::new(source, tree);
    let attempts = (BYTES_TRIED_MAX / source.text().len().max(1)).clamp(16, ATTEMPTS_MAX);
    for _ in 0..attempts {
        match T::deserialize(Deserializer::from(hunt.tree.clone())) {
            Err(error) if hunt.take(&error) => {}
            _ => break,
        }
    }
    hunt.problems.into_result(()).and_then(|()| {
        // Only a type that reads the same input differently each time comes here.
        Err(ConfigErrors::new(source.path(), reworded(first.message())))
    })
}

/// Mistakes of syntax, the first of each line: what follows in a line is mostly its consequence, and so
/// are mistakes in the lines right after a bracket that was left open.
fn syntax(source: &Source, errors: &[Error]) -> ConfigErrors {
    let mut problems = source.problems();
    let mut last_line = 0;
    let mut in_brackets = false;
    // The parser finds mistakes of structure first and those of values after them.
    let mut errors: Vec<&Error> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in errors {
        let Some(span) = error.span() else {
            problems.whole(reworded(error.message()));
            continue;
        };
        let line = source.place(span.start).0;
        let is_consequence = line == last_line || (in_brackets && line == last_line + 1);
        in_brackets = error.message().starts_with("missing comma") || (in_brackets && is_consequence);
        last_line = line;
        if !is_consequence {
            problems.at(span, reworded(error.message()));
        }
    }
    let whole = || ConfigErrors::new(source.path(), "cannot be read as TOML");
    problems.into_result(()).map_or_else(|errors| errors, |()| whole())
}

/// serde speaks of fields; whoever writes the file knows keys.
fn reworded(message: &str) -> String {
    for (theirs, ours) in [
        ("unknown field ", "unknown key "),
        ("missing field ", "missing key "),
        ("duplicate field ", "duplicate key "),
    ] {
        if let Some(rest) = message.strip_prefix(theirs) {
            return format!("{ours}{rest}");
        }
    }
    message.trim_end().to_owned()
}

/// One step from a node to its child.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where an error points: the way to a node, and whether it is the node's key that is meant.
struct Target {
    way: Vec<Step>,
    is_key: bool,
}

/// The tree that is still being tried, and what is known of it.
struct Hunt<'i> {
    tree: Spanned<DeTable<'i>>,
    /// Real span of each numbered node.
    spans: Vec<Range<usize>>,
    /// Keys cut out of a table, by its number.
    cut: BTreeMap<usize, BTreeSet<String>>,
    /// Arrays that lost an element.
    shortened: BTreeSet<usize>,
    /// Fillings now in the tree: number of the node, and which of [`FILLINGS`] it is.
    filled: BTreeMap<usize, usize>,
    next_filling: usize,
    problems: Problems,
}

impl<'i> Hunt<'i> {
    fn new(source: &Source, tree: Spanned<DeTable<'i>>) -> Self {
        let mut spans = Vec::new();
        let root = number(&mut spans, 0..0);
        let tree = Spanned::new(root, number_table(&mut spans, tree.into_inner()));
        Self {
            tree,
            next_filling: spans.len(),
            spans,
            cut: BTreeMap::new(),
            shortened: BTreeSet::new(),
            filled: BTreeMap::new(),
            problems: source.problems(),
        }
    }

    /// Notes an error unless it follows from an earlier one, and mends the tree so that the next
    /// attempt gets further. `false` when there is nothing left to mend.
    fn take(&mut self, error: &Error) -> bool {
        let Some(id) = error.span().map(|span| span.start) else {
            self.problems.whole(reworded(error.message()));
            return false;
        };
        if let Some(filling) = self.filled.remove(&id) {
            return self.refill(id, filling + 1);
        }
        let Some(target) = find(&self.tree, id) else {
            self.problems.whole(reworded(error.message()));
            return false;
        };
        let message = error.message();
        if !target.is_key {
            if let Some(key) = quoted(message, "missing field ") {
                return self.missing(id, &target.way, key);
            }
            if let Some(key) = quoted(message, "unknown field ")
                && let Some(key_id) = self.key_id(&target.way, key)
            {
                let mut way = target.way;
                way.push(Step::Key(key.to_owned()));
                self.note(key_id, message);
                return self.cut(&way);
            }
        }
        if !self.is_consequence(id, &target, message) {
            self.note(id, message);
        }
        self.cut(&target.way)
    }

    fn note(&mut self, id: usize, message: &str) {
        if let Some(span) = self.spans.get(id) {
            self.problems.at(span.clone(), reworded(message));
        }
    }

    /// Whether an error about a whole table or array comes from what was cut or filled in it.
    fn is_consequence(&self, id: usize, target: &Target, message: &str) -> bool {
        if target.is_key {
            return false;
        }
        let holds_filling = self
            .table(&target.way)
            .is_some_and(|table| table.values().any(|value| self.filled.contains_key(&value.span().start)));
        holds_filling
            || self.cut.contains_key(&id)
            || (self.shortened.contains(&id) && message.starts_with("invalid length"))
    }

    /// A table lacks a key: says so, unless it was cut out here, and fills it in.
    fn missing(&mut self, table_id: usize, way: &[Step], key: &str) -> bool {
        if !self.cut.get(&table_id).is_some_and(|keys| keys.contains(key)) {
            self.note(table_id, &format!("missing field `{key}`"));
        }
        let filling = self.next_filling;
        let Some(table) = self.table_mut(way).filter(|table| !table.contains_key(key)) else {
            return self.cut(way);
        };
        // The key gets the filling's number too: whichever of the two is refused, it is the filling.
        let key = Spanned::new(filling..filling, key.to_owned().into());
        table.insert(key, Spanned::new(filling..filling, DeValue::Boolean(false)));
        self.refill(filling, 0)
    }

    /// Puts the next filling in the place of one that was refused; without another, gives the
    /// enclosing table up.
    fn refill(&mut self, id: usize, filling: usize) -> bool {
        let Some(mut way) = find(&self.tree, id).map(|target| target.way) else {
            return false;
        };
        let Some(Step::Key(key)) = way.pop() else {
            return false;
        };
        let value = FILLINGS.get(filling).and_then(|text| DeValue::parse(text).ok());
        let new_id = self.next_filling;
        self.next_filling += 1;
        let Some(table) = self.table_mut(&way) else {
            return false;
        };
        table.remove(key.as_str());
        let Some(value) = value else {
            return self.cut(&way);
        };
        let value = Spanned::new(new_id..new_id, value.into_inner());
        table.insert(Spanned::new(new_id..new_id, key.into()), value);
        self.filled.insert(new_id, filling);
        true
    }

    /// Takes a node out of the tree. `false` for the root.
    fn cut(&mut self, way: &[Step]) -> bool {
        let Some((last, parents)) = way.split_last() else {
            return false;
        };
        match (last, descend(&mut self.tree, parents)) {
            (Step::Key(key), Some(Place::Table(id, table))) => {
                table.remove(key.as_str());
                self.cut.entry(id).or_default().insert(key.clone());
                true
            }
            (Step::Index(index), Some(Place::Array(id, array))) => {
                let kept = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
                *array = kept.filter(|(at, _)| at != index).map(|(_, value)| value).collect();
                self.shortened.insert(id);
                true
            }
            _ => false,
        }
    }

    fn table(&self, way: &[Step]) -> Option<&DeTable<'i>> {
        let mut table = self.tree.get_ref();
        let mut value: Option<&DeValue<'i>> = None;
        for step in way {
            let next = match (step, value) {
                (Step::Key(key), None) => table.get(key.as_str()),
                (Step::Key(key), Some(DeValue::Table(table))) => table.get(key.as_str()),
                (Step::Index(index), Some(DeValue::Array(array))) => array.get(*index),
                _ => None,
            };
            value = Some(next?.get_ref());
        }
        match value {
            None => Some(table),
            Some(DeValue::Table(inner)) => {
                table = inner;
                Some(table)
            }
            Some(_) => None,
        }
    }

    fn table_mut(&mut self, way: &[Step]) -> Option<&mut DeTable<'i>> {
        match descend(&mut self.tree, way)? {
            Place::Table(_, table) => Some(table),
            Place::Array(..) => None,
        }
    }

    fn key_id(&self, way: &[Step], key: &str) -> Option<usize> {
        let (key, _) = self.table(way)?.get_key_value(key)?;
        Some(key.span().start)
    }
}

/// A node that has children, with its number.
enum Place<'t, 'i> {
    Table(usize, &'t mut DeTable<'i>),
    Array(usize, &'t mut DeArray<'i>),
}

fn descend<'t, 'i>(tree: &'t mut Spanned<DeTable<'i>>, way: &[Step]) -> Option<Place<'t, 'i>> {
    let mut place = Place::Table(tree.span().start, tree.get_mut());
    for step in way {
        let child = match (step, place) {
            (Step::Key(key), Place::Table(_, table)) => table.get_mut(key.as_str())?,
            (Step::Index(index), Place::Array(_, array)) => array.get_mut(*index)?,
            _ => return None,
        };
        let id = child.span().start;
        place = match child.get_mut() {
            DeValue::Table(table) => Place::Table(id, table),
            DeValue::Array(array) => Place::Array(id, array),
            _ => return None,
        };
    }
    Some(place)
}

/// The text in backticks after `prefix`.
fn quoted<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    let (name, _) = message.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')?;
    Some(name)
}

/// Gives a node the next number.
fn number(spans: &mut Vec<Range<usize>>, span: Range<usize>) -> Range<usize> {
    let id = spans.len();
    spans.push(span);
    id..id
}

fn number_table<'i>(spans: &mut Vec<Range<usize>>, table: DeTable<'i>) -> DeTable<'i> {
    table
        .into_iter()
        .map(|(key, value)| {
            let key = Spanned::new(number(spans, key.span()), key.into_inner());
            (key, number_value(spans, value))
        })
        .collect()
}

fn number_value<'i>(spans: &mut Vec<Range<usize>>, value: Spanned<DeValue<'i>>) -> Spanned<DeValue<'i>> {
    let id = number(spans, value.span());
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(number_table(spans, table)),
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|value| number_value(spans, value)).collect())
        }
        plain => plain,
    };
    Spanned::new(id, value)
}

/// The node that has this number.
fn find(tree: &Spanned<DeTable<'_>>, id: usize) -> Option<Target> {
    let mut way = Vec::new();
    if tree.span().start == id {
        return Some(Target { way, is_key: false });
    }
    let is_key = find_in_table(tree.get_ref(), id, &mut way)?;
    Some(Target { way, is_key })
}

fn find_in_table(table: &DeTable<'_>, id: usize, way: &mut Vec<Step>) -> Option<bool> {
    for (key, value) in table {
        way.push(Step::Key(key.get_ref().clone().into_owned()));
        if value.span().start == id {
            return Some(false);
        }
        if key.span().start == id {
            return Some(true);
        }
        if let Some(found) = find_in_value(value.get_ref(), id, way) {
            return Some(found);
        }
        way.pop();
    }
    None
}

fn find_in_value(value: &DeValue<'_>, id: usize, way: &mut Vec<Step>) -> Option<bool> {
    match value {
        DeValue::Table(table) => find_in_table(table, id, way),
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                way.push(Step::Index(index));
                if value.span().start == id {
                    return Some(false);
                }
                if let Some(found) = find_in_value(value.get_ref(), id, way) {
                    return Some(found);
                }
                way.pop();
            }
            None
        }
        _ => None,
    }
}
