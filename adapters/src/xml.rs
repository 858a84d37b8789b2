//! XML to a tree, for answers of registers: bounded, without DTDs and without entities of their own
//! (the "billion laughs" and "external entity" attacks need them).

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use crate::tree::Tree;

const DEPTH_MAX: usize = 64;
const ELEMENTS_MAX: usize = 200_000;
const ATTRIBUTES_MAX: usize = 256;
/// Different names inside one element; they are looked up one by one.
const NAMES_MAX: usize = 1000;

/// Why a document is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum XmlError {
    /// Not well-formed, or not UTF-8.
    #[error("it is not well-formed XML in UTF-8")]
    Syntax,
    /// A document type declaration.
    #[error("it has a DTD, which is refused")]
    Dtd,
    /// An entity that XML itself does not define.
    #[error("it has an entity of its own, which is refused")]
    Entity,
    /// Too deep, too many elements or attributes.
    #[error("it is nested too deep or has too many elements")]
    Limit,
}

/// An element that is not closed yet.
struct Open {
    name: String,
    members: Vec<(String, Tree)>,
    text: String,
    nil: bool,
}

/// The root element's local name and its content. Prefixes are dropped.
pub(crate) fn read(bytes: &[u8]) -> Result<(String, Tree), XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Syntax)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = true;
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| XmlError::Syntax)?;
        let closes = matches!(event, Event::Empty(_) | Event::End(_));
        match event {
            Event::Start(start) | Event::Empty(start) => {
                elements += 1;
                if stack.len() >= DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err(XmlError::Limit);
                }
                if stack.is_empty() && root.is_some() {
                    return Err(XmlError::Syntax);
                }
                stack.push(open(&start)?);
            }
            Event::Text(content) => add(&mut stack, &content.xml10_content())?,
            Event::CData(content) => add(&mut stack, &content.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(c)) if is_char(c) => c,
                    Ok(None) => predefined(&reference).ok_or(XmlError::Entity)?,
                    _ => return Err(XmlError::Syntax),
                };
                add(&mut stack, character.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(XmlError::Dtd),
            Event::Eof => break,
            Event::End(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
        if closes && let Some(element) = stack.pop() {
            let (name, tree) = element.close();
            match stack.last_mut() {
                Some(parent) => parent.add(name, tree)?,
                None => root = Some((name, tree)),
            }
        }
    }
    root.filter(|_| stack.is_empty()).ok_or(XmlError::Syntax)
}

fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => return None,
    })
}

/// Text belongs to the open element; outside the root only white space may stand.
fn add(stack: &mut [Open], text: &str) -> Result<(), XmlError> {
    match stack.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(XmlError::Syntax),
    }
    Ok(())
}

fn open(start: &BytesStart<'_>) -> Result<Open, XmlError> {
    let mut element = Open {
        name: start.local_name().as_ref().to_owned(),
        members: Vec::new(),
        text: String::new(),
        nil: false,
    };
    for (count, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| XmlError::Syntax)?;
        if count >= ATTRIBUTES_MAX {
            return Err(XmlError::Limit);
        }
        let key: &str = attribute.key.as_ref();
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::Entity)?;
        let name: &str = attribute.key.local_name().into_inner();
        if name == "nil" && matches!(&*value, "true" | "1") {
            element.nil = true;
        } else {
            element.members.push((format!("@{name}"), Tree::Text(value.into_owned())));
        }
    }
    Ok(element)
}

impl Open {
    /// A child; the second of a name makes a list.
    fn add(&mut self, name: String, tree: Tree) -> Result<(), XmlError> {
        let names = self.members.len();
        match self.members.iter_mut().find(|(key, _)| *key == name) {
            None if names >= NAMES_MAX => return Err(XmlError::Limit),
            None => self.members.push((name, tree)),
            Some((_, Tree::List(items))) => items.push(tree),
            Some((_, first)) => {
                let one = std::mem::replace(first, Tree::Null);
                *first = Tree::List(vec![one, tree]);
            }
        }
        Ok(())
    }

    fn close(mut self) -> (String, Tree) {
        let tree = if self.nil {
            Tree::Null
        } else if self.members.is_empty() {
            Tree::Text(self.text)
        } else {
            // White space between elements is layout.
            if !self.text.trim().is_empty() {
                self.members.push(("#text".to_owned(), Tree::Text(self.text)));
            }
            Tree::Object(self.members)
        };
        (self.name, tree)
    }
}

/// Characters of XML 1.0 (section 2.2).
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A name without a prefix (Namespaces in XML 1.0, NCName), as far as parsers agree: what the fifth edition of XML 1.0
/// (section 2.3) takes as part of a name and is a letter or digit besides. The fourth edition knew no others.
pub(crate) fn is_name(name: &str) -> bool {
    let letter = |c: char| {
        let named = matches!(c, 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
            | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}');
        c == '_' || named && c.is_alphabetic()
    };
    let follows = |c: char| letter(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{300}'..='\u{36f}');
    let mut chars = name.chars();
    chars.next().is_some_and(letter) && chars.all(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(xml: &str) -> Result<String, XmlError> {
        read(xml.as_bytes()).map(|(name, tree)| format!("{name} {}", tree.to_text()))
    }

    #[test]
    fn elements_become_trees() {
        for (xml, tree) in [
            ("<a>ë &amp; ç&#235;<![CDATA[<x>]]></a>", "a ë & çë<x>"),
            ("<a/>", "a "),
            ("<p:a xmlns:p='urn:x'><p:b>1</p:b><p:b>2</p:b><c/></p:a>", r#"a {"b":["1","2"],"c":""}"#),
            ("<a id='1 &lt;'>t</a>", r##"a {"@id":"1 <","#text":"t"}"##),
            ("<a><b xsi:nil='true' xmlns:xsi='urn:i'/> <c>x</c></a>", r#"a {"b":null,"c":"x"}"#),
            ("\u{feff}<?xml version='1.0'?><!-- c --><a> x </a>\n", "a  x "),
        ] {
            assert_eq!(json(xml).as_deref(), Ok(tree), "{xml}");
        }
    }

    #[test]
    fn names_are_those_that_every_parser_takes() {
        for name in ["a", "_", "ëç", "Đ-1._", "e\u{308}", "Ω", "日"] {
            assert!(is_name(name), "{name:?}");
        }
        for name in [
            "",
            "1",
            "-a",
            ".a",
            "a b",
            "a:b",
            "a>",
            "a=",
            "\u{feff}x",
            "x\u{feff}",
            "\u{fffd}",
            "ª",
            "\u{1f1fd}",
            "\u{308}",
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(100);
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        for (xml, error) in [
            ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", XmlError::Dtd),
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", XmlError::Dtd),
            ("<a>&x;</a>", XmlError::Entity),
            ("<a b='&x;'/>", XmlError::Entity),
            ("<a>&#0;</a>", XmlError::Syntax),
            ("<a><b></a></b>", XmlError::Syntax),
            ("<a>", XmlError::Syntax),
            ("<a/><b/>", XmlError::Syntax),
            ("x<a/>", XmlError::Syntax),
            ("", XmlError::Syntax),
            (deep.as_str(), XmlError::Limit),
            (many.as_str(), XmlError::Limit),
        ] {
            assert_eq!(json(xml), Err(error), "{}", xml.chars().take(60).collect::<String>());
        }
        assert_eq!(read(b"<a>\xff</a>"), Err(XmlError::Syntax));
    }
}
