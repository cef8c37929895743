//! Connections that are reset, from `tcp:tcp_send_reset` and `tcp:tcp_receive_reset`.
//!
//! A reset without a socket is the other side of "connection refused": a segment came for a port that
//! nobody listens on. Its ends are then read from the segment.

use tapio_ebpf_abi::{Header, Kind, Probe, Socket, TcpReset, reset, tcp};

use crate::{
    kernel::{Args, at},
    limit,
    ring::{self, Worth},
    settings::field,
    sock, task,
};

hook!(tcp_reset_sent_btf, tcp_reset_sent_raw => sent);
hook!(tcp_reset_received_btf, tcp_reset_received_raw => received);

#[inline(always)]
fn received(args: Args) {
    let sk = args.word(0);
    if let Some(socket) = sock::ends(sk) {
        tell(sock::owner(Kind::TcpReset, sk), socket, reset::RECEIVED, false);
    }
}

#[inline(always)]
fn sent(args: Args) {
    let sk = args.word(0);
    let skb = args.word(1);
    if sk != 0 {
        if let Some(socket) = sock::ends(sk) {
            tell(sock::owner(Kind::TcpReset, sk), socket, reset::SENT, false);
        }
        return;
    }
    if let Some(socket) = answered(skb) {
        let device: u64 = field!(skb, skb_dev).unwrap_or(0);
        let mut header = task::nobody(Kind::TcpReset);
        header.netns = task::net_inum(field!(device, dev_net).unwrap_or(0));
        tell(header, socket, reset::SENT, true);
    }
}

/// Reads the ends of a segment that met no socket; this end is where it was sent to.
#[inline(always)]
fn answered(skb: u64) -> Option<Socket> {
    let head: u64 = field!(skb, skb_head)?;
    let network: u16 = field!(skb, skb_network_header)?;
    let transport: u16 = field!(skb, skb_transport_header)?;
    let ip = head + u64::from(network);
    let ports: [u16; 2] = at(head + u64::from(transport))?;
    let version: u8 = at(ip)?;
    let (remote, local, family) = match version >> 4 {
        4 => (sock::widen(at(ip + 12)?), sock::widen(at(ip + 16)?), sock::AF_INET),
        6 => (at(ip + 8)?, at(ip + 24)?, sock::AF_INET6),
        _ => return None,
    };
    Some(Socket {
        local,
        remote,
        local_port: u16::from_be(ports[1]),
        remote_port: u16::from_be(ports[0]),
        family,
        state: tcp::CLOSE,
    })
}

#[inline(always)]
fn tell(header: Header, socket: Socket, direction: u32, is_orphan: bool) {
    let port = u32::from(socket.local_port) << 16;
    let what = sock::peer(&socket) ^ port ^ direction;
    let Some(count) = limit::pass(Probe::TcpReset, header.netns, what) else { return };
    let Some(slot) = ring::reserve(Probe::TcpReset, Worth::Sampled) else { return };
    slot.write(
        header,
        TcpReset { socket, direction, is_orphan: u32::from(is_orphan), count, reserved: 0 },
    );
}
