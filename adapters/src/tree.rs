//! What a register said, in one form: SQL rows, JSON documents and XML elements all become a tree.
//!
//! Numbers keep their text, so that money never passes through floating point. Knows nothing of
//! contracts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Deepest nesting of a JSON document that is read.
const DEPTH_MAX: usize = 64;

/// A value of a register, or of a parameter on its way there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// NULL, null, `xsi:nil`.
    Null,
    /// A truth value of a register that has such a type.
    Bool(bool),
    /// A number as the register wrote it, for example `12.50` or `-3e5`.
    Number(String),
    /// Text, never altered.
    Text(String),
    /// A BLOB.
    Bytes(Bytes),
    /// Repeated elements, an array, the rows of a nested query.
    List(Vec<Tree>),
    /// A row, an object, an element, in the register's order.
    Object(Vec<(String, Tree)>),
}

/// Why a text is not read as JSON.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// Not JSON (RFC 8259).
    #[error("not JSON")]
    Syntax,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested too deep")]
    Depth,
}

/// A path into a tree: member names and list positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    whole: String,
    steps: Vec<String>,
}

impl Path {
    /// Reads `a.b.0.c`; `.` and the empty text are the tree itself.
    pub(crate) fn parse(text: &str) -> Self {
        let steps = text.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect();
        Self { whole: text.to_owned(), steps }
    }

    /// The path as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.whole
    }

    /// The first member, `None` where the path is the tree itself.
    pub(crate) fn first(&self) -> Option<&str> {
        self.steps.first().map(String::as_str)
    }
}

impl Tree {
    /// A number from an integer.
    pub(crate) fn integer(value: impl Into<i128>) -> Self {
        Self::Number(value.into().to_string())
    }

    /// The member of that name.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            Self::List(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
            _ => None,
        }
    }

    /// A remark on a member that is not there: the one whose name differs in the case of letters.
    pub(crate) fn near(&self, name: &str) -> String {
        let Self::Object(members) = self else { return String::new() };
        let near = members.iter().find(|(key, _)| key.to_lowercase() == name.to_lowercase());
        near.map(|(key, _)| format!("; there is `{key}`")).unwrap_or_default()
    }

    /// The value at the path. A member whose name is the whole path, dots included, comes first.
    pub(crate) fn at(&self, path: &Path) -> Option<&Self> {
        if path.steps.len() > 1
            && let Some(found) = self.member(&path.whole)
        {
            return Some(found);
        }
        path.steps.iter().try_fold(self, |tree, step| tree.member(step))
    }

    /// Whether this says "nothing": NULL, or text without a character.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            _ => false,
        }
    }

    /// About how much memory this takes, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        let own = size_of::<Self>();
        own + match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Number(text) | Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(Self::size_bytes).sum(),
            Self::Object(members) => members.iter().map(|(key, value)| key.len() + value.size_bytes()).sum(),
        }
    }

    /// Reads a JSON document (RFC 8259).
    pub(crate) fn from_json(text: &str) -> Result<Self, JsonError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| JsonError::Syntax)?;
        Self::from_raw(raw, 0)
    }

    fn from_raw(raw: &RawValue, depth: usize) -> Result<Self, JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth);
        }
        let text = raw.get();
        let syntax = |_| JsonError::Syntax;
        match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(syntax)?;
                members
                    .into_iter()
                    .map(|(key, value)| Ok((key, Self::from_raw(value, depth + 1)?)))
                    .collect::<Result<_, _>>()
                    .map(Self::Object)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
                items
                    .into_iter()
                    .map(|item| Self::from_raw(item, depth + 1))
                    .collect::<Result<_, _>>()
                    .map(Self::List)
            }
            Some(b'"') => serde_json::from_str(text).map(Self::Text).map_err(syntax),
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'n') => Ok(Self::Null),
            _ => Ok(Self::Number(text.to_owned())),
        }
    }

    /// Text that holds a JSON array or object, read; anything else as it is.
    pub(crate) fn unpacked(&self) -> std::borrow::Cow<'_, Self> {
        use std::borrow::Cow;
        match self {
            Self::Text(text) if text.trim_start().starts_with(['[', '{']) => {
                Self::from_json(text).map_or(Cow::Borrowed(self), Cow::Owned)
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// Writes JSON. Bytes become base64 text; a number is written as it stands.
    pub(crate) fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::Bytes(bytes) => write_text(&STANDARD.encode(bytes), out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// The value as one text, as it stands in a URL, a header, an element or a larger text.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) | Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => STANDARD.encode(bytes),
            Self::List(_) | Self::Object(_) => {
                let mut out = String::new();
                self.write_json(&mut out);
                out
            }
        }
    }

    /// An object of columns, with dotted names (`address.city`) folded into nested objects.
    pub(crate) fn row(columns: Vec<(String, Self)>) -> Self {
        if columns.iter().all(|(name, _)| !name.contains('.')) {
            return Self::Object(columns);
        }
        let mut members = Vec::new();
        for (name, value) in columns {
            fold(&mut members, &name, value);
        }
        Self::Object(members)
    }
}

/// Puts a value under its dotted name.
fn fold(members: &mut Vec<(String, Tree)>, name: &str, value: Tree) {
    let Some((head, rest)) = name.split_once('.') else {
        members.push((name.to_owned(), value));
        return;
    };
    if let Some((_, Tree::Object(inner))) = members.iter_mut().find(|(key, _)| key == head) {
        fold(inner, rest, value);
        return;
    }
    let mut inner = Vec::new();
    fold(&mut inner, rest, value);
    members.push((head.to_owned(), Tree::Object(inner)));
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Members of an object in their order, still unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &RawValue>()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visitor).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_numbers_order_and_letters() {
        let text = r#"{"z":12345678901234567.89,"a":[1,-2.50,true,null,"ë ç đ"],"o":{}}"#;
        let tree = Tree::from_json(text).expect("valid JSON");
        let mut back = String::new();
        tree.write_json(&mut back);
        assert_eq!(back, text);
        assert_eq!(tree.at(&Path::parse("a.1")), Some(&Tree::Number("-2.50".into())));
    }

    #[test]
    fn bad_json_is_refused() {
        for bad in ["", "{", "[1,]", "nul", "01", "{\"a\":1,}", "\"\u{1}\""] {
            assert_eq!(Tree::from_json(bad), Err(JsonError::Syntax), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(80), "]".repeat(80));
        assert_eq!(Tree::from_json(&deep), Err(JsonError::Depth));
    }

    #[test]
    fn dotted_columns_become_nested_objects() {
        let row = Tree::row(vec![
            ("a".into(), Tree::integer(1)),
            ("b.c".into(), Tree::integer(2)),
            ("b.d.e".into(), Tree::integer(3)),
        ]);
        assert_eq!(row.to_text(), r#"{"a":1,"b":{"c":2,"d":{"e":3}}}"#);
        assert_eq!(row.at(&Path::parse("b.d.e")), Some(&Tree::integer(3)));
        assert_eq!(row.at(&Path::parse(".")), Some(&row));
        assert_eq!(row.at(&Path::parse("b.x")), None);
    }
}
