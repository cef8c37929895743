//! Segments that are sent again; a SYN is its own kind, for nothing answered at all.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, TcpRetransmit};
use tapio_model::{Class, Kind, Severity, keys};

use super::Context;
use crate::peer::{remote, with_ends};

pub(super) fn translate(
    header: &Header,
    again: &TcpRetransmit,
    mut context: Context<'_>,
) -> Unbound {
    let (kind, severity, impact, what) = if again.is_syn == 1 {
        (Kind::SynRetransmit, Severity::Warn, 0.3, "SYN")
    } else {
        (Kind::TcpRetransmit, Severity::Info, 0.1, "segment")
    };
    let event = context.of_socket(header, kind).rated(severity, impact, Class::Network);
    with_ends(event, &again.socket, context.lookup)
        .with(keys::COUNT, again.count.max(1))
        .message(format!("sent a {what} to {} again", remote(&again.socket)))
}

#[cfg(test)]
mod tests {
    use tapio_ebpf_abi::tcp;
    use tapio_model::Source;

    use super::*;
    use crate::probes::fixture::{World, header, socket};

    #[test]
    fn a_syn_is_told_apart() {
        let cases = [
            (1, tcp::SYN_SENT, Kind::SynRetransmit, Severity::Warn),
            (0, tcp::ESTABLISHED, Kind::TcpRetransmit, Severity::Info),
        ];
        for (is_syn, state, kind, severity) in cases {
            let again =
                TcpRetransmit { socket: socket(state), is_syn, count: 3, tries: 2, reserved: 0 };
            let mut world = World::default();
            let event = translate(&header(), &again, world.context());
            let said = World::said(&event);
            assert_eq!((event.kind, event.severity), (kind, severity));
            assert_eq!(event.source, Source::Network);
            assert_eq!(event.place.cgroup.as_deref(), Some("/kubepods/podx"));
            assert_eq!(said.text(keys::PEER_ADDRESS), Some("10.0.0.7"));
            assert_eq!(said.int(keys::PEER_PORT), Some(5_432));
            assert_eq!(said.text(keys::PEER_SERVICE), Some("db"));
            assert_eq!(said.int(keys::LOCAL_PORT), Some(40_000));
            assert_eq!(said.int(keys::COUNT), Some(3));
        }
    }
}
