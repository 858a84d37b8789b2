//! Entries of the log, encoded once: what the writer stores and the columns it can be searched by.

use aws_lc_rs::digest;
use prost::Message as _;
use ura_proto::{
    ExchangeId, SystemId,
    v1::{Closing, Entry, Gap, Opening, Progress, entry::Kind},
};

use super::keys::EpochKey;
use crate::{call::Call, directory::Snapshot, directory::subject::Found};

/// Version of the entry format (`proto/ura/v1/evidence.proto`).
const FORMAT: u32 = 1;

/// Number of an opening among the kinds of entry.
const OPENING: i64 = 10;

/// Hash of an entry as a leaf, RFC 9162 section 2.1.1.
pub(crate) type LeafHash = [u8; 32];

/// One entry, ready to be stored.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) bytes: Vec<u8>,
    pub(super) leaf_hash: LeafHash,
    pub(super) kind: i64,
    pub(super) exchange: Vec<u8>,
    pub(super) recorded_us: i64,
    pub(super) consumer: String,
    pub(super) provider: String,
    pub(super) method: String,
    pub(super) reason: String,
    pub(super) trace_id: Vec<u8>,
}

impl Row {
    /// Encodes an entry; entries of the log itself have no exchange.
    fn encode(exchange: Option<ExchangeId>, recorded_unix_us: i64, kind: Kind) -> Self {
        let tag = match &kind {
            Kind::Opening(_) => OPENING,
            Kind::Progress(_) => 11,
            Kind::Closing(_) => 12,
            Kind::Gap(_) => 13,
        };
        let entry = Entry {
            version: FORMAT,
            exchange_id: exchange.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            recorded_unix_us,
            kind: Some(kind),
        };
        let bytes = entry.encode_to_vec();
        let leaf_hash = leaf_hash(&bytes);
        // The columns to search by are taken out of the entry, which is encoded by now.
        let exchange = entry.exchange_id;
        let (consumer, provider, method, reason, trace_id) = match entry.kind {
            Some(Kind::Opening(o)) => (o.consumer, o.provider, o.method, o.refusal, o.trace_id),
            Some(Kind::Closing(c)) => (String::new(), String::new(), String::new(), c.refusal, Vec::new()),
            Some(Kind::Progress(_) | Kind::Gap(_)) | None => Default::default(),
        };
        Self {
            bytes,
            leaf_hash,
            kind: tag,
            exchange,
            recorded_us: recorded_unix_us,
            consumer,
            provider,
            method,
            reason,
            trace_id,
        }
    }

    /// Whether it is the opening of an exchange.
    pub(super) fn opens(&self) -> bool {
        self.kind == OPENING
    }

    /// The opening record of an exchange.
    pub(super) fn opening(exchange: ExchangeId, recorded_unix_us: i64, opening: Opening) -> Self {
        Self::encode(Some(exchange), recorded_unix_us, Kind::Opening(opening))
    }

    /// More of a streamed request, or the subjects of a reply.
    pub(super) fn progress(exchange: ExchangeId, recorded_unix_us: i64, progress: Progress) -> Self {
        Self::encode(Some(exchange), recorded_unix_us, Kind::Progress(progress))
    }

    /// The end of an exchange.
    pub(super) fn closing(exchange: ExchangeId, recorded_unix_us: i64, closing: Closing) -> Self {
        Self::encode(Some(exchange), recorded_unix_us, Kind::Closing(closing))
    }

    /// What happened while the log could not be written.
    pub(super) fn gap(recorded_unix_us: i64, gap: Gap) -> Self {
        Self::encode(None, recorded_unix_us, Kind::Gap(gap))
    }
}

/// SHA-256(0x00 ‖ entry).
pub(super) fn leaf_hash(entry: &[u8]) -> LeafHash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(entry);
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What is known of a request when its opening is recorded.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Whom it names so far.
    pub(super) subjects: &'a [Found],
    /// SHA-256(salt ‖ bytes so far).
    pub(super) digest: Vec<u8>,
    /// Bytes so far.
    pub(super) bytes: u64,
}

/// The decision, as an opening names it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decided<'d> {
    /// Who is to answer.
    pub(crate) provider: Option<&'d SystemId>,
    /// The purpose that the grant allows; empty: the one that the caller gave.
    pub(crate) purpose: Option<&'d str>,
    /// Id of the grant; empty where the call is refused.
    pub(crate) grant: &'d str,
    /// Reason code; empty where the call is permitted.
    pub(crate) refusal: &'d str,
}

/// The opening of a call.
pub(super) fn opening(
    call: &Call,
    directory: &Snapshot,
    decided: &Decided<'_>,
    asked: Asked<'_>,
    epoch: &EpochKey,
    salt: &[u8; 32],
) -> Opening {
    let provider = decided.provider.or(call.provider.as_ref());
    Opening {
        consumer: call.consumer.as_str().to_owned(),
        provider: provider.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        method: call.path.trim_start_matches('/').to_owned(),
        purpose: decided.purpose.or(call.purpose.as_deref()).unwrap_or_default().to_owned(),
        case_number: call
            .case_number
            .as_ref()
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        grant: decided.grant.to_owned(),
        directory_version: directory.version.as_ref().to_owned(),
        directory_digest: directory.digest.to_vec(),
        refusal: decided.refusal.to_owned(),
        subjects: pseudonyms(asked.subjects, epoch),
        request_digest: asked.digest,
        request_bytes: asked.bytes,
        trace_id: call.trace.trace_id.to_vec(),
        idempotency_key_digest: call
            .idempotency_key
            .as_ref()
            .map(|key| salted(salt, key.as_bytes()))
            .unwrap_or_default(),
        epoch: epoch.id().to_owned(),
    }
}

/// Subjects under their pseudonyms.
pub(super) fn pseudonyms(subjects: &[Found], epoch: &EpochKey) -> Vec<ura_proto::v1::Subject> {
    subjects
        .iter()
        .map(|found| ura_proto::v1::Subject {
            kind: found.kind.as_ref().to_owned(),
            pseudonym: epoch.pseudonym(found).to_vec(),
        })
        .collect()
}

/// SHA-256(salt ‖ bytes).
fn salted(salt: &[u8; 32], bytes: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(bytes);
    context.finish().as_ref().to_vec()
}
