//! WSDL 1.1 (W3C Note of 15 March 2001): how an operation is asked over SOAP. Reads local files only; asks nobody.

mod document;
mod schema;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use self::schema::{Content, Element};
use self::{
    document::{Name, Node},
    schema::{Schemas, XSD},
};
use crate::plan::SoapVersion;

const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const SOAP_1_1: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const SOAP_1_2: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";
/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Files that one WSDL brings along.
const FILES_MAX: usize = 100;

/// A WSDL with the files that it imports.
#[derive(Debug, Default)]
pub(crate) struct Wsdl {
    definitions: Vec<Arc<Node>>,
    schemas: Schemas,
    read: HashSet<PathBuf>,
}

/// How an operation is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) action: String,
    /// The element inside the envelope's body.
    pub(crate) element: Element,
}

impl Wsdl {
    /// Reads a file and what it imports from beside it.
    ///
    /// # Errors
    /// What cannot be read, with file and line.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let mut wsdl = Self::default();
        wsdl.take(path, None)?;
        if wsdl.definitions.is_empty() {
            return Err("it is a schema and no WSDL 1.1".to_owned());
        }
        Ok(wsdl)
    }

    fn take(&mut self, path: &Path, includer: Option<&str>) -> Result<(), String> {
        if !self.read.insert(path.to_owned()) {
            return Ok(());
        }
        if self.read.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} files are imported"));
        }
        let shown = path.display();
        let size = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?.len();
        if size > FILE_BYTES_MAX {
            return Err(format!("{shown}: it is larger than {FILE_BYTES_MAX} bytes"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        let root = document::read(path, &text)?;
        if root.is(XSD, "schema") {
            return self.schema(&root, path, includer);
        }
        if !root.is(WSDL, "definitions") {
            return Err(format!(
                "{}: it begins with {}, not with WSDL 1.1's definitions",
                root.place, root.name
            ));
        }
        self.definitions.push(Arc::clone(&root));
        for import in root.all(WSDL, "import") {
            self.follow(import, "location", path, None)?;
        }
        for schema in root.all(WSDL, "types").flat_map(|types| types.all(XSD, "schema")) {
            self.schema(schema, path, None)?;
        }
        Ok(())
    }

    fn schema(&mut self, schema: &Arc<Node>, path: &Path, includer: Option<&str>) -> Result<(), String> {
        let namespace = self.schemas.add(schema, includer);
        for child in &schema.children {
            match child.name.local.as_str() {
                "import" => self.follow(child, "schemaLocation", path, None)?,
                "include" | "redefine" => self.follow(child, "schemaLocation", path, Some(&namespace))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes in a file that is named relative to this one. What lies elsewhere is missed only where it is needed.
    fn follow(
        &mut self,
        node: &Node,
        attribute: &str,
        path: &Path,
        includer: Option<&str>,
    ) -> Result<(), String> {
        match node.attribute(attribute) {
            Some(location) if !location.contains("://") => {
                let beside = path.parent().unwrap_or(Path::new("")).join(location);
                self.take(&beside, includer).map_err(|problem| format!("{}: {problem}", node.place))
            }
            _ => Ok(()),
        }
    }

    /// The version of SOAP that is spoken where the adapter file names none.
    pub(crate) fn version(&self) -> Option<SoapVersion> {
        [SoapVersion::V1_1, SoapVersion::V1_2]
            .into_iter()
            .find(|version| self.bindings(*version).next().is_some())
    }

    fn bindings(&self, version: SoapVersion) -> impl Iterator<Item = &Arc<Node>> {
        let namespace = soap(version);
        let all = self.definitions.iter().flat_map(|root| root.all(WSDL, "binding"));
        all.filter(move |binding| binding.first(namespace, "binding").is_some())
    }

    /// How the operation of that name is asked.
    ///
    /// # Errors
    /// Why it cannot be asked, with the place in the WSDL where there is one.
    pub(crate) fn operation(&self, name: &str, version: SoapVersion) -> Result<Asked, String> {
        let operations = |binding: &Arc<Node>| -> Vec<Arc<Node>> {
            binding.all(WSDL, "operation").map(Arc::clone).collect()
        };
        let mut known = Vec::new();
        for binding in self.bindings(version) {
            for operation in operations(binding) {
                let found = operation.attribute("name").unwrap_or_default();
                if found == name {
                    return self.asked(binding, &operation, name, soap(version));
                }
                known.push(found.to_owned());
            }
        }
        Err(match known.as_slice() {
            [] => format!("the WSDL binds no operation to SOAP {}", number(version)),
            known => format!("the WSDL has no operation `{name}`; there is: {}", known.join(", ")),
        })
    }

    fn asked(&self, binding: &Node, bound: &Node, name: &str, soap: &str) -> Result<Asked, String> {
        let detail = bound.first(soap, "operation");
        let action = detail.and_then(|node| node.attribute("soapAction")).unwrap_or_default().to_owned();
        if !action.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
            return Err(format!("{}: the soapAction of `{name}` is no URI", bound.place));
        }
        let outer = binding.first(soap, "binding").and_then(|node| node.attribute("style"));
        let style = detail.and_then(|node| node.attribute("style")).or(outer).unwrap_or("document");
        let body = bound.first(WSDL, "input").and_then(|input| input.first(soap, "body"));
        if body.and_then(|body| body.attribute("use")) == Some("encoded") {
            let place = &bound.place;
            return Err(format!(
                "{place}: `{name}` is encoded by SOAP (use=\"encoded\"), which is not spoken here"
            ));
        }
        let parts = self.parts(binding, bound, name)?;
        let element = if style == "rpc" {
            let namespace = body.and_then(|body| body.attribute("namespace")).unwrap_or_default();
            self.rpc(name, namespace, &parts, &bound.place)?
        } else {
            self.document(name, body.and_then(|body| body.attribute("parts")), &parts, &bound.place)?
        };
        Ok(Asked { action, element })
    }

    /// The parts of the message that asks.
    fn parts(&self, binding: &Node, bound: &Node, name: &str) -> Result<Vec<Arc<Node>>, String> {
        let missing = |what: &str, wanted: &Name| format!("{}: there is no {what} {wanted}", bound.place);
        let unnamed = || format!("{}: `{name}` refers to nothing", bound.place);
        let port_type = binding.reference("type")?.ok_or_else(unnamed)?;
        let port_type = self.named("portType", &port_type).ok_or_else(|| missing("portType", &port_type))?;
        let operation = port_type.all(WSDL, "operation").find(|node| node.attribute("name") == Some(name));
        let input = operation.and_then(|operation| operation.first(WSDL, "input")).ok_or_else(unnamed)?;
        let message = input.reference("message")?.ok_or_else(unnamed)?;
        let message = self.named("message", &message).ok_or_else(|| missing("message", &message))?;
        Ok(message.all(WSDL, "part").map(Arc::clone).collect())
    }

    fn named(&self, kind: &'static str, name: &Name) -> Option<&Arc<Node>> {
        let roots = self
            .definitions
            .iter()
            .filter(|root| root.attribute("targetNamespace").unwrap_or_default() == name.namespace);
        roots.flat_map(|root| root.all(WSDL, kind)).find(|node| node.attribute("name") == Some(&name.local))
    }

    /// Style `document`: the one part of the body is an element.
    fn document(
        &self,
        name: &str,
        chosen: Option<&str>,
        parts: &[Arc<Node>],
        place: &str,
    ) -> Result<Element, String> {
        let chosen: Option<Vec<&str>> = chosen.map(|parts| parts.split_whitespace().collect());
        let in_body = |part: &&Arc<Node>| {
            chosen
                .as_ref()
                .is_none_or(|chosen| part.attribute("name").is_some_and(|name| chosen.contains(&name)))
        };
        let parts: Vec<_> = parts.iter().filter(in_body).collect();
        let [part] = parts.as_slice() else {
            return Err(format!("{place}: the body of `{name}` has {} parts, and not one", parts.len()));
        };
        match part.reference("element")? {
            Some(element) => self.schemas.element(&element, &part.place),
            None => Err(format!("{}: a part of style document needs an element, not a type", part.place)),
        }
    }

    /// Style `rpc`: the parts stand in an element of the operation's name, without a namespace (WS-I Basic Profile 1.1,
    /// R2735).
    fn rpc(&self, name: &str, namespace: &str, parts: &[Arc<Node>], place: &str) -> Result<Element, String> {
        let mut content = Content::default();
        for part in parts {
            let kind = part
                .reference("type")?
                .ok_or_else(|| format!("{}: a part of style rpc needs a type, not an element", part.place))?;
            content.elements.push(Element {
                name: part.attribute("name").unwrap_or_default().to_owned(),
                namespace: String::new(),
                required: true,
                repeated: false,
                content: self.schemas.content(&kind, &part.place)?,
                place: part.place.clone(),
            });
        }
        Ok(Element {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            required: true,
            repeated: false,
            content,
            place: place.to_owned(),
        })
    }
}

fn soap(version: SoapVersion) -> &'static str {
    match version {
        SoapVersion::V1_1 => SOAP_1_1,
        SoapVersion::V1_2 => SOAP_1_2,
    }
}

/// As standards write it.
pub(crate) fn number(version: SoapVersion) -> &'static str {
    match version {
        SoapVersion::V1_1 => "1.1",
        SoapVersion::V1_2 => "1.2",
    }
}
