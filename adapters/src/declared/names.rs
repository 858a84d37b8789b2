//! Parameters by name: those that the file declares, and those that stand for themselves.

use std::ops::Range;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use ura_runtime::config::{Problems, Spanned};

use super::{options, raw};
use crate::{
    mapper::scalar::Form,
    plan::{PageValue, Parameter, Piece, Source},
    register::context::ContextName,
    tree::Tree,
};

/// The parameters of one method while its templates are read.
pub(super) struct Names {
    request: MessageDescriptor,
    paged: bool,
    declared: Vec<Declared>,
    parameters: Vec<Parameter>,
}

struct Declared {
    name: String,
    span: Range<usize>,
    /// `None` where it has a mistake, which is noted already.
    parameter: Option<Parameter>,
    used_as: Option<usize>,
}

impl Names {
    pub(super) fn new(
        request: &MessageDescriptor,
        rules: &raw::Entries<Spanned<raw::Rule>>,
        paged: bool,
        problems: &mut Problems,
    ) -> Self {
        let declared = rules
            .0
            .iter()
            .map(|(key, rule)| Declared {
                name: key.as_ref().clone(),
                span: key.span(),
                parameter: declare(request, key.as_ref(), rule, problems),
                used_as: None,
            })
            .collect();
        Self { request: request.clone(), paged, declared, parameters: Vec::new() }
    }

    /// Whether a page value is used by name.
    pub(super) fn uses(&self, page: PageValue) -> bool {
        self.parameters.iter().any(|p| matches!(p.source, Source::Page(v) if v == page))
    }

    /// The index of the parameter of that name.
    pub(super) fn slot(&mut self, name: &str, span: Range<usize>, problems: &mut Problems) -> Option<usize> {
        let next = self.parameters.len();
        if let Some(declared) = self.declared.iter_mut().find(|d| d.name == name) {
            if declared.used_as.is_none() {
                declared.used_as = Some(next);
                self.parameters.push(declared.parameter.take()?);
            }
            return declared.used_as;
        }
        if let Some(at) = self.parameters.iter().position(|p| p.name == name) {
            return Some(at);
        }
        let source = self.implied(name, span, problems)?;
        self.parameters.push(Parameter {
            name: name.to_owned(),
            source,
            form: Form::default(),
            table: None,
            null_if_default: false,
            default: None,
        });
        Some(next)
    }

    fn implied(&self, name: &str, span: Range<usize>, problems: &mut Problems) -> Option<Source> {
        let page = match name {
            "page_limit" => Some(PageValue::Limit),
            "page_offset" => Some(PageValue::Offset),
            "page_size" => Some(PageValue::Size),
            "page_number" => Some(PageValue::Number),
            "page_cursor" => Some(PageValue::Cursor),
            _ => None,
        };
        // Before the request's own `page_size`, which is not bounded by `size_max`.
        if let Some(page) = page.filter(|_| self.paged) {
            return Some(Source::Page(page));
        }
        if let Ok(path) = super::path(&self.request, name) {
            return Some(Source::Field(path));
        }
        if page.is_some() {
            let problem =
                format!("`{name}` needs paging: add page = {{ size_default = 50, size_max = 200 }}");
            problems.at(span, problem);
            return None;
        }
        if let Some(context) = ContextName::parse(name) {
            return Some(Source::Context(context));
        }
        let known = self.request.fields().map(|f| f.name().to_owned()).collect::<Vec<_>>();
        let hint = if name.starts_with("row.") {
            "`row` exists in nested queries only".to_owned()
        } else {
            format!(
                "nothing binds it: declare it under `parameters`, or use a field of {} ({}) or one of {}",
                self.request.full_name(),
                known.join(", "),
                ContextName::ALL
            )
        };
        problems.at(span, format!("the parameter `{name}` is not bound; {hint}"));
        None
    }

    /// Text with `{name}` in it; `{{` and `}}` stand for braces.
    pub(super) fn pieces(&mut self, text: &str, span: &Range<usize>, problems: &mut Problems) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push(c);
                rest = rest.get(2..).unwrap_or_default();
            } else if c == '{' {
                let Some((name, after)) = rest.get(1..).and_then(|r| r.split_once('}')) else {
                    problems.at(span.clone(), "a `{` is not closed; write {{ for a brace");
                    return pieces;
                };
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.extend(self.slot(name, span.clone(), problems).map(Piece::Slot));
                rest = after;
            } else {
                literal.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        pieces
    }

    /// All parameters; notes those that are declared and never used.
    pub(super) fn finish(self, problems: &mut Problems) -> Vec<Parameter> {
        for declared in self.declared.iter().filter(|d| d.used_as.is_none()) {
            let name = &declared.name;
            problems.at(
                declared.span.clone(),
                format!("the parameter `{name}` is declared and not used; write :{name} (sql) or {{{name}}} (rest, soap)"),
            );
        }
        self.parameters
    }
}

fn declare(
    request: &MessageDescriptor,
    name: &str,
    rule: &Spanned<raw::Rule>,
    problems: &mut Problems,
) -> Option<Parameter> {
    let nothing = raw::Options::default();
    let (from, span, options) = match rule.as_ref() {
        raw::Rule::Path(path) => (Some(path.as_str()), rule.span(), &nothing),
        raw::Rule::Options(options) => {
            let from = options.from.as_ref();
            let span = from.map_or(rule.span(), Spanned::span);
            (from.map(|from| from.as_ref().as_str()), span, &**options)
        }
    };
    options::refuse(options, &["each", "key", "fields"], "for a parameter", problems);
    let mut parameter = Parameter {
        name: name.to_owned(),
        source: Source::Constant(Tree::Null),
        form: Form::default(),
        table: None,
        null_if_default: options.null_if_default.as_ref().is_some_and(|n| *n.as_ref()),
        default: options.default.as_ref().map(|d| d.as_ref().0.clone()),
    };
    if let Some(value) = &options.value {
        let others = [
            "from",
            "default",
            "date",
            "utc_offset",
            "enum",
            "bool",
            "money",
            "minor_digits",
            "null_if_default",
        ];
        options::refuse(options, &others, "beside `value`", problems);
        parameter.source = Source::Constant(value.as_ref().0.clone());
        return Some(parameter);
    }
    let from = from.unwrap_or(name);
    if let Some(context) = from.strip_prefix('$') {
        let others = ["date", "utc_offset", "enum", "bool", "money", "minor_digits"];
        options::refuse(options, &others, "for a value of the exchange", problems);
        let Some(context) = ContextName::parse(context) else {
            problems.at(span, format!("`{from}` is not known; with a $ go: {}", ContextName::ALL));
            return None;
        };
        parameter.source = Source::Context(context);
        return Some(parameter);
    }
    let path = match super::path(request, from) {
        Ok(path) => path,
        Err(problem) => {
            problems.at(span, problem);
            return None;
        }
    };
    let kind = path.last().map(FieldDescriptor::kind).unwrap_or(Kind::String);
    parameter.form = options::form(options, &kind, problems);
    parameter.table = options::table_to_register(options, &kind, problems);
    parameter.source = Source::Field(path);
    Some(parameter)
}
