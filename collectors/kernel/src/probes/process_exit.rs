//! Processes that end.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, ProcessExit, exit};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::words::{comm, int, signal};

/// Signals by which a process dies of its own fault: ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS.
const FAULTS: [u8; 9] = [4, 5, 6, 7, 8, 11, 24, 25, 31];

/// Somebody else's last word.
const KILL: u8 = 9;

pub(super) fn translate(header: &Header, end: &ProcessExit, mut context: Context<'_>) -> Unbound {
    let (code, number) = (exit::code(end.raw_code), exit::signal(end.raw_code));
    let is_init = end.is_init == 1;
    let is_clean = code == 0 && number == 0;
    // A shell's `false` is everyday; a crash, a kill, or a container's own end is not.
    let is_odd = FAULTS.contains(&number) || number == KILL || (is_init && !is_clean);
    let (severity, impact) = if is_odd { (Severity::Warn, 0.3) } else { (Severity::Info, 0.0) };
    let name = comm(&header.comm).unwrap_or_default();
    let how = if number == 0 {
        format!("exited with code {code}")
    } else {
        format!("was ended by {}", signal(u32::from(number)))
    };
    context
        .of_task(header, Kind::ProcessExit)
        .rated(severity, impact, Class::Lifecycle)
        .with_some(keys::EXIT_CODE, (number == 0).then_some(i32::from(code)))
        .with_some(keys::EXIT_SIGNAL, (number != 0).then_some(i32::from(number)))
        .with(keys::PROCESS_IS_INIT, is_init || end.ns_pid == 1)
        .with(keys::DURATION, int(end.lived_ns))
        .message(format!("{name} (pid {}) {how}", header.pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    #[test]
    fn codes_and_signals_are_told_apart() {
        // (as `wait` has it, is first, code, signal, severity)
        let cases = [
            (0, 0, Some(0), None, Severity::Info),
            (0x0100, 0, Some(1), None, Severity::Info),
            (0x0100, 1, Some(1), None, Severity::Warn),
            (0, 1, Some(0), None, Severity::Info),
            (9, 0, None, Some(9), Severity::Warn),
            (15, 0, None, Some(15), Severity::Info),
            (0x8b, 0, None, Some(11), Severity::Warn),
        ];
        for (raw_code, is_init, code, signal, severity) in cases {
            let end = ProcessExit {
                raw_code,
                ppid: 1,
                ns_pid: if is_init == 1 { 1 } else { 7 },
                pidns: 2,
                lived_ns: 5,
                is_init,
                reserved: 0,
            };
            let mut world = World::default();
            let event = translate(&header(), &end, world.context());
            let said = World::said(&event);
            assert_eq!(event.kind, Kind::ProcessExit);
            assert_eq!(said.int(keys::EXIT_CODE), code, "{raw_code:#x}");
            assert_eq!(said.int(keys::EXIT_SIGNAL), signal, "{raw_code:#x}");
            assert_eq!(event.severity, severity, "{raw_code:#x} {is_init}");
        }
    }
}
