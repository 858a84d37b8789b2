//! What a file leaves open without being wrong: fields of the contract that nothing fills, columns that no field
//! takes. Reads the checked plan and the text of its statements; asks no register, so it says nothing of rest and
//! soap, whose answers no text describes.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use ura_runtime::config::Problems;

use super::{columns::Columns, raw};
use crate::{
    mapper::scalar::{self, Shape},
    plan::{Answer, Item, MessageMap, Method, Nested, Operation, Plan, RegisterKind, Rule, SqlPlan},
    sql::placeholders::{Slot, Statement},
};

/// Notes all of it, each at the method's statement.
pub(super) fn note(file: &raw::File, plan: &Plan, warnings: &mut Problems) {
    let folds = plan.register.kind == RegisterKind::Postgres;
    for (name, raw) in &file.methods.0 {
        let Some(method) = plan.methods.get(name.as_ref()) else { continue };
        let Operation::Sql(sql) = &method.operation else { continue };
        let Some(last) = sql.statements.last() else { continue };
        let span = raw.as_ref().sql.as_ref().map_or(name.span(), |sql| sql.span());
        let columns = Columns::of(&last.text, folds);
        let rows = Rows { columns: &columns, nested: &sql.nested, folds };
        let unfilled = of_answer(method, &rows);
        if !unfilled.is_empty() {
            let fields = unfilled.join("`, `");
            warnings.at(
                span.clone(),
                format!("nothing fills `{fields}`: select a column of that name, or say where it comes from under `fields`"),
            );
        }
        for alias in untaken(method, sql, &columns) {
            warnings.at(span.clone(), format!("no field takes the column `{alias}`"));
        }
    }
}

/// Rows of a statement: their columns, and the queries under them.
struct Rows<'a> {
    columns: &'a Columns,
    nested: &'a [Nested],
    folds: bool,
}

/// Paths of the reply's fields that stay unset.
fn of_answer(method: &Method, rows: &Rows<'_>) -> Vec<String> {
    let output = method.descriptor.output();
    let mut unfilled = Vec::new();
    match &method.answer {
        Answer::One { into } | Answer::Stream { into } => {
            inside(&output, into, &method.map, rows, "", &mut unfilled);
        }
        Answer::Chunks { .. } => of_message(&output, &method.map, rows, "", &mut unfilled),
        Answer::Many { into, page, reply } => {
            for field in output.fields() {
                let paged = page.as_ref().is_some_and(|page| page.next_field == field);
                if field == *into {
                    if let Kind::Message(item) = field.kind() {
                        let prefix = format!("{}.", field.name());
                        of_message(&item, &method.map, rows, &prefix, &mut unfilled);
                    }
                } else if !paged && reply.rule(&field).is_none() {
                    unfilled.push(field.name().to_owned());
                }
            }
        }
    }
    unfilled
}

/// Goes down the path `into`; beside it nothing is filled.
fn inside(
    message: &MessageDescriptor,
    into: &[FieldDescriptor],
    map: &MessageMap,
    rows: &Rows<'_>,
    prefix: &str,
    unfilled: &mut Vec<String>,
) {
    let Some((next, rest)) = into.split_first() else {
        return of_message(message, map, rows, prefix, unfilled);
    };
    for field in message.fields() {
        match field.kind() {
            Kind::Message(inner) if field == *next => {
                inside(&inner, rest, map, rows, &format!("{prefix}{}.", field.name()), unfilled);
            }
            _ => unfilled.push(format!("{prefix}{}", field.name())),
        }
    }
}

fn of_message(
    message: &MessageDescriptor,
    map: &MessageMap,
    rows: &Rows<'_>,
    prefix: &str,
    unfilled: &mut Vec<String>,
) {
    for field in message.fields() {
        of_field(&field, map.rule(&field), rows, ("", prefix), unfilled);
    }
}

/// `place` is the way to the field: in the row, and in the reply.
fn of_field(
    field: &FieldDescriptor,
    rule: Option<&Rule>,
    rows: &Rows<'_>,
    place: (&str, &str),
    unfilled: &mut Vec<String>,
) {
    let (in_row, in_reply) = place;
    let path = format!("{in_reply}{}", field.name());
    let names = [field.name(), field.json_name()].map(|name| format!("{in_row}{name}"));
    let plain = match field.kind() {
        Kind::Message(inner) if !field.is_map() && scalar::shape(&inner) == Shape::Plain => Some(inner),
        _ => None,
    };
    let query = |name: &str| rows.nested.iter().find(|query| query.name == name);
    match rule {
        Some(Rule::Inside { from: None, map }) => {
            let Some(inner) = plain else { return };
            if names.iter().any(|name| rows.columns.may_have(name)) {
                // An object, whose members no text tells.
                return;
            }
            let (below, shown) = (format!("{in_row}{}.", field.name()), format!("{path}."));
            for field in inner.fields() {
                of_field(&field, map.rule(&field), rows, (&below, &shown), unfilled);
            }
        }
        Some(Rule::Each { each, item: Item::Message(map), .. }) => {
            if let (Some(query), Some(inner)) = (each.first().and_then(query), plain) {
                of_query(&inner, map, query, rows.folds, &path, unfilled);
            }
        }
        // A rule says where it comes from, and a row without that column is told in the call.
        Some(_) => {}
        None => {
            let found = names.iter().find_map(|name| query(name));
            match (found, plain) {
                (Some(query), Some(inner)) => {
                    of_query(&inner, &MessageMap::default(), query, rows.folds, &path, unfilled);
                }
                (Some(_), None) => {}
                _ if names.iter().any(|name| rows.columns.may_have(name)) => {}
                (None, Some(inner)) if !field.is_list() && rows.columns.may_have_inside(&names[0]) => {
                    let (below, shown) = (format!("{}.", names[0]), format!("{path}."));
                    for field in inner.fields() {
                        of_field(&field, None, rows, (&below, &shown), unfilled);
                    }
                }
                _ => unfilled.push(path),
            }
        }
    }
}

/// The items that the rows of a nested query fill.
fn of_query(
    item: &MessageDescriptor,
    map: &MessageMap,
    query: &Nested,
    folds: bool,
    path: &str,
    unfilled: &mut Vec<String>,
) {
    let columns = Columns::of(&query.statement.text, folds);
    let rows = Rows { columns: &columns, nested: &query.nested, folds };
    of_message(item, map, &rows, &format!("{path}."), unfilled);
}

/// The named columns of the last statement that nothing uses: mostly misspelt.
fn untaken<'c>(method: &Method, sql: &SqlPlan, columns: &'c Columns) -> Vec<&'c str> {
    let mut taken = BTreeSet::new();
    take(&method.map, &mut taken);
    if let Answer::Many { reply, .. } = &method.answer {
        take(reply, &mut taken);
    }
    if let Answer::Chunks { from: Some(from), .. } = &method.answer {
        taken.insert(from.as_str().to_owned());
    }
    for query in &sql.nested {
        take_row(&query.statement, &mut taken);
    }
    let output = method.descriptor.output();
    let item = match &method.answer {
        Answer::One { into } | Answer::Stream { into } => into.last().map(FieldDescriptor::kind),
        Answer::Many { into, .. } => Some(into.kind()),
        Answer::Chunks { .. } => None,
    };
    let item = item.and_then(|kind| kind.as_message().cloned()).unwrap_or(output);
    let is_taken = |alias: &str| {
        let first = alias.split('.').next().unwrap_or(alias);
        taken.contains(alias) || taken.contains(first) || reaches(&item, alias)
    };
    columns.aliases.iter().map(String::as_str).filter(|alias| !is_taken(alias)).collect()
}

/// Columns of the row that rules name, whole and by their first step.
fn take(map: &MessageMap, taken: &mut BTreeSet<String>) {
    for (_, rule) in &map.rules {
        let from = match rule {
            Rule::Take { from, .. }
            | Rule::Inside { from: Some(from), .. }
            | Rule::Each { each: from, .. } => from,
            Rule::Inside { from: None, map } => {
                take(map, taken);
                continue;
            }
            Rule::Skip | Rule::Constant(_) | Rule::Context(_) => continue,
        };
        taken.insert(from.as_str().to_owned());
        taken.extend(from.first().map(str::to_owned));
    }
}

/// Columns that a nested query asks of the row above.
fn take_row(statement: &Statement, taken: &mut BTreeSet<String>) {
    for slot in &statement.slots {
        if let Slot::Row(path) = slot {
            taken.insert(path.as_str().to_owned());
            taken.extend(path.first().map(str::to_owned));
        }
    }
}

/// Whether a column of this name leads to a field, by the names of the contract or of its JSON.
fn reaches(message: &MessageDescriptor, path: &str) -> bool {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let Some(field) = message.fields().find(|f| f.name() == first || f.json_name() == first) else {
        return false;
    };
    match (rest, field.kind()) {
        (None, _) => true,
        (Some(rest), Kind::Message(inner)) if !field.is_list() => reaches(&inner, rest),
        _ => false,
    }
}
