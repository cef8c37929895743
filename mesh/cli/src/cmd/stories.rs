//! `tapio stories`, `tapio story` and `tapio status`: what was told, and by whom.
//!
//! A running `tapio up` is asked over its socket; where none runs, the store is read, which holds
//! what the last runs told.

use anyhow::bail;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tapio_model::StoryId;
use tapio_node::{Client, ClientError, Lookup, StoryStore};
use tapio_wire::json::{EventJson, StoryJson, event_to_json};

use super::{paths::PathArgs, tell::print};
use crate::{
    exit::{Unreachable, Usage},
    out::{Out, Style},
    story::{render_evidence, render_list},
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
    let stories = match connect(paths)? {
        Some((runtime, client)) => typed(runtime.block_on(client.stories(args.limit, args.open))?)?,
        None => {
            let store = store(paths)?;
            let stories = if args.open {
                store.open_stories(args.limit)?
            } else {
                store.stories(args.limit)?
            };
            stories.iter().map(StoryJson::from).collect::<Vec<_>>()
        }
    };
    if !out.is_for_people() {
        return stories.iter().try_for_each(|story| out.record(story));
    }
    if stories.is_empty() {
        return out.text("no stories\n");
    }
    out.text(render_list(&stories, out))
}

pub(crate) fn show(args: &StoryArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let (story, events) = match connect(paths)? {
        Some((runtime, client)) => runtime.block_on(async {
            let story: StoryJson = serde_json::from_value(client.story(&args.id).await?)?;
            let events = typed::<EventJson>(client.evidence(&story.id).await?)?;
            anyhow::Ok((story, events))
        })?,
        None => {
            let store = store(paths)?;
            let story = find(&store, &args.id)?;
            let events = store.events_of(&story)?;
            (StoryJson::from(&story), events.iter().map(event_to_json).collect())
        }
    };
    print(&story, out)?;
    if !args.evidence {
        return Ok(());
    }
    if out.is_for_people() {
        return out.text(render_evidence(&events, out));
    }
    events.iter().try_for_each(|event| out.record(event))
}

pub(crate) fn status(paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let Some((runtime, client)) = connect(paths)? else {
        bail!(ClientError::NotRunning { path: paths.paths().socket });
    };
    let status = runtime.block_on(client.status())?;
    if !out.is_for_people() {
        return out.record(&status);
    }
    for (name, value) in status.as_object().into_iter().flatten() {
        out.text(format_args!("{} {value}\n", out.paint(Style::Bold, format!("{name:<16}"))))?;
    }
    Ok(())
}

/// Returns a client of a running `up`, and a runtime to ask with; none if none runs.
fn connect(paths: &PathArgs) -> anyhow::Result<Option<(tokio::runtime::Runtime, Client)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(Client::connect(paths.paths().socket)) {
        Ok(client) => Ok(Some((runtime, client))),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn typed<T: DeserializeOwned>(values: Vec<Value>) -> anyhow::Result<Vec<T>> {
    Ok(values.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?)
}

fn find(store: &StoryStore, id: &str) -> anyhow::Result<tapio_model::Story> {
    match store.story(id)? {
        Lookup::Found(story) => Ok(*story),
        Lookup::Unknown => {
            bail!(Unreachable(format!("no story is called {id}; `tapio stories` lists them")))
        }
        Lookup::Ambiguous(ids) => {
            let ids: Vec<_> = ids.iter().map(StoryId::to_string).collect();
            bail!(Usage(format!("{id} may be any of {}", ids.join(", "))))
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
