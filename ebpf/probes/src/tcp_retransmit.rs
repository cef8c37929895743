//! Segments that are sent again, from `tcp:tcp_retransmit_skb`; a SYN apart from data.

use tapio_ebpf_abi::{Kind, Probe, Socket, TcpRetransmit, tcp};

use crate::{
    kernel::{Args, Fields},
    limit,
    ring::{self, Worth},
    settings::{field, format_field},
    sock,
};

hook!(tcp_retransmit_btf, tcp_retransmit_raw => sent_again);
classic!(tcp_retransmit_classic => sent_again_classic);

#[inline(always)]
fn sent_again(args: Args) {
    let sk = args.word(0);
    if let Some(socket) = sock::ends(sk) {
        tell(sk, socket);
    }
}

#[inline(always)]
fn sent_again_classic(fields: Fields) {
    let family: u16 = format_field!(fields, retransmit_family).unwrap_or(sock::AF_INET);
    let state: u32 = format_field!(fields, retransmit_state).unwrap_or(0);
    let mut socket = Socket {
        local: format_field!(fields, retransmit_saddr6).unwrap_or_default(),
        remote: format_field!(fields, retransmit_daddr6).unwrap_or_default(),
        local_port: format_field!(fields, retransmit_sport).unwrap_or(0),
        remote_port: format_field!(fields, retransmit_dport).unwrap_or(0),
        family,
        state: state as u16,
    };
    if family == sock::AF_INET {
        socket.local = sock::widen(format_field!(fields, retransmit_saddr).unwrap_or_default());
        socket.remote = sock::widen(format_field!(fields, retransmit_daddr).unwrap_or_default());
    }
    tell(format_field!(fields, retransmit_sock).unwrap_or(0), socket);
}

#[inline(always)]
fn tell(sk: u64, socket: Socket) {
    let is_syn = matches!(socket.state, tcp::SYN_SENT | tcp::SYN_RECV | tcp::NEW_SYN_RECV);
    let header = sock::owner(Kind::TcpRetransmit, sk);
    // SYNs back off by themselves; data on a bad path does not.
    let count = if is_syn {
        1
    } else {
        let Some(count) = limit::pass(Probe::TcpRetransmit, header.netns, sock::peer(&socket))
        else {
            return;
        };
        count
    };
    let worth = if is_syn { Worth::Kept } else { Worth::Sampled };
    let Some(slot) = ring::reserve(Probe::TcpRetransmit, worth) else { return };
    let tries: u8 = field!(sk, icsk_retransmits).unwrap_or(0);
    slot.write(
        header,
        TcpRetransmit {
            socket,
            is_syn: u32::from(is_syn),
            count,
            tries: u32::from(tries),
            reserved: 0,
        },
    );
}
