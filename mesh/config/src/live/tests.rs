use std::{fs, os::unix::fs::symlink, path::Path};

use serde::Deserialize;
use tempfile::{TempDir, tempdir};
use tokio::time::timeout;

use super::*;
use crate::Fault;

/// Longer than two looks; with paused time it takes none.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Lamp {
    watts: u32,
    socket: u32,
}

impl Validate for Lamp {
    fn validate(&self) -> Vec<Fault> {
        if self.watts > 100 {
            return vec![Fault::new("watts", "too bright", "stay below 101")];
        }
        Vec::new()
    }

    fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        if self.socket == next.socket { Vec::new() } else { vec!["socket"] }
    }
}

fn folder() -> TempDir {
    tempdir().expect("a folder")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
}

fn watch_file(path: &Path) -> (Live<Lamp>, Watching) {
    let origin = Origin { path: Some(path.to_owned()), lookup: Arc::new(|_| None) };
    watch(origin).expect("a good file")
}

async fn next_watts(live: &mut Live<Lamp>) -> Option<u32> {
    let changed = timeout(PATIENCE, live.changed()).await.ok()?;
    changed.map(|lamp| lamp.watts)
}

async fn refused(live: &Live<Lamp>, count: u64) -> String {
    let refusing = async {
        while live.reloads().refused < count {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, refusing).await.expect("it is refused");
    live.refusal().map(|why| why.to_string()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_change_in_place_takes_effect() {
    let folder = folder();
    let path = folder.path().join("lamp.yaml");
    write(&path, "watts: 40\n");
    let (mut live, _watching) = watch_file(&path);
    assert_eq!(live.current().watts, 40);
    // As long as before, within the same tick of any clock: only the content tells.
    write(&path, "watts: 60\n");
    assert_eq!(next_watts(&mut live).await, Some(60));
    assert_eq!(live.reloads(), Reloads { applied: 1, refused: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_config_map_is_followed_through_its_links() {
    let folder = folder();
    let [first, second] = ["..2026_01", "..2026_02"].map(|name| folder.path().join(name));
    for (version, text) in [(&first, "watts: 40\n"), (&second, "watts: 60\n")] {
        fs::create_dir(version).expect("a folder");
        write(&version.join("lamp.yaml"), text);
    }
    // As the kubelet lays it out: lamp.yaml -> ..data/lamp.yaml, ..data -> ..2026_01.
    symlink("..2026_01", folder.path().join("..data")).expect("a link");
    symlink("..data/lamp.yaml", folder.path().join("lamp.yaml")).expect("a link");
    let (mut live, _watching) = watch_file(&folder.path().join("lamp.yaml"));
    assert_eq!(live.current().watts, 40);
    // As the kubelet swaps it: a new link, renamed over the old one; then the old version goes.
    symlink("..2026_02", folder.path().join("..data_tmp")).expect("a link");
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).expect("a swap");
    fs::remove_dir_all(&first).expect("gone");
    assert_eq!(next_watts(&mut live).await, Some(60));
}

#[tokio::test(start_paused = true)]
async fn a_bad_change_keeps_the_old_value_and_says_why() {
    let folder = folder();
    let path = folder.path().join("lamp.yaml");
    write(&path, "watts: 40\n");
    let (mut live, _watching) = watch_file(&path);
    let rows = [
        (Some("watts: 1000\n"), "lamp.yaml:1: watts: too bright; stay below 101"),
        (Some("wats: 60\n"), "lamp.yaml:1: wats: there is no such field; did you mean `watts`?"),
        (Some("watts: [\n"), "lamp.yaml:"),
        (Some("socket: 9\n"), "socket: takes effect only at a start; restart, or put"),
        (None, "lamp.yaml: cannot be read"),
    ];
    for (count, (text, why)) in (1..).zip(rows) {
        match text {
            Some(text) => write(&path, text),
            None => fs::remove_file(&path).expect("gone"),
        }
        let said = refused(&live, count).await;
        assert!(said.contains(why), "{said}");
        assert_eq!(live.current().watts, 40, "{why}");
    }
    write(&path, "watts: 60\n");
    assert_eq!(next_watts(&mut live).await, Some(60));
    assert_eq!(live.reloads(), Reloads { applied: 1, refused: 5 });
    assert_eq!(live.refusal(), None);
}

#[tokio::test(start_paused = true)]
async fn a_content_counts_once_two_looks_agree() {
    let folder = folder();
    let path = folder.path().join("lamp.yaml");
    write(&path, "watts: 40\n");
    let (live, _watching) = watch_file(&path);
    // A writer that is never done: every look finds something else.
    for watts in 50..60 {
        write(&path, &format!("watts: {watts}\n"));
        sleep(LOOK_EVERY).await;
    }
    assert_eq!(live.current().watts, 40);
}

#[tokio::test(start_paused = true)]
async fn without_a_file_nothing_changes() {
    let origin = Origin { path: None, lookup: Arc::new(|_| None) };
    let (mut live, _watching) = watch::<Lamp>(origin).expect("the default is good");
    assert_eq!(live.changed().await.map(|lamp| lamp.watts), None);
}
