//! Stories of kernel logs.

use tapio_model::Attributes;

use super::*;

/// What a kernel 6.18 wrote when a process passed a limit of 32 MiB (registers and stack cut).
const MEMCG: &str = "\
4,345,4522579289,-;python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
4,351,4522579353,-; oom_kill_process.cold+0x8/0x8a
6,373,4522579481,-;memory: usage 32768kB, limit 32768kB, failcnt 0
6,374,4522579485,-;memory+swap: usage 32768kB, limit 32768kB, failcnt 0
6,376,4522579487,-;Memory cgroup stats for /tapio-test-7031:
6,378,4522579511,-;rss 33288192
6,421,4522579536,-;[  17754]     0 17754    10566     9749     8096     1653         0   126976        0             0 python3
6,422,4522579539,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/tapio-test-7031,task_memcg=/tapio-test-7031,task=python3,pid=17754,uid=0
3,423,4522579553,-;Memory cgroup out of memory: Killed process 17754 (python3) total-vm:42264kB, anon-rss:32384kB, file-rss:6612kB, shmem-rss:0kB, UID:0 pgtables:124kB oom_score_adj:0
";

fn observe(assembler: &mut Assembler, log: &str) -> Harvest {
    let mut harvest = Harvest::default();
    for line in log.lines() {
        if let Some(record) = Record::parse(line.as_bytes()) {
            let time = Timestamp::ZERO.after(Duration::from_micros(record.usec));
            assembler.observe(&record, time, &mut harvest);
        }
    }
    harvest
}

fn kinds(harvest: &Harvest) -> Vec<Kind> {
    harvest.events.iter().map(|event| event.kind).collect()
}

fn attributes(event: &Unbound) -> Attributes {
    Attributes::new(event.attributes.clone())
}

#[test]
fn a_kill_is_told_once_with_what_stood_before_it() {
    let mut assembler = Assembler::new(b"boot");
    let harvest = observe(&mut assembler, MEMCG);
    assert_eq!(kinds(&harvest), [Kind::MemoryLimitReached, Kind::OomKill]);
    let kill = harvest.events.last().unwrap();
    assert_eq!((kill.severity, kill.class), (Severity::Fatal, Class::Memory));
    assert_eq!(kill.place.cgroup.as_deref(), Some("/tapio-test-7031"));
    let said = attributes(kill);
    assert_eq!(said.text(keys::OOM_CONSTRAINT), Some("memcg"));
    assert_eq!(said.text(keys::OOM_CGROUP), Some("/tapio-test-7031"));
    assert_eq!(said.text(keys::PROCESS_NAME), Some("python3"));
    assert_eq!(said.int(keys::PROCESS_PID), Some(17_754));
    assert_eq!(said.int(keys::OOM_ANON_RSS_KIB), Some(32_384));
    assert_eq!(said.int(keys::MEMORY_LIMIT), Some(32 << 20));
    assert!(said.text(keys::MESSAGE).unwrap().starts_with("Memory cgroup out of memory: Killed"));
    assert_eq!((harvest.read, harvest.emitted), (9, 4));
    assert!(harvest.is_balanced() && !assembler.is_waiting());
}

#[test]
fn reading_again_repeats_the_ids_and_another_boot_does_not() {
    let ids = |scope: &[u8]| -> Vec<EventId> {
        let harvest = observe(&mut Assembler::new(scope), MEMCG);
        harvest.events.iter().map(|event| event.id).collect()
    };
    assert_eq!(ids(b"boot"), ids(b"boot"));
    assert_ne!(ids(b"boot"), ids(b"next boot"));
}

#[test]
fn the_choice_alone_is_enough_and_the_late_kill_is_not_told_again() {
    let (before, kill) = MEMCG.split_at(MEMCG.find("3,423").unwrap());
    let whole = observe(&mut Assembler::new(b"boot"), MEMCG).events.pop().unwrap();
    let mut assembler = Assembler::new(b"boot");
    let mut harvest = observe(&mut assembler, before);
    assert_eq!(kinds(&harvest), []);
    assert!(assembler.is_waiting());
    assembler.flush(&mut harvest);
    assert_eq!(kinds(&harvest), [Kind::MemoryLimitReached, Kind::OomKill]);
    assert_eq!(harvest.events.last().unwrap().id, whole.id);
    harvest.absorb(observe(&mut assembler, kill));
    assert_eq!(harvest.events.len(), 2);
    assert!(harvest.is_balanced());
}

#[test]
fn a_node_out_of_memory_reached_no_cgroups_limit() {
    let log = "\
4,1,1000,-;java invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0
6,2,1010,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/system.slice/db.service,task=postgres,pid=7,uid=26
3,3,1020,-;Out of memory: Killed process 7 (postgres) total-vm:9kB, anon-rss:8kB, file-rss:0kB
";
    let harvest = observe(&mut Assembler::new(b"boot"), log);
    assert_eq!(kinds(&harvest), [Kind::OomKill]);
    let kill = &harvest.events[0];
    assert_eq!(attributes(kill).text(keys::OOM_CONSTRAINT), Some("none"));
    assert_eq!(kill.place.label(), "db.service");
    assert!(harvest.is_balanced());
}

#[test]
fn a_group_that_dies_as_one_is_a_kill_for_each_process() {
    let log = "\
6,1,10,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/g,task_memcg=/g,task=a,pid=1,uid=0
3,2,11,-;Memory cgroup out of memory: Killed process 1 (a) total-vm:1kB, anon-rss:1kB
6,3,12,-;Tasks in /g are going to be killed due to memory.oom.group set
3,4,13,-;Memory cgroup out of memory: Killed process 2 (b) total-vm:1kB, anon-rss:1kB
";
    let harvest = observe(&mut Assembler::new(b"boot"), log);
    assert_eq!(kinds(&harvest), [Kind::OomKill, Kind::OomKill]);
    for kill in &harvest.events {
        assert_eq!(kill.place.cgroup.as_deref(), Some("/g"));
        assert_eq!(attributes(kill).text(keys::OOM_CONSTRAINT), Some("memcg"));
    }
    assert!(harvest.is_balanced());
}

#[test]
fn two_kills_in_a_row_do_not_mix() {
    let second = MEMCG.replace("17754", "99").replace("4522579", "4522580");
    let harvest = observe(&mut Assembler::new(b"boot"), &format!("{MEMCG}{second}"));
    let pids: Vec<_> = harvest
        .events
        .iter()
        .filter_map(|event| attributes(event).int(keys::PROCESS_PID))
        .collect();
    assert_eq!(pids, [17_754, 99]);
    assert!(harvest.is_balanced());
}

#[test]
fn a_process_cannot_forge_a_kill() {
    // 11 is facility 1 (user), priority 3.
    let log = "11,1,10,-;Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB";
    assert_eq!(kinds(&observe(&mut Assembler::new(b"boot"), log)), [Kind::Log]);
}

#[test]
fn an_allocation_that_killed_nobody_is_a_warning() {
    let mut assembler = Assembler::new(b"boot");
    let invoked = MEMCG.lines().next().unwrap();
    let later = "6,500,4599999999,-;eth0: link up";
    let harvest = observe(&mut assembler, &format!("{invoked}\n{later}\n"));
    assert_eq!(kinds(&harvest), [Kind::Log]);
    assert!(harvest.is_balanced());
}
