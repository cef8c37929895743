//! Threads that wait for a processor.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{CpuDelay, Header};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::words::{comm, int, millis};

pub(super) fn translate(header: &Header, delay: &CpuDelay, mut context: Context<'_>) -> Unbound {
    let name = comm(&header.comm).unwrap_or_default();
    context
        .of_task(header, Kind::CpuDelayed)
        .rated(Severity::Warn, 0.3, Class::Cpu)
        .with(keys::RESOURCE, "cpu")
        .with(keys::DURATION, int(delay.delay_ns))
        .with(keys::COUNT, delay.count.max(1))
        .message(format!(
            "{name} (pid {}) waited {} for a processor",
            header.pid,
            millis(delay.delay_ns)
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    #[test]
    fn a_delay_says_how_long_and_how_often() {
        let delay = CpuDelay { delay_ns: 150_000_000, count: 0, reserved: 0 };
        let mut world = World::default();
        let sampled = Header { sampled: 16, ..header() };
        let event = translate(&sampled, &delay, world.context());
        let said = World::said(&event);
        assert_eq!((event.kind, event.class), (Kind::CpuDelayed, Class::Cpu));
        assert_eq!(said.int(keys::DURATION), Some(150_000_000));
        assert_eq!(said.int(keys::COUNT), Some(1));
        assert_eq!(said.int(keys::SAMPLED), Some(16));
    }
}
