//! Requests of block devices that fail or take long.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{BlockIo, Header, block};
use tapio_model::{Class, Kind, Place, Severity, Text, keys};

use super::Context;
use crate::words::{errno, int, millis};

/// How a device says that it cannot do what it was asked (a discard), or not at once.
const EVERYDAY: [u32; 2] = [95, 11];

pub(super) fn translate(
    header: &Header,
    io: &BlockIo,
    mut context: Context<'_>,
) -> Option<Unbound> {
    let error = block::errno(io.status);
    if EVERYDAY.contains(&error) {
        return None;
    }
    let device = context.lookup.device(io.major, io.minor);
    let device = device.unwrap_or_else(|| Text::from(format!("{}:{}", io.major, io.minor)));
    let what = match io.op {
        block::READ => "read",
        block::WRITE => "write",
        block::FLUSH => "flush",
        block::DISCARD => "discard",
        _ => "request",
    };
    // The device is the machine's: who was current at its interrupt had nothing to do with it, but
    // the group that the request was made for has, if it is known.
    let place = context.of_task(header, Kind::IoError).place;
    let place = if place.cgroup.as_deref() == Some("/") { Place::default() } else { place };
    let (kind, severity, impact, message) = if error == 0 {
        let took = millis(io.latency_ns);
        (Kind::IoSlow, Severity::Warn, 0.4, format!("{device}: a {what} took {took}"))
    } else {
        let why = errno(error);
        let message = format!("{device}: {what} at sector {} failed: {why}", io.sector);
        (Kind::IoError, Severity::Error, 0.8, message)
    };
    let event = context
        .event(header, tapio_model::Source::Kernel, kind)
        .at(place)
        .rated(severity, impact, Class::Storage)
        .with(keys::DEVICE, device)
        .with_some(keys::ERROR_TYPE, (error != 0).then(|| errno(error)))
        .with_some(keys::DURATION, (io.latency_ns != 0).then(|| int(io.latency_ns)))
        .message(message);
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    #[test]
    fn an_error_is_told_apart_from_slowness_and_from_what_a_device_cannot_do() {
        // (status, major, kind, error, device)
        let cases = [
            (10, 8, Some(Kind::IoError), Some("EIO"), "sda1"),
            (7, 8, Some(Kind::IoError), Some("ENODATA"), "sda1"),
            (-5, 259, Some(Kind::IoError), Some("EIO"), "259:1"),
            (0, 8, Some(Kind::IoSlow), None, "sda1"),
            (1, 8, None, None, ""),
            (12, 8, None, None, ""),
        ];
        for (status, major, kind, error, device) in cases {
            let io = BlockIo {
                latency_ns: 600_000_000,
                sector: 42,
                major,
                minor: 1,
                bytes: 4_096,
                status,
                op: block::WRITE,
                reserved: 0,
            };
            let mut world = World::default();
            let event = translate(&header(), &io, world.context());
            assert_eq!(event.as_ref().map(|event| event.kind), kind, "{status}");
            let Some(event) = event else { continue };
            let said = World::said(&event);
            assert_eq!(said.text(keys::ERROR_TYPE), error, "{status}");
            assert_eq!(said.text(keys::DEVICE), Some(device), "{status}");
            assert_eq!(said.int(keys::DURATION), Some(600_000_000));
        }
    }
}
