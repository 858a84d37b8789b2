//! The opening record of a call: who asks whom for what, about whom, why, and what was decided.

use aws_lc_rs::digest;
use ura_evidence::keys::{EpochKey, commitment};
use ura_proto::{
    ExchangeId, SystemId,
    v1::{Opening, Subject, SubjectOpening},
};

use crate::{
    call::Call,
    directory::{Grant, Snapshot, subject::Found},
};

/// The decision, as an opening names it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decided<'d> {
    /// Who is to answer.
    pub(crate) provider: Option<&'d SystemId>,
    /// The purpose that the grant allows; empty: the one that the caller gave.
    pub(crate) purpose: Option<&'d str>,
    /// The grant; `None` where the call is refused.
    pub(crate) grant: Option<&'d Grant>,
    /// Reason code; empty where the call is permitted.
    pub(crate) refusal: &'d str,
}

/// What is known of a request when its opening is recorded.
#[derive(Debug)]
pub(super) struct Asked {
    /// Commitments to whom it names so far.
    pub(super) subjects: Vec<Subject>,
    /// SHA-256(salt ‖ bytes so far).
    pub(super) digest: Vec<u8>,
    /// Bytes so far.
    pub(super) bytes: u64,
}

/// The opening of a call.
pub(super) fn opening(
    call: &Call,
    directory: &Snapshot,
    decided: &Decided<'_>,
    asked: Asked,
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
        grant: decided.grant.map(|grant| grant.id.as_ref().to_owned()).unwrap_or_default(),
        directory_version: directory.version.as_ref().to_owned(),
        directory_digest: directory.digest.to_vec(),
        refusal: decided.refusal.to_owned(),
        subjects: asked.subjects,
        request_digest: asked.digest,
        request_bytes: asked.bytes,
        trace_id: call.trace.trace_id.to_vec(),
        idempotency_key_digest: call
            .idempotency_key
            .as_ref()
            .map(|key| salted(salt, key.as_bytes()))
            .unwrap_or_default(),
        epoch: epoch.id().to_owned(),
        grant_digest: decided.grant.map(|grant| grant.digest.to_vec()).unwrap_or_default(),
        consumer_certificate: call.certificate.to_vec(),
        disclose_from_unix_us: decided
            .grant
            .map_or(0, |grant| grant.disclosure.from_us(call.arrived_unix_us)),
    }
}

/// Subjects as an entry names them, and what opens that.
pub(super) fn subjects(
    found: &[Found],
    epoch: &EpochKey,
    exchange: ExchangeId,
) -> (Vec<Subject>, Vec<SubjectOpening>) {
    let openings: Vec<_> =
        found.iter().map(|found| epoch.subject(&found.kind, &found.value, exchange)).collect();
    let committed = openings
        .iter()
        .map(|opening| Subject { kind: opening.kind.clone(), commitment: commitment(opening).to_vec() })
        .collect();
    (committed, openings)
}

/// SHA-256(salt ‖ bytes).
fn salted(salt: &[u8; 32], bytes: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(bytes);
    context.finish().as_ref().to_vec()
}
