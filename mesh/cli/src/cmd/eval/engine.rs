//! A recording goes through an engine, and what it told is judged.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use tapio_baseline::{BaselineLimits, Part, Watch};
use tapio_collect::{Binder, Home};
use tapio_engine::{Limits, Patterns, Ring, Rules, Told};
use tapio_eval::{Judgement, Labels, ReadAhead, Recording, detect_format, importer};
use tokio::time::Instant;

use crate::{cmd::replay::refusal, exit::Usage};

/// What came of one recording, or of several.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) events: u64,
    pub(super) events_lost: u64,
    pub(super) seconds: f64,
    pub(super) judgement: Judgement,
}

impl Heard {
    /// Adds what came of another recording.
    pub(super) fn join(&mut self, other: Self) {
        self.events += other.events;
        self.events_lost += other.events_lost;
        self.seconds += other.seconds;
        self.judgement.join(other.judgement);
    }
}

fn open(path: &Path, format: Option<&str>) -> anyhow::Result<(Box<dyn Recording>, Labels)> {
    let name = format.or_else(|| detect_format(path)).ok_or_else(|| {
        Usage(format!("cannot tell the format of {}: write --format", path.display()))
    })?;
    let importer = importer(name).ok_or_else(|| Usage(format!("unknown format {name}")))?;
    let binder = Arc::new(Binder::new(Home::default()));
    importer.open_labelled(path, binder).map_err(|error| refusal(&error))
}

/// Streams a recording through an engine, and judges what it told.
pub(super) fn hear(
    path: &Path,
    format: Option<&str>,
    patterns: &Patterns,
    without: Option<Part>,
) -> anyhow::Result<Heard> {
    let begin = Instant::now();
    let (recording, labels) = open(path, format)?;
    let mut recording = ReadAhead::start(recording)?;
    let limits = Limits::default();
    let rules = Arc::new(Rules::new(patterns, limits.clone()));
    let mut baseline = BaselineLimits::default();
    baseline.without.extend(without);
    let mut ring = Ring::new(&rules).watched(Watch::new(baseline));
    let (mut heard, mut events, mut chunk) = (tapio_eval::Heard::default(), 0, Vec::new());
    let mut has_more = true;
    while has_more {
        has_more = recording.next_chunk(&mut chunk).context("reading the recording")?;
        for event in chunk.drain(..) {
            let now = event.time;
            heard.event(&event);
            events += 1;
            ring.observe(event, now);
        }
        take(&mut heard, &mut ring);
    }
    ring.finish(limits.window);
    take(&mut heard, &mut ring);
    let ledger = ring.shard().ledger();
    Ok(Heard {
        events,
        events_lost: ledger.shed_total() + ledger.dead_letter,
        seconds: begin.elapsed().as_secs_f64(),
        judgement: Judgement::of(&labels, &heard),
    })
}

fn take(heard: &mut tapio_eval::Heard, ring: &mut Ring) {
    for told in ring.take_told() {
        match told {
            Told::Evidence(events) => heard.evidence(&events),
            Told::Story(story) => heard.story(&story),
            Told::Dead { .. } => {}
        }
    }
}
