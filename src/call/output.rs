//! Replies: JSON on standard output, a document into a file. Knows no gRPC.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions, Value};

/// What goes wrong with replies.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Standard output cannot be written.
    #[error("the reply cannot be printed: {0}")]
    Print(#[from] io::Error),
    /// A message has no JSON form.
    #[error("the reply has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
    /// The document's file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The document's file is there.
    #[error("{} exists already and is not overwritten: name another file, or remove it", .0.display())]
    Exists(PathBuf),
    /// No such field, or not of bytes.
    #[error("{0}")]
    Field(String),
}

impl OutputError {
    /// Whether the reader has gone, as `head` does, which is no failure.
    pub(crate) fn is_nobody_reading(&self) -> bool {
        let kind = match self {
            Self::Print(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            Self::Write { .. } | Self::Exists(_) | Self::Field(_) => None,
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    }
}

/// Where replies go.
pub(crate) struct Output<W> {
    out: W,
    document: Option<Document>,
}

/// A bytes field that is collected in a file.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    field: Vec<FieldDescriptor>,
    file: Option<File>,
    written_bytes: u64,
}

impl<W: Write> Output<W> {
    /// Prints to `out`.
    pub(crate) const fn new(out: W, document: Option<Document>) -> Self {
        Self { out, document }
    }

    /// Takes one reply. Of one whose bytes went into the file the rest is printed, where there is any.
    pub(crate) fn take(&mut self, mut message: DynamicMessage) -> Result<(), OutputError> {
        if let Some(document) = &mut self.document {
            document.take(&mut message)?;
            if message.fields().next().is_none() {
                return Ok(());
            }
        }
        let mut json = serde_json::Serializer::pretty(&mut self.out);
        message.serialize_with_options(&mut json, &SerializeOptions::new())?;
        writeln!(self.out)?;
        Ok(self.out.flush()?)
    }

    /// What became of the file, where there is one: path and length in bytes.
    pub(crate) fn written(&self) -> Option<(&Path, u64)> {
        self.document.as_ref().map(|document| (document.path.as_path(), document.written_bytes))
    }
}

impl Document {
    /// Collects the field `name` of replies `of` in a new file, which is made with the first bytes.
    pub(crate) fn new(
        path: PathBuf,
        of: &MessageDescriptor,
        name: Option<&str>,
    ) -> Result<Self, OutputError> {
        let field = bytes_field(of, name).map_err(OutputError::Field)?;
        if path.symlink_metadata().is_ok() {
            return Err(OutputError::Exists(path));
        }
        Ok(Self { path, field, file: None, written_bytes: 0 })
    }

    fn take(&mut self, message: &mut DynamicMessage) -> Result<(), OutputError> {
        let Some(bytes) = cut(message, &self.field) else { return Ok(()) };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(self.path.clone()),
            _ => OutputError::Write { path: self.path.clone(), source },
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                none.insert(OpenOptions::new().write(true).create_new(true).open(&self.path).map_err(failed)?)
            }
        };
        file.write_all(&bytes).map_err(failed)?;
        self.written_bytes =
            self.written_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// Takes the bytes of a field out of a message.
fn cut(message: &mut DynamicMessage, field: &[FieldDescriptor]) -> Option<bytes::Bytes> {
    let (first, rest) = field.split_first()?;
    if !message.has_field(first) {
        return None;
    }
    match message.get_field_mut(first) {
        Value::Message(inner) => cut(inner, rest),
        Value::Bytes(bytes) => {
            let bytes = std::mem::take(bytes);
            message.clear_field(first);
            Some(bytes)
        }
        _ => None,
    }
}

/// The bytes field that `name` leads to, `field` or `message.field`; without a name, the only one.
fn bytes_field(of: &MessageDescriptor, name: Option<&str>) -> Result<Vec<FieldDescriptor>, String> {
    let is_bytes = |field: &FieldDescriptor| field.kind() == Kind::Bytes && !field.is_list();
    let all: Vec<_> = of.fields().filter(is_bytes).collect();
    let known = match all.as_slice() {
        [] => "it has none of its own".to_owned(),
        all => {
            format!("it has {}", all.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(", "))
        }
    };
    let Some(name) = name else {
        return match all.as_slice() {
            [one] => Ok(vec![one.clone()]),
            _ => Err(format!("-o takes a bytes field of {}; name one with --field: {known}", of.full_name())),
        };
    };
    let mut path = Vec::new();
    let mut at = Some(of.clone());
    for part in name.split('.') {
        let field = at.and_then(|message| {
            message.fields().find(|field| field.name() == part || field.json_name() == part)
        });
        let field = field.filter(|field| !field.is_list() && !field.is_map());
        let field =
            field.ok_or_else(|| format!("{} has no field {name}; of bytes {known}", of.full_name()))?;
        at = field.kind().as_message().cloned();
        path.push(field);
    }
    match path.last() {
        Some(field) if field.kind() == Kind::Bytes => Ok(path),
        _ => Err(format!("{name} is no bytes field of {}; {known}", of.full_name())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply() -> MessageDescriptor {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("doc.proto");
        let text = r#"syntax = "proto3"; package t; service S { rpc M(Two) returns (Doc); }
            message Doc { string name = 1; bytes data = 2; Two two = 3; repeated bytes parts = 4; }
            message Two { bytes big_one = 1; bytes b = 2; }"#;
        std::fs::write(&path, text).expect("temporary folder");
        let contract = ura_proto::contract::Contract::from_proto("t.S", &path, &[]).expect("compiles");
        contract.service.methods().next().expect("M").output()
    }

    fn message(json: &serde_json::Value) -> DynamicMessage {
        DynamicMessage::deserialize(reply(), json).expect("fits")
    }

    #[test]
    fn fields() {
        let doc = reply();
        let two = doc.get_field_by_name("two").expect("two").kind().as_message().expect("a message").clone();
        for (of, name, found) in [
            (&doc, None, Some("data")),
            (&doc, Some("data"), Some("data")),
            (&doc, Some("two.big_one"), Some("big_one")),
            (&doc, Some("two.bigOne"), Some("big_one")),
            (&doc, Some("name"), None),
            (&doc, Some("two"), None),
            (&doc, Some("parts"), None),
            (&doc, Some("nothing"), None),
            (&doc, Some("data.b"), None),
            (&two, None, None),
            (&two, Some("b"), Some("b")),
        ] {
            let field = bytes_field(of, name).ok();
            let last = field.as_ref().and_then(|path| path.last()).map(FieldDescriptor::name);
            assert_eq!(last, found, "{name:?}");
        }
    }

    #[test]
    fn replies_are_printed_and_the_document_goes_into_a_new_file() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("birth.pdf");
        let document = Document::new(path.clone(), &reply(), None).expect("a new file");
        let mut out = Vec::new();
        let mut output = Output::new(&mut out, Some(document));
        for json in
            [json!({"name": "Çelë"}), json!({"data": "AAEC"}), json!({"name": "more", "data": "Aw=="})]
        {
            output.take(message(&json)).expect("writable");
        }
        assert_eq!(output.written(), Some((path.as_path(), 4)));
        assert_eq!(std::fs::read(&path).expect("written"), [0, 1, 2, 3]);
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "{\n  \"name\": \"Çelë\"\n}\n{\n  \"name\": \"more\"\n}\n"
        );
        let again = Document::new(path, &reply(), None).expect_err("never overwritten");
        assert!(matches!(again, OutputError::Exists(_)), "{again}");
    }

    #[test]
    fn without_a_file_bytes_stay_base64() {
        let mut out = Vec::new();
        let mut output = Output::new(&mut out, None);
        output.take(message(&json!({"data": "AAEC"}))).expect("writable");
        output.take(message(&json!({}))).expect("writable");
        assert_eq!(output.written(), None);
        assert_eq!(String::from_utf8(out).expect("text"), "{\n  \"data\": \"AAEC\"\n}\n{}\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Output::new(Gone, None).take(message(&json!({}))).expect_err("gone");
        assert!(error.is_nobody_reading(), "{error}");
    }
}
