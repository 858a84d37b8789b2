//! The envelope of a request: names are the adapter file's, values are escaped.

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use crate::{
    plan::{Shape, SoapPlan, SoapVersion},
    tree::Tree,
    xml,
};

type Members = [(String, Tree)];

/// The envelope as UTF-8.
///
/// # Errors
/// What is wrong with a value of the request, as the end of a sentence.
pub(super) fn write(plan: &SoapPlan, values: &[Tree]) -> Result<Vec<u8>, &'static str> {
    values.iter().try_for_each(check_names)?;
    let fields: Vec<(String, Tree)> = plan
        .body
        .iter()
        .filter_map(|(name, template)| Some((name.clone(), template.render(values)?)))
        .collect();
    fields.iter().try_for_each(|(_, value)| check_text(value))?;
    let mut writer = Writer::new(Vec::new());
    let namespace = match plan.version {
        SoapVersion::V1_1 => "http://schemas.xmlsoap.org/soap/envelope/",
        SoapVersion::V1_2 => "http://www.w3.org/2003/05/soap-envelope",
    };
    let written = (|| -> std::io::Result<()> {
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let envelope = writer.create_element("soap:Envelope").with_attribute(("xmlns:soap", namespace));
        envelope.write_inner_content(|writer| {
            let body = writer.create_element("soap:Body");
            body.write_inner_content(|writer| operation(writer, plan, &fields))?;
            Ok(())
        })?;
        Ok(())
    })();
    written.map_err(|_| "cannot be written as XML")?;
    Ok(writer.into_inner())
}

fn operation(writer: &mut Writer<Vec<u8>>, plan: &SoapPlan, fields: &Members) -> std::io::Result<()> {
    // Children without a namespace must not fall into the operation's.
    let (name, declared, inside) = if plan.qualified {
        (plan.operation.clone(), "xmlns", plan.namespace.as_str())
    } else {
        (format!("op:{}", plan.operation), "xmlns:op", "")
    };
    let mut element = writer.create_element(name).with_attribute((declared, plan.namespace.as_str()));
    for (key, value) in attributes(fields) {
        element = element.with_attribute((key, value.as_str()));
    }
    element.write_inner_content(|writer| children(writer, fields, &plan.shapes, inside))?;
    Ok(())
}

/// Elements in the order of the schema, where there is one, else in their own. `inside` is the namespace that names
/// without a prefix have here.
fn children(
    writer: &mut Writer<Vec<u8>>,
    members: &Members,
    shapes: &[Shape],
    inside: &str,
) -> std::io::Result<()> {
    let place = |name: &str| shapes.iter().position(|shape| shape.name == name);
    let mut ordered: Vec<&(String, Tree)> =
        members.iter().filter(|(name, _)| !name.starts_with('@')).collect();
    ordered.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    for (name, value) in ordered {
        if name == "#text" {
            writer.write_event(Event::Text(BytesText::new(&value.to_text())))?;
            continue;
        }
        let shape = place(name).and_then(|at| shapes.get(at));
        let one = std::slice::from_ref(value);
        for value in if let Tree::List(items) = value { items.as_slice() } else { one } {
            element(writer, name, value, shape, inside)?;
        }
    }
    Ok(())
}

fn element(
    writer: &mut Writer<Vec<u8>>,
    name: &str,
    value: &Tree,
    shape: Option<&Shape>,
    inside: &str,
) -> std::io::Result<()> {
    let namespace = shape.map_or(inside, |shape| shape.namespace.as_str());
    let mut element = writer.create_element(name);
    if namespace != inside {
        element = element.with_attribute(("xmlns", namespace));
    }
    let Tree::Object(inner) = value else {
        element.write_text_content(BytesText::new(&value.to_text()))?;
        return Ok(());
    };
    for (key, value) in attributes(inner) {
        element = element.with_attribute((key, value.as_str()));
    }
    let shapes = shape.map_or(&[][..], |shape| &shape.children);
    element.write_inner_content(|writer| children(writer, inner, shapes, namespace))?;
    Ok(())
}

fn attributes(members: &Members) -> impl Iterator<Item = (&str, String)> {
    members.iter().filter_map(|(name, value)| Some((name.strip_prefix('@')?, value.to_text())))
}

/// XML 1.0 cannot carry most control characters, not even escaped (section 2.2).
fn check_text(value: &Tree) -> Result<(), &'static str> {
    match value {
        Tree::Text(text) if !text.chars().all(xml::is_char) => Err("holds characters that XML cannot have"),
        Tree::List(items) => items.iter().try_for_each(check_text),
        Tree::Object(members) => members.iter().try_for_each(|(_, value)| check_text(value)),
        _ => Ok(()),
    }
}

/// The names in a map are the caller's too: nothing escapes a name, and none of them may become an attribute.
fn check_names(value: &Tree) -> Result<(), &'static str> {
    match value {
        Tree::List(items) => items.iter().try_for_each(check_names),
        Tree::Object(members) => members.iter().try_for_each(|(name, value)| {
            if xml::is_name(name) { check_names(value) } else { Err("holds a name that XML cannot have") }
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::{Piece, Template},
        tree::Path,
    };

    fn plan(qualified: bool) -> SoapPlan {
        let slot = || Template::Text(vec![Piece::Slot(0)]);
        SoapPlan {
            path: String::new(),
            action: "urn:x#Merr".into(),
            namespace: "urn:x".into(),
            operation: "Merr".into(),
            qualified,
            version: SoapVersion::V1_1,
            shapes: Vec::new(),
            body: vec![
                ("z".into(), slot()),
                (
                    "a".into(),
                    Template::Table(vec![
                        ("@id".into(), slot()),
                        ("b".into(), Template::List(vec![slot(), slot()])),
                    ]),
                ),
                ("none".into(), Template::Text(vec![Piece::Slot(1)])),
            ],
        }
    }

    #[test]
    fn values_are_escaped_and_order_is_kept() {
        let value = "<ë&\"'>]]>";
        let values = [Tree::Text(value.into()), Tree::Null];
        for qualified in [true, false] {
            let bytes = write(&plan(qualified), &values).expect("plain text");
            let text = String::from_utf8(bytes.clone()).expect("UTF-8");
            assert!(!text.contains("<ë"), "{text}");
            let tag = if qualified { "<Merr xmlns=\"urn:x\"><z>" } else { "<op:Merr xmlns:op=\"urn:x\"><z>" };
            assert!(text.contains(tag), "{text}");
            let (_, tree) = xml::read(&bytes).expect("an envelope");
            let tree = tree.at(&Path::parse("Body.Merr")).expect("the operation");
            for path in ["z", "a.@id", "a.b.0", "a.b.1"] {
                assert_eq!(tree.at(&Path::parse(path)), Some(&values[0]), "{path}");
            }
            assert_eq!(tree.member("none"), None);
        }
        assert!(write(&plan(true), &[Tree::Text("\u{0}".into()), Tree::Null]).is_err());
    }

    #[test]
    fn names_of_the_caller_are_names_or_refused() {
        let mut plan = plan(true);
        plan.body = vec![("map".into(), Template::Text(vec![Piece::Slot(0)]))];
        for (key, fits) in [
            ("emri", true),
            ("ë-1._", true),
            ("@id", false),
            ("#text", false),
            ("x/><admin>1</admin><!--", false),
            ("@x=\"1\" y", false),
            ("@@x", false),
            ("@", false),
            ("", false),
            ("1", false),
            ("a b", false),
            ("p:a", false),
            ("#x", false),
        ] {
            let inner = Tree::Object(vec![(key.to_owned(), Tree::Text("1".into()))]);
            let deep = Tree::Object(vec![("list".into(), Tree::List(vec![inner.clone()]))]);
            for value in [inner, deep] {
                assert_eq!(write(&plan, &[value]).is_ok(), fits, "{key}");
            }
        }
    }

    #[test]
    fn a_schema_gives_order_and_namespaces() {
        let shape = |name: &str, namespace: &str, children: Vec<Shape>| Shape {
            name: name.into(),
            namespace: namespace.into(),
            children,
        };
        let inner = vec![shape("d", "urn:y", Vec::new()), shape("b", "", Vec::new())];
        let plan = SoapPlan {
            version: SoapVersion::V1_2,
            shapes: vec![shape("a", "urn:y", inner), shape("z", "urn:x", Vec::new())],
            body: vec![
                ("z".into(), Template::Text(vec![Piece::Slot(0)])),
                ("a".into(), Template::Text(vec![Piece::Slot(1)])),
            ],
            ..plan(true)
        };
        let text = |text: &str| Tree::Text(text.into());
        let object = Tree::Object(vec![("b".into(), text("2")), ("d".into(), text("3"))]);
        let bytes = write(&plan, &[text("1"), object]).expect("plain text");
        let written = String::from_utf8(bytes).expect("UTF-8");
        let expected = "<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\"><soap:Body><Merr xmlns=\"urn:x\">\
            <a xmlns=\"urn:y\"><d>3</d><b xmlns=\"\">2</b></a><z>1</z></Merr></soap:Body></soap:Envelope>";
        assert!(written.ends_with(expected), "{written}");
    }
}
