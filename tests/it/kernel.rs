//! What happens in a real kernel: is it told as one story, by whoever of the senses is there?

mod cluster;
mod oom;
mod ordinary;
mod witnesses;
mod world;

use std::fs;

use tapio_tests::Need;

use crate::{Case, kernel::world::Cgroup};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = oom::cases();
    cases.extend(witnesses::cases());
    cases.extend(ordinary::cases());
    cases
}

/// Says whether a real out-of-memory kill can be made and read.
fn kills() -> Result<(), Need> {
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

/// Says whether such a kill is seen by probes, too.
fn witnesses() -> Result<(), Need> {
    kills()?;
    let home = tempfile::TempDir::new().map_err(|error| Need::Absent(error.to_string()))?;
    let tier = world::tier(&home).map_err(Need::Absent)?;
    if tier == "none" {
        return Err(Need::Absent("needs a kernel that lets us load probes".into()));
    }
    Ok(())
}
