//! Joins the lines of one out-of-memory kill; hands everything else on.

use std::time::Duration;

use tapio_collect::{DropReason, Unbound, event_id};
use tapio_model::{Class, EventId, Kind, Severity, Source, Timestamp, keys};

use super::{
    message::translate_message,
    oom::{Choice, Killed, OomLine},
    record::Record,
};
use crate::{harvest::Harvest, place_of_cgroup};

/// How long the lines of a kill may be apart. The kernel writes them under one lock, within
/// milliseconds; a second later the missing ones were overwritten.
pub(crate) const JOIN_MAX: Duration = Duration::from_secs(1);

/// Turns records of the kernel log into events.
///
/// # Invariant
/// A kill is told once: by its `Killed process` line joined with what stood before it, or by the
/// choice of the victim when that line does not come.
#[derive(Debug)]
pub(crate) struct Assembler {
    scope: Vec<u8>,
    block: Option<Block>,
    /// Told by its choice alone: the kill that comes late is not told again.
    told: Option<i64>,
    /// The group that dies as one, with the limit that was reached.
    group: Option<(String, Timestamp)>,
}

/// The lines of a kill so far.
#[derive(Debug)]
struct Block {
    opened: Timestamp,
    invoked: Option<Line>,
    limit_bytes: Option<i64>,
    choice: Option<(Choice, Line)>,
    records: u64,
}

impl Block {
    fn new(opened: Timestamp) -> Self {
        Self { opened, invoked: None, limit_bytes: None, choice: None, records: 0 }
    }
}

/// A line that an event may be told by.
#[derive(Debug, Clone)]
struct Line {
    seq: u64,
    time: Timestamp,
    text: String,
}

impl Assembler {
    /// Makes an assembler whose ids are unique within `scope`: a boot.
    pub(crate) fn new(scope: &[u8]) -> Self {
        Self { scope: scope.to_vec(), block: None, told: None, group: None }
    }

    /// Says whether lines are held that wait for others.
    pub(crate) fn is_waiting(&self) -> bool {
        self.block.is_some()
    }

    /// Takes a record that was read at `time`.
    pub(crate) fn observe(&mut self, record: &Record, time: Timestamp, harvest: &mut Harvest) {
        harvest.read += 1;
        if self.block.as_ref().is_some_and(|block| time.since(block.opened) > JOIN_MAX) {
            self.flush(harvest);
        }
        // Processes may write to the kernel log too, with a facility: they cannot vouch for it.
        let is_kernel = record.facility == 0;
        let line = Line { seq: record.seq, time, text: record.message.clone() };
        match OomLine::read(&record.message).filter(|_| is_kernel) {
            Some(said) => self.join(said, line, harvest),
            None => {
                let id = self.id(record.seq);
                match translate_message(record, is_kernel, id, time) {
                    Some(event) => harvest.emit(event, 1),
                    None => harvest.drop_records(DropReason::Ignored, 1),
                }
            }
        }
    }

    /// Tells what is held without waiting any longer.
    pub(crate) fn flush(&mut self, harvest: &mut Harvest) {
        let Some(block) = self.block.take() else { return };
        if let Some((choice, line)) = block.choice.clone() {
            self.told = Some(choice.pid);
            let killed = Killed {
                constraint: None,
                process: choice.process.clone(),
                pid: choice.pid,
                anon_rss_kib: None,
            };
            self.tell(block, &killed, &line, harvest);
        } else if let Some(invoked) = block.invoked {
            let event = self
                .event(&invoked, Kind::Log)
                .rated(Severity::Warn, 0.5, Class::Memory)
                .message(invoked.text);
            harvest.emit(event, block.records);
        } else {
            harvest.drop_records(DropReason::Ignored, block.records);
        }
    }

    fn join(&mut self, said: OomLine, line: Line, harvest: &mut Harvest) {
        match said {
            OomLine::Invoked { .. } => {
                self.flush(harvest);
                self.told = None;
                self.group = None;
                let block = self.open(line.time);
                block.invoked = Some(line);
            }
            OomLine::Limit { bytes } => self.open(line.time).limit_bytes = Some(bytes),
            OomLine::Choice(choice) => {
                if self.block.as_ref().is_some_and(|block| block.choice.is_some()) {
                    self.flush(harvest);
                }
                self.told = None;
                let block = self.open(line.time);
                block.choice = Some((choice, line));
            }
            OomLine::Group { cgroup } => {
                self.group = Some((cgroup, line.time));
                harvest.emitted += 1;
            }
            OomLine::Killed(killed) => self.kill(&killed, &line, harvest),
        }
    }

    fn open(&mut self, at: Timestamp) -> &mut Block {
        let block = self.block.get_or_insert_with(|| Block::new(at));
        block.records += 1;
        block
    }

    fn kill(&mut self, killed: &Killed, line: &Line, harvest: &mut Harvest) {
        if self.told == Some(killed.pid) {
            self.told = None;
            harvest.emitted += 1;
            return;
        }
        let chosen = self.block.as_ref().and_then(|block| block.choice.as_ref());
        if chosen.is_some_and(|(choice, _)| choice.pid != killed.pid) {
            self.flush(harvest);
        }
        let mut block = self.block.take().unwrap_or_else(|| Block::new(line.time));
        block.records += 1;
        self.tell(block, killed, line, harvest);
    }

    /// Tells a kill: that the limit was reached, if one was, and who died of it.
    fn tell(&self, block: Block, killed: &Killed, line: &Line, harvest: &mut Harvest) {
        let choice = block.choice.as_ref().map(|(choice, _)| choice);
        let constraint = choice.map(|choice| choice.constraint).or(killed.constraint);
        let group = self.group.as_ref().filter(|(_, at)| line.time.since(*at) <= JOIN_MAX);
        let group = group.map(|(cgroup, _)| cgroup.as_str());
        let cgroup = choice.and_then(|choice| choice.oom_cgroup.as_deref()).or(group);
        let task_cgroup = choice.map(|choice| choice.task_cgroup.as_str()).or(group);
        if let Some(invoked) = block.invoked.filter(|_| constraint == Some("memcg")) {
            let event = self
                .event(&invoked, Kind::MemoryLimitReached)
                .at(cgroup.map(place_of_cgroup).unwrap_or_default())
                .rated(Severity::Warn, 0.6, Class::Memory)
                .with_some(keys::MEMORY_LIMIT, block.limit_bytes)
                .message(invoked.text);
            harvest.events.push(event);
        }
        // The choice's number, if there is one: the same whether or not the kill's line came.
        let seq = block.choice.as_ref().map_or(line.seq, |(_, chosen)| chosen.seq);
        let event = Unbound::new(self.id(seq), line.time, Source::Kernel, Kind::OomKill)
            .at(task_cgroup.map(place_of_cgroup).unwrap_or_default())
            .rated(Severity::Fatal, 0.95, Class::Memory)
            .with_some(keys::OOM_CONSTRAINT, constraint)
            .with_some(keys::OOM_CGROUP, cgroup)
            .with(keys::PROCESS_PID, killed.pid)
            .with(keys::PROCESS_NAME, killed.process.as_str())
            .with_some(keys::OOM_ANON_RSS_KIB, killed.anon_rss_kib)
            .with_some(keys::MEMORY_LIMIT, block.limit_bytes)
            .message(line.text.as_str());
        harvest.emit(event, block.records);
    }

    fn event(&self, line: &Line, kind: Kind) -> Unbound {
        Unbound::new(self.id(line.seq), line.time, Source::Kernel, kind)
    }

    fn id(&self, seq: u64) -> EventId {
        event_id(&[b"kmsg", &self.scope, &seq.to_le_bytes()])
    }
}

#[cfg(test)]
mod tests;
