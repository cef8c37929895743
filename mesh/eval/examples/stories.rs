//! Tells which stories come of recordings: `cargo run -p tapio-eval --example stories -- PATH...`.
#![expect(clippy::print_stdout, reason = "an example is read on a terminal")]

use std::{collections::BTreeMap, error::Error, path::Path, sync::Arc};

use tapio_collect::{Binder, Home};
use tapio_engine::{Limits, Ring, Rules, Told};
use tapio_eval::{Input, open_recording};
use tapio_model::{Story, StoryId};
use tapio_patterns::patterns;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_loud = arguments.next_if(|argument| argument == "--events").is_some();
    for path in arguments {
        println!("{path}");
        if let Err(error) = replay(Path::new(&path), is_loud) {
            println!("  not read: {error}");
        }
    }
    Ok(())
}

fn replay(path: &Path, is_loud: bool) -> Result<(), Box<dyn Error>> {
    let binder = Arc::new(Binder::new(Home::default()));
    let mut recording = open_recording(None, Input::Path(path.to_path_buf()), binder)?;
    let limits = Limits::default();
    let mut ring = Ring::new(&Arc::new(Rules::new(&patterns(), limits.clone())));
    let mut events = Vec::new();
    while recording.next_chunk(&mut events)? {}
    for event in &events {
        if is_loud {
            let message: String = event.message().chars().take(100).collect();
            let at = event.time.as_millis();
            let (kind, severity) = (event.kind.name(), event.severity.name());
            println!("    {at} {kind} {severity} {} {message}", event.place.label());
        }
        ring.observe(Arc::clone(event), event.time);
    }
    ring.finish(limits.window);
    let mut stories = BTreeMap::<StoryId, Story>::new();
    for told in ring.take_told() {
        match told {
            Told::Story(story) => {
                stories.insert(story.id, *story);
            }
            Told::Evidence(_) | Told::Dead { .. } => {}
        }
    }
    let account = recording.account();
    println!("  {} events, not read: {:?}", account.events, account.rejected);
    for story in stories.values() {
        let Story { pattern, confidence, verdict, title, .. } = story;
        println!("  {pattern}, {confidence} ({verdict:?}): {title}");
    }
    Ok(())
}
