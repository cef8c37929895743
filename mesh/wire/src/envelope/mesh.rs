//! What nodes of the mesh write down and send to each other.
//!
//! Chunks are put together before they are read here: what comes in chunks may be larger than one
//! message.

use tapio_model::{
    Audit, DeadLetter, Findings, Grave, IncidentState, ResolvedState, Telling, TraceState,
    WaitingState,
};
use tapio_shard::{Root, SignOfLife};

use super::{MESSAGE_BYTES_MAX, body_of, read_body, seal};
use crate::{
    DecodeError,
    v1::{
        AuditV1, DeadLetterV1, FindingsV1, GRAVES_BYTES_MAX, IncidentStateV1, ResolvedV1, RootV1,
        SignOfLifeV1, TellingV1, TraceStateV1, WaitingV1, read_graves, write_graves,
    },
};

/// Bytes a root may have: it is one message.
pub const ROOT_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Bytes a live trace may have when it is written down.
///
/// # Source
/// A trace holds 4 MiB of events unless configured otherwise; its findings quote some of them.
pub const TRACE_STATE_BYTES_MAX: usize = 64 << 20;
/// Bytes an open incident may have when it is written down: hundreds of findings, their evidence.
pub const INCIDENT_STATE_BYTES_MAX: usize = 64 << 20;
/// Bytes the resolved incidents may have when they are written down.
pub const RESOLVED_BYTES_MAX: usize = 64 << 20;
/// Bytes a change that waits may have when it is written down: it came in one message with others.
pub const WAITING_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Bytes findings for another shard may have: they are one message.
pub const FINDINGS_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Bytes a telling may have: it is one message.
pub const TELLING_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Bytes a dead letter may have: it quotes a message of any size, and says why.
pub const DEAD_LETTER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Bytes an audit may have: some 490,000 events.
pub const AUDIT_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Bytes a sign of life may have: every shard there can be, and two short texts.
pub const SIGN_OF_LIFE_BYTES_MAX: usize = 1 << 20;

/// Encodes a root.
#[must_use]
pub fn encode_root(root: &Root) -> Vec<u8> {
    seal(&RootV1::from(root))
}

/// Decodes a root.
///
/// # Errors
/// [`DecodeError`]; a root that breaks its invariant is malformed.
pub fn decode_root(bytes: &[u8]) -> Result<Root, DecodeError> {
    read_body::<RootV1<'_>>(body_of(bytes, ROOT_BYTES_MAX)?)?.try_into()
}

/// Encodes a live trace.
#[must_use]
pub fn encode_trace_state(trace_state: &TraceState) -> Vec<u8> {
    seal(&TraceStateV1::from(trace_state))
}

/// Decodes a live trace.
///
/// # Errors
/// [`DecodeError`]; one event that cannot be read costs the trace.
pub fn decode_trace_state(bytes: &[u8]) -> Result<TraceState, DecodeError> {
    read_body::<TraceStateV1<'_>>(body_of(bytes, TRACE_STATE_BYTES_MAX)?)?.try_into()
}

/// Encodes traces that are over, 45 bytes each.
#[must_use]
pub fn encode_graves(graves: &[Grave]) -> Vec<u8> {
    write_graves(graves)
}

/// Decodes traces that are over.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_graves(bytes: &[u8]) -> Result<Vec<Grave>, DecodeError> {
    read_graves(body_of(bytes, GRAVES_BYTES_MAX)?)
}

/// Encodes an open incident.
#[must_use]
pub fn encode_incident_state(incident_state: &IncidentState) -> Vec<u8> {
    seal(&IncidentStateV1::from(incident_state))
}

/// Decodes an open incident.
///
/// # Errors
/// [`DecodeError`]; one event or finding that cannot be read costs the incident.
pub fn decode_incident_state(bytes: &[u8]) -> Result<IncidentState, DecodeError> {
    read_body::<IncidentStateV1<'_>>(body_of(bytes, INCIDENT_STATE_BYTES_MAX)?)?.try_into()
}

/// Encodes resolved incidents.
#[must_use]
pub fn encode_resolved(resolved: &[ResolvedState]) -> Vec<u8> {
    seal(&ResolvedV1::from(resolved))
}

/// Decodes resolved incidents.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_resolved(bytes: &[u8]) -> Result<Vec<ResolvedState>, DecodeError> {
    read_body::<ResolvedV1>(body_of(bytes, RESOLVED_BYTES_MAX)?)?.try_into()
}

/// Encodes a change that waits.
#[must_use]
pub fn encode_waiting(waiting: &WaitingState) -> Vec<u8> {
    seal(&WaitingV1::from(waiting))
}

/// Decodes a change that waits.
///
/// # Errors
/// [`DecodeError`]; one event that cannot be read costs the change.
pub fn decode_waiting(bytes: &[u8]) -> Result<WaitingState, DecodeError> {
    read_body::<WaitingV1<'_>>(body_of(bytes, WAITING_BYTES_MAX)?)?.try_into()
}

/// Encodes findings for another shard.
#[must_use]
pub fn encode_findings(findings: &Findings) -> Vec<u8> {
    seal(&FindingsV1::from(findings))
}

/// Decodes findings for another shard.
///
/// # Errors
/// [`DecodeError`]; a part that cannot be read costs the message: half of it would break its order.
pub fn decode_findings(bytes: &[u8]) -> Result<Findings, DecodeError> {
    read_body::<FindingsV1<'_>>(body_of(bytes, FINDINGS_BYTES_MAX)?)?.try_into()
}

/// Encodes a telling.
#[must_use]
pub fn encode_telling(telling: &Telling) -> Vec<u8> {
    seal(&TellingV1::from(telling))
}

/// Decodes a telling.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_telling(bytes: &[u8]) -> Result<Telling, DecodeError> {
    read_body::<TellingV1<'_>>(body_of(bytes, TELLING_BYTES_MAX)?)?.try_into()
}

/// Encodes a dead letter.
#[must_use]
pub fn encode_dead_letter(dead_letter: &DeadLetter) -> Vec<u8> {
    seal(&DeadLetterV1::from(dead_letter))
}

/// Decodes a dead letter.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_dead_letter(bytes: &[u8]) -> Result<DeadLetter, DecodeError> {
    read_body::<DeadLetterV1<'_>>(body_of(bytes, DEAD_LETTER_BYTES_MAX)?)?.try_into()
}

/// Encodes an audit.
#[must_use]
pub fn encode_audit(audit: &Audit) -> Vec<u8> {
    seal(&AuditV1::from(audit))
}

/// Decodes an audit.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_audit(bytes: &[u8]) -> Result<Audit, DecodeError> {
    read_body::<AuditV1<'_>>(body_of(bytes, AUDIT_BYTES_MAX)?)?.try_into()
}

/// Encodes a sign of life.
#[must_use]
pub fn encode_sign_of_life(sign_of_life: &SignOfLife) -> Vec<u8> {
    seal(&SignOfLifeV1::from(sign_of_life))
}

/// Decodes a sign of life.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_sign_of_life(bytes: &[u8]) -> Result<SignOfLife, DecodeError> {
    read_body::<SignOfLifeV1>(body_of(bytes, SIGN_OF_LIFE_BYTES_MAX)?)?.try_into()
}
