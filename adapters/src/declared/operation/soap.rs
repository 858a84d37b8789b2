//! A SOAP operation: as the file says it, or as the WSDL does, against which the file's elements are checked.

use std::ops::Range;

use ura_runtime::config::{Problems, Spanned};

use super::{Names, members, raw};
use crate::{
    plan::{RegisterPlan, Shape, SoapPlan},
    wsdl::{Content, Element},
    xml,
};

type Entries = raw::Entries<Spanned<raw::Template>>;

pub(super) fn check(
    raw: &raw::Soap,
    register: &RegisterPlan,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<SoapPlan> {
    check_names(&raw.body, problems);
    let plan = SoapPlan {
        version: register.soap_version,
        path: raw.path.clone(),
        action: raw.action.as_ref().map(|action| action.as_ref().clone()).unwrap_or_default(),
        namespace: raw.namespace.as_ref().map(|namespace| namespace.as_ref().clone()).unwrap_or_default(),
        operation: raw.operation.as_ref().clone(),
        qualified: raw.qualified.as_ref().is_none_or(|qualified| *qualified.as_ref()),
        body: members(&raw.body, names, problems),
        shapes: Vec::new(),
    };
    let Some(wsdl) = &register.wsdl else {
        by_file(raw, problems);
        return Some(plan);
    };
    let said = [
        ("action", raw.action.as_ref().map(Spanned::span)),
        ("namespace", raw.namespace.as_ref().map(Spanned::span)),
        ("qualified", raw.qualified.as_ref().map(Spanned::span)),
    ];
    for (key, span) in said.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        problems.at(span, format!("the WSDL says `{key}`: leave it out"));
    }
    match wsdl.operation(&plan.operation, plan.version) {
        Ok(asked) => {
            let content = &asked.element.content;
            elements(&raw.body, content, &asked.element.name, &raw.operation.span(), problems);
            let shapes: Vec<Shape> = content.elements.iter().map(shape).collect();
            // Where one of them has a namespace, that of the operation is the one without a prefix.
            let qualified = shapes.is_empty() || shapes.iter().any(|shape| !shape.namespace.is_empty());
            let Element { name: operation, namespace, .. } = asked.element;
            Some(SoapPlan { action: asked.action, namespace, operation, qualified, shapes, ..plan })
        }
        Err(problem) => {
            problems.at(raw.operation.span(), problem);
            None
        }
    }
}

/// Without a WSDL the file has to say all.
fn by_file(raw: &raw::Soap, problems: &mut Problems) {
    match &raw.namespace {
        Some(namespace) if !namespace.as_ref().is_empty() => {}
        other => {
            let span = other.as_ref().map_or(raw.operation.span(), Spanned::span);
            problems.at(
                span,
                "the `namespace` of the operation is missing; or give the register's `wsdl`, which says it",
            );
        }
    }
    if !xml::is_name(raw.operation.as_ref()) {
        problems.at(raw.operation.span(), "no name of an element");
    }
    if let Some(action) = &raw.action
        && !action.as_ref().bytes().all(|b| b.is_ascii_graphic() && b != b'"')
    {
        problems.at(action.span(), "an action is a URI: visible ASCII without blanks and quotes");
    }
}

/// Element and attribute names, at any depth.
fn check_names(entries: &Entries, problems: &mut Problems) {
    for (key, value) in &entries.0 {
        let name = key.as_ref();
        if !xml::is_name(name.strip_prefix('@').unwrap_or(name)) && name != "#text" {
            problems.at(key.span(), "no name of an element or, with @, of an attribute");
        }
        check_template(value, problems);
    }
}

fn check_template(template: &Spanned<raw::Template>, problems: &mut Problems) {
    match template.as_ref() {
        raw::Template::Table(inner) => check_names(inner, problems),
        raw::Template::List(items) => items.iter().for_each(|item| check_template(item, problems)),
        raw::Template::Scalar(_) => {}
    }
}

fn shape(element: &Element) -> Shape {
    Shape {
        name: element.name.clone(),
        namespace: element.namespace.clone(),
        children: element.content.elements.iter().map(shape).collect(),
    }
}

/// Holds the file's elements against the schema's. `within` names the element around them, at `span`.
fn elements(given: &Entries, content: &Content, within: &str, span: &Range<usize>, problems: &mut Problems) {
    for (key, template) in &given.0 {
        let name = key.as_ref().as_str();
        if let Some(attribute) = name.strip_prefix('@') {
            if !content.open && !content.attributes.iter().any(|known| known == attribute) {
                let known = super::super::one_of(content.attributes.iter().map(String::as_str));
                problems
                    .at(key.span(), format!("the WSDL gives `{within}` no attribute `{attribute}`; {known}"));
            }
        } else if name == "#text" {
            if !content.text {
                problems.at(key.span(), format!("the WSDL gives `{within}` elements and no text"));
            }
        } else {
            match content.elements.iter().find(|element| element.name == name) {
                Some(element) => one(template, element, problems),
                None if content.open => {}
                None => {
                    let known =
                        super::super::one_of(content.elements.iter().map(|element| element.name.as_str()));
                    problems
                        .at(key.span(), format!("the WSDL gives `{within}` no element `{name}`; {known}"));
                }
            }
        }
    }
    for element in content.elements.iter().filter(|element| element.required) {
        if !given.0.iter().any(|(key, _)| *key.as_ref() == element.name) {
            let Element { name, place, .. } = element;
            problems.at(span.clone(), format!("the WSDL requires `{name}` in `{within}` ({place}): add it"));
        }
    }
}

fn one(template: &Spanned<raw::Template>, element: &Element, problems: &mut Problems) {
    let name = &element.name;
    let content = &element.content;
    match template.as_ref() {
        raw::Template::Table(inner) => {
            if content.elements.is_empty() && content.attributes.is_empty() && !content.open {
                problems.at(template.span(), format!("the WSDL gives `{name}` text only, no elements"));
                return;
            }
            elements(inner, content, name, &template.span(), problems);
        }
        raw::Template::List(items) => {
            if !element.repeated {
                problems
                    .at(template.span(), format!("the WSDL allows `{name}` once only ({})", element.place));
            }
            items.iter().for_each(|item| one(item, element, problems));
        }
        raw::Template::Scalar(scalar) => {
            // A parameter alone may be a message or a map.
            let text = scalar.to_text();
            let parameter = text.starts_with('{') && text.ends_with('}') && !text.starts_with("{{");
            if !content.text && !parameter {
                let wanted =
                    super::super::one_of(content.elements.iter().map(|element| element.name.as_str()));
                problems.at(
                    template.span(),
                    format!("the WSDL gives `{name}` elements: write a table; {wanted}"),
                );
            }
        }
    }
}
