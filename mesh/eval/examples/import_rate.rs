//! Reads a recording and says how fast, how much and what was rejected:
//! `cargo run --release -p tapio-eval --example import_rate -- PATH [FORMAT]`.

use std::{collections::BTreeMap, env, io::Write, sync::Arc};

use ahash::AHashSet;
use tapio_collect::{Binder, Home};
use tapio_eval::{Input, ReadAhead, Recording, open_recording};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("usage: import_rate PATH [FORMAT]")?;
    let format = arguments.next();
    let mut out = std::io::stdout().lock();

    let binder = Arc::new(Binder::new(Home::default()));
    // tokio's clock is what the rest of the project uses; an example has no runtime to ask.
    #[expect(clippy::disallowed_methods, reason = "an example measures wall time")]
    let now = std::time::Instant::now;
    let start = now();
    let recording = open_recording(format.as_deref(), Input::from_argument(&path), binder)?;
    let opened = start.elapsed();
    let mut recording = ReadAhead::start(recording)?;
    let mut chunk = Vec::new();
    let mut ids = AHashSet::new();
    let mut by_source = BTreeMap::<_, (u64, u64)>::new();
    let mut reading = std::time::Duration::ZERO;
    loop {
        let before = now();
        let more = recording.next_chunk(&mut chunk)?;
        reading += before.elapsed();
        for event in chunk.drain(..) {
            let (events, copies) = by_source.entry(event.source).or_default();
            *events += 1;
            *copies += u64::from(!ids.insert(event.id));
        }
        if !more {
            break;
        }
    }
    let elapsed = start.elapsed();
    let account = recording.account();
    let progress = recording.progress();
    for (source, (events, copies)) in by_source {
        writeln!(out, "{}: {events} events, {copies} surplus copies", source.name())?;
    }
    let micros = u64::try_from(elapsed.as_micros())?.max(1);
    let rate = account.events.saturating_mul(1_000_000) / micros;
    writeln!(
        out,
        "opened in {opened:?}, {elapsed:?} in all ({reading:?} waiting), {rate} events/s"
    )?;
    writeln!(out, "{progress:?}\n{account:#?}")?;
    Ok(())
}
