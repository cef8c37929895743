//! Prints tellings as they happen, and keeps them.

use tapio_engine::Told;
use tapio_node::StoryStore;
use tapio_wire::json::StoryJson;

use crate::{out::Out, story::render};

/// Prints one telling.
pub(crate) fn print(story: &StoryJson, out: Out) -> anyhow::Result<()> {
    if out.is_for_people() {
        return out.text(format_args!("{}\n", render(story, out)));
    }
    out.record(story)
}

/// Keeps what was told: evidence, stories, dead letters.
pub(crate) fn keep(told: &Told, store: &StoryStore) {
    match told {
        Told::Evidence(events) => store.keep_events(events),
        Told::Story(story) => store.keep_story(story),
        Told::Dead { trace, events } => store.keep_dead(*trace, events),
    }
    .unwrap_or_else(|error| tracing::error!(%error, "a telling could not be kept"));
}

/// Prints what is a story of what was told, and keeps all of it.
pub(crate) fn tell(told: &Told, store: &StoryStore, out: Out) -> anyhow::Result<()> {
    keep(told, store);
    match told {
        Told::Story(story) => print(&StoryJson::from(&**story), out),
        Told::Evidence(_) | Told::Dead { .. } => Ok(()),
    }
}
