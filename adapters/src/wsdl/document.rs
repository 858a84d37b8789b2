//! XML documents with namespaces and lines, as WSDL and XML Schema need them: bounded, without DTDs. Other than the trees
//! of answers, names keep their namespace, and values can be resolved as names.

use std::{collections::HashMap, path::Path, sync::Arc};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

const DEPTH_MAX: usize = 64;
const ELEMENTS_MAX: usize = 100_000;

/// A name in a namespace; the empty namespace is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) local: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.local)
        } else {
            write!(f, "{{{}}}{}", self.namespace, self.local)
        }
    }
}

type Scope = Arc<HashMap<String, String>>;

/// An element.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Name,
    /// Those without a prefix.
    attributes: Vec<(String, String)>,
    scope: Scope,
    pub(super) children: Vec<Arc<Node>>,
    /// `file.wsdl:12`, for messages.
    pub(super) place: String,
}

impl Node {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An attribute whose value is a name, such as `type="tns:Njeriu"`.
    pub(super) fn reference(&self, attribute: &str) -> Result<Option<Name>, String> {
        let Some(text) = self.attribute(attribute) else { return Ok(None) };
        let (prefix, local) = text.trim().split_once(':').unwrap_or(("", text.trim()));
        match self.scope.get(prefix) {
            Some(namespace) => Ok(Some(Name { namespace: namespace.clone(), local: local.to_owned() })),
            None if prefix.is_empty() => Ok(Some(Name { namespace: String::new(), local: local.to_owned() })),
            None => Err(format!("{}: the prefix of `{text}` is not declared", self.place)),
        }
    }

    /// Child elements of that name.
    pub(super) fn all<'a>(
        &'a self,
        namespace: &'a str,
        local: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Node>> {
        self.children.iter().filter(move |node| node.is(namespace, local))
    }

    pub(super) fn first(&self, namespace: &str, local: &str) -> Option<&Arc<Node>> {
        self.children.iter().find(|node| node.is(namespace, local))
    }

    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.name.namespace == namespace && self.name.local == local
    }
}

/// Reads a document; `path` is for messages.
pub(super) fn read(path: &Path, text: &str) -> Result<Arc<Node>, String> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut stack: Vec<Node> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let event = reader.read_event();
        let place =
            format!("{file}:{}", lines.line_of(usize::try_from(reader.buffer_position()).unwrap_or(0)));
        let event = event.map_err(|error| format!("{place}: not well-formed XML: {error}"))?;
        let closes = matches!(event, Event::Empty(_) | Event::End(_));
        match event {
            Event::Start(start) | Event::Empty(start) => {
                elements += 1;
                if stack.len() >= DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err(format!("{place}: nested too deep or too many elements"));
                }
                let scope = stack.last().map(|parent| Arc::clone(&parent.scope)).unwrap_or_default();
                stack.push(open(&start, scope, &place)?);
            }
            Event::DocType(_) => return Err(format!("{place}: a DTD is refused")),
            Event::Eof => break,
            _ => {}
        }
        if closes && let Some(node) = stack.pop() {
            match stack.last_mut() {
                Some(parent) => parent.children.push(Arc::new(node)),
                None => root = Some(Arc::new(node)),
            }
        }
    }
    root.filter(|_| stack.is_empty()).ok_or_else(|| format!("{file}: not a whole XML document"))
}

fn open(start: &BytesStart<'_>, mut scope: Scope, place: &str) -> Result<Node, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("{place}: {error}"))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("{place}: {error}"))?
            .into_owned();
        let key: &str = attribute.key.as_ref();
        match key.split_once(':') {
            Some(("xmlns", prefix)) => drop(Arc::make_mut(&mut scope).insert(prefix.to_owned(), value)),
            None if key == "xmlns" => drop(Arc::make_mut(&mut scope).insert(String::new(), value)),
            None => attributes.push((key.to_owned(), value)),
            Some(_) => {}
        }
    }
    let name = start.name();
    let whole: &str = name.as_ref();
    let (prefix, local) = whole.split_once(':').unwrap_or(("", whole));
    let namespace = match scope.get(prefix) {
        Some(namespace) => namespace.clone(),
        None if prefix.is_empty() => String::new(),
        None => return Err(format!("{place}: the prefix of <{whole}> is not declared")),
    };
    let name = Name { namespace, local: local.to_owned() };
    Ok(Node { name, attributes, scope, children: Vec::new(), place: place.to_owned() })
}

/// Counts lines as the reader goes on.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, end: usize) -> usize {
        let passed = self.text.as_bytes().get(self.at..end).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = self.at.max(end);
        self.line
    }
}
