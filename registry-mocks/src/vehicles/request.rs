//! Reads a SOAP 1.1 request: one operation with flat text elements. Hard limits, no DTD, no entities but
//! the five of XML and character references. Pure.

use quick_xml::{
    NsReader,
    events::{BytesStart, Event},
    name::ResolveResult,
};

use super::wsdl::NAMESPACE;

/// Namespace of the SOAP 1.1 envelope.
pub(super) const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const DEPTH_MAX: usize = 16;
const ELEMENTS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1024;

/// A call: the operation and its parameters in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) operation: String,
    pub(super) parameters: Vec<(String, String)>,
}

impl Call {
    /// Text of a parameter; one that is empty or not there has none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(own, _)| own == name)?;
        Some(found.1.trim()).filter(|text| !text.is_empty())
    }
}

/// Where an element stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Envelope,
    Header,
    InHeader,
    Body,
    Operation,
    Parameter,
}

/// Reads a request; the error tells what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Call, &'static str> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Place> = Vec::new();
    let mut call: Option<Call> = None;
    let mut elements = 0;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| "XML i pavlefshëm")?;
        match event {
            Event::Start(start) => {
                let place = enter(&open, &namespace, &start, &mut call)?;
                open.push(place);
                count(&mut elements, open.len())?;
            }
            Event::Empty(start) => {
                enter(&open, &namespace, &start, &mut call)?;
                count(&mut elements, open.len() + 1)?;
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Text(piece) => add(&open, &mut call, &piece.xml10_content())?,
            Event::CData(piece) => add(&open, &mut call, &piece.xml10_content())?,
            Event::GeneralRef(reference) => {
                let letter = match reference.resolve_char_ref() {
                    Ok(Some(letter)) => letter,
                    Ok(None) => predefined(&reference.xml10_content())?,
                    Err(_) => return Err("referencë e pavlefshme"),
                };
                add(&open, &mut call, letter.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err("DTD nuk lejohet"),
            Event::PI(_) => return Err("udhëzimet e përpunimit nuk lejohen"),
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match call {
        Some(call) if open.is_empty() => Ok(call),
        _ => Err("mungon operacioni"),
    }
}

fn count(elements: &mut usize, depth: usize) -> Result<(), &'static str> {
    *elements += 1;
    if *elements > ELEMENTS_MAX || depth > DEPTH_MAX {
        return Err("kërkesa është tepër e madhe");
    }
    Ok(())
}

/// Where the element that begins stands; notes the operation and its parameters.
fn enter(
    open: &[Place],
    namespace: &ResolveResult<'_>,
    start: &BytesStart<'_>,
    call: &mut Option<Call>,
) -> Result<Place, &'static str> {
    let ResolveResult::Bound(namespace) = namespace else { return Err("element pa hapësirë emrash") };
    let namespace: &str = namespace.as_ref();
    let name = start.local_name();
    let name: &str = name.as_ref();
    match (open.last(), namespace, name) {
        (None, ENVELOPE, "Envelope") if call.is_none() => Ok(Place::Envelope),
        (Some(Place::Envelope), ENVELOPE, "Header") => Ok(Place::Header),
        (Some(Place::Header | Place::InHeader), ..) => Ok(Place::InHeader),
        (Some(Place::Envelope), ENVELOPE, "Body") => Ok(Place::Body),
        (Some(Place::Body), NAMESPACE, operation) if call.is_none() => {
            *call = Some(Call { operation: operation.to_owned(), parameters: Vec::new() });
            Ok(Place::Operation)
        }
        (Some(Place::Operation), NAMESPACE, parameter) => {
            if let Some(call) = call {
                if call.parameters.iter().any(|(own, _)| own == parameter) {
                    return Err("element i përsëritur");
                }
                call.parameters.push((parameter.to_owned(), String::new()));
            }
            Ok(Place::Parameter)
        }
        _ => Err("element i papritur"),
    }
}

/// Text belongs to parameters; elsewhere only white space may stand.
fn add(open: &[Place], call: &mut Option<Call>, piece: &str) -> Result<(), &'static str> {
    match (open.last(), call) {
        (Some(Place::Parameter), Some(call)) => {
            if let Some((_, text)) = call.parameters.last_mut() {
                text.push_str(piece);
                if text.len() > TEXT_BYTES_MAX {
                    return Err("tekst tepër i gjatë");
                }
            }
            Ok(())
        }
        (Some(Place::InHeader), _) => Ok(()),
        _ if piece.trim().is_empty() => Ok(()),
        _ => Err("tekst i papritur"),
    }
}

fn predefined(name: &str) -> Result<char, &'static str> {
    match name {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err("entitet i panjohur"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"{ENVELOPE}\" xmlns:m=\"{NAMESPACE}\"><s:Header><m:x>1</m:x></s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
    }

    #[test]
    fn reads_an_operation_with_its_texts() {
        let call =
            parse(&envelope("<m:A>\n <m:b>&lt;ë&#231;&amp;</m:b> <m:c/><m:d><![CDATA[<x>]]></m:d></m:A>"))
                .expect("valid");
        assert_eq!(call.operation, "A");
        assert_eq!(call.get("b"), Some("<ëç&"));
        assert_eq!(call.get("c"), None);
        assert_eq!(call.get("d"), Some("<x>"));
        assert_eq!(call.get("e"), None);
        let other_prefix = format!(
            "<Envelope xmlns=\"{ENVELOPE}\"><Body><A xmlns=\"{NAMESPACE}\"><b>1</b></A></Body></Envelope>"
        );
        assert_eq!(parse(&other_prefix).expect("valid").get("b"), Some("1"));
    }

    #[test]
    fn refuses_what_no_request_is() {
        let deep = format!("<m:A><m:b>{}{}</m:b></m:A>", "<m:c>".repeat(20), "</m:c>".repeat(20));
        let wide: String = (0..300).map(|at| format!("<m:p{at}/>")).collect();
        for bad in [
            String::new(),
            "<a/>".to_owned(),
            "junk".to_owned(),
            envelope(""),
            envelope("<x/>"),
            envelope("<m:A><m:b>1</m:b><m:b>2</m:b></m:A>"),
            envelope("<m:A>text</m:A>"),
            envelope("<m:A/><m:B/>"),
            envelope("<m:A><m:b>&evil;</m:b></m:A>"),
            envelope(&deep),
            envelope(&format!("<m:A>{wide}</m:A>")),
            envelope(&format!("<m:A><m:b>{}</m:b></m:A>", "x".repeat(2000))),
            format!("<!DOCTYPE x [<!ENTITY e \"e\">]>{}", envelope("<m:A/>")),
            envelope("<m:A>").replace("</s:Body></s:Envelope>", ""),
            envelope("<m:A/>").replace(ENVELOPE, "http://www.w3.org/2003/05/soap-envelope"),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
