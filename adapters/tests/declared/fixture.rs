//! A contract with everything in it, and calls by JSON.

use std::{path::Path, sync::Arc};

use futures_util::StreamExt as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _, SerializeOptions};
use tempfile::TempDir;
use ura_adapters::{
    declared::Declared,
    register::{CallContext, Failure, Register, Reply},
};
use ura_runtime::trace::TraceContext;

pub(crate) const PROTO: &str = r#"
syntax = "proto3";
package test.v1;
import "google/type/date.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "ura/v1/annotations.proto";

service PeopleService {
  rpc Get(GetRequest) returns (Person) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc List(ListRequest) returns (ListResponse) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Export(ExportRequest) returns (stream Person) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Document(GetRequest) returns (stream DocumentPiece) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Pay(PayRequest) returns (Payment) {}
}
message GetRequest { string number = 1 [(ura.v1.data_subject) = { kind: "person" }]; }
message ListRequest {
  Kind kind = 1; google.type.Date since = 2; int32 page_size = 3; string page_token = 4;
  Filter filter = 5; repeated string numbers = 6;
}
message Filter { optional string city = 1; }
message ListResponse { repeated Person people = 1; string next_page_token = 2; int32 total = 3; }
message ExportRequest { int32 count = 1; }
message PayRequest { string number = 1; Money amount = 2; }
message Payment { string reference = 1; Money amount = 2; }
message DocumentPiece { string media_type = 1; bytes content = 2; }
message Money { string currency_code = 1; int64 minor_units = 2; }
message Address { string street = 1; string city = 2; google.type.Date since = 3; }
message Phone { string number = 1; bool mobile = 2; }
message Person {
  string number = 1; string given_name = 2; google.type.Date born_on = 3; Kind kind = 4;
  Address address = 5; repeated Phone phones = 6; repeated string nicknames = 7;
  map<string, string> labels = 8; Money debt = 9; google.protobuf.Timestamp seen_at = 10;
  google.protobuf.StringValue note = 11; optional int32 height_cm = 12; bytes photo = 13;
  bool alive = 14; int64 serial = 15; double weight = 16; Person mother = 17;
}
enum Kind { KIND_UNSPECIFIED = 0; KIND_CITIZEN = 1; KIND_FOREIGNER = 2; }
"#;

/// A folder with the contract and an adapter file.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temp dir");
        std::fs::write(dir.path().join("people.proto"), PROTO).expect("written");
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Loads an adapter file of this register section and these methods.
    pub(crate) fn load(&self, register: &str, methods: &str) -> Result<Declared, String> {
        let text = format!(
            "contract = \"test.v1.PeopleService\"\nproto = \"people.proto\"\n[register]\n{register}\n{methods}"
        );
        let path = self.path().join("people.toml");
        std::fs::write(&path, text).expect("written");
        Declared::load(&path).map_err(|errors| errors.to_string())
    }

    /// As [`Folder::load`], with a harmless section for each method that `methods` does not have.
    pub(crate) fn load_some(&self, register: &str, methods: &str, rest: &str) -> Declared {
        let mut text = methods.to_owned();
        for name in ["Get", "List", "Export", "Document", "Pay"] {
            if !methods.contains(&format!("[methods.{name}]")) {
                let answer = match name {
                    "List" => "answer = \"many\"\n",
                    "Document" => "answer = \"chunks\"\n",
                    _ => "",
                };
                text += &format!("\n[methods.{name}]\n{answer}{rest}\n");
            }
        }
        self.load(register, &text).unwrap_or_else(|errors| panic!("{errors}"))
    }
}

/// A register under test.
pub(crate) struct Subject {
    pub(crate) declared: Declared,
    pub(crate) register: Arc<Register>,
}

impl Subject {
    pub(crate) async fn new(declared: Declared) -> Self {
        let register = declared.connect().await.expect("connects");
        Self { declared, register }
    }

    pub(crate) async fn call(&self, method: &str, request: &str) -> Result<Reply, Failure> {
        self.call_as(context(), method, request).await
    }

    pub(crate) async fn call_as(
        &self,
        context: CallContext,
        method: &str,
        request: &str,
    ) -> Result<Reply, Failure> {
        let method = self.declared.contract().methods().find(|m| m.name() == method).expect("a method");
        let mut json = serde_json::Deserializer::from_str(request);
        let request = DynamicMessage::deserialize(method.input(), &mut json).expect("a request");
        self.register.call(context, &method, request).await
    }

    /// The reply of a unary method as JSON.
    pub(crate) async fn json(&self, method: &str, request: &str) -> String {
        match self.call(method, request).await {
            Ok(Reply::One(message)) => json(&message),
            Ok(Reply::Stream(_)) => panic!("a stream"),
            Err(failure) => panic!("{failure}"),
        }
    }

    /// The messages of a stream and how it ended.
    pub(crate) async fn stream(&self, method: &str, request: &str) -> (Vec<DynamicMessage>, Option<Failure>) {
        let mut messages = Vec::new();
        let mut stream = match self.call(method, request).await {
            Ok(Reply::Stream(stream)) => stream,
            Ok(Reply::One(_)) => panic!("no stream"),
            Err(failure) => return (messages, Some(failure)),
        };
        while let Some(item) = stream.next().await {
            match item {
                Ok(message) => messages.push(message),
                Err(failure) => return (messages, Some(failure)),
            }
        }
        (messages, None)
    }

    pub(crate) async fn failure(&self, method: &str, request: &str) -> Failure {
        match self.call(method, request).await {
            Ok(Reply::One(message)) => panic!("an answer: {}", json(&message)),
            Ok(Reply::Stream(_)) => panic!("a stream"),
            Err(failure) => failure,
        }
    }
}

pub(crate) fn json(message: &DynamicMessage) -> String {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::new(&mut out);
    message.serialize_with_options(&mut json, &options).expect("JSON");
    String::from_utf8(out).expect("UTF-8")
}

pub(crate) fn bytes_of(message: &DynamicMessage, field: &str) -> Vec<u8> {
    assert!(message.descriptor().get_field_by_name(field).is_some());
    message.get_field_by_name(field).and_then(|v| v.as_bytes().map(|b| b.to_vec())).unwrap_or_default()
}

pub(crate) fn context() -> CallContext {
    CallContext {
        consumer: "ais/portal".to_owned(),
        purpose: Some("test".to_owned()),
        case_number: None,
        user: None,
        exchange_id: "0192c0de-0000-7000-8000-000000000001".to_owned(),
        idempotency_key: Some("key-1".to_owned()),
        trace: TraceContext::root(true),
        deadline: None,
    }
}
