//! `tapio publish`: a recording into the mesh, acknowledged.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tapio_bus::{Batch, Bus as _, PublishError};
use tapio_collect::{Binder, Home, event_id};
use tapio_eval::{CHUNK_EVENTS_MAX, Input, ReadAhead, Recording as _, open_recording};
use tapio_model::{Clock as _, Event, Level, ShardId, Timestamp};
use tapio_nats::{Archive, BusFigures, Connection, NatsBus, NatsBusOptions, Stream};
use tapio_shard::ShardCount;
use tapio_telemetry::{
    Histogram, Meters, Metric, ObserveConfig, Observed, SystemClock, Telemetry, spawn_named,
};
use tokio::{runtime::Runtime, time::Instant};

use super::{
    bench::per_second,
    nats::{NatsArgs, StreamArgs},
    node::boot_number,
    observe::{self, ObserveArgs},
    replay::{Pace, park_until, progress_bar, refusal, say_rejected},
};
use crate::{
    exit::{Unreachable, Usage},
    out::Out,
};

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The recording: a file, a directory, or `-` for standard input.
    recording: String,
    /// Format of the recording; found out without it.
    #[arg(long)]
    format: Option<String>,
    /// How many events a second; as many as the mesh takes without it.
    #[arg(long, value_name = "EVENTS_PER_S", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Shifts the recording so that it begins now: old events are late, and open no story. Each is
    /// published when it is due, unless --rate says otherwise. Ids are new; traces are not, and one
    /// that a source named lives only once in ten minutes.
    #[arg(long)]
    now: bool,
    /// Which part of the batches is traced, from 0 to 1, if --observe says where to.
    #[arg(long, value_name = "RATIO", default_value_t = ObserveConfig::SAMPLE_RATIO, value_parser = observe::ratio)]
    sample: f64,
    #[command(flatten)]
    observe: ObserveArgs,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    streams: StreamArgs,
}

/// What was published, as JSON has it.
#[derive(Debug, Serialize)]
struct Summary {
    rows: u64,
    rejected: u64,
    /// Events the mesh acknowledged.
    published: u64,
    /// Events the mesh could never take: each is larger than a message may be.
    refused: u64,
    /// Attempts to publish after the first: no answer in time, or a full stream.
    retried: u64,
    /// Attempts that the full stream turned away.
    turned_away: u64,
    seconds: f64,
    events_per_second: u64,
}

/// A line of JSON that is no story.
#[derive(Debug, Serialize)]
struct SummaryLine {
    published: Summary,
}

pub(crate) fn run(args: &PublishArgs, out: Out) -> anyhow::Result<()> {
    let binder = Arc::new(Binder::new(Home::default()));
    let input = Input::from_argument(&args.recording);
    let recording = open_recording(args.format.as_deref(), input, binder);
    let mut recording = ReadAhead::start(recording.map_err(|error| refusal(&error))?)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().context("starting the runtime")?;
    let shards = args.nats.shards();
    let meters = Meters::new();
    let observed = runtime.block_on(async { watch(args, &meters) })?;
    let connection = runtime.block_on(connect(args, shards))?;
    let bar = progress_bar(out);
    let mut publisher =
        Publisher::new(&runtime, connection.clone(), (shards, observed.telemetry(), &meters));
    let mut tempo = Tempo::new(args.rate, args.now);
    let (begin, mut shift) = (Instant::now(), None);
    let mut chunk: Vec<Arc<Event>> = Vec::new();
    let mut has_more = true;
    while has_more {
        has_more = recording.next_chunk(&mut chunk).context("reading the recording")?;
        for mut event in chunk.drain(..) {
            if args.now {
                let shift = shift.get_or_insert_with(|| Shift::to(SystemClock.now(), event.time));
                event = shift.apply(event);
            }
            publisher.add(event, &mut tempo)?;
        }
        if !tempo.is_slow() {
            publisher.flush()?;
        }
        bar.set_length(recording.progress().bytes_total.unwrap_or_default());
        bar.set_position(recording.progress().bytes_read);
    }
    publisher.flush()?;
    bar.finish_and_clear();
    say_rejected(recording.account(), &args.recording);
    let account = publisher.finish();
    let elapsed = begin.elapsed();
    runtime.block_on(async {
        connection.close().await;
        observe::end(observed).await;
    });
    let Account { published, refused, figures, .. } = account;
    let summary = Summary {
        rows: recording.account().rows,
        rejected: recording.account().rejected_total(),
        published,
        refused,
        retried: figures.retries,
        turned_away: figures.refused_full,
        seconds: elapsed.as_secs_f64(),
        events_per_second: per_second(published, elapsed),
    };
    report(summary, out)?;
    match account.why {
        None => Ok(()),
        Some(why) => bail!(Usage(format!("{refused} events were not taken; the first: {why}"))),
    }
}

/// Begins to send what is seen of this run. From a task: it goes on in the background.
fn watch(args: &PublishArgs, meters: &Meters) -> anyhow::Result<Observed> {
    let boot = boot_number()?;
    let name = format!("publish-{}", std::process::id());
    Ok(args.observe.start((&name, boot), args.sample, meters)?)
}

async fn connect(args: &PublishArgs, shards: ShardCount) -> anyhow::Result<Connection> {
    let connection = args.nats.connect("tapio publish").await?;
    // Where a node has made its streams they are as it wants them; that is not ours to judge.
    let has_events = Archive::new(connection.clone()).has(Stream::Events).await;
    if !has_events.map_err(|error| Unreachable(error.to_string()))? {
        args.streams.set_up(&connection, shards, false).await?;
    }
    Ok(connection)
}

fn report(summary: Summary, out: Out) -> anyhow::Result<()> {
    if !out.is_for_people() {
        return out.record(&SummaryLine { published: summary });
    }
    let Summary {
        rows,
        rejected,
        published,
        refused,
        retried,
        turned_away,
        seconds,
        events_per_second,
    } = summary;
    out.text(format_args!(
        "{rows} rows read, {rejected} rejected; {published} events published and acknowledged in \
         {seconds:.2} s, {events_per_second} events/s\n\
         {refused} refused; {retried} attempts repeated, {turned_away} of them as the stream was \
         full\n"
    ))
}

/// When the next event is due.
#[derive(Debug)]
enum Tempo {
    /// At once.
    Max,
    /// So many a second.
    Rate { per_second: u32, began: Instant, sent: u32 },
    /// As it was recorded.
    Recorded(Pace),
}

impl Tempo {
    fn new(rate: Option<u32>, is_now: bool) -> Self {
        match rate {
            Some(per_second) => Self::Rate { per_second, began: Instant::now(), sent: 0 },
            None if is_now => Self::Recorded(Pace::RECORDED),
            None => Self::Max,
        }
    }

    /// Says whether what waits is sent when it is due, rather than as soon as there is enough.
    const fn is_slow(&self) -> bool {
        match self {
            Self::Max => false,
            Self::Rate { .. } | Self::Recorded(_) => true,
        }
    }

    /// Returns when the next event, of time `at`, is due; nothing if it always is.
    fn due(&mut self, at: Timestamp) -> Option<Instant> {
        match self {
            Self::Max => None,
            Self::Recorded(pace) => pace.due(at),
            Self::Rate { per_second, began, sent } => {
                if sent == per_second {
                    (*began, *sent) = (*began + Duration::from_secs(1), 0);
                }
                let due = *began + Duration::from_secs(1) * *sent / *per_second;
                *sent += 1;
                Some(due)
            }
        }
    }
}

/// How far a recording is shifted.
#[derive(Debug, Clone, Copy)]
struct Shift {
    nanos: i64,
}

impl Shift {
    /// Makes what happened at `then` happen at `now`.
    const fn to(now: Timestamp, then: Timestamp) -> Self {
        Self { nanos: now.as_nanos().saturating_sub(then.as_nanos()) }
    }

    /// Makes another event of one: what happened at another time has another id, so that it is not
    /// taken for a repeat.
    fn apply(self, event: Arc<Event>) -> Arc<Event> {
        let mut event = Arc::unwrap_or_clone(event);
        event.id = event_id(&[event.id.as_bytes(), &self.nanos.to_le_bytes()]);
        event.time = Timestamp::from_nanos(event.time.as_nanos().saturating_add(self.nanos));
        Arc::new(event)
    }
}

/// What became of events.
#[derive(Debug)]
struct Account {
    published: u64,
    refused: u64,
    /// Why the first was refused.
    why: Option<PublishError>,
    figures: BusFigures,
}

/// Publishes events in batches, and waits until each is acknowledged before the next.
///
/// The importers have bound the events already, so they do not go through a pump, which would bind
/// them again and knows less.
#[derive(Debug)]
struct Publisher<'a> {
    runtime: &'a Runtime,
    bus: Arc<NatsBus>,
    shards: ShardCount,
    durations: Histogram,
    waiting: Vec<Arc<Event>>,
    published: u64,
    refused: u64,
    why: Option<PublishError>,
}

impl<'a> Publisher<'a> {
    fn new(
        runtime: &'a Runtime,
        connection: Connection,
        (shards, telemetry, meters): (ShardCount, Telemetry, &Meters),
    ) -> Self {
        let options = NatsBusOptions { shards, telemetry, ..NatsBusOptions::default() };
        let bus = Arc::new(NatsBus::new(connection, options));
        let figures = bus.meter();
        let observer = meters.observe_all(move |sheet| {
            let figures = figures();
            sheet.set(Metric::PublishedEvents, (), figures.published_events);
            sheet.set(Metric::PublishRetries, (), figures.retries);
        });
        observer.keep();
        Self {
            runtime,
            bus,
            shards,
            durations: meters.histogram(Metric::PublishDuration, ()),
            waiting: Vec::new(),
            published: 0,
            refused: 0,
            why: None,
        }
    }

    /// Takes an event, once it is due; what came before it is sent before it is waited for.
    fn add(&mut self, event: Arc<Event>, tempo: &mut Tempo) -> anyhow::Result<()> {
        if let Some(due) = tempo.due(event.time).filter(|due| *due > Instant::now()) {
            self.flush()?;
            park_until(due);
        }
        self.waiting.push(event);
        if self.waiting.len() < CHUNK_EVENTS_MAX { Ok(()) } else { self.flush() }
    }

    /// Sends what waits, and waits until it is acknowledged.
    fn flush(&mut self) -> anyhow::Result<()> {
        let mut batches: BTreeMap<(ShardId, Level), Vec<Arc<Event>>> = BTreeMap::new();
        for event in self.waiting.drain(..) {
            let key = (self.shards.shard_of(event.trace.trace_id), event.level());
            batches.entry(key).or_default().push(event);
        }
        let time = SystemClock.now();
        let flights = async {
            let flights = batches.into_iter().map(|((shard, level), events)| {
                let (bus, count) = (Arc::clone(&self.bus), events.len());
                let (durations, begun) = (self.durations.clone(), Instant::now());
                let batch = Batch { shard, level, time, events };
                spawn_named("publish", async move {
                    let answer = bus.publish(batch).await;
                    durations.record(begun.elapsed());
                    (count, answer)
                })
            });
            let mut landed = Vec::new();
            for flight in flights.collect::<Vec<_>>() {
                landed.push(flight.await?);
            }
            anyhow::Ok(landed)
        };
        for (count, answer) in self.runtime.block_on(flights)? {
            let count = u64::try_from(count)?;
            match answer {
                Ok(_offset) => self.published += count,
                Err(why @ (PublishError::Closed | PublishError::Full)) => {
                    bail!(Unreachable(why.to_string()))
                }
                Err(
                    why @ (PublishError::Empty
                    | PublishError::TooLarge { .. }
                    | PublishError::UnknownShard(_)),
                ) => {
                    self.refused += count;
                    self.why.get_or_insert(why);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Account {
        self.runtime.block_on(self.bus.close());
        let Self { published, refused, why, .. } = self;
        Account { published, refused, why, figures: self.bus.figures() }
    }
}

#[cfg(test)]
mod tests {
    use tapio_model::{
        Attributes, Binding, Class, EventId, Impact, Kind, Place, Severity, Source, TraceContext,
        TraceId,
    };

    use super::*;

    fn event(secs: i64) -> Arc<Event> {
        Arc::new(Event {
            id: EventId::from_bytes([7; 16]),
            time: Timestamp::from_secs(secs),
            source: Source::App,
            kind: Kind::OomKill,
            trace: TraceContext {
                trace_id: TraceId::from_bytes([1; 16]),
                span_id: None,
                parent_span_id: None,
                binding: Binding::Explicit,
            },
            place: Arc::new(Place::default()),
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Memory,
            attributes: Attributes::default(),
        })
    }

    #[test]
    fn a_shift_keeps_distances_and_traces_and_makes_new_ids() {
        let shift = Shift::to(Timestamp::from_secs(1_000), Timestamp::from_secs(10));
        let (first, second) = (shift.apply(event(10)), shift.apply(event(13)));
        assert_eq!(
            (first.time, second.time),
            (Timestamp::from_secs(1_000), Timestamp::from_secs(1_003))
        );
        assert_eq!(first.trace, event(10).trace);
        assert_ne!(first.id, event(10).id, "another time is another event");
        assert_eq!(first.id, shift.apply(event(10)).id, "the same shift makes the same");
    }

    #[test]
    fn a_rate_spreads_events_over_each_second() {
        let began = Instant::now();
        let mut tempo = Tempo::Rate { per_second: 4, began, sent: 0 };
        let due = [0; 9].map(|_| tempo.due(Timestamp::ZERO).expect("a rate has a time"));
        let millis = due.map(|due| due.duration_since(began).as_millis());
        assert_eq!(millis, [0, 250, 500, 750, 1_000, 1_250, 1_500, 1_750, 2_000]);
    }

    #[test]
    fn only_what_begins_now_keeps_its_own_pace() {
        let at = |secs| Timestamp::from_secs(secs);
        assert_eq!(Tempo::new(None, false).due(at(5)), None);
        let mut tempo = Tempo::new(None, true);
        let due = [5, 7].map(|secs| tempo.due(at(secs)).expect("a pace has a time"));
        assert_eq!(due[1].duration_since(due[0]), Duration::from_secs(2));
    }
}
