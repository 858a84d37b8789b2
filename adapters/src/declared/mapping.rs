//! Rules of fields, checked against the message that they fill.

use std::ops::Range;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value};
use ura_runtime::config::{Problems, Spanned};

use super::{options, raw};
use crate::{
    mapper::scalar::{self, Form, Shape},
    plan::{Item, MessageMap, Rule},
    register::context::ContextName,
    tree::Path,
};

/// The rules of one message.
pub(super) fn message(
    descriptor: &MessageDescriptor,
    rules: &raw::Entries<Spanned<raw::Rule>>,
    problems: &mut Problems,
) -> MessageMap {
    let mut map = MessageMap::default();
    for (key, rule) in &rules.0 {
        let steps: Vec<&str> = key.as_ref().split('.').collect();
        insert(&mut map, descriptor, &steps, key.span(), rule, problems);
    }
    map
}

fn insert(
    map: &mut MessageMap,
    descriptor: &MessageDescriptor,
    steps: &[&str],
    span: Range<usize>,
    rule: &Spanned<raw::Rule>,
    problems: &mut Problems,
) {
    let Some((first, rest)) = steps.split_first() else {
        return;
    };
    let field = match super::field(descriptor, first) {
        Ok(field) => field,
        Err(problem) => return problems.at(span, problem),
    };
    let at = map.rules.iter().position(|(f, _)| *f == field);
    if rest.is_empty() {
        if at.is_some() {
            return problems.at(span, format!("the field `{first}` is mapped twice"));
        }
        if let Some(rule) = compile(&field, rule, problems) {
            map.rules.push((field, rule));
        }
        return;
    }
    let inner = match field.kind() {
        Kind::Message(inner) if !field.is_list() => inner,
        _ if field.is_list() => {
            let problem =
                format!("`{first}` is repeated: map its items with {{ each = \"…\", fields = {{ … }} }}");
            return problems.at(span, problem);
        }
        kind => {
            let problem = format!("`{first}` is {}, which has no fields", options::article(&kind));
            return problems.at(span, problem);
        }
    };
    let at = at.unwrap_or_else(|| {
        let inside = Rule::Inside { from: None, map: MessageMap::default() };
        map.rules.push((field, inside));
        map.rules.len() - 1
    });
    match map.rules.get_mut(at).map(|(_, rule)| rule) {
        Some(Rule::Inside { from: None, map }) => insert(map, &inner, rest, span, rule, problems),
        _ => problems.at(span, format!("the field `{first}` is mapped twice")),
    }
}

fn compile(field: &FieldDescriptor, rule: &Spanned<raw::Rule>, problems: &mut Problems) -> Option<Rule> {
    let options = match rule.as_ref() {
        raw::Rule::Path(path) => {
            return Some(Rule::Take { from: Path::parse(path), form: Form::default(), default: None });
        }
        raw::Rule::Options(options) => options,
    };
    options::refuse(options, &["null_if_default"], "for a field", problems);
    if let Some(value) = &options.value {
        options::refuse(
            options,
            &[
                "from",
                "default",
                "date",
                "utc_offset",
                "enum",
                "bool",
                "money",
                "minor_digits",
                "each",
                "key",
                "fields",
            ],
            "beside `value`",
            problems,
        );
        return constant(field, value, problems);
    }
    if let Some(each) = &options.each {
        return each_rule(field, options, each, problems);
    }
    if let Some(key) = &options.key {
        problems.at(key.span(), "`key` stands beside `each`");
    }
    let from = options.from.as_ref().map(|from| Path::parse(from.as_ref()));
    if let Some(fields) = &options.fields {
        options::refuse(
            options,
            &["default", "date", "utc_offset", "enum", "bool", "money", "minor_digits"],
            "beside `fields`",
            problems,
        );
        let inner = match field.kind() {
            Kind::Message(inner) if !field.is_list() => inner,
            _ => {
                let problem = "`fields` fits a nested message; a repeated one also needs `each`";
                problems.at(fields.span(), problem);
                return None;
            }
        };
        let map = message(&inner, fields.as_ref(), problems);
        return Some(Rule::Inside { from, map });
    }
    let kind = value_kind(field);
    let mut form = options::form(options, &kind, problems);
    form.table = options::table_from_register(options, &kind, problems);
    let default = options.default.as_ref().and_then(|d| fixed(field, d, &form, problems));
    // Without `from`, options describe the value of the same name.
    let from = from.unwrap_or_else(|| Path::parse(field.name()));
    Some(Rule::Take { from, form, default })
}

/// The kind of one value: of a map, of its values.
fn value_kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}

fn each_rule(
    field: &FieldDescriptor,
    options: &raw::Options,
    each: &Spanned<String>,
    problems: &mut Problems,
) -> Option<Rule> {
    if !field.is_list() && !field.is_map() {
        let problem = format!("`each` fits a repeated field or a map; `{}` is neither", field.name());
        problems.at(each.span(), problem);
        return None;
    }
    options::refuse(options, &["default"], "beside `each`", problems);
    match (&options.key, field.is_map()) {
        (Some(key), false) => problems.at(key.span(), "`key` fits a map field"),
        (None, true) => {
            problems.at(each.span(), "a map also needs `key`: the path of the key inside the item");
        }
        _ => {}
    }
    let kind = value_kind(field);
    let special = kind.as_message().is_some_and(|m| scalar::shape(m) != Shape::Plain);
    let item = match (&options.fields, &kind) {
        (Some(fields), Kind::Message(inner)) => {
            options::refuse(
                options,
                &["from", "date", "utc_offset", "enum", "bool", "money", "minor_digits"],
                "beside `each` and `fields`",
                problems,
            );
            Item::Message(message(inner, fields.as_ref(), problems))
        }
        (Some(fields), kind) => {
            let problem =
                format!("`fields` fits messages; the items are {}: use `from`", options::article(kind));
            problems.at(fields.span(), problem);
            return None;
        }
        (None, Kind::Message(_)) if !special && options.from.is_none() => {
            Item::Message(MessageMap::default())
        }
        (None, kind) => {
            let mut form = options::form(options, kind, problems);
            form.table = options::table_from_register(options, kind, problems);
            let from = options.from.as_ref().map_or("", |from| from.as_ref().as_str());
            Item::Scalar { from: Path::parse(from), form }
        }
    };
    Some(Rule::Each {
        each: Path::parse(each.as_ref()),
        key: options.key.as_ref().map(|key| Path::parse(key.as_ref())),
        item,
    })
}

fn constant(
    field: &FieldDescriptor,
    value: &Spanned<raw::Constant>,
    problems: &mut Problems,
) -> Option<Rule> {
    if let crate::tree::Tree::Text(text) = &value.as_ref().0
        && let Some(name) = text.strip_prefix('$')
    {
        let Some(name) = ContextName::parse(name) else {
            let problem = format!("`{text}` is not known; with a $ go: {}", ContextName::ALL);
            problems.at(value.span(), problem);
            return None;
        };
        if field.kind() != Kind::String || field.is_list() {
            let problem =
                format!("`{text}` is text; `{}` is {}", field.name(), options::article(&field.kind()));
            problems.at(value.span(), problem);
            return None;
        }
        return Some(Rule::Context(name));
    }
    fixed(field, value, &Form::default(), problems).map(Rule::Constant)
}

/// A value that stands in the file, as a value of the field.
fn fixed(
    field: &FieldDescriptor,
    value: &Spanned<raw::Constant>,
    form: &Form,
    problems: &mut Problems,
) -> Option<Value> {
    if field.is_list() || field.is_map() {
        problems.at(value.span(), "a repeated field or a map takes no fixed value");
        return None;
    }
    // A default is written in the contract's words, not in the register's.
    let form = Form { table: None, ..form.clone() };
    match scalar::read(&field.kind(), &value.as_ref().0, &form) {
        Ok(Some(value)) => Some(value),
        Ok(None) => None,
        Err(unfit) => {
            let problem = format!(
                "this value does not fit `{}`, {}: it {}",
                field.name(),
                options::article(&field.kind()),
                unfit.0
            );
            problems.at(value.span(), problem);
            None
        }
    }
}
