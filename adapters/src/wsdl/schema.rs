//! What an XML Schema says of the elements of a request (XML Schema 1.0, part 1): their names, namespaces and order, which
//! must be there and which may come again. Types of values are the register's to judge.

use std::{collections::HashMap, sync::Arc};

use super::document::{Name, Node};

pub(super) const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// Types refer to themselves: so deep is looked.
const DEPTH_MAX: usize = 12;
/// Elements of one request.
const ELEMENTS_MAX: usize = 5000;

/// An element of a request.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) required: bool,
    pub(crate) repeated: bool,
    pub(crate) content: Content,
    /// Where the schema says so.
    pub(crate) place: String,
}

/// What stands inside an element.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) elements: Vec<Element>,
    pub(crate) attributes: Vec<String>,
    /// Text may stand there.
    pub(crate) text: bool,
    /// Other elements and attributes may stand there too: `xs:any`, a type that is not looked into.
    pub(crate) open: bool,
}

/// All schemas of a WSDL.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    elements: HashMap<Name, (Arc<Node>, Defaults)>,
    types: HashMap<Name, (Arc<Node>, Defaults)>,
    groups: HashMap<Name, (Arc<Node>, Defaults)>,
}

/// What the schema says for all that is declared in it.
#[derive(Clone, Debug)]
struct Defaults {
    namespace: String,
    qualified: bool,
}

impl Schemas {
    /// Takes in an `xs:schema`; one without a namespace that is included has that of its includer.
    pub(super) fn add(&mut self, schema: &Node, includer: Option<&str>) -> String {
        let namespace = schema.attribute("targetNamespace").or(includer).unwrap_or_default().to_owned();
        let qualified = schema.attribute("elementFormDefault") == Some("qualified");
        let defaults = Defaults { namespace: namespace.clone(), qualified };
        for node in &schema.children {
            let Some(local) = node.attribute("name") else { continue };
            let map = match node.name.local.as_str() {
                "element" => &mut self.elements,
                "complexType" | "simpleType" => &mut self.types,
                "group" => &mut self.groups,
                _ => continue,
            };
            let name = Name { namespace: namespace.clone(), local: local.to_owned() };
            map.insert(name, (Arc::clone(node), defaults.clone()));
        }
        namespace
    }

    /// An element that is declared at the top of a schema.
    pub(super) fn element(&self, name: &Name, from: &str) -> Result<Element, String> {
        Walk { schemas: self, elements: 0 }.global(name, from, 0)
    }

    /// What stands in an element of that type.
    pub(super) fn content(&self, name: &Name, from: &str) -> Result<Content, String> {
        Walk { schemas: self, elements: 0 }.named_type(name, from, 0)
    }
}

struct Walk<'a> {
    schemas: &'a Schemas,
    elements: usize,
}

impl Walk<'_> {
    fn global(&mut self, name: &Name, from: &str, depth: usize) -> Result<Element, String> {
        let found = self.schemas.elements.get(name);
        let (node, defaults) =
            found.ok_or_else(|| format!("{from}: the element {name} is in none of the schemas{IMPORTED}"))?;
        Ok(Element {
            name: name.local.clone(),
            namespace: name.namespace.clone(),
            required: true,
            repeated: false,
            content: self.content_of(node, defaults, depth)?,
            place: node.place.clone(),
        })
    }

    /// The content of an `xs:element`.
    fn content_of(&mut self, node: &Node, defaults: &Defaults, depth: usize) -> Result<Content, String> {
        self.elements += 1;
        if depth >= DEPTH_MAX || self.elements > ELEMENTS_MAX {
            return Ok(Content { text: true, open: true, ..Content::default() });
        }
        if let Some(name) = node.reference("type")? {
            return self.named_type(&name, &node.place, depth);
        }
        match node.first(XSD, "complexType") {
            Some(inner) => self.complex(inner, defaults, depth),
            None if node.first(XSD, "simpleType").is_some() => Ok(text()),
            // Without a type it is xs:anyType.
            None => Ok(Content { text: true, open: true, ..Content::default() }),
        }
    }

    fn named_type(&mut self, name: &Name, from: &str, depth: usize) -> Result<Content, String> {
        if name.namespace == XSD {
            return Ok(Content { open: name.local == "anyType", ..text() });
        }
        let found = self.schemas.types.get(name);
        let (node, defaults) =
            found.ok_or_else(|| format!("{from}: the type {name} is in none of the schemas{IMPORTED}"))?;
        if node.name.local == "simpleType" { Ok(text()) } else { self.complex(node, defaults, depth) }
    }

    fn complex(&mut self, node: &Node, defaults: &Defaults, depth: usize) -> Result<Content, String> {
        let mut content = Content { text: node.attribute("mixed") == Some("true"), ..Content::default() };
        for child in &node.children {
            match child.name.local.as_str() {
                "simpleContent" => {
                    content.text = true;
                    for derived in &child.children {
                        self.derived(derived, &mut content, defaults, depth)?;
                    }
                }
                "complexContent" => {
                    for derived in &child.children {
                        self.derived(derived, &mut content, defaults, depth)?;
                    }
                }
                _ => self.particle(child, &mut content, defaults, true, false, depth)?,
            }
        }
        Ok(content)
    }

    /// `xs:extension` has all of its base first; `xs:restriction` says all anew.
    fn derived(
        &mut self,
        node: &Node,
        content: &mut Content,
        defaults: &Defaults,
        depth: usize,
    ) -> Result<(), String> {
        if node.name.local == "extension"
            && let Some(base) = node.reference("base")?
        {
            let base = self.named_type(&base, &node.place, depth + 1)?;
            content.elements.extend(base.elements);
            content.attributes.extend(base.attributes);
            content.text |= base.text;
            content.open |= base.open;
        }
        for child in &node.children {
            self.particle(child, content, defaults, true, false, depth)?;
        }
        Ok(())
    }

    /// A part of a type: an element, a group of them, an attribute. `required` and `repeated` are those of the groups
    /// around it.
    fn particle(
        &mut self,
        node: &Node,
        content: &mut Content,
        defaults: &Defaults,
        required: bool,
        repeated: bool,
        depth: usize,
    ) -> Result<(), String> {
        let required = required && node.attribute("minOccurs") != Some("0");
        let repeated = repeated || !matches!(node.attribute("maxOccurs"), None | Some("0" | "1"));
        match node.name.local.as_str() {
            "element" => {
                let element = self.local(node, defaults, depth)?;
                content.elements.push(Element { required, repeated, ..element });
            }
            "sequence" | "all" | "choice" => {
                let required = required && node.name.local != "choice";
                for child in &node.children {
                    self.particle(child, content, defaults, required, repeated, depth)?;
                }
            }
            "group" => {
                let Some(name) = node.reference("ref")? else { return Ok(()) };
                let (group, defaults) = self.schemas.groups.get(&name).ok_or_else(|| {
                    format!("{}: the group {name} is in none of the schemas{IMPORTED}", node.place)
                })?;
                // A group that refers to itself is refused by XML Schema; here it only must end.
                self.elements += 1;
                if self.elements <= ELEMENTS_MAX && depth < DEPTH_MAX {
                    for child in &group.children {
                        self.particle(child, content, defaults, required, repeated, depth + 1)?;
                    }
                }
            }
            "attribute" => match (node.attribute("name"), node.attribute("ref")) {
                (Some(name), _) => content.attributes.push(name.to_owned()),
                (None, Some(_)) => content.open = true,
                (None, None) => {}
            },
            "any" | "anyAttribute" | "attributeGroup" => content.open = true,
            _ => {}
        }
        Ok(())
    }

    /// An element inside a type: declared there, or referred to.
    fn local(&mut self, node: &Node, defaults: &Defaults, depth: usize) -> Result<Element, String> {
        if let Some(name) = node.reference("ref")? {
            return self.global(&name, &node.place, depth + 1);
        }
        let Some(name) = node.attribute("name") else {
            return Err(format!("{}: an element without a name", node.place));
        };
        let qualified = node.attribute("form").map_or(defaults.qualified, |form| form == "qualified");
        Ok(Element {
            name: name.to_owned(),
            namespace: if qualified { defaults.namespace.clone() } else { String::new() },
            required: true,
            repeated: false,
            content: self.content_of(node, defaults, depth + 1)?,
            place: node.place.clone(),
        })
    }
}

const IMPORTED: &str = "; schemas that are imported must be files beside the WSDL";

fn text() -> Content {
    Content { text: true, ..Content::default() }
}
