//! Connections that are reset.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, TcpReset, reset, tcp};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::peer::{remote, with_ends};

/// A reset that met no connection, or one that was only being made, is no broken connection: the
/// other end is told that nobody listens, and `tcp_state` tells this end's side of it.
pub(super) fn translate(
    header: &Header,
    event: &TcpReset,
    mut context: Context<'_>,
) -> Option<Unbound> {
    let was_made = event.socket.state != tcp::SYN_SENT && event.socket.state != tcp::NEW_SYN_RECV;
    if event.is_orphan == 1 || !was_made {
        return None;
    }
    // Programs reset connections they are done with; who is sent a reset did not ask for it.
    let (severity, impact, how) = if event.direction == reset::RECEIVED {
        (Severity::Warn, 0.4, "was reset by")
    } else {
        (Severity::Info, 0.1, "was reset by this end, to")
    };
    let told = context.of_socket(header, Kind::TcpReset).rated(severity, impact, Class::Network);
    let told = with_ends(told, &event.socket, context.lookup)
        .with(keys::ERROR_TYPE, "ECONNRESET")
        .with(keys::COUNT, event.count.max(1))
        .message(format!("a connection {how} {}", remote(&event.socket)));
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header, socket};

    #[test]
    fn only_a_connection_that_stood_can_be_reset() {
        let cases = [
            (tcp::ESTABLISHED, reset::RECEIVED, 0, Some(Severity::Warn)),
            (tcp::ESTABLISHED, reset::SENT, 0, Some(Severity::Info)),
            (tcp::SYN_SENT, reset::RECEIVED, 0, None),
            (tcp::CLOSE, reset::SENT, 1, None),
        ];
        for (state, direction, is_orphan, want) in cases {
            let event =
                TcpReset { socket: socket(state), direction, is_orphan, count: 1, reserved: 0 };
            let mut world = World::default();
            let told = translate(&header(), &event, world.context());
            assert_eq!(told.as_ref().map(|told| told.severity), want, "{state} {direction}");
            assert!(told.is_none_or(|told| told.kind == Kind::TcpReset));
        }
    }
}
