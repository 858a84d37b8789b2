//! What a method asks of the register: SQL text, a REST request or a SOAP operation.

mod soap;

use std::ops::Range;

use ura_runtime::config::{Problems, Spanned};

use super::{names::Names, raw};
use crate::{
    plan::{Nested, Operation, Piece, RegisterKind, RegisterPlan, RestPlan, SqlPlan, Template},
    sql::placeholders::{Slot, Statement, Token, tokens},
    tree::Path,
};

/// Deepest nesting of queries.
const NESTED_DEPTH_MAX: usize = 4;

/// Checks the operation; `None` where there is no usable one, with the problem noted.
pub(super) fn check(
    spanned: &Spanned<raw::Method>,
    register: &RegisterPlan,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Operation> {
    let kind = register.kind;
    let method = spanned.as_ref();
    let given = [
        method.sql.as_ref().map(|s| (s.span(), "sql")),
        method.rest.as_ref().map(|s| (s.span(), "rest")),
        method.soap.as_ref().map(|s| (s.span(), "soap")),
    ];
    let wanted = match kind {
        RegisterKind::Postgres | RegisterKind::Sqlite => "sql",
        RegisterKind::Rest => "rest",
        RegisterKind::Soap => "soap",
    };
    for (span, name) in given.into_iter().flatten().filter(|(_, name)| *name != wanted) {
        problems.at(span, format!("the register's kind is {wanted}: write `{wanted}`, not `{name}`"));
    }
    if let Some((key, _)) = method.nested.0.first().filter(|_| wanted != "sql") {
        problems.at(key.span(), "`nested` goes with sql only");
    }
    match (wanted, &method.sql, &method.rest, &method.soap) {
        ("sql", Some(sql), ..) => Some(Operation::Sql(self::sql(sql, &method.nested, kind, names, problems))),
        ("rest", _, Some(rest), _) => self::rest(rest.as_ref(), names, problems).map(Operation::Rest),
        ("soap", .., Some(soap)) => {
            self::soap::check(soap.as_ref(), register, names, problems).map(Operation::Soap)
        }
        _ => {
            problems.at(spanned.span(), format!("`{wanted}` is missing: what the register is asked"));
            None
        }
    }
}

fn sql(
    lines: &Spanned<raw::Lines>,
    nested: &raw::Entries<Spanned<raw::Nested>>,
    kind: RegisterKind,
    names: &mut Names,
    problems: &mut Problems,
) -> SqlPlan {
    let mut reader = Sql { kind, names, problems };
    let texts = &lines.as_ref().0;
    if texts.is_empty() {
        reader.problems.at(lines.span(), "write at least one statement");
    }
    let statements = texts.iter().map(|text| reader.statement(text, &lines.span(), false)).collect();
    SqlPlan { statements, nested: reader.nested(nested, 1) }
}

/// Rewrites the statements of one method.
struct Sql<'a> {
    kind: RegisterKind,
    names: &'a mut Names,
    problems: &'a mut Problems,
}

impl Sql<'_> {
    fn statement(&mut self, text: &str, span: &Range<usize>, in_row: bool) -> Statement {
        let sign = if self.kind == RegisterKind::Postgres { '$' } else { '?' };
        let mut slots: Vec<Slot> = Vec::new();
        let mut out = String::with_capacity(text.len());
        if text.trim().is_empty() {
            self.problems.at(span.clone(), "the statement is empty");
        }
        // A comment at the end would swallow what is added behind it.
        for token in tokens(text.trim_end().trim_end_matches(';')) {
            let name = match token {
                Token::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Token::Name(name) => name,
            };
            let slot = match name.strip_prefix("row.").filter(|_| in_row) {
                Some(column) => Some(Slot::Row(Path::parse(column))),
                None => {
                    let place = self.problems.inside(span.clone(), &format!(":{name}"));
                    self.names.slot(name, place, self.problems).map(Slot::Parameter)
                }
            };
            let Some(slot) = slot else { continue };
            let at = slots.iter().position(|s| *s == slot).unwrap_or_else(|| {
                slots.push(slot);
                slots.len() - 1
            });
            out.push(sign);
            out.push_str(&(at + 1).to_string());
        }
        Statement { text: out.into(), slots }
    }

    fn nested(&mut self, nested: &raw::Entries<Spanned<raw::Nested>>, depth: usize) -> Vec<Nested> {
        let mut list = Vec::new();
        for (key, query) in &nested.0 {
            if depth > NESTED_DEPTH_MAX {
                self.problems.at(key.span(), format!("queries nest at most {NESTED_DEPTH_MAX} deep"));
                break;
            }
            let raw = query.as_ref();
            list.push(Nested {
                name: key.as_ref().clone(),
                statement: self.statement(raw.sql.as_ref(), &raw.sql.span(), true),
                nested: self.nested(&raw.nested, depth + 1),
            });
        }
        list
    }
}

fn rest(raw: &raw::Rest, names: &mut Names, problems: &mut Problems) -> Option<RestPlan> {
    let method = raw.method.as_ref().map_or("GET", |m| m.as_ref().as_str());
    let method = match method {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" => reqwest::Method::from_bytes(method.as_bytes()).ok(),
        _ => None,
    };
    if method.is_none() {
        let span = raw.method.as_ref().map(Spanned::span).unwrap_or_default();
        problems.at(span, "write GET, POST, PUT, PATCH or DELETE");
    }
    let path = raw.path.as_ref();
    if !path.is_empty() && !path.starts_with('/') || path.contains(['?', '#']) {
        problems
            .at(raw.path.span(), "a path begins with / and has no ? or #: what follows goes into `query`");
    }
    let mut headers = Vec::new();
    for (key, value) in &raw.headers.0 {
        let value = template(value, names, problems);
        match reqwest::header::HeaderName::from_bytes(key.as_ref().as_bytes()) {
            Ok(name) => headers.push((name, value)),
            Err(_) => problems.at(key.span(), "no name of a header"),
        }
    }
    Some(RestPlan {
        method: method?,
        path: names.pieces(path, &raw.path.span(), problems),
        query: members(&raw.query, names, problems),
        headers,
        body: raw.body.as_ref().map(|body| template(body, names, problems)),
    })
}

fn members(
    entries: &raw::Entries<Spanned<raw::Template>>,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<(String, Template)> {
    entries.0.iter().map(|(key, value)| (key.as_ref().clone(), template(value, names, problems))).collect()
}

fn template(raw: &Spanned<raw::Template>, names: &mut Names, problems: &mut Problems) -> Template {
    match raw.as_ref() {
        raw::Template::Scalar(crate::tree::Tree::Text(text)) => {
            let pieces = names.pieces(text, &raw.span(), problems);
            match pieces.as_slice() {
                [] => Template::Text(vec![Piece::Literal(String::new())]),
                _ => Template::Text(pieces),
            }
        }
        raw::Template::Scalar(tree) => Template::Constant(tree.clone()),
        raw::Template::List(items) => {
            Template::List(items.iter().map(|item| template(item, names, problems)).collect())
        }
        raw::Template::Table(entries) => Template::Table(members(entries, names, problems)),
    }
}
