//! Processes that begin a program.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, ProcessStarted};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::words::comm;

pub(super) fn translate(
    header: &Header,
    start: &ProcessStarted,
    mut context: Context<'_>,
) -> Unbound {
    let path = comm(&start.filename);
    context
        .of_task(header, Kind::ProcessStarted)
        .rated(Severity::Info, 0.0, Class::Lifecycle)
        .with_some(keys::PROCESS_IS_INIT, (start.ns_pid != 0).then_some(start.ns_pid == 1))
        .with_some(keys::PATH, path.clone())
        .message(format!("process {} began {}", header.pid, path.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use tapio_model::Value;

    use super::*;
    use crate::probes::fixture::{World, header};

    #[test]
    fn a_start_names_the_program_and_whether_it_is_the_first() {
        for (ns_pid, is_init) in [(1, Some(true)), (7, Some(false)), (0, None)] {
            let mut filename = [0; 128];
            filename[..12].copy_from_slice(b"/usr/bin/psq");
            let start = ProcessStarted {
                ppid: 1,
                ns_pid,
                pidns: 2,
                filename_len: 12,
                filename,
                reserved: 0,
            };
            let mut world = World::default();
            let event = translate(&header(), &start, world.context());
            let said = World::said(&event);
            assert_eq!((event.kind, event.severity), (Kind::ProcessStarted, Severity::Info));
            assert_eq!(said.text(keys::PATH), Some("/usr/bin/psq"));
            assert_eq!(said.get(keys::PROCESS_IS_INIT), is_init.map(Value::Bool).as_ref());
        }
    }
}
