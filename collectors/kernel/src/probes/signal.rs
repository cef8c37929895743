//! Signals that end a process: to whom, and from whom.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, ProcessSignalled};
use tapio_model::{Class, Kind, Severity, Text, keys};

use super::{Context, some};
use crate::{
    identity::Task,
    words::{comm, signal},
};

pub(super) fn translate(
    header: &Header,
    sent: &ProcessSignalled,
    mut context: Context<'_>,
) -> Unbound {
    let target = Task {
        pid: sent.target_pid,
        memory: sent.target_memcg_id,
        unified: sent.target_cgroup_id,
        network: sent.target_netns,
    };
    // A positive code is the kernel's own doing: whoever was current only happened to be there.
    let is_kernel = sent.code > 0;
    let sender = if is_kernel { Some(Text::from("kernel")) } else { comm(&header.comm) };
    let sender_pid = some(header.pid).filter(|_| !is_kernel);
    let name = comm(&sent.target_comm).unwrap_or_default();
    let message = format!(
        "{} sent {} to {name} (pid {})",
        sender.as_deref().unwrap_or("somebody"),
        signal(sent.signal),
        sent.target_pid,
    );
    context
        .at_task(target, header, Kind::ProcessSignalled)
        .rated(Severity::Info, 0.0, Class::Lifecycle)
        .with_some(keys::PROCESS_PID, some(sent.target_pid))
        .with_some(keys::PROCESS_NAME, comm(&sent.target_comm))
        .with(keys::EXIT_SIGNAL, sent.signal)
        .with_some(
            keys::PROCESS_IS_INIT,
            (sent.target_ns_pid != 0).then_some(sent.target_ns_pid == 1),
        )
        .with_some(keys::SIGNAL_SENDER, sender)
        .with_some(keys::SIGNAL_SENDER_PID, sender_pid)
        .message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    #[test]
    fn the_event_is_the_targets_and_names_the_sender() {
        // (si_code, sender, its pid)
        for (code, sender, pid) in [(0, "postgres", Some(4_242)), (0x80, "kernel", None)] {
            let mut target_comm = [0; 16];
            target_comm[..4].copy_from_slice(b"java");
            let sent = ProcessSignalled {
                target_cgroup_id: 1,
                target_memcg_id: 11,
                target_pid: 77,
                target_tid: 78,
                signal: 9,
                code,
                target_netns: 5,
                target_ns_pid: 1,
                target_comm,
            };
            let mut world = World::default();
            let event = translate(&header(), &sent, world.context());
            let said = World::said(&event);
            assert_eq!(event.kind, Kind::ProcessSignalled);
            assert_eq!(event.place.cgroup.as_deref(), Some("/kubepods/pody/d"));
            assert_eq!(said.text(keys::PROCESS_NAME), Some("java"));
            assert_eq!(said.int(keys::PROCESS_PID), Some(77));
            assert_eq!(said.int(keys::EXIT_SIGNAL), Some(9));
            assert_eq!(said.text(keys::SIGNAL_SENDER), Some(sender), "{code}");
            assert_eq!(said.int(keys::SIGNAL_SENDER_PID), pid, "{code}");
        }
    }
}
