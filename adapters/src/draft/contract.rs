//! The drafted contract as text. Pure.

use std::collections::BTreeSet;

use super::{
    Entity, Part, Wish,
    names::{plural, snake},
    table::Column,
};

/// The `.proto` file.
pub(super) fn text(wish: &Wish, entity: &Entity<'_>) -> String {
    let name = &entity.message;
    let mut out = format!(
        "// Drafted from the table {}. Before it is approved: give names that last, take out what is nobody's business,\n\
         // write down what each field means, and mark whom a message is about.\n\
         syntax = \"proto3\";\npackage {};\n\n",
        entity.table.name.replace(['\n', '\r'], " "),
        wish.package
    );
    for import in imports(entity) {
        out.push_str(&format!("import \"{import}\";\n"));
    }
    let (get, list) = (entity.get(), entity.list());
    out.push_str(&format!("\nservice {} {{\n", wish.service));
    out.push_str(&method("One entry. Errors: NOT_FOUND.", &get));
    if entity.is_listed() {
        out.push_str(&method("Entries in the order of their keys, a page at a time.", &list));
    }
    out.push_str(&format!("}}\n\nmessage {get}Request {{\n"));
    let key = entity.key.iter().zip(1_u32..);
    for (at, number) in key {
        out.push_str(&field_of(entity, *at, number, false));
    }
    out.push_str(&format!("}}\nmessage {get}Response {{\n  {name} {} = 1;\n}}\n", snake(name)));
    if entity.is_listed() {
        let by = entity.listed_by();
        let by = by.map(|at| field_of(entity, at, 3, false)).unwrap_or_default();
        out.push_str(&format!(
            "\nmessage {list}Request {{\n  int32 page_size = 1;\n  string page_token = 2;\n{by}}}\n\
             message {list}Response {{\n  repeated {name} {} = 1;\n  string next_page_token = 2;\n}}\n",
            snake(&plural(name))
        ));
    }
    out.push_str(&format!("\nmessage {name} {{\n"));
    let mut number = 1_u32;
    for at in 0..entity.fields.len() {
        out.push_str(&field_of(entity, at, number, true));
        number += 1;
    }
    for part in &entity.parts {
        out.push_str(&format!(
            "  // Only in {get}.\n  repeated {} {} = {number};\n",
            part.message, part.field
        ));
        number += 1;
    }
    out.push_str("}\n");
    out.extend(entity.parts.iter().map(self::part));
    out
}

fn method(comment: &str, name: &str) -> String {
    format!(
        "  // {comment}\n  rpc {name}({name}Request) returns ({name}Response) {{\n    option idempotency_level = NO_SIDE_EFFECTS;\n  }}\n"
    )
}

fn part(part: &Part<'_>) -> String {
    let mut out = format!("message {} {{\n", part.message);
    let named = part.table.columns.iter().zip(&part.fields);
    let named = named.filter_map(|(column, field)| Some((column, field.as_ref()?)));
    for ((column, name), number) in named.zip(1_u32..) {
        out.push_str(&field(column, name, number, true, ""));
    }
    out + "}\n"
}

fn field_of(entity: &Entity<'_>, at: usize, number: u32, may_be_absent: bool) -> String {
    let subject = entity.subjects.iter().find(|(of, _)| *of == at);
    let option = subject.map(|(_, kind)| format!(" [(ura.v1.data_subject) = {{kind: \"{kind}\"}}]"));
    match (entity.table.columns.get(at), entity.fields.get(at)) {
        (Some(column), Some(name)) => field(column, name, number, may_be_absent, &option.unwrap_or_default()),
        _ => String::new(),
    }
}

fn field(column: &Column, name: &str, number: u32, may_be_absent: bool, options: &str) -> String {
    let label = match () {
        () if column.list => "repeated ",
        () if column.nullable && may_be_absent && !column.kind.is_message() => "optional ",
        () => "",
    };
    format!("  {label}{} {name} = {number}{options};\n", column.kind.proto())
}

fn imports(entity: &Entity<'_>) -> BTreeSet<&'static str> {
    let own = entity.table.columns.iter();
    let parts = entity.parts.iter().flat_map(|part| {
        part.table
            .columns
            .iter()
            .zip(&part.fields)
            .filter(|(_, field)| field.is_some())
            .map(|(column, _)| column)
    });
    let mut imports: BTreeSet<_> = own.chain(parts).filter_map(|column| column.kind.import()).collect();
    if !entity.subjects.is_empty() {
        imports.insert("ura/v1/annotations.proto");
    }
    imports
}
