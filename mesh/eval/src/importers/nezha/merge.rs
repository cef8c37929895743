//! Many tables as one stream, in order of time.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque, binary_heap::PeekMut},
    mem,
    sync::Arc,
    vec,
};

use csv::ByteRecord;
use tapio_collect::Binder;
use tapio_model::{Event, Timestamp};

use super::{
    days::{Content, Table},
    log,
    metric::Samples,
    span,
    table::{Desk, open, unreadable},
};
use crate::{CHUNK_EVENTS_MAX, ImportAccount, ImportError, Progress, Recording};

/// Merges tables; one is opened when the stream reaches the earliest time in it.
pub(super) struct Merge {
    pending: VecDeque<Table>,
    open: BinaryHeap<Lane>,
    desk: Desk,
    progress: Progress,
    buffered: usize,
    latest: Timestamp,
}

/// An open table: its next event, and the rest.
struct Lane {
    next: Arc<Event>,
    rest: Rest,
}

enum Rest {
    /// Read whole, and sorted.
    Loaded(vec::IntoIter<Arc<Event>>),
    /// Read as it goes.
    Streamed(Box<Samples>),
}

impl Merge {
    /// `tables` are in order of the time they begin with.
    pub(super) fn new(tables: Vec<Table>, binder: Arc<Binder>) -> Self {
        let bytes_total = Some(tables.iter().map(|table| table.bytes).sum());
        Self {
            pending: tables.into(),
            open: BinaryHeap::new(),
            desk: Desk::new(binder),
            progress: Progress { bytes_read: 0, bytes_total },
            buffered: 0,
            latest: Timestamp::MIN,
        }
    }

    fn next(&mut self) -> Result<Option<Arc<Event>>, ImportError> {
        while let Some(table) = self.due() {
            self.open(&table)?;
        }
        let Some(mut lane) = self.open.peek_mut() else { return Ok(None) };
        let following = match &mut lane.rest {
            Rest::Loaded(events) => events.next(),
            Rest::Streamed(samples) => {
                samples.next(&mut self.desk, &mut self.progress.bytes_read)?
            }
        };
        let event = if let Some(following) = following {
            // A sample takes the place of the one that leaves; of a loaded table there is one less.
            self.buffered -= usize::from(matches!(lane.rest, Rest::Loaded(_)));
            mem::replace(&mut lane.next, following)
        } else {
            self.buffered -= 1;
            PeekMut::pop(lane).next
        };
        if event.time < self.latest {
            self.desk.account.out_of_order += 1;
        }
        self.latest = self.latest.max(event.time);
        Ok(Some(event))
    }

    fn due(&mut self) -> Option<Table> {
        let is_due =
            |table: &mut Table| self.open.peek().is_none_or(|lane| table.from <= lane.next.time);
        self.pending.pop_front_if(is_due)
    }

    fn open(&mut self, table: &Table) -> Result<(), ImportError> {
        let lane = match table.content {
            Content::Logs | Content::Spans => {
                let events = load(table, &mut self.desk)?;
                self.progress.bytes_read += table.bytes;
                self.buffered += events.len();
                let mut events = events.into_iter();
                events.next().map(|next| Lane { next, rest: Rest::Loaded(events) })
            }
            Content::Metrics => {
                let mut samples =
                    Box::new(Samples::open(&table.path, &mut self.progress.bytes_read)?);
                let first = samples.next(&mut self.desk, &mut self.progress.bytes_read)?;
                self.buffered += usize::from(first.is_some());
                first.map(|next| Lane { next, rest: Rest::Streamed(samples) })
            }
        };
        self.open.extend(lane);
        let peak = &mut self.desk.account.buffered_events_peak;
        *peak = self.buffered.max(*peak);
        Ok(())
    }
}

fn load(table: &Table, desk: &mut Desk) -> Result<Vec<Arc<Event>>, ImportError> {
    let mut reader = open(&table.path)?;
    let mut row = ByteRecord::new();
    let mut events = Vec::new();
    while reader.read_byte_record(&mut row).map_err(|error| unreadable(&table.path, error))? {
        let read = match table.content {
            Content::Spans => span::read(&row, &mut desk.shared),
            Content::Logs | Content::Metrics => log::read(&row, &mut desk.shared),
        };
        events.extend(desk.book(&table.path, &row, read));
    }
    events.sort_unstable_by_key(|event| event.order());
    Ok(events)
}

impl Recording for Merge {
    fn next_chunk(&mut self, chunk: &mut Vec<Arc<Event>>) -> Result<bool, ImportError> {
        for _ in 0..CHUNK_EVENTS_MAX {
            let Some(event) = self.next()? else { return Ok(false) };
            chunk.push(event);
        }
        Ok(true)
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn account(&self) -> &ImportAccount {
        &self.desk.account
    }
}

/// The earliest lane is the greatest, for a heap hands out its greatest.
impl Ord for Lane {
    fn cmp(&self, other: &Self) -> Ordering {
        other.next.order().cmp(&self.next.order())
    }
}

impl PartialOrd for Lane {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Lane {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Lane {}
