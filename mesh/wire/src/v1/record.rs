//! Fixed-width records, for what comes by the ten thousand a second. Numbers are big-endian.

use tapio_model::{Ending, EventId, Grave, Incarnation, Outcome, Timestamp, TraceId};

use super::code::Coded;
use crate::{DecodeError, VERSION};

/// Graves a message may have: what a node remembers of closed traces by default, and some more.
pub const GRAVES_MAX: usize = 1 << 20;

/// Bytes a message of graves may have, its version included.
pub const GRAVES_BYTES_MAX: usize = HEAD_BYTES + GRAVES_MAX * GRAVE_BYTES;

/// The version, and the number of graves.
const HEAD_BYTES: usize = 1 + size_of::<u32>();
/// Bytes of a grave.
const GRAVE_BYTES: usize = 45;
/// Bytes of an event's outcome.
const OUTCOME_BYTES: usize = 17;

/// Makes a message of graves.
///
/// # Layout
/// Offset 0, one byte: the version. Offset 1, four bytes: how many records follow, to the end.
/// A record, 45 bytes:
///
/// | offset | width | what |
/// |---|---|---|
/// | 0 | 16 | trace id |
/// | 16 | 4 | incarnation, unsigned |
/// | 20 | 1 | ending: its number |
/// | 21 | 8 | time of the youngest event, signed nanoseconds since 1970 |
/// | 29 | 8 | last log entry of this life, unsigned |
/// | 37 | 8 | until when it is remembered, signed nanoseconds since 1970 |
pub(crate) fn write_graves(graves: &[Grave]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + graves.len() * GRAVE_BYTES);
    bytes.push(VERSION);
    // More than are counted here is far more than is read at the other end.
    let count = u32::try_from(graves.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&count.to_be_bytes());
    for grave in graves {
        bytes.extend_from_slice(grave.trace.as_bytes());
        bytes.extend_from_slice(&grave.incarnation.0.to_be_bytes());
        bytes.push(number(grave.ending));
        bytes.extend_from_slice(&grave.newest.as_nanos().to_be_bytes());
        bytes.extend_from_slice(&grave.upto.to_be_bytes());
        bytes.extend_from_slice(&grave.until.as_nanos().to_be_bytes());
    }
    bytes
}

/// Reads the graves behind a version byte.
pub(crate) fn read_graves(body: &[u8]) -> Result<Vec<Grave>, DecodeError> {
    let (count, records) = body
        .split_first_chunk()
        .ok_or_else(|| DecodeError::malformed("graves without their number"))?;
    let (records, rest) = records.as_chunks::<GRAVE_BYTES>();
    let count = u32::from_be_bytes(*count);
    if usize::try_from(count) != Ok(records.len()) || !rest.is_empty() {
        let (whole, over) = (records.len(), rest.len());
        let what = format!("{count} graves announced; {whole} and {over} bytes follow");
        return Err(DecodeError::malformed(what));
    }
    records.iter().map(read_grave).collect()
}

fn read_grave(record: &[u8; GRAVE_BYTES]) -> Result<Grave, DecodeError> {
    let mut fields = Fields(record);
    Ok(Grave {
        trace: TraceId::from_bytes(fields.take()?),
        incarnation: Incarnation(u32::from_be_bytes(fields.take()?)),
        ending: Ending::from_code(fields.take().map(u8::from_be_bytes)?.into())?,
        newest: Timestamp::from_nanos(i64::from_be_bytes(fields.take()?)),
        upto: u64::from_be_bytes(fields.take()?),
        until: Timestamp::from_nanos(i64::from_be_bytes(fields.take()?)),
    })
}

/// Writes events and what became of them.
///
/// # Layout
/// Records to the end, 17 bytes each: offset 0, 16 bytes: event id; offset 16, one byte: the
/// outcome's number.
pub(super) fn write_outcomes(outcomes: &[(EventId, Outcome)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(outcomes.len() * OUTCOME_BYTES);
    for (event, outcome) in outcomes {
        bytes.extend_from_slice(event.as_bytes());
        bytes.push(number(*outcome));
    }
    bytes
}

/// Reads events and what became of them.
pub(super) fn read_outcomes(bytes: &[u8]) -> Result<Vec<(EventId, Outcome)>, DecodeError> {
    let (records, rest) = bytes.as_chunks::<OUTCOME_BYTES>();
    if !rest.is_empty() {
        return Err(DecodeError::malformed("an outcome that is cut off"));
    }
    let outcome = |record: &[u8; OUTCOME_BYTES]| {
        let mut fields = Fields(record);
        let event = EventId::from_bytes(fields.take()?);
        let code = fields.take().map(u8::from_be_bytes)?;
        Ok((event, Outcome::from_code(code.into())?))
    };
    records.iter().map(outcome).collect()
}

/// Returns the number of a short list's member: it fits a byte.
fn number(member: impl Coded) -> u8 {
    let [.., number] = member.code().to_be_bytes();
    number
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((field, rest)) = self.0.split_first_chunk() else {
            return Err(DecodeError::malformed("a record that is cut off"));
        };
        self.0 = rest;
        Ok(*field)
    }
}
