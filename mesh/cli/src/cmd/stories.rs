//! `tapio stories` and `tapio story`: what was told.
//!
//! A running `tapio up` is asked over its socket; where none runs, the store is read, which holds
//! what the last runs told.

use anyhow::bail;
use tapio_model::{Story, StoryId};
use tapio_node::{Lookup, StoryStore};
use tapio_wire::json::StoryJson;

use super::paths::PathArgs;
use crate::{
    exit::Unreachable,
    out::Out,
    story::{render, render_evidence, render_list},
};

#[derive(Debug, clap::Args)]
pub(crate) struct StoriesArgs {
    /// Only stories that are still open.
    #[arg(long)]
    open: bool,
    /// How many, newest first.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StoryArgs {
    /// The story's id, or as much of its beginning or end as is unique.
    id: String,
    /// Shows every event the story cites, too.
    #[arg(long)]
    evidence: bool,
}

pub(crate) fn list(args: &StoriesArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let mut stories = store(paths)?.stories(args.limit)?;
    stories.retain(|story| !args.open || story.state.is_open());
    if !out.is_for_people() {
        return stories.iter().try_for_each(|story| out.record(&StoryJson::from(story)));
    }
    if stories.is_empty() {
        return out.text("no stories\n");
    }
    out.text(render_list(&stories, out))
}

pub(crate) fn show(args: &StoryArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let store = store(paths)?;
    let story = find(&store, &args.id)?;
    if out.is_for_people() {
        out.text(render(&story, out))?;
    } else {
        out.record(&StoryJson::from(&story))?;
    }
    if !args.evidence {
        return Ok(());
    }
    let events = store.events_of(&story)?;
    if out.is_for_people() {
        return out.text(format_args!("\n{}", render_evidence(&events, out)));
    }
    events.iter().try_for_each(|event| out.record(&tapio_wire::json::event_to_json(event)))
}

fn find(store: &StoryStore, id: &str) -> anyhow::Result<Story> {
    match store.story(id)? {
        Lookup::Found(story) => Ok(*story),
        Lookup::Unknown => Err(Unreachable(format!("no story is called {id}; `tapio stories` lists them")).into()),
        Lookup::Ambiguous(ids) => {
            let ids: Vec<_> = ids.iter().map(StoryId::to_string).collect();
            bail!(crate::exit::Usage(format!("{id} may be any of {}", ids.join(", "))))
        }
    }
}

/// Opens the store that `tapio up`, `replay` and `demo` write.
fn store(paths: &PathArgs) -> anyhow::Result<StoryStore> {
    let Some(path) = paths.paths().store else {
        bail!(Unreachable("no home to keep stories in: set TAPIO_STORE to a file".into()));
    };
    StoryStore::open(&path).map_err(|error| Unreachable(error.to_string()).into())
}
