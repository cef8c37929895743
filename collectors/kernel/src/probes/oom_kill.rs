//! Victims of the out-of-memory killer.
//!
//! Told in the words of the kernel's log and with its attributes, so that both witnesses of one kill
//! say the same of the same place.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, OomKill, oom};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::words::{comm, int};

pub(super) fn translate(header: &Header, kill: &OomKill, mut context: Context<'_>) -> Unbound {
    let constraint = match kill.constraint {
        oom::NONE => Some("none"),
        oom::MEMCG => Some("memcg"),
        _ => None,
    };
    let is_limit = kill.constraint == oom::MEMCG;
    let group = Some(kill.oom_memcg_id).filter(|id| is_limit && *id != 0);
    let group = group.and_then(|id| context.lookup.memory_group(id));
    let limit = Some(kill.limit_kib).filter(|kib| is_limit && *kib != 0);
    let cause = if is_limit { "Memory cgroup out of memory" } else { "Out of memory" };
    let message = format!(
        "{cause}: Killed process {} ({}) anon-rss:{}kB, file-rss:{}kB, shmem-rss:{}kB \
         oom_score_adj:{}",
        header.pid,
        comm(&header.comm).unwrap_or_default(),
        kill.anon_kib,
        kill.file_kib,
        kill.shmem_kib,
        kill.oom_score_adj,
    );
    context
        .of_task(header, Kind::OomKill)
        .rated(Severity::Fatal, 0.95, Class::Memory)
        .with_some(keys::OOM_CONSTRAINT, constraint)
        .with_some(keys::OOM_CGROUP, group)
        .with(keys::OOM_ANON_RSS_KIB, int(kill.anon_kib))
        .with_some(keys::MEMORY_LIMIT, limit.map(|kib| int(kib.saturating_mul(1_024))))
        .message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    fn kill(constraint: u32) -> OomKill {
        OomKill {
            oom_memcg_id: 20,
            usage_kib: 32_768,
            limit_kib: 32_768,
            anon_kib: 32_384,
            file_kib: 4,
            shmem_kib: 0,
            oom_score_adj: 0,
            constraint,
        }
    }

    #[test]
    fn a_kill_at_a_limit_is_told_as_the_kernels_log_tells_it() {
        let mut world = World::default();
        let event = translate(&header(), &kill(oom::MEMCG), world.context());
        assert_eq!((event.kind, event.severity), (Kind::OomKill, Severity::Fatal));
        assert_eq!(event.place.cgroup.as_deref(), Some("/kubepods/podx/c"));
        let said = World::said(&event);
        assert_eq!(said.text(keys::OOM_CONSTRAINT), Some("memcg"));
        assert_eq!(said.text(keys::OOM_CGROUP), Some("/kubepods/podx"));
        assert_eq!(said.int(keys::PROCESS_PID), Some(4_242));
        assert_eq!(said.text(keys::PROCESS_NAME), Some("postgres"));
        assert_eq!(said.int(keys::OOM_ANON_RSS_KIB), Some(32_384));
        assert_eq!(said.int(keys::MEMORY_LIMIT), Some(33_554_432));
        let begin = "Memory cgroup out of memory: Killed process 4242 (postgres)";
        assert!(said.text(keys::MESSAGE).unwrap().starts_with(begin));
    }

    #[test]
    fn a_machine_that_runs_out_names_no_group() {
        let cases = [(oom::NONE, Some("none")), (oom::UNKNOWN, None), (9, None)];
        for (constraint, want) in cases {
            let mut world = World::default();
            let event = translate(&header(), &kill(constraint), world.context());
            let said = World::said(&event);
            assert_eq!(said.text(keys::OOM_CONSTRAINT), want, "{constraint}");
            assert_eq!(said.get(keys::OOM_CGROUP).or(said.get(keys::MEMORY_LIMIT)), None);
            assert!(said.text(keys::MESSAGE).unwrap().starts_with("Out of memory: Killed"));
        }
    }
}
