//! The bus's own typed services: what members may read of the evidence that names them, and what the
//! people it is about may be told. Knows evidence and the directory; knows no connections, and nothing of
//! how exchanges are decided and forwarded.

mod access;
mod caller;
mod cosign;
mod entries;
mod evidence_api;
mod gate;
mod keys;
mod places;
#[cfg(test)]
mod sample;
mod spans;
mod status;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use ura_evidence::{
    entry::Row,
    keys::EpochKeys,
    store::{Address, Reader},
    writer::Evidence,
};
use ura_proto::v1::{
    evidence_service_server::{EvidenceService, EvidenceServiceServer},
    subject_access_service_server::{SubjectAccessService, SubjectAccessServiceServer},
};
use ura_runtime::{clock::Clock, process::Shutdown};

use crate::directory::{
    Directory,
    contract::{Contract, Files},
};
use access::Accesses;
use evidence_api::EvidenceApi;
pub(crate) use spans::trace_service;

/// Largest request to a service of the bus, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Brings an entry into the log of this gateway; says whether it is on disk.
pub(crate) type Record = Arc<dyn Fn(Row) -> BoxFuture<'static, bool> + Send + Sync>;

/// Name of the log that this gateway writes now: another one after its log was sealed.
pub(crate) type Origin = Arc<dyn Fn() -> Arc<str> + Send + Sync>;

/// What the services answer from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    /// The store of all logs.
    pub(crate) reader: Reader,
    /// Where it is: cosignatures are stored over a connection of their own.
    pub(crate) address: Address,
    /// Keys of salts and pseudonyms.
    pub(crate) keys: EpochKeys,
    /// This gateway's log.
    pub(crate) origin: Origin,
    /// How entries are recorded.
    pub(crate) record: Record,
    /// Who is known, and what things are called.
    pub(crate) directory: Directory,
    /// The gateway's clock.
    pub(crate) clock: Clock,
    /// When streams end.
    pub(crate) shutdown: Shutdown,
}

impl Sources {
    /// What a gateway has. `store` is the address that `evidence` was opened with.
    pub(crate) fn of(evidence: &Evidence, store: Address, directory: Directory, shutdown: Shutdown) -> Self {
        let (named, recording) = (evidence.clone(), evidence.clone());
        Self {
            reader: evidence.reader(),
            address: store,
            keys: evidence.keys().clone(),
            origin: Arc::new(move || named.origin()),
            record: Arc::new(move |row| {
                let ticket = recording.submit(row, &Arc::default());
                Box::pin(async move {
                    match ticket {
                        Some(ticket) => ticket.await.is_some(),
                        None => false,
                    }
                })
            }),
            directory,
            clock: evidence.clock().clone(),
            shutdown,
        }
    }
}

/// The service by which members read their evidence. The caller's `SystemId` must stand among the
/// extensions of each request: its certificate says who asks.
pub(crate) fn evidence_service(sources: &Sources) -> EvidenceServiceServer<impl EvidenceService + Clone> {
    EvidenceServiceServer::new(EvidenceApi::new(sources.clone())).max_decoding_message_size(REQUEST_BYTES_MAX)
}

/// The service that tells who looked at somebody's data. It is asked over a plug, like any other contract:
/// that the caller may ask was decided before.
pub(crate) fn subject_access_service(
    sources: &Sources,
) -> SubjectAccessServiceServer<impl SubjectAccessService + Clone> {
    SubjectAccessServiceServer::new(Accesses::new(sources.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
}

/// What reflection tells of a service of the bus, `ura.v1.Service`: its file and all that it imports, as a
/// serialised `google.protobuf.FileDescriptorSet`.
pub(crate) fn descriptor_set(service: &str) -> Vec<u8> {
    Contract::approve(service, &Files::BuiltIn, None)
        .expect("the program brings the contracts of the bus along")
        .descriptor_set
}

#[cfg(test)]
mod tests {
    use ura_evidence::{config::EvidenceConfig, entry::kind, find, store::Filter, writer::OpenAs};
    use ura_proto::v1::{ListAccessesRequest, ListLogsRequest, entry::Kind, list_accesses_request::Subject};

    use super::*;
    use crate::exchange::OwnService;

    /// Everything as a gateway puts it together, but for the connections.
    #[tokio::test]
    async fn services_work_on_the_gateways_own_log() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = format!("sqlite:{}", dir.path().join("evidence.db").display());
        let config = EvidenceConfig {
            store: store.clone(),
            keys: dir.path().join("keys"),
            log_keys: dir.path().join("log-keys"),
            origin: sample::ORIGIN.to_owned(),
            queue_entries_max: 16,
            batch_entries_max: 16,
            checkpoint_interval_ms: 1000,
            seal_after_ms: 60_000,
        };
        let who = OpenAs {
            gateway: "ais/gateway".parse().expect("valid"),
            program: "test".to_owned(),
            directory_version: "7".to_owned(),
            directory_digest: [0; 32],
            take_over: false,
        };
        let (evidence, writer) = Evidence::open(&config, who, Clock::system()).await.expect("opens");
        let directory = sample::Sample::new().await.sources.directory;
        let address = Address::parse(&store).expect("an address");
        let shutdown = Shutdown::new();
        let sources = Sources::of(&evidence, address, directory, shutdown);
        drop(evidence);

        let api = EvidenceApi::new(sources.clone());
        let logs = api.list_logs(sample::request("ais/portal", ListLogsRequest {})).await.expect("told");
        let logs = logs.into_inner().logs;
        assert_eq!(logs.iter().map(|log| log.origin.as_str()).collect::<Vec<_>>(), [sample::ORIGIN]);
        assert!(logs[0].key.starts_with(sample::ORIGIN), "{logs:?}");

        let exchange = ura_proto::ExchangeId::at(sample::NOW_US);
        let subject = Some(Subject::PersonalNumber("1234567892".to_owned()));
        let asked = ListAccessesRequest { subject, ..ListAccessesRequest::default() };
        let mut asked = tonic::Request::new(asked);
        asked.metadata_mut().insert("ura-consumer", "ais/portal".parse().expect("ASCII"));
        asked.metadata_mut().insert("ura-exchange-id", exchange.to_string().parse().expect("ASCII"));
        Accesses::new(sources.clone()).list_accesses(asked).await.expect("told");
        let filter = Filter { exchange: Some(exchange), kind: Some(kind::DISCLOSURE), ..Filter::default() };
        let found = find::find(&sources.reader, &filter, None, 9).await.expect("read").entries;
        assert_eq!(found.len(), 1, "the answer is on disk before it leaves: {found:?}");
        let entry = found[0].entry().expect("there");
        assert!(matches!(&entry.kind, Some(Kind::Disclosure(told)) if told.told == 0), "{entry:?}");

        // As the port and the plug take them; then nobody holds the log any more.
        drop(OwnService::new(evidence_service(&sources), descriptor_set("ura.v1.EvidenceService")));
        drop((subject_access_service(&sources), descriptor_set("ura.v1.SubjectAccessService")));
        drop((api, sources));
        tokio::task::spawn_blocking(move || writer.join()).await.expect("the writer ended");
    }
}
