//! Connections that are made slowly, fail, or break, from `sock:inet_sock_set_state`.

use tapio_ebpf_abi::{Kind, Probe, Socket, TcpState, tcp};

use crate::{
    kernel::{Args, Fields, now},
    ring::{self, Worth},
    settings::{field, format_field, setting},
    sock::{self, SOCKETS},
    task,
};

const IPPROTO_TCP: u16 = 6;

hook!(tcp_state_btf, tcp_state_raw => changed);
classic!(tcp_state_classic => changed_classic);

#[inline(always)]
fn changed(args: Args) {
    let sk = args.word(0);
    let protocol: u16 = field!(sk, sock_protocol).unwrap_or(IPPROTO_TCP);
    if protocol == IPPROTO_TCP
        && let Some(socket) = sock::ends(sk)
    {
        tell(sk, socket, args.int(1) as u32, args.int(2) as u32);
    }
}

#[inline(always)]
fn changed_classic(fields: Fields) {
    let protocol: u16 = format_field!(fields, state_protocol).unwrap_or(IPPROTO_TCP);
    if protocol != IPPROTO_TCP {
        return;
    }
    let family: u16 = format_field!(fields, state_family).unwrap_or(sock::AF_INET);
    let mut socket = Socket {
        local: format_field!(fields, state_saddr6).unwrap_or_default(),
        remote: format_field!(fields, state_daddr6).unwrap_or_default(),
        local_port: format_field!(fields, state_sport).unwrap_or(0),
        remote_port: format_field!(fields, state_dport).unwrap_or(0),
        family,
        state: 0,
    };
    if family == sock::AF_INET {
        socket.local = sock::widen(format_field!(fields, state_saddr).unwrap_or_default());
        socket.remote = sock::widen(format_field!(fields, state_daddr).unwrap_or_default());
    }
    let sk = format_field!(fields, state_sock).unwrap_or(0);
    let old = format_field!(fields, state_old).unwrap_or(0);
    tell(sk, socket, old, format_field!(fields, state_new).unwrap_or(0));
}

#[inline(always)]
fn tell(sk: u64, mut socket: Socket, old: u32, new: u32) {
    socket.state = new as u16;
    let was_connecting = old == u32::from(tcp::SYN_SENT);
    let is_over = new == u32::from(tcp::CLOSE);
    if new == u32::from(tcp::SYN_SENT) {
        // Only here does the thread that runs own the socket. A full table costs the owner, no more.
        let _full = SOCKETS.insert(sk, task::current(Kind::TcpState), 0);
    }
    let mut latency_ns = 0;
    if was_connecting && let Some(known) = SOCKETS.get_ptr(sk) {
        // SAFETY: the map's value is there until the program ends.
        latency_ns = now() - unsafe { (*known).time_ns };
    }
    let error: u32 = field!(sk, sock_err).unwrap_or(0);
    let is_failed = was_connecting && is_over;
    let is_slow = was_connecting
        && new == u32::from(tcp::ESTABLISHED)
        && latency_ns >= setting!(connect_ns_min);
    let is_broken = is_over && error != 0;
    if (is_failed || is_slow || is_broken || setting!(every_state) != 0)
        && let Some(slot) = ring::reserve(Probe::TcpState, Worth::Sampled)
    {
        slot.write(
            sock::owner(Kind::TcpState, sk),
            TcpState { socket, latency_ns, old, new, error, reserved: 0 },
        );
    }
    if is_over {
        // It may never have been there.
        let _absent = SOCKETS.remove(sk);
    }
}
