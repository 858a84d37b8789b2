//! `ura.v1.EvidenceService`: checkpoints and proofs for every system of the directory, entries and
//! receipts for those whom they name. Who asks is known by the connection.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tokio::{runtime::Handle, sync::Mutex};
use tonic::{Code, Request, Response, Status};
use ura_evidence::{
    entry::{self, kind},
    find::{self, ReadError},
    prove::{self, Covering, Under},
    receipt,
    store::{self, Filter, LogRow, Store},
    view::View,
};
use ura_log::{
    MAX_TREE_LEAVES,
    note::{Key, Note, NoteSignature},
};
use ura_proto::{
    ExchangeId, SystemId,
    refusal::{Language, Term},
    v1::{
        AddCosignatureRequest, AddCosignatureResponse, GetCheckpointRequest, GetCheckpointResponse,
        GetConsistencyProofRequest, GetConsistencyProofResponse, GetReceiptRequest, GetReceiptResponse,
        ListLogsRequest, ListLogsResponse, Log, Opening, ReadEntriesRequest, ReadEntriesResponse,
        entry::Kind, evidence_service_server::EvidenceService,
    },
};

use super::{
    Sources, caller,
    cosign::{self, Cosignature, CosignatureError},
    entries::Reading,
    keys,
    places::{Place, Places},
    status::{self, quoted, wrong},
};

/// Questions in hand, of one system and of all: a store has few connections for readers.
const QUESTIONS_EACH_MAX: usize = 8;
const QUESTIONS_ALL_MAX: usize = 64;

/// Streams of entries, of one system and of all.
const STREAMS_EACH_MAX: usize = 4;
const STREAMS_ALL_MAX: usize = 64;

/// Longest name of a log, in bytes.
const ORIGIN_BYTES_MAX: usize = 512;

/// The service.
#[derive(Clone)]
pub(super) struct EvidenceApi {
    sources: Sources,
    questions: Places,
    streams: Places,
    /// The connection by which cosignatures are stored, once there is one.
    cosignatures: Arc<Mutex<Option<Store>>>,
}

/// Who asks, and the place among the questions in hand.
struct Asked {
    caller: SystemId,
    language: Language,
    _place: Place,
}

impl EvidenceApi {
    /// The service of a gateway.
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources,
            questions: Places::new(QUESTIONS_EACH_MAX, QUESTIONS_ALL_MAX),
            streams: Places::new(STREAMS_EACH_MAX, STREAMS_ALL_MAX),
            cosignatures: Arc::default(),
        }
    }

    /// Takes a question in: of a known system, and not too many at once.
    fn asked<T>(&self, request: Request<T>) -> Result<(Asked, T), Status> {
        let language = caller::language(request.metadata());
        let caller = caller::known(request.extensions(), &self.sources.directory.load(), language)?;
        let place = self.questions.take(&caller);
        let place = place.ok_or_else(|| status::overloaded(Term::Questions, language))?;
        Ok((Asked { caller, language, _place: place }, request.into_inner()))
    }

    /// The name of a log as a request gives it: empty means the log of this gateway.
    fn name(&self, origin: String) -> String {
        if origin.is_empty() { (self.sources.origin)().to_string() } else { origin }
    }

    /// The log of a name.
    async fn log(&self, origin: String, language: Language) -> Result<LogRow, Status> {
        let origin = self.name(origin);
        // PostgreSQL has no text with NUL in it, and takes the question itself for a fault.
        let found = match origin.len() {
            0..=ORIGIN_BYTES_MAX if !origin.contains('\0') => {
                self.sources.reader.log_by_origin(&origin).await
            }
            _ => Ok(None),
        };
        let found = found.map_err(|error| status::unavailable(error, language))?;
        found.ok_or_else(|| unreadable(&ReadError::NoLog(origin), language))
    }

    /// One log, as the list has it.
    async fn listed(&self, row: LogRow) -> Result<Log, ReadError> {
        let reader = &self.sources.reader;
        let announced = keys::announced(reader, row.log).await?;
        let newest = match prove::newest(reader, row.log).await {
            Ok(newest) => Some(newest),
            Err(ReadError::NotCovered { .. }) => None,
            Err(error) => return Err(error),
        };
        let signed = newest.as_ref().and_then(|newest| keys::signing(&newest.note, &announced));
        let key = signed.or(announced.first()).map(Key::to_string).unwrap_or_default();
        let size = newest.map_or(0, |newest| newest.checkpoint.size);
        Ok(Log { origin: row.origin, key, size, sealed: row.sealed })
    }

    /// Stores a cosignature that was checked; `false` where its checkpoint is gone.
    async fn store(&self, log: i64, size: u64, checked: Cosignature) -> Result<bool, store::StoreError> {
        // One at a time: they are few, and the writer of the log goes first.
        let mut held = self.cosignatures.clone().lock_owned().await;
        let address = self.sources.address.clone();
        let runtime = Handle::current();
        let Cosignature { name, line, time_s } = checked;
        let cosignature = store::Cosignature { name, line, time_s };
        // Made on the thread that it stays on: what migrates a store cannot move between threads.
        let storing = move || async move {
            let mut store = match held.take() {
                Some(store) => store,
                None => Store::open(&address).await?,
            };
            let stored = store.add_cosignature(log, size, &cosignature).await?;
            // After an error the connection is not used again.
            *held = Some(store);
            Ok(stored)
        };
        let stored = tokio::task::spawn_blocking(move || runtime.block_on(storing())).await;
        stored.unwrap_or_else(|error| Err(store::StoreError::Gone(error.to_string())))
    }

    /// The opening of an exchange of the caller's; `None` where there is none, or it names others.
    async fn opening(&self, exchange: ExchangeId, caller: &SystemId) -> Result<Option<Opening>, ReadError> {
        let filter = Filter { exchange: Some(exchange), kind: Some(kind::OPENING), ..Filter::default() };
        let found = find::find(&self.sources.reader, &filter, None, 1).await?.entries.into_iter().next();
        let entry = found.and_then(|found| found.into_entry().ok());
        Ok(match entry.and_then(|entry| entry.kind) {
            Some(Kind::Opening(opening)) if names(&opening, caller) => Some(opening),
            _ => None,
        })
    }

    /// The receipt of an exchange whose opening is this one.
    async fn receipt(&self, exchange: ExchangeId, opening: &Opening) -> Result<String, ReadError> {
        let Sources { reader, keys, .. } = &self.sources;
        // Both parties were given the salt with the call.
        let salt = keys.by_id(&opening.epoch).map(|key| key.salt(exchange));
        let mut receipt = receipt::make(reader, exchange, salt, &[]).await?;
        // What a citizen was not told of is not told to who asked in the citizen's name either.
        receipt.entries.retain(|piece| !is_disclosure(&piece.body));
        let row = reader.log_by_origin(&receipt.log).await?;
        if let (Some(row), Ok(note)) = (row, Note::parse(&receipt.checkpoint)) {
            let announced = keys::announced(reader, row.log).await?;
            receipt.keys.extend(keys::signing(&note, &announced).cloned());
        }
        Ok(receipt.to_json())
    }
}

/// Whether an opening names a system as one of its parties.
fn names(opening: &Opening, system: &SystemId) -> bool {
    [&opening.consumer, &opening.provider].iter().any(|party| *party == system.as_str())
}

/// Whether a body says what was held back of somebody's accesses.
fn is_disclosure(body: &[u8]) -> bool {
    entry::decode(body).is_ok_and(|entry| matches!(entry.kind, Some(Kind::Disclosure(_))))
}

/// What a caller is told when evidence cannot be read or proved.
pub(super) fn unreadable(error: &ReadError, language: Language) -> Status {
    match error {
        ReadError::NoLog(origin) => {
            Status::not_found(format!("the store has no log {}; ListLogs names all", quoted(origin)))
        }
        // Nothing is wrong: the next checkpoint will cover it.
        ReadError::NotCovered { .. } => status::not_covered(),
        ReadError::TooManyEntries { .. } => {
            Status::failed_precondition(format!("{error}; ReadEntries tells each entry with its proof"))
        }
        other => status::unavailable(other, language),
    }
}

/// The answer for an exchange that is not the caller's, or not there: which of the two is not told.
fn no_exchange(exchange: ExchangeId) -> Status {
    Status::not_found(format!(
        "no exchange {exchange} that names the caller is recorded here, or its entries were removed when their time was over"
    ))
}

/// Whether a cosignature by this key stands under a checkpoint already.
fn is_cosigned(note: &Note, key: &Key, line: &str) -> bool {
    let given = line.trim_end_matches('\n').parse::<NoteSignature>();
    given.is_ok_and(|given| note.signatures.iter().any(|stored| key.made(stored) && *stored == given))
}

#[tonic::async_trait]
impl EvidenceService for EvidenceApi {
    async fn list_logs(
        &self,
        request: Request<ListLogsRequest>,
    ) -> Result<Response<ListLogsResponse>, Status> {
        let (asked, _) = self.asked(request)?;
        let unavailable = |error: ReadError| unreadable(&error, asked.language);
        let reader = &self.sources.reader;
        let mut rows = reader.logs().await.map_err(|error| unavailable(error.into()))?;
        rows.sort_unstable_by(|a, b| a.origin.cmp(&b.origin));
        let mut logs = Vec::with_capacity(rows.len());
        for row in rows {
            logs.push(self.listed(row).await.map_err(unavailable)?);
        }
        let registry = reader.newest_registry().await.map_err(|error| unavailable(error.into()))?;
        let registry = registry.map(|(_, note)| note).unwrap_or_default();
        Ok(Response::new(ListLogsResponse { logs, registry }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let (asked, GetCheckpointRequest { origin, size_min }) = self.asked(request)?;
        let row = self.log(origin, asked.language).await?;
        let found = match size_min {
            0 => prove::newest(&self.sources.reader, row.log).await,
            size if size > MAX_TREE_LEAVES => Err(ReadError::NotCovered { log: row.origin.clone(), size }),
            size => prove::under(&self.sources.reader, row.log, size, Under::Smallest).await,
        };
        let found = found.map_err(|error| match error {
            ReadError::NotCovered { .. } => {
                let text = format!("log {} has no checkpoint of {size_min} entries or more", row.origin);
                Status::not_found(text)
            }
            error => unreadable(&error, asked.language),
        })?;
        Ok(Response::new(GetCheckpointResponse { checkpoint: found.note.to_string() }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        let (asked, GetConsistencyProofRequest { origin, first_size, second_size }) = self.asked(request)?;
        if first_size > second_size {
            return Err(wrong(
                "second_size",
                format!("{second_size} is smaller than first_size, {first_size}"),
            ));
        }
        let row = self.log(origin, asked.language).await?;
        let newest = match prove::newest(&self.sources.reader, row.log).await {
            Ok(Covering { checkpoint, .. }) => checkpoint.size,
            Err(ReadError::NotCovered { .. }) => 0,
            Err(error) => return Err(unreadable(&error, asked.language)),
        };
        if second_size > newest {
            let text = format!(
                "second_size: {second_size} is above {newest}, the newest checkpoint of {}",
                row.origin
            );
            return Err(Status::new(Code::OutOfRange, text));
        }
        let proof = prove::consistency(&self.sources.reader, row.log, first_size, second_size).await;
        let proof = proof.map_err(|error| unreadable(&error, asked.language))?;
        let hashes = proof.iter().map(|hash| hash.to_vec()).collect();
        Ok(Response::new(GetConsistencyProofResponse { hashes }))
    }

    async fn add_cosignature(
        &self,
        request: Request<AddCosignatureRequest>,
    ) -> Result<Response<AddCosignatureResponse>, Status> {
        let (asked, AddCosignatureRequest { origin, size, signature }) = self.asked(request)?;
        let directory = self.sources.directory.load();
        let key = directory.systems.get(&asked.caller).and_then(|system| system.cosigner.as_ref());
        let Some(key) = key else {
            let text = "the directory has no cosigner key for {caller}; the operator of the bus can enter it";
            return Err(Status::permission_denied(text.replace("{caller}", asked.caller.as_str())));
        };
        if origin.is_empty() {
            return Err(wrong("origin", "name the log; it stands on the first line of its checkpoint"));
        }
        let row = self.log(origin, asked.language).await?;
        let gone = || {
            let text = "log {log} has no checkpoint of {size} entries; ask for the newest and cosign that";
            Status::not_found(text.replace("{log}", &row.origin).replace("{size}", &size.to_string()))
        };
        let found = match size {
            0..=MAX_TREE_LEAVES => prove::under(&self.sources.reader, row.log, size, Under::Smallest).await,
            _ => return Err(gone()),
        };
        let stored = match found {
            Ok(found) if found.checkpoint.size == size => found.note,
            Ok(_) | Err(ReadError::NotCovered { .. }) => return Err(gone()),
            Err(error) => return Err(unreadable(&error, asked.language)),
        };
        if is_cosigned(&stored, key, &signature) {
            return Ok(Response::new(AddCosignatureResponse {}));
        }
        let checked = cosign::check(&signature, key, &stored.to_string(), self.sources.clock.unix_us());
        let checked = checked.map_err(|error| match error {
            CosignatureError::Stored(_) => status::unavailable(error, asked.language),
            error => wrong("signature", error),
        })?;
        tracing::info!(log = row.origin, size, by = %asked.caller, "a checkpoint was cosigned");
        match self.store(row.log, size, checked).await {
            Ok(true) => Ok(Response::new(AddCosignatureResponse {})),
            Ok(false) => Err(gone()),
            Err(error) => Err(status::unavailable(error, asked.language)),
        }
    }

    type ReadEntriesStream = Pin<Box<dyn Stream<Item = Result<ReadEntriesResponse, Status>> + Send>>;

    async fn read_entries(
        &self,
        request: Request<ReadEntriesRequest>,
    ) -> Result<Response<Self::ReadEntriesStream>, Status> {
        let (asked, ReadEntriesRequest { origin, from_index, follow }) = self.asked(request)?;
        let Asked { caller, language, .. } = asked;
        let place = self.streams.take(&caller);
        let place = place.ok_or_else(|| status::overloaded(Term::EntryStreams, language))?;
        if from_index > MAX_TREE_LEAVES {
            return Err(wrong("from_index", format!("{from_index} is above {MAX_TREE_LEAVES}")));
        }
        let row = self.log(origin, language).await?;
        let view = View::open(&self.sources.reader, &row.origin, caller.clone(), from_index).await;
        let view = view.map_err(|error| unreadable(&error, language))?;
        let directory = self.sources.directory.clone();
        let shutdown = self.sources.shutdown.clone();
        let reading = Reading { view, caller, language, follow, directory, shutdown, _place: place };
        Ok(Response::new(Box::pin(reading.pages())))
    }

    async fn get_receipt(
        &self,
        request: Request<GetReceiptRequest>,
    ) -> Result<Response<GetReceiptResponse>, Status> {
        let (asked, GetReceiptRequest { exchange_id }) = self.asked(request)?;
        let exchange = exchange_id.parse().map_err(|error| wrong("exchange_id", error))?;
        let failed = |error: ReadError| match error {
            ReadError::NoExchange(_) | ReadError::Removed { .. } => no_exchange(exchange),
            error => unreadable(&error, asked.language),
        };
        let opening = self.opening(exchange, &asked.caller).await.map_err(failed)?;
        let opening = opening.ok_or_else(|| no_exchange(exchange))?;
        let receipt = self.receipt(exchange, &opening).await.map_err(failed)?;
        Ok(Response::new(GetReceiptResponse { receipt }))
    }
}

#[cfg(test)]
mod tests;
