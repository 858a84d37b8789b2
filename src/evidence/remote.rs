//! Evidence as the gateway tells it to a member: `ura.v1.EvidenceService`, over the member's own connection.
//! Believes nothing of it; whoever asks verifies.

use std::{error::Error as _, path::PathBuf, time::Duration};

use tonic::{Code, Response, Status, Streaming};
use ura_log::Hash;
use ura_proto::{
    ExchangeId,
    v1::{
        AddCosignatureRequest, GetCheckpointRequest, GetConsistencyProofRequest, GetReceiptRequest,
        ListLogsRequest, Log, ReadEntriesRequest, ReadEntriesResponse,
        evidence_service_client::EvidenceServiceClient,
    },
};

use super::failure::Failure;
use crate::call::{
    connection::{Calls, Connection},
    describe,
};

/// Largest answer, in bytes: a receipt has at most 16 MiB.
const ANSWER_BYTES_MAX: usize = 20 << 20;

/// How long one question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The gateway, and who asks.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Gateway {
    /// Address of a gateway, to ask it over the network
    #[arg(long, value_name = "HOST:PORT", requires = "identity")]
    gateway: Option<String>,
    /// Identity folder of the asking system: cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR", requires = "gateway")]
    identity: Option<PathBuf>,
}

/// A connection to a gateway.
pub(super) struct Remote {
    connection: Connection,
    service: EvidenceServiceClient<Calls>,
}

impl Gateway {
    /// Whether one was named.
    pub(super) const fn is_named(&self) -> bool {
        self.gateway.is_some()
    }

    /// Connects.
    ///
    /// # Errors
    /// No gateway was named, or it cannot be reached.
    pub(super) async fn connect(&self) -> Result<Remote, Failure> {
        let (Some(gateway), Some(identity)) = (&self.gateway, &self.identity) else {
            return Err(Failure::usage(
                "say which gateway is asked, and as whom: --gateway HOST:PORT --identity DIR",
            ));
        };
        let connection = Connection::open(gateway, identity).await?;
        let service = EvidenceServiceClient::with_origin(connection.calls.clone(), connection.origin.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Remote { connection, service })
    }
}

impl Remote {
    /// The logs of the bus.
    pub(super) async fn logs(&mut self) -> Result<Vec<Log>, Status> {
        let asked = self.service.list_logs(request(ListLogsRequest {}));
        Ok(asked.await?.into_inner().logs)
    }

    /// A checkpoint of at least this size, the newest where it is 0. The log of the gateway where `origin` is empty.
    pub(super) async fn checkpoint(&mut self, origin: &str, size_min: u64) -> Result<String, Status> {
        let asked = GetCheckpointRequest { origin: origin.to_owned(), size_min };
        Ok(self.service.get_checkpoint(request(asked)).await?.into_inner().checkpoint)
    }

    /// The proof that a log of one size is the beginning of it at another; hashes of other lengths than 32 bytes are
    /// left out, so that the proof does not hold.
    pub(super) async fn consistency(
        &mut self,
        origin: &str,
        first_size: u64,
        second_size: u64,
    ) -> Result<Vec<Hash>, Status> {
        let origin = origin.to_owned();
        let asked = GetConsistencyProofRequest { origin, first_size, second_size };
        let answer = self.service.get_consistency_proof(request(asked)).await?.into_inner();
        Ok(answer.hashes.iter().filter_map(|hash| hash.as_slice().try_into().ok()).collect())
    }

    /// Leaves a cosignature.
    pub(super) async fn cosign(&mut self, origin: &str, size: u64, signature: String) -> Result<(), Status> {
        let asked = AddCosignatureRequest { origin: origin.to_owned(), size, signature };
        self.service.add_cosignature(request(asked)).await.map(drop)
    }

    /// The receipt of an exchange.
    pub(super) async fn receipt(&mut self, exchange: ExchangeId) -> Result<String, Status> {
        let asked = GetReceiptRequest { exchange_id: exchange.to_string() };
        Ok(self.service.get_receipt(request(asked)).await?.into_inner().receipt)
    }

    /// The caller's own entries. Has no time limit: it may be followed.
    pub(super) async fn entries(
        &mut self,
        origin: &str,
        from_index: u64,
        follow: bool,
    ) -> Result<Streaming<ReadEntriesResponse>, Status> {
        let asked = ReadEntriesRequest { origin: origin.to_owned(), from_index, follow };
        self.service.read_entries(asked).await.map(Response::into_inner)
    }

    /// What became of a question that failed.
    pub(super) async fn failed(self, status: Status) -> Failure {
        // Only what this side noticed itself has a cause: nobody answered.
        if status.source().is_some() {
            return self.connection.lost(&status).await.into();
        }
        Failure::Status(match status.code() {
            Code::Unimplemented => {
                "this gateway has no ura.v1.EvidenceService: it is older than this program".to_owned()
            }
            _ => describe(&status),
        })
    }
}

fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(QUESTION_TIMEOUT);
    request
}
