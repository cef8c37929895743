//! A durable middle in memory whose failures are written down beforehand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{
    Beat, BeatReader, Fabric, FabricError, LogEntry, LogReader, Parcel, Receipt, Revision,
    SwapError, Versioned,
};
use tapio_model::{
    Address, ChunkName, Confidence, Entity, EventId, Evidence, EvidenceClass, Finding, FindingId,
    Incarnation, IncidentState, Kind, Role, ShardId, Source, StoryId, Text, Timestamp, TraceId,
    Verdict,
};
use tapio_shard::Root;
use tapio_wire::{decode_root, encode_root};
use tokio::{sync::Notify, time::sleep};

/// Returns a time, in seconds.
pub(crate) const fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds.cast_signed())
}

/// Returns a text of so many bytes.
pub(crate) fn big_text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Returns a finding of a trace of its own that rests on one event.
pub(crate) fn finding(number: u8, title: &str) -> Finding {
    let subject = Entity::Pod { uid: format!("pod-{number}").into() };
    let root = EventId::from_bytes([number; 16]);
    let evidence = Evidence {
        time: at(1),
        event: root,
        role: Role::Root,
        source: Source::Kubernetes,
        kind: Kind::ProbeFailed,
        place: "here".into(),
        text: "it broke".into(),
    };
    Finding {
        id: FindingId {
            trace: TraceId::from_bytes([number; 16]),
            incarnation: Incarnation::default(),
            pattern: "toy".into(),
            subject: subject.clone(),
        },
        anchor: subject.clone(),
        root,
        evidence: vec![evidence],
        class: EvidenceClass::EventText,
        touches: vec![subject],
        leads_to: Vec::new(),
        verdict: Verdict::Cause,
        confidence: Confidence::new(0.7),
        title: title.into(),
        root_cause: "it broke".into(),
        recommendation: Vec::new(),
        ruled_out: Vec::new(),
        missing: Vec::new(),
        lost: 0,
        late: 0,
        trace_events: 1,
    }
}

/// Returns an open incident of these findings that was opened, told and amended at one second.
pub(crate) fn incident(number: u16, findings: Vec<Finding>) -> IncidentState {
    let [high, low] = number.to_be_bytes();
    IncidentState {
        id: StoryId::new(at(1), [0, 0, 0, 0, 0, 0, 0, 0, high, low]),
        opened_at: at(1),
        predecessor: None,
        further: 0,
        entities: findings.iter().flat_map(|finding| finding.touches.clone()).collect(),
        events: findings.iter().map(|finding| finding.root).collect(),
        owned: findings.iter().map(|finding| finding.root).collect(),
        evidence: Vec::new(),
        telling: 0,
        told_at: at(1),
        news_at: at(1),
        is_dirty: false,
        is_told: true,
        findings,
    }
}

/// Returns a change of a service that may explain who is refused by it.
pub(crate) fn change(number: u8, title: &str) -> Finding {
    let change = of_service(number, title, "rollout");
    let verdict = Verdict::Unknown { hypotheses: Vec::new(), check: "".into() };
    Finding { verdict, leads_to: vec!["refused".into()], ..change }
}

/// Returns that a client is refused by the service.
pub(crate) fn refused(number: u8) -> Finding {
    let mut refused = of_service(number, "a client is refused", "refused");
    refused.id.subject = Entity::Edge { from: "checkout".into(), to: "cart".into() };
    refused
}

fn of_service(number: u8, title: &str, pattern: &str) -> Finding {
    let service = Entity::Service { namespace: "shop".into(), name: "cart".into() };
    let mut finding = finding(number, title);
    finding.id.pattern = pattern.into();
    finding.id.subject = service.clone();
    Finding { anchor: service.clone(), touches: vec![service], ..finding }
}

/// What becomes of a write of a root.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Swap {
    /// It is written, and nobody hears so.
    Unheard,
    /// It is lost on the way.
    Astray,
    /// Somebody else writes this first.
    After(Box<Root>),
    /// It is refused.
    Refused,
}

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// What becomes of the next writes of roots; the rest are written.
    pub(crate) swaps: VecDeque<Swap>,
    /// Reads of roots that answer with the write before the last one.
    pub(crate) stale_reads: u32,
    /// Deliveries that get no answer though they are done.
    pub(crate) unheard_deliveries: u32,
    /// Places where nothing may be laid.
    pub(crate) refused: BTreeSet<Address>,
    /// Whether chunks may not be read.
    pub(crate) refuses_chunks: bool,
    /// Readers of a log that stay silent.
    pub(crate) silent_readers: u32,
    /// How long it takes until the signs of life are heard.
    pub(crate) hearing_takes: Duration,
}

/// What lies there.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) roots: Vec<(Revision, Root)>,
    pub(crate) chunks: BTreeMap<ChunkName, Bytes>,
    pub(crate) places: BTreeMap<Address, Bytes>,
    /// Places in order of delivery, repeats among them.
    pub(crate) arrivals: Vec<Address>,
    pub(crate) events: Vec<LogEntry>,
    pub(crate) first_kept: u64,
    pub(crate) findings: Vec<LogEntry>,
    pub(crate) log_time: Option<Timestamp>,
}

/// The middle of one shard.
#[derive(Debug, Default)]
pub(crate) struct Middle {
    /// Something was written or delivered.
    pub(crate) changed: Notify,
    store: Mutex<Store>,
    script: Mutex<Script>,
}

impl Middle {
    pub(crate) fn new() -> Arc<Self> {
        let middle = Arc::new(Self::default());
        middle.store().first_kept = 1;
        middle
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a root there and returns its revision.
    pub(crate) fn lay(&self, root: Root) -> Revision {
        let mut store = self.store();
        let revision = Revision(store.roots.len() as u64 + 1);
        store.roots.push((revision, root));
        self.changed.notify_one();
        revision
    }

    /// Returns the root that lies there.
    pub(crate) fn root(&self) -> Root {
        self.store().roots.last().map(|(_, root)| root.clone()).unwrap_or_default()
    }

    fn write(&self, bytes: &[u8], expect: Option<Revision>) -> Result<Revision, SwapError> {
        if self.store().roots.last().map(|(revision, _)| *revision) != expect {
            return Err(SwapError::Lost);
        }
        let root = decode_root(bytes).map_err(|why| SwapError::Refused(why.to_string()))?;
        Ok(self.lay(root))
    }
}

/// Says whether something is to happen once more.
const fn once(times: &mut u32) -> bool {
    let is_due = *times > 0;
    *times = times.saturating_sub(1);
    is_due
}

fn nobody<T>() -> Result<T, FabricError> {
    Err(FabricError::Unreachable("scripted".into()))
}

#[async_trait]
impl Fabric for Middle {
    fn patience(&self) -> Duration {
        Duration::from_millis(300)
    }

    async fn read_root(&self, _: ShardId) -> Result<Option<Versioned>, FabricError> {
        let is_stale = once(&mut self.script().stale_reads);
        let store = self.store();
        let read = store.roots.iter().rev().nth(usize::from(is_stale));
        Ok(read.map(|(revision, root)| Versioned {
            revision: *revision,
            bytes: encode_root(root).into(),
        }))
    }

    async fn swap_root(
        &self,
        _: ShardId,
        bytes: Bytes,
        expect: Option<Revision>,
    ) -> Result<Revision, SwapError> {
        let swap = self.script().swaps.pop_front();
        match swap {
            None => self.write(&bytes, expect),
            Some(Swap::Unheard) => {
                self.write(&bytes, expect)?;
                Err(SwapError::Unsure("scripted".into()))
            }
            Some(Swap::Astray) => Err(SwapError::Unsure("scripted".into())),
            Some(Swap::After(other)) => {
                self.lay(*other);
                self.write(&bytes, expect)
            }
            Some(Swap::Refused) => Err(SwapError::Refused("scripted".into())),
        }
    }

    async fn put_chunk(&self, name: ChunkName, bytes: Bytes) -> Result<(), FabricError> {
        self.store().chunks.insert(name, bytes);
        Ok(())
    }

    async fn get_chunk(&self, name: ChunkName) -> Result<Option<Bytes>, FabricError> {
        if self.script().refuses_chunks {
            return Err(FabricError::Refused("scripted".into()));
        }
        Ok(self.store().chunks.get(&name).cloned())
    }

    async fn remove_chunk(&self, name: ChunkName) -> Result<(), FabricError> {
        self.store().chunks.remove(&name);
        Ok(())
    }

    async fn read_events(&self, _: ShardId, from: u64) -> Result<Box<dyn LogReader>, FabricError> {
        let is_silent = once(&mut self.script().silent_readers);
        let store = self.store();
        let entries = store.events.iter().filter(|entry| entry.sequence >= from).cloned();
        let entries = if is_silent { VecDeque::new() } else { entries.collect() };
        Ok(Box::new(Entries { entries, first_kept: store.first_kept }))
    }

    async fn read_findings(
        &self,
        _: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        let store = self.store();
        let entries = store.findings.iter().filter(|entry| entry.sequence >= from).cloned();
        Ok(Box::new(Entries { entries: entries.collect(), first_kept: 1 }))
    }

    async fn trim_events(&self, _: &[(ShardId, u64)]) -> Result<bool, FabricError> {
        Ok(false)
    }

    async fn deliver(&self, parcel: &Parcel) -> Result<Receipt, FabricError> {
        if self.script().refused.contains(&parcel.address) {
            return Err(FabricError::Refused("scripted".into()));
        }
        let there = {
            let mut store = self.store();
            store.arrivals.push(parcel.address);
            store.places.insert(parcel.address, parcel.body.clone())
        };
        self.changed.notify_one();
        if once(&mut self.script().unheard_deliveries) {
            return nobody();
        }
        Ok(match there {
            None => Receipt::Delivered,
            Some(body) if body == parcel.body => Receipt::WasThere,
            Some(_) => Receipt::Differs,
        })
    }

    async fn beat(&self, _: &Text, _: Bytes) -> Result<Revision, FabricError> {
        nobody()
    }

    async fn hear_beats(&self) -> Result<Box<dyn BeatReader>, FabricError> {
        let wait = self.script().hearing_takes;
        sleep(wait).await;
        Ok(Box::new(OneBeat))
    }

    fn log_time(&self) -> Option<Timestamp> {
        self.store().log_time
    }
}

#[derive(Debug)]
struct Entries {
    entries: VecDeque<LogEntry>,
    first_kept: u64,
}

#[async_trait]
impl LogReader for Entries {
    fn first_kept(&self) -> u64 {
        self.first_kept
    }

    async fn next(&mut self) -> Result<LogEntry, FabricError> {
        match self.entries.pop_front() {
            Some(entry) => Ok(entry),
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct OneBeat;

#[async_trait]
impl BeatReader for OneBeat {
    async fn next(&mut self) -> Result<Beat, FabricError> {
        Ok(Beat { node: "tapio-0".into(), revision: Revision(1), body: Bytes::new() })
    }
}
