//! The adapter file as it is written. Shapes only; what they mean is checked elsewhere.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use ura_runtime::config::Spanned;

use crate::tree::Tree;

/// Keys and values in the order of the file, each with its place.
#[derive(Debug)]
pub(super) struct Entries<V>(pub(super) Vec<(Spanned<String>, V)>);

// Derived, it would ask for `V: Default`.
impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) contract: Spanned<String>,
    pub(super) proto: Option<Spanned<String>>,
    pub(super) proto_paths: Option<Vec<Spanned<String>>>,
    pub(super) descriptor_set: Option<Spanned<String>>,
    pub(super) register: Register,
    #[serde(default)]
    pub(super) methods: Entries<Spanned<Method>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Sql,
    Rest,
    Soap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    pub(super) kind: Kind,
    pub(super) url: Spanned<String>,
    pub(super) connections_max: Option<Spanned<u32>>,
    pub(super) calls_in_flight_max: Option<Spanned<u32>>,
    pub(super) wait_ms: Option<Spanned<u64>>,
    pub(super) timeout_ms: Option<Spanned<u64>>,
    pub(super) probe_ms: Option<Spanned<u64>>,
    pub(super) rows_max: Option<Spanned<u32>>,
    pub(super) stream_rows_max: Option<Spanned<u32>>,
    pub(super) answer_bytes_max: Option<Spanned<u32>>,
    pub(super) stream_bytes_max: Option<Spanned<u64>>,
    pub(super) headers: Option<Entries<Spanned<String>>>,
    /// PEM file of an authority to trust: besides the system's (rest, soap), alone (PostgreSQL).
    pub(super) ca_file: Option<Spanned<String>>,
    /// Certificate that the adapter shows to the register (mutual TLS): rest, soap, PostgreSQL.
    pub(super) client_identity: Option<Spanned<ClientIdentity>>,
    /// How the adapter says who it is: rest, soap.
    pub(super) auth: Option<Spanned<Auth>>,
    /// soap: `"1.1"` (default) or `"1.2"`.
    pub(super) soap_version: Option<Spanned<String>>,
    /// soap: WSDL 1.1 file that describes the operations.
    pub(super) wsdl: Option<Spanned<String>>,
}

/// Files of a client certificate, relative to the adapter file. May be one and the same.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientIdentity {
    /// PEM: the certificate, then those of its issuers.
    pub(super) certificate_file: Spanned<String>,
    /// PEM: the private key.
    pub(super) key_file: Spanned<String>,
}

/// Which of the ways of [`Auth`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum AuthKind {
    /// User and password in each request (RFC 7617).
    Basic,
    /// A token from a file in each request (RFC 6750).
    Bearer,
    /// A token from an authorization server, by client credentials (RFC 6749 section 4.4).
    OAuth2,
}

/// `[register.auth]`. Secrets stand in files of their own, relative to the adapter file, never here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    /// `"basic"`, `"bearer"` or `"oauth2"`.
    pub(super) kind: AuthKind,
    /// basic: the user's name.
    pub(super) user: Option<Spanned<String>>,
    /// basic: file that holds the password.
    pub(super) password_file: Option<Spanned<String>>,
    /// bearer: file that holds the token.
    pub(super) token_file: Option<Spanned<String>>,
    /// oauth2: the authorization server's token endpoint.
    pub(super) token_url: Option<Spanned<String>>,
    /// oauth2: the client's name there.
    pub(super) client_id: Option<Spanned<String>>,
    /// oauth2: file that holds the client's secret.
    pub(super) secret_file: Option<Spanned<String>>,
    /// oauth2: scopes to ask for; default: none, which leaves them to the server.
    pub(super) scopes: Option<Vec<Spanned<String>>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerKind {
    One,
    Many,
    Stream,
    Chunks,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    pub(super) sql: Option<Spanned<Lines>>,
    pub(super) rest: Option<Spanned<Rest>>,
    pub(super) soap: Option<Spanned<Soap>>,
    pub(super) answer: Option<Spanned<AnswerKind>>,
    pub(super) into: Option<Spanned<String>>,
    pub(super) at: Option<Spanned<String>>,
    pub(super) page: Option<Spanned<Page>>,
    pub(super) chunk: Option<Spanned<Chunk>>,
    pub(super) not_found: Option<String>,
    #[serde(default)]
    pub(super) errors: Entries<Spanned<Refusal>>,
    pub(super) error_at: Option<Spanned<String>>,
    pub(super) timeout_ms: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) parameters: Entries<Spanned<Rule>>,
    #[serde(default)]
    pub(super) fields: Entries<Spanned<Rule>>,
    #[serde(default)]
    pub(super) reply: Entries<Spanned<Rule>>,
    #[serde(default)]
    pub(super) nested: Entries<Spanned<Nested>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nested {
    pub(super) sql: Spanned<String>,
    #[serde(default)]
    pub(super) nested: Entries<Spanned<Nested>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rest {
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    #[serde(default)]
    pub(super) query: Entries<Spanned<Template>>,
    #[serde(default)]
    pub(super) headers: Entries<Spanned<Template>>,
    pub(super) body: Option<Spanned<Template>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Soap {
    #[serde(default)]
    pub(super) path: String,
    /// What the register's documentation calls SOAPAction; default: empty. The WSDL says it where there is one.
    pub(super) action: Option<Spanned<String>>,
    /// Namespace of the operation's element. The WSDL says it where there is one.
    pub(super) namespace: Option<Spanned<String>>,
    /// Name of the operation's element; with a WSDL: name of the operation there.
    pub(super) operation: Spanned<String>,
    /// Whether the elements inside have the namespace too; default: true. The WSDL says it where there is one.
    pub(super) qualified: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) body: Entries<Spanned<Template>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    pub(super) size_default: u32,
    pub(super) size_max: u32,
    pub(super) next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chunk {
    pub(super) field: Option<Spanned<String>>,
    pub(super) from: Option<String>,
    pub(super) bytes_max: Option<Spanned<u32>>,
}

/// `"NOT_FOUND"` or `{ code = "NOT_FOUND", message = "…" }`.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: Option<String>,
}

/// One statement, or several.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Vec<String>);

/// `"path"` or a table of options, for parameters and for fields.
#[derive(Debug)]
pub(super) enum Rule {
    Path(String),
    Options(Box<Options>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    pub(super) from: Option<Spanned<String>>,
    pub(super) value: Option<Spanned<Constant>>,
    pub(super) default: Option<Spanned<Constant>>,
    pub(super) date: Option<Spanned<String>>,
    pub(super) utc_offset: Option<Spanned<String>>,
    #[serde(rename = "enum")]
    pub(super) enumeration: Option<Spanned<Entries<Spanned<Constant>>>>,
    #[serde(rename = "bool")]
    pub(super) boolean: Option<Spanned<Entries<Spanned<Constant>>>>,
    pub(super) money: Option<Spanned<String>>,
    pub(super) minor_digits: Option<Spanned<u32>>,
    pub(super) null_if_default: Option<Spanned<bool>>,
    pub(super) each: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) fields: Option<Spanned<Entries<Spanned<Rule>>>>,
}

/// A text, number or truth value.
#[derive(Debug)]
pub(super) struct Constant(pub(super) Tree);

/// A value of a request with `{names}` in its texts.
#[derive(Debug)]
pub(super) enum Template {
    Scalar(Tree),
    List(Vec<Spanned<Template>>),
    Table(Entries<Spanned<Template>>),
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Entries<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                entries(map)
            }
        }
        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}

fn entries<'de, V: Deserialize<'de>, A: MapAccess<'de>>(mut map: A) -> Result<Entries<V>, A::Error> {
    let mut entries = Vec::new();
    while let Some(entry) = map.next_entry::<Spanned<String>, V>()? {
        entries.push(entry);
    }
    // The parser sorts by name; XML needs the order of the file.
    entries.sort_by_key(|(key, _)| key.span().start);
    Ok(Entries(entries))
}

/// Reads `impl Deserialize` of a type that is one of several TOML types.
macro_rules! any_of {
    ($type:ty, $expecting:literal, { $($body:tt)* }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct AnyOf;
                impl<'de> Visitor<'de> for AnyOf {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    $($body)*
                }
                deserializer.deserialize_any(AnyOf)
            }
        }
    };
}

any_of!(Refusal, "a gRPC code, or { code = \"…\", message = \"…\" }", {
    fn visit_str<E>(self, text: &str) -> Result<Refusal, E> {
        Ok(Refusal { code: text.to_owned(), message: None })
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Refusal, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            code: String,
            message: Option<String>,
        }
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Refusal { code: table.code, message: table.message })
    }
});

any_of!(Lines, "a statement, or a list of statements", {
    fn visit_str<E>(self, text: &str) -> Result<Lines, E> {
        Ok(Lines(vec![text.to_owned()]))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Lines, A::Error> {
        let mut lines = Vec::new();
        while let Some(line) = seq.next_element()? {
            lines.push(line);
        }
        Ok(Lines(lines))
    }
});

any_of!(Rule, "a path, or a table of options", {
    fn visit_str<E>(self, text: &str) -> Result<Rule, E> {
        Ok(Rule::Path(text.to_owned()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
        Options::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(Rule::Options)
    }
});

any_of!(Constant, "a text, a number, true or false", {
    fn visit_str<E>(self, text: &str) -> Result<Constant, E> {
        Ok(Constant(Tree::Text(text.to_owned())))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Constant, E> {
        Ok(Constant(Tree::integer(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Constant, E> {
        Ok(Constant(Tree::Number(value.to_string())))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Constant, E> {
        Ok(Constant(Tree::Bool(value)))
    }
});

any_of!(Template, "a text, a number, true or false, a list or a table", {
    fn visit_str<E>(self, text: &str) -> Result<Template, E> {
        Ok(Template::Scalar(Tree::Text(text.to_owned())))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Template, E> {
        Ok(Template::Scalar(Tree::integer(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Template, E> {
        Ok(Template::Scalar(Tree::Number(value.to_string())))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Template, E> {
        Ok(Template::Scalar(Tree::Bool(value)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Template, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Template::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Template, A::Error> {
        entries(map).map(Template::Table)
    }
});
