//! Sockets: their two ends, and who made them.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tapio_ebpf_abi::{Header, Kind, Socket};

use crate::{
    kernel::{cpu, now},
    settings::field,
    task,
};

pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
const SOCKETS_MAX: u32 = 8_192;

/// Who made a connection, and when: a header from the moment of its SYN.
#[map]
pub(crate) static SOCKETS: LruHashMap<u64, Header> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);

/// Reads the two ends of a socket, `None` when it is neither IPv4 nor IPv6.
#[inline(always)]
pub(crate) fn ends(sk: u64) -> Option<Socket> {
    let family: u16 = field!(sk, sock_family)?;
    let mut socket = Socket {
        local: [0; 16],
        remote: [0; 16],
        local_port: local_port(sk),
        remote_port: u16::from_be(field!(sk, sock_dport).unwrap_or(0)),
        family,
        state: u16::from(field!(sk, sock_state).unwrap_or(0_u8)),
    };
    match family {
        AF_INET => {
            socket.local = widen(field!(sk, sock_saddr).unwrap_or_default());
            socket.remote = widen(field!(sk, sock_daddr).unwrap_or_default());
        }
        AF_INET6 => {
            socket.local = field!(sk, sock_saddr6).unwrap_or_default();
            socket.remote = field!(sk, sock_daddr6).unwrap_or_default();
        }
        _ => return None,
    }
    Some(socket)
}

/// Reads this end's port: a socket that is over has given its number back, and remembers it here.
#[inline(always)]
fn local_port(sk: u64) -> u16 {
    match field!(sk, inet_sport) {
        Some(port) if port != 0 => u16::from_be(port),
        _ => field!(sk, sock_num).unwrap_or(0),
    }
}

/// Puts an IPv4 address where both kinds go.
#[inline(always)]
pub(crate) fn widen(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Makes a header about whom a socket belongs to: who connected, else its cgroup and namespace.
///
/// Whoever runs when a segment is sent again or a reset comes in is nobody's fault.
#[inline(always)]
pub(crate) fn owner(kind: Kind, sk: u64) -> Header {
    if let Some(known) = SOCKETS.get_ptr(sk) {
        // SAFETY: the map's value is there until the program ends.
        let mut header = unsafe { *known };
        header.kind = kind as u16;
        header.size = kind.size() as u16;
        header.cpu = cpu();
        header.time_ns = now();
        return header;
    }
    let mut header = task::nobody(kind);
    header.netns = task::net_inum(field!(sk, sock_net).unwrap_or(0));
    header.cgroup_id = task::cgroup_id(field!(sk, sock_cgroup).unwrap_or(0));
    header
}

/// Returns a word that tells peers apart, for a rate limit.
#[inline(always)]
pub(crate) fn peer(socket: &Socket) -> u32 {
    let [a, b, c, d, .., m, n, o, p] = socket.remote;
    u32::from_ne_bytes([a, b, c, d])
        ^ u32::from_ne_bytes([m, n, o, p])
        ^ u32::from(socket.remote_port)
}
