//! What the spool must not forget: how far each level was read, and what was lost.
//!
//! # Layout
//! One file of two slots of 512 bytes, written in turns, so that a torn write costs the newest
//! state only. A slot: magic (8), turn (8), identity (8), then for each level, lowest first, the
//! fields of [`Level`](LevelState) in their order (8 each), then XXH3-64 of all before. The file
//! never grows, so that a full disk does not keep it from being written.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"TAPIOSPL";
const SLOT_BYTES: usize = 512;
const FIELDS: usize = 8;

/// The durable state of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LevelState {
    /// The segment that is read.
    pub(super) segment: u64,
    /// How far it has been read.
    pub(super) offset: u64,
    /// A segment that is being dropped and already counted; zero for none.
    pub(super) dropping: u64,
    /// The last segment that was made.
    pub(super) newest: u64,
    /// Events dropped because the spool was full.
    pub(super) dropped: u64,
    /// Events in records that could not be read.
    pub(super) damaged: u64,
    /// Events that the output would never take.
    pub(super) refused: u64,
    /// Lost events that stories were told of.
    pub(super) told: u64,
}

impl LevelState {
    /// Returns the events that were lost.
    pub(super) const fn lost(&self) -> u64 {
        self.dropped.saturating_add(self.damaged).saturating_add(self.refused)
    }

    const fn fields(&self) -> [u64; FIELDS] {
        [
            self.segment,
            self.offset,
            self.dropping,
            self.newest,
            self.dropped,
            self.damaged,
            self.refused,
            self.told,
        ]
    }

    const fn of(fields: [u64; FIELDS]) -> Self {
        let [segment, offset, dropping, newest, dropped, damaged, refused, told] = fields;
        Self { segment, offset, dropping, newest, dropped, damaged, refused, told }
    }
}

/// Everything that is durable beside the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    turn: u64,
    /// Tells this spool from others.
    pub(super) identity: u64,
    /// The levels, lowest first.
    pub(super) levels: [LevelState; 3],
}

/// The file.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
}

impl Ledger {
    /// Opens the file, or makes it with `identity`. A file of which no slot can be read is a new
    /// one: the segments are then read from their beginning, which costs duplicates, not events.
    pub(super) fn open(path: &Path, identity: u64) -> io::Result<(Self, State)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::with_capacity(2 * SLOT_BYTES);
        io::Read::read_to_end(&mut io::Read::take(&file, 2 * SLOT_BYTES as u64), &mut bytes)?;
        let newest = bytes.chunks(SLOT_BYTES).filter_map(read).max_by_key(|state| state.turn);
        let state = newest.unwrap_or(State { identity, ..State::default() });
        let mut ledger = Self { file };
        if bytes.len() < 2 * SLOT_BYTES {
            ledger.file.write_all_at(&[0; 2 * SLOT_BYTES], 0)?;
        }
        let mut first = state;
        ledger.write(&mut first)?;
        Ok((ledger, first))
    }

    /// Writes the state into the slot whose turn it is.
    pub(super) fn write(&mut self, state: &mut State) -> io::Result<()> {
        state.turn = state.turn.wrapping_add(1);
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&state.turn.to_le_bytes());
        slot.extend_from_slice(&state.identity.to_le_bytes());
        for field in state.levels.iter().flat_map(LevelState::fields) {
            slot.extend_from_slice(&field.to_le_bytes());
        }
        let check = xxh3_64(&slot);
        slot.extend_from_slice(&check.to_le_bytes());
        self.file.write_all_at(&slot, (state.turn % 2) * SLOT_BYTES as u64)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read(slot: &[u8]) -> Option<State> {
    let body = slot.get(..8 + 8 + 8 + 3 * FIELDS * 8)?;
    let check = slot.get(body.len()..)?.first_chunk::<8>()?;
    if u64::from_le_bytes(*check) != xxh3_64(body) {
        return None;
    }
    let (magic, mut rest) = body.split_first_chunk::<8>()?;
    if *magic != MAGIC {
        return None;
    }
    let mut take = || {
        let (number, left) = rest.split_first_chunk::<8>()?;
        rest = left;
        Some(u64::from_le_bytes(*number))
    };
    let mut state = State { turn: take()?, identity: take()?, ..State::default() };
    for level in &mut state.levels {
        let mut fields = [0; FIELDS];
        for field in &mut fields {
            *field = take()?;
        }
        *level = LevelState::of(fields);
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_torn_write_costs_the_newest_state_only() {
        let folder = tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        let (mut ledger, mut state) = Ledger::open(&path, 5).expect("opened");
        for dropped in [10, 20] {
            state.levels[1].dropped = dropped;
            ledger.write(&mut state).expect("written");
        }
        let slot = usize::try_from(state.turn % 2).expect("small") * SLOT_BYTES;
        drop(ledger);
        let clean = fs::read(&path).expect("bytes");
        assert_eq!(clean.len(), 2 * SLOT_BYTES);
        for byte in 0..230 {
            let mut torn = clean.clone();
            torn[slot + byte] ^= 0x55;
            fs::write(&path, &torn).expect("written");
            let (_, state) = Ledger::open(&path, 6).expect("opened");
            let (dropped, identity) = (state.levels[1].dropped, state.identity);
            let is_newest = byte >= 24 + 3 * FIELDS * 8 + 8;
            assert_eq!((dropped, identity), (if is_newest { 20 } else { 10 }, 5), "byte {byte}");
        }
        fs::write(&path, [9; 100]).expect("written");
        let (_, state) = Ledger::open(&path, 6).expect("opened");
        assert_eq!((state.identity, state.levels), (6, [LevelState::default(); 3]));
    }
}
