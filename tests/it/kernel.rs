//! Does a real kernel's out-of-memory kill become one story, and a plain kill none?

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tapio_tests::{Need, Tapio, text};

use crate::Case;

/// Outgrows any limit: `tail` keeps the last line, and zeros never end one.
const HOG: &str = "tail /dev/zero";
const LIMIT_BYTES: &str = "33554432";
/// Only what this test is about: neither journal nor ports of the machine.
const ONLY_KERNEL: [&str; 2] = ["--no-journal", "--no-otlp"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::with_need("kernel::an_oom_kill_is_one_story", need(), an_oom_kill_is_one_story),
        Case::with_need("kernel::a_plain_kill_is_no_story", need(), a_plain_kill_is_no_story),
    ]
}

fn need() -> Result<(), Need> {
    if !rustix::process::geteuid().is_root() {
        return Err(Need::Absent("needs root to make a memory cgroup".into()));
    }
    if fs::File::open("/dev/kmsg").is_err() {
        return Err(Need::Absent("needs a readable /dev/kmsg".into()));
    }
    Cgroup::make("probe")
        .map(drop)
        .map_err(|why| Need::Absent(format!("needs a memory cgroup that can be limited: {why}")))
}

/// A memory cgroup of our own, v1 or v2. Removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(name: &str) -> Result<Self, String> {
        let name = format!("tapio-test-{name}-{}", std::process::id());
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (parent, limit) = if v1.is_dir() {
            (v1, "memory.limit_in_bytes")
        } else {
            (PathBuf::from("/sys/fs/cgroup"), "memory.max")
        };
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let cgroup = Self(path);
        let limit = cgroup.0.join(limit);
        fs::write(&limit, LIMIT_BYTES).map_err(|error| format!("{}: {error}", limit.display()))?;
        Ok(cgroup)
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Runs a shell command inside and returns how it ended.
    fn run(&self, command: &str) -> Result<std::process::ExitStatus, String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec {command}", self.0.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        shell.status().map_err(|error| error.to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process may still be on its way out: the kernel says busy until it is gone.
        for _ in 0..1_000 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn is_ours(cgroup: &str) -> impl Fn(&Value) -> bool {
    let cgroup = cgroup.to_owned();
    move |story| text(story, "root_cause").contains(&cgroup)
}

fn an_oom_kill_is_one_story() -> Result<(), String> {
    let tapio = Tapio::up(&ONLY_KERNEL)?;
    tapio.notice("watching", Duration::from_secs(10))?;
    let cgroup = Cgroup::make("oom")?;
    let name = cgroup.name();
    let status = cgroup.run(HOG)?;
    if status.success() {
        return Err("the process outlived its limit".into());
    }
    // Two seconds is the promise on a quiet machine, and measured there; a test waits longer.
    let story = tapio.line(Duration::from_secs(10), is_ours(&name))?;
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
    tapio.notice("watching", Duration::from_secs(10))?;
    let cgroup = Cgroup::make("kill")?;
    let status = cgroup.run("sh -c 'kill -9 $$'")?;
    if status.success() {
        return Err("the process survived kill -9".into());
    }
    // A real kill behind it: once that is told, the plain one would have been, too.
    let fence = Cgroup::make("fence")?;
    fence.run(HOG)?;
    tapio.line(Duration::from_secs(10), is_ours(&fence.name()))?;
    let rest = tapio.stop()?;
    let told = rest.iter().find(|story| story.to_string().contains(&cgroup.name()));
    told.map_or(Ok(()), |story| Err(format!("a plain kill became a story: {story}")))
}
