//! The drafted adapter file as text. Pure.

use super::{
    Entity, Part, Wish,
    names::snake,
    table::{Column, Table},
};

/// Where a list of columns is broken, in characters.
const WIDTH: usize = 100;

/// The adapter file.
pub(super) fn text(wish: &Wish, entity: &Entity<'_>, proto: &str, url: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut out = format!(
        "contract = \"{}.{}\"\nproto = \"{proto}\"\nproto_paths = [\"proto\"]\n\n[register]\nkind = \"sql\"\nurl = {}\n",
        wish.package,
        wish.service,
        quoted(url)
    );
    let table = entity.table;
    let key: Vec<String> = entity.key.iter().filter_map(|at| compared(entity, *at)).collect();
    let select = selected(table, &entity.fields.iter().map(Some).collect::<Vec<_>>());
    let get = format!("select {select}\nfrom {} where {}", table.sql, key.join(" and "));
    out.push_str(&format!(
        "\n[methods.{}]\ninto = \"{}\"\nsql = {}\n",
        entity.get(),
        snake(&entity.message),
        statement(&get)
    ));
    for part in &entity.parts {
        out.push_str(&format!("nested.{}.sql = {}\n", part.field, statement(&nested(entity, part))));
    }
    if entity.is_listed() {
        let by = entity.listed_by().and_then(|at| compared(entity, at));
        let by = by.map(|by| format!(" where {by}")).unwrap_or_default();
        let order =
            entity.key.iter().filter_map(|at| table.columns.get(*at)).map(|column| column.sql.as_str());
        let order = order.collect::<Vec<_>>().join(", ");
        let list = format!(
            "select {select}\nfrom {}{by}\norder by {order} limit :page_limit offset :page_offset",
            table.sql
        );
        out.push_str(&format!(
            "\n[methods.{}]\nanswer = \"many\"\npage = {{ size_default = 50, size_max = 200 }}\nsql = {}\n",
            entity.list(),
            statement(&list)
        ));
    }
    out
}

/// `column = :field`.
fn compared(entity: &Entity<'_>, at: usize) -> Option<String> {
    let (column, field) = (entity.table.columns.get(at)?, entity.fields.get(at)?);
    let cast = if column.cast { "::text" } else { "" };
    Some(format!("{}{cast} = :{field}", column.sql))
}

/// The rows of a part, in the order of their key.
fn nested(entity: &Entity<'_>, part: &Part<'_>) -> String {
    let fields: Vec<Option<&String>> = part.fields.iter().map(Option::as_ref).collect();
    let link = part.link.iter().filter_map(|(theirs, ours)| {
        let (theirs, ours) = (part.table.columns.get(*theirs)?, entity.fields.get(*ours)?);
        Some(format!("{} = :row.{ours}", theirs.sql))
    });
    let link = link.collect::<Vec<_>>().join(" and ");
    let key = part.table.keys.first().into_iter().flatten().filter_map(|at| part.table.columns.get(*at));
    let order = key.map(|column| column.sql.as_str()).collect::<Vec<_>>().join(", ");
    let order = if order.is_empty() { order } else { format!(" order by {order}") };
    format!("select {}\nfrom {} where {link}{order}", selected(part.table, &fields), part.table.sql)
}

/// The columns that have a field, each under its field's name, in lines.
fn selected(table: &Table, fields: &[Option<&String>]) -> String {
    let mut out = String::new();
    let mut width = 0;
    for (column, field) in table.columns.iter().zip(fields) {
        let Some(field) = field else { continue };
        let item = item(column, field);
        let length = item.chars().count();
        if !out.is_empty() {
            out.push_str(if width + length > WIDTH { ",\n  " } else { ", " });
            width = if width + length > WIDTH { 0 } else { width };
        }
        width += length + 2;
        out.push_str(&item);
    }
    out
}

fn item(column: &Column, field: &str) -> String {
    let cast = if column.cast { "::text" } else { "" };
    if column.name == field {
        // A cast keeps the name of the column in PostgreSQL.
        return format!("{}{cast}", column.sql);
    }
    // A name with an underscore is no keyword of SQLite, but for these; PostgreSQL takes any after `as`.
    let plain = field.contains('_') && !field.starts_with("current_");
    if plain {
        format!("{}{cast} as {field}", column.sql)
    } else {
        format!("{}{cast} as \"{field}\"", column.sql)
    }
}

/// A statement as a TOML text of several lines, indented, where it needs no escapes.
fn statement(sql: &str) -> String {
    if sql.contains(['\\', '\r']) || sql.contains("\"\"\"") || sql.ends_with('"') {
        return toml::Value::from(sql).to_string();
    }
    format!("\"\"\"\n  {}\"\"\"", sql.replace('\n', "\n  "))
}
