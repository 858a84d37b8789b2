//! A register's tree to a message of the contract.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

use super::scalar::{self, Form, Unfit};
use crate::{
    plan::{Item, MessageMap, Rule},
    register::context::CallContext,
    tree::{Path, Tree},
};

/// Where a register's answer does not fit the contract. Names the field, never the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Path of the field from the reply down.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) problem: String,
}

/// What came of filling a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    Constants,
    Values,
}

/// What a message is filled from.
#[derive(Clone, Copy)]
struct From<'a> {
    /// Paths of rules begin here.
    root: &'a Tree,
    /// Values of the same name are here.
    here: Option<&'a Tree>,
    /// `root` must have the members that rules name.
    strict: bool,
}

/// Fills `message` from a row.
pub(crate) fn fill(
    message: &mut DynamicMessage,
    map: &MessageMap,
    row: &Tree,
    strict: bool,
    context: &CallContext,
) -> Result<(), Mismatch> {
    let from = From { root: row, here: Some(row), strict };
    fill_from(message, map, from, context).map(drop)
}

/// Fills only the fields that `map` names.
pub(crate) fn fill_listed(
    message: &mut DynamicMessage,
    map: &MessageMap,
    root: &Tree,
    context: &CallContext,
) -> Result<(), Mismatch> {
    let from = From { root, here: None, strict: false };
    fill_from(message, map, from, context).map(drop)
}

fn fill_from(
    message: &mut DynamicMessage,
    map: &MessageMap,
    from: From<'_>,
    context: &CallContext,
) -> Result<Found, Mismatch> {
    let descriptor = message.descriptor();
    let mut found = Found::Nothing;
    for field in descriptor.fields() {
        let same =
            from.here.and_then(|here| here.member(field.name()).or_else(|| here.member(field.json_name())));
        let value = match (map.rule(&field), same) {
            (Some(rule), same) => apply(&field, rule, same, from, context)?,
            (None, Some(tree)) => {
                value_of(&field, tree, &Form::default(), context)?.map(|v| (Found::Values, v))
            }
            (None, None) => None,
        };
        if let Some((what, value)) = value {
            message.set_field(&field, value);
            found = found.max(what);
        }
    }
    Ok(found)
}

fn apply(
    field: &FieldDescriptor,
    rule: &Rule,
    same: Option<&Tree>,
    from: From<'_>,
    context: &CallContext,
) -> Result<Option<(Found, Value)>, Mismatch> {
    match rule {
        Rule::Skip => Ok(None),
        Rule::Constant(value) => Ok(Some((Found::Constants, value.clone()))),
        Rule::Context(name) => {
            Ok(context.value(*name).map(|text| (Found::Constants, Value::String(text.to_owned()))))
        }
        Rule::Take { from: path, form, default } => take(field, path, form, default.as_ref(), from, context),
        Rule::Inside { from: path, map } => {
            let Kind::Message(descriptor) = field.kind() else {
                return Ok(None);
            };
            let from = match path {
                None => From { here: same, ..from },
                Some(path) => match look(field, path, from)? {
                    None | Some(Tree::Null) => return Ok(None),
                    Some(tree) => From { root: tree, here: Some(tree), strict: false },
                },
            };
            let mut message = DynamicMessage::new(descriptor);
            let found = fill_from(&mut message, map, from, context).map_err(|e| e.under(field.name()))?;
            let constant = map.rules.iter().all(|(_, r)| matches!(r, Rule::Constant(_) | Rule::Context(_)));
            let set = found == Found::Values || found == Found::Constants && constant;
            Ok(set.then_some((found, Value::Message(message))))
        }
        Rule::Each { each, key, item } => {
            let Some(tree) = look(field, each, from)? else {
                return Ok(None);
            };
            let tree = tree.unpacked();
            let value = each_of(field, &tree, key.as_ref(), item, context)?;
            Ok(value.map(|v| (Found::Values, v)))
        }
    }
}

fn look<'a>(field: &FieldDescriptor, path: &Path, from: From<'a>) -> Result<Option<&'a Tree>, Mismatch> {
    let found = from.root.at(path);
    if found.is_none()
        && from.strict
        && let Some(first) = path.first()
        && from.root.member(first).is_none()
    {
        let problem = format!("the row has no column `{first}`{}", from.root.near(first));
        return Err(Mismatch::at(field, problem));
    }
    Ok(found)
}

fn take(
    field: &FieldDescriptor,
    path: &Path,
    form: &Form,
    default: Option<&Value>,
    from: From<'_>,
    context: &CallContext,
) -> Result<Option<(Found, Value)>, Mismatch> {
    let fallback = || default.cloned().map(|v| (Found::Constants, v));
    let tree = match look(field, path, from) {
        Ok(Some(tree)) if !(default.is_some() && tree.is_empty()) => tree,
        Ok(_) => return Ok(fallback()),
        Err(mismatch) => return fallback().map_or(Err(mismatch), |v| Ok(Some(v))),
    };
    match value_of(field, tree, form, context) {
        Ok(None) => Ok(fallback()),
        Ok(Some(value)) => Ok(Some((Found::Values, value))),
        // A default also stands for values that the table does not list.
        Err(mismatch) => match (&form.table, fallback()) {
            (Some(_), Some(fallback)) => Ok(Some(fallback)),
            _ => Err(mismatch),
        },
    }
}

/// The value of a whole field, repeated and maps included.
fn value_of(
    field: &FieldDescriptor,
    tree: &Tree,
    form: &Form,
    context: &CallContext,
) -> Result<Option<Value>, Mismatch> {
    if *tree == Tree::Null {
        return Ok(None);
    }
    if field.is_map() || field.is_list() {
        let tree = tree.unpacked();
        let item = Item::Scalar { from: Path::default(), form: form.clone() };
        return each_of(field, &tree, None, &item, context);
    }
    single(field, &field.kind(), tree, form, context)
}

/// One value: a scalar, or a message from an object.
fn single(
    field: &FieldDescriptor,
    kind: &Kind,
    tree: &Tree,
    form: &Form,
    context: &CallContext,
) -> Result<Option<Value>, Mismatch> {
    if let Kind::Message(descriptor) = kind
        && form.money.is_none()
    {
        let unpacked = tree.unpacked();
        if let Tree::Object(_) = &*unpacked {
            let mut message = DynamicMessage::new(descriptor.clone());
            let from = From { root: &unpacked, here: Some(&unpacked), strict: false };
            let found = fill_from(&mut message, &MessageMap::default(), from, context)
                .map_err(|e| e.under(field.name()))?;
            return Ok((found > Found::Nothing).then_some(Value::Message(message)));
        }
    }
    scalar::read(kind, tree, form).map_err(|unfit| Mismatch::unfit(field, unfit))
}

fn each_of(
    field: &FieldDescriptor,
    tree: &Tree,
    key: Option<&Path>,
    item: &Item,
    context: &CallContext,
) -> Result<Option<Value>, Mismatch> {
    if field.is_map() {
        return map_of(field, tree, key, item, context).map(Some);
    }
    let one = std::slice::from_ref(tree);
    let items = match tree {
        Tree::List(items) => items.as_slice(),
        Tree::Null => return Ok(None),
        tree if tree.is_empty() => return Ok(None),
        _ => one,
    };
    let mut values = Vec::with_capacity(items.len());
    for (at, tree) in items.iter().enumerate() {
        let value = item_of(field, &field.kind(), tree, item, context).map_err(|e| e.item(field, at))?;
        // NULL inside a list has no place in protobuf: the element is left out.
        values.extend(value);
    }
    Ok(Some(Value::List(values)))
}

fn item_of(
    field: &FieldDescriptor,
    kind: &Kind,
    tree: &Tree,
    item: &Item,
    context: &CallContext,
) -> Result<Option<Value>, Mismatch> {
    match (item, kind) {
        (Item::Scalar { from, form }, _) => match tree.at(from) {
            None => Ok(None),
            Some(tree) => single(field, kind, tree, form, context),
        },
        (Item::Message(map), Kind::Message(descriptor)) => {
            let mut message = DynamicMessage::new(descriptor.clone());
            let tree = tree.unpacked();
            let from = From { root: &tree, here: Some(&tree), strict: false };
            fill_from(&mut message, map, from, context).map_err(|e| e.under(field.name()))?;
            Ok(Some(Value::Message(message)))
        }
        (Item::Message(_), _) => Ok(None),
    }
}

fn map_of(
    field: &FieldDescriptor,
    tree: &Tree,
    key: Option<&Path>,
    item: &Item,
    context: &CallContext,
) -> Result<Value, Mismatch> {
    let Kind::Message(entry) = field.kind() else {
        return Err(Mismatch::at(field, "is no map"));
    };
    let (key_kind, kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
    let mut pairs: Vec<(String, &Tree)> = Vec::new();
    match (tree, key) {
        (Tree::Null, _) => {}
        (Tree::List(items), Some(key)) => {
            for item in items {
                let name = item.at(key).filter(|k| **k != Tree::Null);
                let name = name.ok_or_else(|| Mismatch::at(field, "has an item without its key"))?;
                pairs.push((name.to_text(), item));
            }
        }
        (Tree::Object(members), None) => pairs.extend(members.iter().map(|(k, v)| (k.clone(), v))),
        (Tree::Object(_), Some(key)) => {
            if let Some(name) = tree.at(key) {
                pairs.push((name.to_text(), tree));
            }
        }
        (other, _) if other.is_empty() => {}
        _ => return Err(Mismatch::at(field, "is not an object of keys and values")),
    }
    let mut map = HashMap::with_capacity(pairs.len());
    for (name, tree) in pairs {
        let key = scalar::read_key(&key_kind, &name).map_err(|e| Mismatch::unfit(field, e))?;
        if let Some(value) = item_of(field, &kind, tree, item, context)? {
            map.insert(key, value);
        }
    }
    Ok(Value::Map(map))
}

impl Mismatch {
    fn at(field: &FieldDescriptor, problem: impl Into<String>) -> Self {
        Self { field: field.name().to_owned(), problem: problem.into() }
    }

    fn unfit(field: &FieldDescriptor, unfit: Unfit) -> Self {
        Self::at(field, unfit.0)
    }

    fn under(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }

    fn item(mut self, field: &FieldDescriptor, at: usize) -> Self {
        if let Some(rest) = self.field.strip_prefix(field.name()) {
            self.field = format!("{}[{at}]{rest}", field.name());
        }
        self
    }
}
