//! The segments of one level: files that are only appended to, read in order, deleted whole.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tapio_model::{Level, ShardId};
use tapio_wire::decode_batch;

use super::{
    Entry, Position,
    ledger::LevelState,
    record::{Found, HEADER_BYTES, Label, Scan, seal},
};

/// Bytes that are read at once, unless one record is longer.
const WINDOW_BYTES: u64 = 512 << 10;

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    salt: u64,
    path: PathBuf,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Events in it that were not acknowledged.
    pub(super) events: u64,
    /// Their records, by shard.
    shards: BTreeMap<ShardId, u64>,
}

/// The files of a level, oldest first.
#[derive(Debug)]
pub(super) struct Segments {
    level: Level,
    folder: PathBuf,
    salt: u64,
    files: VecDeque<Segment>,
    /// The newest file, while it is appended to.
    open: Option<File>,
    /// The file of which a window is under way: it must not be dropped.
    pub(super) pinned: Option<u64>,
    /// Records found torn when the level was opened.
    pub(super) torn_records: u64,
    /// Records found damaged when the level was opened.
    pub(super) damaged_records: u64,
}

impl Segments {
    /// Finds the level's files and what is in them.
    pub(super) fn open(
        folder: &Path,
        level: Level,
        salt: u64,
        state: &mut LevelState,
    ) -> io::Result<Self> {
        let mut files = Vec::new();
        for file in fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name();
            let Some((number, salt)) = name.to_str().and_then(|name| read_name(name, level)) else {
                continue;
            };
            if number < state.segment || number == state.dropping {
                fs::remove_file(file.path())?;
                continue;
            }
            files.push((number, salt, file.path()));
        }
        files.sort_unstable();
        let newest = files.last().map(|(number, ..)| *number);
        state.newest = state.newest.max(newest.unwrap_or_default());
        state.dropping = 0;
        let (folder, pinned) = (folder.to_owned(), None);
        let files_found = VecDeque::with_capacity(files.len());
        let mut segments = Self {
            level,
            folder,
            salt,
            files: files_found,
            open: None,
            pinned,
            torn_records: 0,
            damaged_records: 0,
        };
        for (number, salt, path) in files {
            let from = if number == state.segment { state.offset } else { 0 };
            let segment =
                Segment { number, salt, path, bytes: 0, events: 0, shards: BTreeMap::new() };
            let recovered = recover(segment, from, newest == Some(number))?;
            segments.torn_records += recovered.torn_records;
            segments.damaged_records += recovered.damaged_records;
            segments.files.push_back(recovered.segment);
        }
        Ok(segments)
    }

    /// Appends a record that `seal` makes with the segment's salt; true if a file was made.
    pub(super) fn append(
        &mut self,
        state: &mut LevelState,
        segment_bytes_max: u64,
        record: &Record<'_>,
    ) -> io::Result<bool> {
        let size = u64::try_from(HEADER_BYTES + record.payload.len()).unwrap_or(u64::MAX);
        let is_full =
            self.files.back().is_some_and(|newest| newest.bytes + size > segment_bytes_max);
        if is_full {
            self.seal();
        }
        let is_new = self.open.is_none();
        if is_new {
            self.create(state)?;
        }
        let (Some(file), Some(segment)) = (self.open.as_mut(), self.files.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        let bytes = seal(record.payload, record.label, segment.salt);
        if let Err(why) = file.write_all(&bytes) {
            // What was written of it is cut off; where even that fails, the file is left with a
            // torn tail, and the next record goes to another.
            let cut = file.set_len(segment.bytes).and_then(|()| file.seek(SeekFrom::End(0)));
            if segment.bytes == 0 {
                self.open = None;
                let empty = self.files.pop_back();
                empty.map_or(Ok(()), |empty| empty.remove())?;
            } else if cut.is_err() {
                self.open = None;
            }
            return Err(why);
        }
        segment.bytes += size;
        segment.add(record.label);
        Ok(is_new)
    }

    fn create(&mut self, state: &mut LevelState) -> io::Result<()> {
        let number = state.newest + 1;
        let path = self.folder.join(write_name(self.level, number, self.salt));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        state.newest = number;
        if self.files.is_empty() {
            (state.segment, state.offset) = (number, 0);
        }
        let (salt, shards) = (self.salt, BTreeMap::new());
        self.files.push_back(Segment { number, salt, path, bytes: 0, events: 0, shards });
        self.open = Some(file);
        Ok(())
    }

    /// Ends the newest file; the next record goes to another.
    fn seal(&mut self) {
        if let Some(file) = self.open.take() {
            // What cannot be made durable now is as durable as without asking.
            drop(file.sync_data());
        }
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Reads the next records; at most one file's, and it is pinned. Returns fewer than there are,
    /// never none while there is one.
    pub(super) fn peek(
        &mut self,
        state: &mut LevelState,
        records_max: usize,
    ) -> io::Result<Vec<Entry>> {
        loop {
            let Some(front) = self.files.front() else { return Ok(Vec::new()) };
            if state.segment != front.number {
                (state.segment, state.offset) = (front.number, 0);
            }
            let entries = match read_entries(front, state.offset, records_max) {
                Ok(entries) => entries,
                // Somebody took the file away: what was in it is lost like what cannot be read.
                Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(why) => return Err(why),
            };
            if !entries.is_empty() {
                self.pinned = Some(front.number);
                return Ok(entries);
            }
            if self.open.is_some() && self.files.len() == 1 && front.events == 0 {
                return Ok(Vec::new());
            }
            self.remove_front(state)?;
        }
    }

    /// Moves behind a record; true if its file was done with and deleted.
    pub(super) fn pass(&mut self, state: &mut LevelState, entry: &Entry) -> io::Result<bool> {
        let Some(front) = self.files.front_mut() else { return Ok(false) };
        if front.number != entry.position.segment || state.offset >= entry.position.end {
            return Ok(false);
        }
        state.offset = entry.position.end;
        let events = u64::try_from(entry.batch.events.len()).unwrap_or(u64::MAX);
        front.events = front.events.saturating_sub(events);
        if let Some(records) = front.shards.get_mut(&entry.batch.shard) {
            *records = records.saturating_sub(1);
        }
        let is_done = state.offset >= front.bytes;
        if is_done {
            self.remove_front(state)?;
        }
        Ok(is_done)
    }

    fn remove_front(&mut self, state: &mut LevelState) -> io::Result<()> {
        let Some(front) = self.files.pop_front() else { return Ok(()) };
        // Nothing more can be read of it: what was not acknowledged is damaged.
        state.damaged += front.events;
        if self.files.is_empty() {
            self.open = None;
        }
        let next = self.files.front().map_or(state.newest + 1, |next| next.number);
        (state.segment, state.offset) = (next, 0);
        self.pinned = None;
        remove(&front.path)
    }

    /// Takes the oldest file that is not pinned out of the account, to be dropped.
    pub(super) fn choose_victim(&mut self) -> Option<Segment> {
        let index = self.files.iter().position(|file| Some(file.number) != self.pinned)?;
        let victim = self.files.remove(index)?;
        if index == self.files.len() {
            self.open = None;
        }
        Some(victim)
    }

    /// Returns the bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Returns the events that were not acknowledged.
    pub(super) fn events(&self) -> u64 {
        self.files.iter().map(|file| file.events).sum()
    }

    /// Returns the number of files.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Says whether anything of the shard is held.
    pub(super) fn holds(&self, shard: ShardId) -> bool {
        self.files.iter().any(|file| file.shards.get(&shard).is_some_and(|records| *records > 0))
    }
}

impl Segment {
    fn add(&mut self, label: Label) {
        self.events += u64::from(label.events);
        *self.shards.entry(label.shard).or_default() += 1;
    }

    /// Deletes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// A record to be appended.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) label: Label,
    pub(super) payload: &'a [u8],
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file that a former process left.
struct Recovered {
    segment: Segment,
    torn_records: u64,
    damaged_records: u64,
}

/// Reads what a former process left, from `from` on, and cuts a torn tail off the newest file.
fn recover(mut segment: Segment, from: u64, is_newest: bool) -> io::Result<Recovered> {
    let mut bytes = Vec::new();
    let mut file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    file.seek(SeekFrom::Start(from))?;
    (&file).take(u64::MAX).read_to_end(&mut bytes)?;
    segment.bytes = file.metadata()?.len();
    let (mut torn_records, mut damaged_records) = (0, 0);
    let mut scan = Scan::new(&bytes, segment.salt);
    loop {
        let good = scan.at();
        match scan.next() {
            None => return Ok(Recovered { segment, torn_records, damaged_records }),
            Some(Found::Record { label, .. }) => segment.add(label),
            // Its writer never heard that it was kept, so it still has the events.
            Some(Found::Torn(_)) if is_newest => {
                torn_records += 1;
                segment.bytes = from.saturating_add(u64::try_from(good).unwrap_or_default());
                file.set_len(segment.bytes)?;
            }
            Some(Found::Damaged(label) | Found::Torn(label)) => {
                damaged_records += 1;
                segment.events += label.map_or(0, |label| u64::from(label.events));
            }
        }
    }
}

/// Reads records from `offset` on.
fn read_entries(segment: &Segment, offset: u64, records_max: usize) -> io::Result<Vec<Entry>> {
    let left = segment.bytes.saturating_sub(offset);
    for window in [WINDOW_BYTES.min(left), left] {
        let mut file = File::open(&segment.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(usize::try_from(window).unwrap_or_default());
        file.take(window).read_to_end(&mut bytes)?;
        let mut scan = Scan::new(&bytes, segment.salt);
        let mut entries = Vec::new();
        while entries.len() < records_max
            && let Some(found) = scan.next()
        {
            let Found::Record { payload, .. } = found else { continue };
            if let Ok(decoded) = decode_batch(payload)
                && !decoded.batch.events.is_empty()
            {
                let end = offset + u64::try_from(scan.at()).unwrap_or_default();
                entries.push(Entry {
                    position: Position { segment: segment.number, end },
                    batch: decoded.batch,
                });
            }
        }
        if !entries.is_empty() || window == left {
            return Ok(entries);
        }
    }
    Ok(Vec::new())
}

fn write_name(level: Level, number: u64, salt: u64) -> String {
    format!("{}-{number:016x}-{salt:016x}.segment", level.name())
}

fn read_name(name: &str, level: Level) -> Option<(u64, u64)> {
    let rest = name.strip_prefix(level.name())?.strip_prefix('-')?.strip_suffix(".segment")?;
    let (number, salt) = rest.split_once('-')?;
    Some((u64::from_str_radix(number, 16).ok()?, u64::from_str_radix(salt, 16).ok()?))
}
