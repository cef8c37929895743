//! Threads that stall while the kernel reclaims memory for them.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, ReclaimStall};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::words::{comm, int, millis};

pub(super) fn translate(
    header: &Header,
    stall: &ReclaimStall,
    mut context: Context<'_>,
) -> Unbound {
    let name = comm(&header.comm).unwrap_or_default();
    let (reason, whose) = if stall.is_memcg == 1 {
        ("memcg", "its cgroup's limit")
    } else {
        ("none", "the machine's memory")
    };
    context
        .of_task(header, Kind::MemoryStalled)
        .rated(Severity::Warn, 0.3, Class::Memory)
        .with(keys::RESOURCE, "memory")
        .with(keys::OOM_CONSTRAINT, reason)
        .with(keys::DURATION, int(stall.duration_ns))
        .with(keys::COUNT, stall.count.max(1))
        .message(format!(
            "{name} (pid {}) stalled {} at {whose}; {} pages were won",
            header.pid,
            millis(stall.duration_ns),
            stall.reclaimed_pages
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    #[test]
    fn a_stall_says_whose_memory_is_short() {
        for (is_memcg, want) in [(1, "memcg"), (0, "none")] {
            let stall =
                ReclaimStall { duration_ns: 60_000_000, reclaimed_pages: 32, is_memcg, count: 2 };
            let mut world = World::default();
            let event = translate(&header(), &stall, world.context());
            let said = World::said(&event);
            assert_eq!(event.kind, Kind::MemoryStalled);
            assert_eq!(said.text(keys::OOM_CONSTRAINT), Some(want));
            assert_eq!(said.int(keys::COUNT), Some(2));
        }
    }
}
