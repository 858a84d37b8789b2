//! SOAP 1.1 (W3C Note of 8 May 2000): an envelope written with escaping, an answer or a fault read
//! as a tree.

use std::sync::Arc;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};
use reqwest::{
    Method, Request,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use tonic::Code;

use crate::{
    http::{self, HttpRegister},
    plan::SoapPlan,
    register::{Failure, Reply, job::Job},
    tree::Tree,
    xml,
};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const ACTION: HeaderName = HeaderName::from_static("soapaction");

/// Asks the register.
pub(crate) async fn call(http: &HttpRegister, job: Arc<Job>, plan: &SoapPlan) -> Result<Reply, Failure> {
    let envelope = envelope(plan, &job.values)
        .map_err(|problem| Failure::invalid(format!("A value of the request {problem}.")))?;
    let mut request = Request::new(Method::POST, http.url(&plan.path)?);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    // Quoted, as section 6.1.1 has it.
    if let Ok(action) = HeaderValue::from_str(&format!("\"{}\"", plan.action)) {
        headers.insert(ACTION, action);
    }
    *request.body_mut() = Some(envelope.into());
    let (status, body) = job
        .budget
        .whole(async {
            let response = http.send(&job, request).await?;
            let status = response.status().as_u16();
            Ok((status, http::body(&job, response).await?))
        })
        .await?;
    // Faults come with status 500 (section 6.2); other refusals may be no SOAP at all.
    let content = match xml::read(&body).map(contents) {
        Ok(Some(content)) => content,
        _ if !(200..300).contains(&status) => {
            let detail = format!("HTTP status {status}");
            return Err(http::mapped(&job, &status.to_string(), &detail)
                .unwrap_or_else(|| http::by_status(&job, status)));
        }
        Ok(None) => return Err(job.mismatch("the answer", "it is no SOAP envelope")),
        Err(error) => return Err(job.mismatch("the answer", &error.to_string())),
    };
    match content {
        (name, fault) if name == "Fault" => Err(fault_of(&job, &fault)),
        (_, tree) if (200..300).contains(&status) => http::reply(&job, &tree),
        _ => Err(http::by_status(&job, status)),
    }
}

/// The first element inside the body of an envelope.
fn contents((name, envelope): (String, Tree)) -> Option<(String, Tree)> {
    if name != "Envelope" {
        return None;
    }
    let Tree::Object(members) = envelope else {
        return None;
    };
    let (_, body) = members.into_iter().find(|(name, _)| name == "Body")?;
    match body {
        Tree::Object(members) => members.into_iter().find(|(name, _)| !name.starts_with(['@', '#'])),
        // An empty body is an answer without content.
        Tree::Text(text) if text.trim().is_empty() => Some((String::new(), Tree::Object(Vec::new()))),
        _ => None,
    }
}

/// A fault by the first element of its detail, else by its code (section 4.4).
fn fault_of(job: &Job, fault: &Tree) -> Failure {
    let code = fault.member("faultcode").map(Tree::to_text).unwrap_or_default();
    let code = code.rsplit(':').next().unwrap_or_default().trim();
    let detail = match fault.member("detail") {
        Some(Tree::Object(members)) => {
            members.iter().map(|(name, _)| name.as_str()).find(|name| !name.starts_with(['@', '#']))
        }
        _ => None,
    };
    let text = format!("fault {code}, detail {}", detail.unwrap_or("none"));
    detail
        .and_then(|detail| http::mapped(job, detail, &text))
        .or_else(|| http::mapped(job, code, &text))
        .unwrap_or_else(|| Failure::refused(Code::Internal, "The register did not carry out the call.", text))
}

fn envelope(plan: &SoapPlan, values: &[Tree]) -> Result<Vec<u8>, &'static str> {
    let mut writer = Writer::new(Vec::new());
    let fields: Vec<(String, Tree)> = plan
        .body
        .iter()
        .filter_map(|(name, template)| Some((name.clone(), template.render(values)?)))
        .collect();
    check(&fields)?;
    let written = (|| -> std::io::Result<()> {
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        writer.create_element("soap:Envelope").with_attribute(("xmlns:soap", ENVELOPE)).write_inner_content(
            |writer| {
                writer
                    .create_element("soap:Body")
                    .write_inner_content(|writer| operation(writer, plan, &fields))?;
                Ok(())
            },
        )?;
        Ok(())
    })();
    written.map_err(|_| "cannot be written as XML")?;
    Ok(writer.into_inner())
}

fn operation(
    writer: &mut Writer<Vec<u8>>,
    plan: &SoapPlan,
    fields: &[(String, Tree)],
) -> std::io::Result<()> {
    let (name, namespace) = if plan.qualified {
        (plan.operation.clone(), "xmlns")
    } else {
        (format!("op:{}", plan.operation), "xmlns:op")
    };
    let element = writer.create_element(name).with_attribute((namespace, plan.namespace.as_str()));
    element.write_inner_content(|writer| children(writer, fields))?;
    Ok(())
}

fn children(writer: &mut Writer<Vec<u8>>, members: &[(String, Tree)]) -> std::io::Result<()> {
    for (name, value) in members.iter().filter(|(name, _)| !name.starts_with('@')) {
        if name == "#text" {
            writer.write_event(Event::Text(BytesText::new(&value.to_text())))?;
            continue;
        }
        let one = std::slice::from_ref(value);
        for value in if let Tree::List(items) = value { items.as_slice() } else { one } {
            match value {
                Tree::Object(inner) => {
                    let mut element = writer.create_element(name.as_str());
                    for (key, value) in inner.iter().filter_map(|(k, v)| Some((k.strip_prefix('@')?, v))) {
                        element = element.with_attribute((key, value.to_text().as_str()));
                    }
                    element.write_inner_content(|writer| children(writer, inner))?;
                }
                value => {
                    let text = value.to_text();
                    writer.create_element(name.as_str()).write_text_content(BytesText::new(&text))?;
                }
            }
        }
    }
    Ok(())
}

/// XML 1.0 cannot carry most control characters, not even escaped (section 2.2). The names in a map
/// are the caller's too, and nothing escapes a name.
fn check(members: &[(String, Tree)]) -> Result<(), &'static str> {
    fn fits(tree: &Tree) -> Result<(), &'static str> {
        match tree {
            Tree::Text(text) if !text.chars().all(xml::is_char) => {
                Err("holds characters that XML cannot have")
            }
            Tree::List(items) => items.iter().try_for_each(fits),
            Tree::Object(members) => check(members),
            _ => Ok(()),
        }
    }
    members.iter().try_for_each(|(name, value)| {
        if name != "#text" && !xml::is_name(name.strip_prefix('@').unwrap_or(name)) {
            return Err("holds a name that XML cannot have");
        }
        fits(value)
    })
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
            let bytes = envelope(&plan(qualified), &values).expect("plain text");
            let text = String::from_utf8(bytes.clone()).expect("UTF-8");
            assert!(!text.contains("<ë"), "{text}");
            let tag = if qualified { "<Merr xmlns=\"urn:x\"><z>" } else { "<op:Merr xmlns:op=\"urn:x\"><z>" };
            assert!(text.contains(tag), "{text}");
            let (name, tree) = xml::read(&bytes).ok().and_then(contents).expect("an envelope");
            assert_eq!(name, "Merr");
            for path in ["z", "a.@id", "a.b.0", "a.b.1"] {
                assert_eq!(tree.at(&Path::parse(path)), Some(&values[0]), "{path}");
            }
            assert_eq!(tree.member("none"), None);
        }
        assert!(envelope(&plan(true), &[Tree::Text("\u{0}".into()), Tree::Null]).is_err());
    }

    #[test]
    fn names_of_the_caller_are_names_or_refused() {
        let mut plan = plan(true);
        plan.body = vec![("map".into(), Template::Text(vec![Piece::Slot(0)]))];
        for (key, fits) in [
            ("emri", true),
            ("ë-1._", true),
            ("@id", true),
            ("#text", true),
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
                assert_eq!(envelope(&plan, &[value]).is_ok(), fits, "{key}");
            }
        }
    }
}
