use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use super::*;

/// A machine made of directories: a v1 memory tree, a v2 tree, and processes.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new(has_v1: bool) -> std::io::Result<Self> {
        let home = tempfile::tempdir()?;
        let root = home.path().display();
        let v2 = format!("cgroup2 {root}/unified cgroup2 rw 0 0\n");
        let v1 = format!("cgroup {root}/memory cgroup rw,memory 0 0\n");
        let table = if has_v1 { v2 + &v1 } else { v2 };
        for directory in ["unified", "memory", "proc/1/ns"] {
            fs::create_dir_all(home.path().join(directory))?;
        }
        symlink("net:[1]", home.path().join("proc/1/ns/net"))?;
        fs::write(home.path().join("mounts"), table)?;
        Ok(Self { home })
    }

    fn group(&self, path: &str) -> std::io::Result<u64> {
        let directory = self.home.path().join(path);
        fs::create_dir_all(&directory)?;
        Ok(fs::metadata(directory)?.ino())
    }

    fn process(&self, pid: u32, groups: &str, network: u32) -> std::io::Result<()> {
        let directory = self.home.path().join(format!("proc/{pid}"));
        fs::create_dir_all(directory.join("ns"))?;
        fs::write(directory.join("cgroup"), groups)?;
        symlink(format!("net:[{network}]"), directory.join("ns/net"))
    }

    fn identity(&self) -> Identity {
        let path = |name: &str| self.home.path().join(name);
        let roots = Roots { mounts: path("mounts"), proc: path("proc") };
        let place_of = |path: &str| Place {
            cgroup: Some(path.into()),
            pod_uid: path.split('/').find_map(|it| it.strip_prefix("pod")).map(Into::into),
            ..Place::default()
        };
        Identity::new(&roots, Arc::new(place_of))
    }
}

fn cgroup(place: &Place) -> Option<&str> {
    place.cgroup.as_deref()
}

#[test]
fn the_memory_tree_goes_before_the_unified_one() {
    let machine = Machine::new(true).unwrap();
    let memory = machine.group("memory/kubepods/podx/c").unwrap();
    let unified = machine.group("unified/user.slice").unwrap();
    let mut identity = machine.identity();
    let both = Task { memory, unified, ..Task::default() };
    assert_eq!(cgroup(&identity.of_task(both)), Some("/kubepods/podx/c"));
    let one = Task { unified, ..Task::default() };
    assert_eq!(cgroup(&identity.of_task(one)), Some("/user.slice"));
    assert_eq!(identity.memory_group(memory).as_deref(), Some("/kubepods/podx/c"));
}

#[test]
fn without_v1_the_memory_group_is_the_unified_one() {
    let machine = Machine::new(false).unwrap();
    let memory = machine.group("unified/a").unwrap();
    let mut identity = machine.identity();
    assert_eq!(cgroup(&identity.of_task(Task { memory, ..Task::default() })), Some("/a"));
}

#[test]
fn a_group_made_later_is_found_and_a_removed_one_remembered() {
    let machine = Machine::new(false).unwrap();
    let mut identity = machine.identity();
    assert_eq!(identity.of_task(Task { unified: u64::MAX, ..Task::default() }), Place::default());
    let unified = machine.group("unified/late").unwrap();
    machine.process(7, "0::/late\n", 1).unwrap();
    // Whoever lives needs no walk.
    let task = Task { unified, pid: 7, ..Task::default() };
    assert_eq!(cgroup(&identity.of_task(task)), Some("/late"));
    fs::remove_dir(machine.home.path().join("unified/late")).unwrap();
    assert_eq!(cgroup(&identity.of_task(Task { pid: 0, ..task })), Some("/late"));
}

#[test]
fn a_process_that_was_moved_does_not_answer_for_its_old_group() {
    let machine = Machine::new(false).unwrap();
    let old = machine.group("unified/old").unwrap();
    machine.group("unified/new").unwrap();
    machine.process(7, "0::/new\n", 1).unwrap();
    let mut identity = machine.identity();
    let task = Task { unified: old, pid: 7, ..Task::default() };
    assert_eq!(cgroup(&identity.of_task(task)), Some("/old"));
}

#[test]
fn a_socket_in_the_root_belongs_to_its_networks_pod() {
    let machine = Machine::new(false).unwrap();
    let root = fs::metadata(machine.home.path().join("unified")).unwrap().ino();
    machine.group("unified/kubepods/podx/c").unwrap();
    machine.process(30, "0::/kubepods/podx/c\n", 77).unwrap();
    machine.process(40, "0::/\n", 77).unwrap();
    let mut identity = machine.identity();
    let place = identity.of_socket(Task { unified: root, network: 77, ..Task::default() });
    assert_eq!((place.pod_uid.as_deref(), cgroup(&place)), (Some("x"), None));
    // The machine's own network is everybody's.
    let host = identity.of_socket(Task { unified: root, network: 1, ..Task::default() });
    assert_eq!(cgroup(&host), Some("/"));
}

#[test]
fn a_task_that_was_seen_teaches_whose_network_it_is() {
    let machine = Machine::new(false).unwrap();
    let unified = machine.group("unified/kubepods/podx/c").unwrap();
    let mut identity = machine.identity();
    identity.of_task(Task { unified, network: 78, ..Task::default() });
    let place = identity.of_socket(Task { network: 78, ..Task::default() });
    assert_eq!(place.pod_uid.as_deref(), Some("x"));
}

#[test]
fn this_process_is_where_its_own_account_says() {
    let mut identity = Identity::new(
        &Roots::default(),
        Arc::new(|path: &str| Place { cgroup: Some(path.into()), ..Place::default() }),
    );
    for mount in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        let is_v2 = Path::new(mount).join("cgroup.procs").exists();
        let Some(root) = fs::metadata(mount).ok().filter(|_| is_v2) else { continue };
        let task = Task { unified: root.ino(), ..Task::default() };
        assert_eq!(cgroup(&identity.of_task(task)), Some("/"));
    }
}
