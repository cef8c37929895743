//! `tapio demo`: an incident that ships with Tapio.

use std::sync::Arc;

use indicatif::ProgressBar;
use tapio_collect::{Binder, Home};
use tapio_engine::{Limits, Rules, Told};
use tapio_eval::{Input, open_recording};
use tapio_patterns::patterns;
use tapio_wire::json::StoryJson;

use super::{
    paths::PathArgs,
    replay::{Pace, Replayed, replay},
    tell::{keep, print},
};
use crate::out::{Out, Style};

/// Four minutes of a small shop at three in the morning; how it was made is in
/// `mesh/eval/examples/make_demo/`.
const RECORDING: &[u8] = include_bytes!("demo/checkout.jsonl");

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Prints every telling, not only the last one of each story.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &DemoArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let binder = Arc::new(Binder::new(Home::default()));
    let mut recording = open_recording(Some("tapio"), Input::from_static(RECORDING), binder)?;
    let (store, is_kept) = paths.open_store()?;
    let mut stories: Vec<StoryJson> = Vec::new();
    let bar = ProgressBar::hidden();
    let rules = Arc::new(Rules::new(&patterns(), Limits::default()));
    let replayed = replay(&mut *recording, &rules, Pace::MAX, &bar, |told| {
        keep(&told, &store);
        match told {
            Told::Story(story) => {
                let story = StoryJson::from(&*story);
                if args.all {
                    print(&story, out)?;
                }
                stories.retain(|known| known.id != story.id);
                stories.push(story);
                Ok(())
            }
            Told::Evidence(_) | Told::Dead { .. } => Ok(()),
        }
    })?;
    if out.is_for_people() {
        out.text(format_args!("{}\n\n", headline(&replayed, stories.len(), out)))?;
    }
    if !args.all {
        stories.iter().try_for_each(|story| print(story, out))?;
    }
    if out.is_for_people() { out.text(next_steps(&stories, is_kept, out)) } else { Ok(()) }
}

fn headline(replayed: &Replayed, stories: usize, out: Out) -> String {
    let noun = if stories == 1 { "story" } else { "stories" };
    format!(
        "{} events in. Alerting on each warning would have sent {} alerts; this is {} {noun}, \
         told in {} ms.",
        out.paint(Style::Bold, replayed.ledger.received),
        out.paint(Style::Bold, replayed.alerts),
        out.paint(Style::Bold, stories),
        replayed.elapsed.as_millis(),
    )
}

fn next_steps(stories: &[StoryJson], is_kept: bool, out: Out) -> String {
    let mut lines = vec![out.paint(Style::Cyan, "Next")];
    let mut step = |command: String, what: &str| lines.push(format!("  {command:<50} {what}"));
    if let Some(StoryJson { id, pattern, .. }) = stories.first() {
        if is_kept {
            step(format!("tapio story {id} --evidence"), "every event the story cites");
        }
        step(
            format!("tapio explain {pattern}"),
            "what this pattern looks for, and its look-alikes",
        );
    }
    step("tapio up".into(), "watch this machine");
    step("tapio replay FILE".into(), "tell the stories of your own recording");
    lines.push(out.paint(Style::Dim, "  (from the sources: cargo run --release -- ...)"));
    lines.push(String::new());
    lines.join("\n")
}
