//! The lines of the kernel's out-of-memory killer.

/// What one line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OomLine {
    /// `X invoked oom-killer`: the allocation that could not be served.
    Invoked {
        /// Who asked for memory, not who dies.
        process: String,
    },
    /// `memory: usage …kB, limit …kB`.
    Limit {
        /// The limit in bytes.
        bytes: i64,
    },
    /// `oom-kill:constraint=…`: the choice of a victim.
    Choice(Choice),
    /// `Tasks in … are going to be killed due to memory.oom.group set`.
    Group {
        /// The group that dies as one.
        cgroup: String,
    },
    /// `… Killed process …`: the kill.
    Killed(Killed),
}

/// The choice of a victim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) constraint: &'static str,
    pub(crate) oom_cgroup: Option<String>,
    pub(crate) task_cgroup: String,
    pub(crate) process: String,
    pub(crate) pid: i64,
}

/// The kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) constraint: Option<&'static str>,
    pub(crate) process: String,
    pub(crate) pid: i64,
    pub(crate) anon_rss_kib: Option<i64>,
}

impl OomLine {
    /// Reads a message of the kernel; `None` if it is about something else.
    pub(crate) fn read(message: &str) -> Option<Self> {
        if let Some((process, _)) = message.split_once(" invoked oom-killer:") {
            return Some(Self::Invoked { process: process.into() });
        }
        if let Some(usage) = message.strip_prefix("memory: usage ") {
            let kib = number_after(usage, ", limit ")?;
            return Some(Self::Limit { bytes: kib.saturating_mul(1_024) });
        }
        if let Some(rest) = message.strip_prefix("Tasks in ") {
            let (cgroup, _) = rest.split_once(" are going to be killed")?;
            return Some(Self::Group { cgroup: cgroup.into() });
        }
        if let Some(choice) = message.strip_prefix("oom-kill:constraint=CONSTRAINT_") {
            return read_choice(choice).map(Self::Choice);
        }
        read_killed(message).map(Self::Killed)
    }
}

/// Reads from both ends inwards: a path or a process name may hold commas.
fn read_choice(text: &str) -> Option<Choice> {
    let (constraint, rest) = text.split_once(",nodemask=")?;
    let constraint = match constraint {
        "MEMCG" => "memcg",
        "NONE" => "none",
        "CPUSET" => "cpuset",
        "MEMORY_POLICY" => "memory_policy",
        _ => return None,
    };
    let (before, rest) = rest.split_once(",task_memcg=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (task_cgroup, process) = rest.rsplit_once(",task=")?;
    Some(Choice {
        constraint,
        oom_cgroup: before.split_once(",oom_memcg=").map(|(_, path)| path.into()),
        task_cgroup: task_cgroup.into(),
        process: process.into(),
        pid: pid.split(',').next()?.parse().ok()?,
    })
}

fn read_killed(message: &str) -> Option<Killed> {
    let (cause, rest) = message.split_once("Killed process ")?;
    let constraint = match cause {
        // Before 5.2 the cause stood on a line of its own.
        "" => None,
        _ if cause.starts_with("Memory cgroup out of memory") => Some("memcg"),
        _ if cause.starts_with("Out of memory") => Some("none"),
        _ => return None,
    };
    let (pid, rest) = rest.split_once(" (")?;
    let (process, rest) = rest.split_once(") total-vm:").or_else(|| rest.split_once("), UID"))?;
    Some(Killed {
        constraint,
        process: process.into(),
        pid: pid.parse().ok()?,
        anon_rss_kib: number_after(rest, "anon-rss:"),
    })
}

fn number_after(text: &str, marker: &str) -> Option<i64> {
    let (_, rest) = text.split_once(marker)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_a_kill() {
        let line =
            "python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0";
        assert_eq!(OomLine::read(line), Some(OomLine::Invoked { process: "python3".into() }));
        let line = "memory: usage 32768kB, limit 32768kB, failcnt 0";
        assert_eq!(OomLine::read(line), Some(OomLine::Limit { bytes: 33_554_432 }));
        let line = "Tasks in /a,b are going to be killed due to memory.oom.group set";
        assert_eq!(OomLine::read(line), Some(OomLine::Group { cgroup: "/a,b".into() }));
    }

    #[test]
    fn reads_who_was_chosen_and_why() {
        let lines = [
            (
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/tapio-test-7031,task_memcg=/tapio-test-7031,task=python3,pid=17754,uid=0",
                ("memcg", Some("/tapio-test-7031"), "/tapio-test-7031", "python3", 17_754),
            ),
            (
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0-1,global_oom,task_memcg=/user.slice,task=my,task,pid=12,uid=1000",
                ("none", None, "/user.slice", "my,task", 12),
            ),
            (
                "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,2,cpuset=a,mems_allowed=0,2,global_oom,task_memcg=/,task=x,pid=1,uid=0",
                ("cpuset", None, "/", "x", 1),
            ),
        ];
        for (line, want) in lines {
            let Some(OomLine::Choice(choice)) = OomLine::read(line) else { panic!("{line}") };
            let got = (
                choice.constraint,
                choice.oom_cgroup.as_deref(),
                choice.task_cgroup.as_str(),
                choice.process.as_str(),
                choice.pid,
            );
            assert_eq!(got, want, "{line}");
        }
        assert_eq!(OomLine::read("oom-kill:constraint=CONSTRAINT_X,nodemask=,task_memcg="), None);
    }

    #[test]
    fn reads_the_kill_in_every_dialect() {
        let lines = [
            (
                "Memory cgroup out of memory: Killed process 17754 (python3) total-vm:42264kB, anon-rss:32384kB, file-rss:6612kB, shmem-rss:0kB, UID:0 pgtables:124kB oom_score_adj:0",
                (Some("memcg"), 17_754, "python3", Some(32_384)),
            ),
            (
                "Out of memory: Killed process 9 (a (b) c) total-vm:1kB, anon-rss:2kB",
                (Some("none"), 9, "a (b) c", Some(2)),
            ),
            (
                "Killed process 77 (java), UID 26, total-vm:8kB, anon-rss:5kB",
                (None, 77, "java", Some(5)),
            ),
        ];
        for (line, want) in lines {
            let Some(OomLine::Killed(killed)) = OomLine::read(line) else { panic!("{line}") };
            let got = (killed.constraint, killed.pid, killed.process.as_str(), killed.anon_rss_kib);
            assert_eq!(got, want, "{line}");
        }
        assert_eq!(
            OomLine::read("oom_reaper: reaped process 17754 (python3), now anon-rss:0kB"),
            None
        );
        assert_eq!(OomLine::read("somebody said: Killed process 1 (x) total-vm:1kB"), None);
    }
}
