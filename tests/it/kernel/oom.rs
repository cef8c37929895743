//! Does a real kernel's out-of-memory kill become one story, and a plain kill none?

use serde_json::Value;
use tapio_tests::{Tapio, text};

use super::{
    kills,
    world::{Cgroup, HOG, PATIENCE},
};
use crate::Case;

/// Only what this test is about: neither journal nor ports of the machine, nor a cluster.
const ONLY_KERNEL: [&str; 3] = ["--no-journal", "--no-otlp", "--no-kubernetes"];

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::with_need("kernel::an_oom_kill_is_one_story", kills(), an_oom_kill_is_one_story),
        Case::with_need("kernel::a_plain_kill_is_no_story", kills(), a_plain_kill_is_no_story),
    ]
}

fn is_ours(cgroup: &str) -> impl Fn(&Value) -> bool {
    let cgroup = cgroup.to_owned();
    move |story| text(story, "root_cause").contains(&cgroup)
}

fn an_oom_kill_is_one_story() -> Result<(), String> {
    let tapio = Tapio::up(&ONLY_KERNEL)?;
    tapio.notice("watching", PATIENCE)?;
    let cgroup = Cgroup::make("oom")?;
    let name = cgroup.name();
    let status = cgroup.run(HOG)?;
    if status.success() {
        return Err("the process outlived its limit".into());
    }
    // Two seconds is the promise on a quiet machine, and measured there; a test waits longer.
    let story = tapio.line(PATIENCE, is_ours(&name))?;
    let pattern = text(&story, "pattern");
    if pattern != "container_oom" {
        return Err(format!("the pattern is {pattern}: {story}"));
    }
    for part in ["tail", &name, "Killed process"] {
        let sentence = text(&story, "root_cause");
        if !sentence.contains(part) {
            return Err(format!("the cause does not name {part}: {sentence}"));
        }
    }
    // One victim, however many saw it die.
    if text(&story, "title").contains("times") {
        return Err(format!("one kill was counted more than once: {story}"));
    }
    // Whatever else is told of it until the end is the same story.
    let id = text(&story, "id").to_owned();
    let rest = tapio.stop()?;
    let other = rest.iter().filter(|it| is_ours(&name)(it)).find(|it| text(it, "id") != id);
    other.map_or(Ok(()), |other| Err(format!("told twice: {story}\n{other}")))
}

fn a_plain_kill_is_no_story() -> Result<(), String> {
    let tapio = Tapio::up(&ONLY_KERNEL)?;
    tapio.notice("watching", PATIENCE)?;
    let cgroup = Cgroup::make("kill")?;
    let status = cgroup.run("sh -c 'kill -9 $$'")?;
    if status.success() {
        return Err("the process survived kill -9".into());
    }
    // A real kill behind it: once that is told, the plain one would have been, too.
    let fence = Cgroup::make("fence")?;
    fence.run(HOG)?;
    tapio.line(PATIENCE, is_ours(&fence.name()))?;
    let rest = tapio.stop()?;
    let told = rest.iter().find(|story| story.to_string().contains(&cgroup.name()));
    told.map_or(Ok(()), |story| Err(format!("a plain kill became a story: {story}")))
}
