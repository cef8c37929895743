//! A process that is killed while it reads the logs of pods.

mod process;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use tapio_bus::Subscription;
use tapio_model::{Event, EventId};
use tapio_telemetry::spawn_named;
use tapio_tests::say;

use self::{
    process::AgentProcess,
    writer::{LONG_AGO, PROBE, Pods},
};
use super::world::{Arrived, Mesh, Outcome, PATIENCE, check, until};

/// Lines that are read, or written meanwhile, before something happens.
const SOME: u64 = 500;

/// What the events stream held so far.
#[derive(Debug, Default)]
struct Seen {
    arrived: Arrived,
    /// Each line's events.
    lines: BTreeMap<u64, BTreeSet<EventId>>,
    probes: u64,
    foreign: Vec<String>,
}

impl Seen {
    fn note(&mut self, event: &Event) {
        if event.message().contains(PROBE) && !event.message().contains(LONG_AGO) {
            self.probes += 1;
            return;
        }
        let number = event.message().split(' ').find_map(|word| word.parse().ok());
        let Some(number) = number else {
            self.foreign.push(event.message().to_owned());
            return;
        };
        self.arrived.note(event);
        self.lines.entry(number).or_default().insert(event.id);
    }
}

/// Reads the events stream while the test goes on.
#[derive(Debug, Clone, Default)]
struct Reader(Arc<Mutex<Seen>>);

impl Reader {
    fn start(mut subscription: Box<dyn Subscription>) -> Self {
        let reader = Self::default();
        let seen = Arc::clone(&reader.0);
        let reading = async move {
            while let Some(delivery) = subscription.next().await {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                delivery.batch.events.iter().for_each(|event| seen.note(event));
            }
        };
        drop(spawn_named("reader", reading));
        reader
    }

    fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until some lines more have come.
    async fn some_more(&self) -> Outcome {
        let before = self.look(|seen| seen.lines.len());
        let wanted = before + usize::try_from(SOME).unwrap_or_default();
        until(async || {
            let lines = self.look(|seen| seen.lines.len());
            check(lines >= wanted, || format!("{lines} of {wanted} lines have come"))
        })
        .await
    }
}

pub(super) async fn three_times() -> Outcome {
    let mesh = Mesh::start().await?;
    let reader = Reader::start(mesh.read().await?);
    let mut agent = AgentProcess::prepare()?;
    let pods = Pods::create(&agent.logs())?;
    agent.start(&mesh, "nats").await?;
    // What the files held before is not told; the first line that is says where it began.
    until(async || {
        pods.probe()?;
        check(reader.look(|seen| seen.probes) > 0, || agent.said())
    })
    .await?;
    pods.start();

    // In the first run of all, before it has kept any position of what it reads.
    reader.some_more().await?;
    agent.kill().await?;
    pods.rotate(0)?;
    pods.some_more(SOME).await?;
    agent.start(&mesh, "nats").await?;

    // Once it keeps positions, and goes on reading.
    pods.rotate(1)?;
    agent.keeps_positions().await?;
    reader.some_more().await?;
    agent.kill().await?;
    pods.rotate(2)?;
    pods.some_more(SOME).await?;
    agent.start(&mesh, "nats").await?;

    // Just after its output was switched.
    reader.some_more().await?;
    agent.point_to(&mesh, "direct").await?;
    reader.some_more().await?;
    agent.kill().await?;
    pods.some_more(SOME).await?;
    agent.start(&mesh, "direct").await?;
    reader.some_more().await?;

    let written = pods.finish();
    all_came(&reader, written).await.map_err(|why| format!("{why}\n{}", agent.said()))?;
    let status = agent.terminate(PATIENCE).await?;
    check(status.success(), || format!("it ended with {status}:\n{}", agent.said()))
}

/// Waits for every line, and fails unless each came as one event.
async fn all_came(reader: &Reader, written: u64) -> Outcome {
    until(async || {
        let is_lost = |line: &u64| reader.look(|seen| !seen.lines.contains_key(line));
        let lost: Vec<_> = (0..written).filter(is_lost).collect();
        check(lost.is_empty(), || format!("of {written} lines {} are lost: {lost:?}", lost.len()))
    })
    .await?;
    let (events, repeats, torn) = reader.look(|seen| {
        let arrived = &seen.arrived;
        (arrived.events.len() as u64, arrived.repeats(), arrived.torn)
    });
    let (twice, foreign) = reader.look(|seen| {
        let twice = seen.lines.iter().filter(|(_, ids)| ids.len() > 1);
        (twice.map(|(number, _)| *number).collect::<Vec<_>>(), seen.foreign.clone())
    });
    say(&format!(
        "agent: {written} lines, 3 kills, 3 rotations: {events} events, 0 lost, {} with a second \
         id, {repeats} repeats that dedupe removed",
        twice.len()
    ));
    check(twice.is_empty() && torn == 0 && foreign.is_empty() && events == written, || {
        format!("twice: {twice:?}; {torn} of another trace; foreign: {foreign:?}")
    })
}
