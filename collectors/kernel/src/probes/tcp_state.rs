//! Connections that are not made, or slowly.

use std::time::Duration;

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, TcpState, tcp};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::{
    peer::{remote, with_ends},
    words::{errno, int, millis},
};

const ETIMEDOUT: u32 = 110;
const ECONNRESET: u32 = 104;
const ECONNREFUSED: u32 = 111;

/// A program that gave up before this was told to stop; later its own patience ended.
const GAVE_UP_MIN: Duration = Duration::from_millis(900);

pub(super) fn translate(
    header: &Header,
    change: &TcpState,
    mut context: Context<'_>,
) -> Option<Unbound> {
    let (old, new) = (u16::try_from(change.old).ok()?, u16::try_from(change.new).ok()?);
    let waited = Duration::from_nanos(change.latency_ns);
    let (kind, error) = match (old, new, change.error) {
        (tcp::SYN_SENT, tcp::ESTABLISHED, _) => (Kind::ConnectSlow, None),
        (tcp::SYN_SENT, tcp::CLOSE, ECONNREFUSED | ECONNRESET) => {
            (Kind::ConnectRefused, Some(ECONNREFUSED))
        }
        (tcp::SYN_SENT, tcp::CLOSE, 0) if waited < GAVE_UP_MIN => return None,
        (tcp::SYN_SENT, tcp::CLOSE, 0) => (Kind::ConnectTimeout, Some(ETIMEDOUT)),
        (tcp::SYN_SENT, tcp::CLOSE, error) => (Kind::ConnectTimeout, Some(error)),
        _ => return None,
    };
    let (severity, impact, how) = if kind == Kind::ConnectSlow {
        (Severity::Warn, 0.3, "was slow")
    } else if kind == Kind::ConnectRefused {
        (Severity::Error, 0.6, "was refused")
    } else {
        (Severity::Error, 0.6, "got no answer")
    };
    let event = context.of_socket(header, kind).rated(severity, impact, Class::Network);
    let event = with_ends(event, &change.socket, context.lookup)
        .with_some(keys::ERROR_TYPE, error.map(errno))
        .with_some(keys::DURATION, (change.latency_ns != 0).then(|| int(change.latency_ns)))
        .message(format!(
            "connecting to {} {how} ({})",
            remote(&change.socket),
            millis(change.latency_ns)
        ));
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header, socket};

    #[test]
    fn refused_unanswered_and_slow_are_told_apart() {
        let sent = tcp::SYN_SENT;
        // (from, to, error, milliseconds, kind, error's name)
        let cases = [
            (sent, tcp::CLOSE, 111, 1, Some(Kind::ConnectRefused), Some("ECONNREFUSED")),
            (sent, tcp::CLOSE, 104, 1, Some(Kind::ConnectRefused), Some("ECONNREFUSED")),
            (sent, tcp::CLOSE, 110, 127_000, Some(Kind::ConnectTimeout), Some("ETIMEDOUT")),
            (sent, tcp::CLOSE, 113, 3_000, Some(Kind::ConnectTimeout), Some("EHOSTUNREACH")),
            (sent, tcp::CLOSE, 0, 3_000, Some(Kind::ConnectTimeout), Some("ETIMEDOUT")),
            (sent, tcp::CLOSE, 0, 100, None, None),
            (sent, tcp::ESTABLISHED, 0, 1_500, Some(Kind::ConnectSlow), None),
            (tcp::ESTABLISHED, tcp::CLOSE, 110, 0, None, None),
            (tcp::LISTEN, tcp::CLOSE, 0, 0, None, None),
        ];
        for (old, new, error, ms, kind, name) in cases {
            let change = TcpState {
                socket: socket(new),
                latency_ns: ms * 1_000_000,
                old: u32::from(old),
                new: u32::from(new),
                error,
                reserved: 0,
            };
            let mut world = World::default();
            let event = translate(&header(), &change, world.context());
            assert_eq!(event.as_ref().map(|event| event.kind), kind, "{old} {new} {error} {ms}");
            let Some(event) = event else { continue };
            let said = World::said(&event);
            assert_eq!(said.text(keys::ERROR_TYPE), name);
            assert_eq!(said.text(keys::PEER_SERVICE), Some("db"));
            assert_eq!(said.int(keys::PROCESS_PID), Some(4_242));
        }
    }
}
