//! The words of a contract's annotations: what a service or a method is called, and which law is
//! behind it.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::directory::titles::{TITLE_CHARS_MAX, Titles};

/// Most characters of a legal basis: act and article together.
pub(crate) const LEGAL_BASIS_CHARS_MAX: usize = 400;

/// A text in an annotation that is too long to be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{of}: {annotation} has {chars} characters, at most {chars_max}")]
pub(crate) struct WordsError {
    /// Full name of the service or method.
    of: String,
    /// Annotation and key.
    annotation: String,
    /// Its length.
    chars: usize,
    /// The limit.
    chars_max: usize,
}

/// The titles in the annotation `ura.v1.<name>` of a service or method (`of`, for errors); `None` where it has none.
pub(super) fn titles(options: &DynamicMessage, name: &str, of: &str) -> Result<Option<Titles>, WordsError> {
    let Some(message) = annotation(options, name) else { return Ok(None) };
    let limited = |key: &str| {
        let text = text(&message, key);
        within(text, TITLE_CHARS_MAX, of, &format!("{name}.{key}"))
    };
    Ok(Titles::of(&limited("en")?, &limited("sq")?, &limited("sr")?))
}

/// Act and article in the annotation `ura.v1.legal_basis` of a method.
pub(super) fn legal_basis(options: &DynamicMessage, of: &str) -> Result<Option<Box<str>>, WordsError> {
    let Some(message) = annotation(options, "legal_basis") else { return Ok(None) };
    let parts = ["act", "article"].map(|key| text(&message, key));
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let cited = within(parts.join(", "), LEGAL_BASIS_CHARS_MAX, of, "legal_basis")?;
    Ok(Some(cited).filter(|cited| !cited.is_empty()).map(String::into_boxed_str))
}

/// A text, unless it is too long.
fn within(text: String, chars_max: usize, of: &str, annotation: &str) -> Result<String, WordsError> {
    let chars = text.chars().count();
    if chars <= chars_max {
        return Ok(text);
    }
    Err(WordsError { of: of.to_owned(), annotation: annotation.to_owned(), chars, chars_max })
}

/// The message in an annotation of the bus.
fn annotation(options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let pool = options.descriptor().parent_pool().clone();
    let extension = pool.get_extension_by_name(&format!("ura.v1.{name}"))?;
    if !options.has_extension(&extension) {
        return None;
    }
    match options.get_extension(&extension).into_owned() {
        Value::Message(message) => Some(message),
        _ => None,
    }
}

/// A text field without the white space around it; empty where the message has none of that name.
fn text(message: &DynamicMessage, key: &str) -> String {
    let value = message.get_field_by_name(key);
    value.and_then(|value| value.as_str().map(|text| text.trim().to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::MethodDescriptor;
    use ura_proto::{contract::Contract, refusal::Language};

    fn method(options: &str) -> MethodDescriptor {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("a.proto");
        let text = format!(
            "syntax = \"proto3\"; package a.v1; import \"ura/v1/annotations.proto\";\n\
             service S {{ rpc M(Q) returns (Q) {{ {options} }} }} message Q {{}}"
        );
        std::fs::write(&path, text).expect("temporary folder");
        let contract = Contract::from_proto("a.v1.S", &path, &[]).expect("compiles");
        contract.service.methods().next().expect("M")
    }

    #[test]
    fn titles_are_read_where_they_stand() {
        for (options, expected) in [
            ("", None),
            ("option (ura.v1.title) = {};", None),
            ("option (ura.v1.title) = { en: \"E\" sq: \"A\" };", Some(["E", "A", "E"])),
            ("option (ura.v1.title) = { sr: \"S\" };", Some(["S", "S", "S"])),
        ] {
            let found = titles(&method(options).options(), "title", "a.v1.S.M").expect("short");
            let told = found.as_ref().map(|titles| {
                [Language::English, Language::Albanian, Language::Serbian].map(|l| titles.get(l))
            });
            assert_eq!(told, expected, "{options}");
        }
    }

    #[test]
    fn the_law_is_cited_as_act_and_article() {
        for (options, expected) in [
            ("", None),
            ("option (ura.v1.legal_basis) = {};", None),
            ("option (ura.v1.legal_basis) = { act: \"Law 1\" };", Some("Law 1")),
            ("option (ura.v1.legal_basis) = { act: \"Law 1\" article: \"Art. 2\" };", Some("Law 1, Art. 2")),
            ("option (ura.v1.legal_basis) = { article: \"Art. 2\" };", Some("Art. 2")),
        ] {
            let found = legal_basis(&method(options).options(), "a.v1.S.M").expect("short");
            assert_eq!(found.as_deref(), expected, "{options}");
        }
    }

    #[test]
    fn each_limit_is_told_with_its_place() {
        let title = |chars: usize| {
            let text = "ë".repeat(chars);
            titles(
                &method(&format!("option (ura.v1.title) = {{ sq: \"{text}\" }};")).options(),
                "title",
                "S.M",
            )
        };
        assert!(title(TITLE_CHARS_MAX).is_ok());
        let told = title(TITLE_CHARS_MAX + 1).expect_err("too long").to_string();
        assert_eq!(told, "S.M: title.sq has 201 characters, at most 200");
        let act = |chars: usize| {
            let text = "ë".repeat(chars);
            legal_basis(
                &method(&format!("option (ura.v1.legal_basis) = {{ act: \"{text}\" }};")).options(),
                "S.M",
            )
        };
        assert!(act(LEGAL_BASIS_CHARS_MAX).is_ok());
        let told = act(LEGAL_BASIS_CHARS_MAX + 1).expect_err("too long").to_string();
        assert_eq!(told, "S.M: legal_basis has 401 characters, at most 400");
    }
}
