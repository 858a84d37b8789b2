//! The portal's calls in JSON, so that a test states what is asked and answered as text.

use std::{path::Path, sync::LazyLock};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::Value;

use crate::{
    bus::{CIVIL, TAX},
    world::client::{Client, Ended, framed},
};

static CONTRACTS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(ura_proto::CONTRACTS).expect("the contracts of this repository"));

#[derive(Clone)]
pub struct Portal {
    pub client: Client,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub ended: Ended,
    pub messages: Vec<Value>,
}

impl Portal {
    pub async fn connect(identity: &Path, address: &str) -> Self {
        Self { client: Client::connect(identity, address).await.expect("connects") }
    }

    /// Asks `package.Service/Method` with the purpose that the sample directory grants, and more metadata.
    pub async fn ask_with(&self, method: &str, metadata: &[(&str, &str)], request: Value) -> Reply {
        let mut all = vec![("ura-purpose", purpose(method))];
        all.extend(metadata);
        let ended = self.client.send(&format!("/{method}"), &all, &[frame(method, request)]).await;
        let output = descriptor(method).output();
        let decode = |bytes: &bytes::Bytes| {
            let message =
                DynamicMessage::decode(output.clone(), bytes.clone()).expect("a reply of the contract");
            serde_json::to_value(&message).expect("JSON")
        };
        let messages = ended.messages.iter().map(decode).collect();
        Reply { ended, messages }
    }

    pub async fn ask(&self, method: &str, request: Value) -> Reply {
        self.ask_with(method, &[], request).await
    }

    /// The one message of a call that must succeed.
    pub async fn get(&self, method: &str, request: Value) -> Value {
        let shown = request.to_string();
        let mut reply = self.ask(method, request).await;
        assert_eq!(reply.ended.status(), 0, "{method} {shown}: {reply:?}");
        assert_eq!(reply.messages.len(), 1, "{method} {shown}");
        reply.messages.remove(0)
    }
}

/// A request's bytes with their gRPC prefix.
pub fn frame(method: &str, request: Value) -> bytes::Bytes {
    let input = descriptor(method).input();
    framed(&DynamicMessage::deserialize(input, request).expect("a request of the contract"))
}

/// [`frame`], made longer than `bytes` by a field that no contract knows and every reader passes over.
pub fn padded(method: &str, request: Value, bytes: usize) -> bytes::Bytes {
    /// A field number that no message of the contracts has.
    const PADDING: u32 = 15_000;
    let input = descriptor(method).input();
    let message = DynamicMessage::deserialize(input, request).expect("a request of the contract");
    let mut body = message.encode_to_vec();
    prost::encoding::bytes::encode(PADDING, &vec![0_u8; bytes], &mut body);
    let mut framed = vec![0];
    framed.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
    framed.extend(body);
    framed.into()
}

/// A purpose that the sample directory grants the portal for this method.
pub fn purpose(method: &str) -> &'static str {
    match method.split_once('/').expect("Service/Method") {
        (CIVIL, "VerifyIdentity") => "account-opening",
        (CIVIL, _) => "birth-certificate",
        (TAX, _) => "property-tax",
        _ => "vehicle-documents",
    }
}

fn descriptor(method: &str) -> MethodDescriptor {
    let (service, name) = method.split_once('/').expect("Service/Method");
    let service = CONTRACTS.get_service_by_name(service).expect("a contract of this repository");
    service.methods().find(|method| method.name() == name).expect("a method of the contract")
}
