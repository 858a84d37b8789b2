//! The archive of a municipality, as an adapter.

pub mod reading_room;

use std::collections::BTreeMap;

use contract::archive_service_server::{ArchiveService, ArchiveServiceServer};
use contract::{DepositRequest, DepositResponse, GetDocumentRequest, GetDocumentResponse};
use tokio::sync::Mutex;
use tonic::{Code, Request, Response, Status, Streaming};
use ura_adapters::{Caller, serve::PartsError, serve::ServiceBuilder};

#[allow(missing_docs)]
pub mod contract {
    tonic::include_proto!("ks.archive.v1");
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/archive.binpb"));
}

type Answer<T> = Result<Response<T>, Status>;

/// The register: titles by their numbers.
#[derive(Default)]
struct Archive(Mutex<BTreeMap<u64, String>>);

#[tonic::async_trait]
impl ArchiveService for Archive {
    async fn get_document(&self, request: Request<GetDocumentRequest>) -> Answer<GetDocumentResponse> {
        let caller = Caller::of(&request)?;
        let Some(title) = self.0.lock().await.get(&request.get_ref().number).cloned() else {
            return Err(caller.refuse(Code::NotFound, "DOCUMENT_UNKNOWN", "No document has this number."));
        };
        let stamp = format!("for {}, exchange {}", caller.consumer(), caller.exchange_id());
        Ok(Response::new(GetDocumentResponse { title, stamp }))
    }

    async fn deposit(&self, request: Request<Streaming<DepositRequest>>) -> Answer<DepositResponse> {
        let (mut documents, mut taken) = (request.into_inner(), BTreeMap::new());
        while let Some(document) = documents.message().await? {
            taken.insert(document.number, document.title);
        }
        let numbers = taken.keys().copied().collect();
        self.0.lock().await.extend(taken);
        Ok(Response::new(DepositResponse { numbers }))
    }
}

/// What the adapter serves.
pub fn services() -> Result<ServiceBuilder, PartsError> {
    let archive = ArchiveServiceServer::new(Archive::default());
    ServiceBuilder::new().typed(archive, contract::DESCRIPTORS, None)
}
