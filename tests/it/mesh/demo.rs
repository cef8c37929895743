//! The incident that ships with Tapio, and what of it a mesh must tell.

use serde_json::Value;
use tapio_tests::{root, text};

use super::world::{Node, Outcome, World, check, lines, told, until};

/// Events of the recording.
pub(super) const EVENTS: u64 = 816;

/// A mesh gets four minutes within a second: its traces close soon, and the incident stays open.
pub(super) const FLAGS: [&str; 4] = ["--window", "5s", "--quiet", "2m"];

/// What the demo tells at its end.
pub(super) struct Demo(Value);

impl Demo {
    pub(super) fn tell(world: &World) -> Outcome<Self> {
        let output = world.elsewhere(&["demo", "-o", "json"])?;
        let stories: Vec<_> =
            lines(&output).into_iter().filter(|it| it["pattern"].is_string()).collect();
        let [story] = stories.as_slice() else { return Err(told(&output)) };
        check(text(story, "pattern") == "container_oom", || story.to_string())?;
        Ok(Self(story.clone()))
    }

    /// Returns where the recording is.
    pub(super) fn recording() -> String {
        root().join("mesh/cli/src/cmd/demo/checkout.jsonl").to_string_lossy().into_owned()
    }

    /// Publishes the recording as if it began now, so many events a second.
    pub(super) fn publish(world: &World, rate: &str, more: &[&str]) -> Outcome<Value> {
        let recording = Self::recording();
        let words = [recording.as_str(), "--now", "--rate", rate];
        let published = world.publish(&[&words, more].concat())?;
        check(published["published"] == EVENTS, || published.to_string())?;
        Ok(published)
    }

    /// Says whether a story is the demo's, with the cascade as its consequence. Ids and times are
    /// others, as the recording was shifted.
    pub(super) fn is_told_by(&self, story: &Value) -> bool {
        ["pattern", "verdict", "title", "summary", "root_cause"]
            .iter()
            .all(|field| story[*field] == self.0[*field])
            && story["trace_ids"] == self.0["trace_ids"]
    }

    /// Waits until the mesh tells the demo's story, and no other.
    pub(super) async fn told_by(&self, world: &World) -> Outcome<Value> {
        until(async || {
            let (code, answer) = world.query(&["list"])?;
            let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
            let story = results.first().map(|it| it["story"].clone()).unwrap_or_default();
            let is_so = code == 0 && results.len() == 1 && self.is_told_by(&story);
            check(is_so, || format!("{}\nis not what is told: {code}, {answer}", self.0))?;
            Ok(story)
        })
        .await
    }

    /// Waits until a node's own store has the mesh's story as it should be, and nothing else.
    pub(super) async fn kept_by(&self, node: &Node, world: &World, story: &Value) -> Outcome {
        let store = node.store();
        let store = store.to_string_lossy();
        until(async || {
            let output = world.elsewhere(&["stories", "-o", "json", "--store", &store])?;
            let kept = lines(&output);
            let [one] = kept.as_slice() else { return Err(told(&output)) };
            check(one["id"] == story["id"] && self.is_told_by(one), || one.to_string())
        })
        .await
    }
}
