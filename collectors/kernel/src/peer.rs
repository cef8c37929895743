//! The two ends of a connection, as attributes.

use std::net::IpAddr;

use tapio_collect::Unbound;
use tapio_ebpf_abi::Socket;
use tapio_model::{Text, keys};

use crate::{probes::Lookup, words::address};

/// Adds both ends to an event; the other end's service, if somebody knows whose address it is.
pub(crate) fn with_ends(event: Unbound, socket: &Socket, lookup: &dyn Lookup) -> Unbound {
    let remote = address(socket.remote, socket.family);
    let text = |ip: IpAddr| ip.to_string();
    let port = |port: u16| Some(i64::from(port)).filter(|port| *port != 0);
    event
        .with_some(keys::PEER_ADDRESS, remote.map(text))
        .with_some(keys::PEER_PORT, port(socket.remote_port))
        .with_some(keys::PEER_SERVICE, remote.and_then(|ip| lookup.service(ip)))
        .with_some(keys::LOCAL_ADDRESS, address(socket.local, socket.family).map(text))
        .with_some(keys::LOCAL_PORT, port(socket.local_port))
}

/// Names the other end, for people: `10.0.0.7:5432`.
pub(crate) fn remote(socket: &Socket) -> Text {
    match address(socket.remote, socket.family) {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{}", socket.remote_port).into(),
        Some(IpAddr::V4(ip)) => format!("{ip}:{}", socket.remote_port).into(),
        None => format!("port {}", socket.remote_port).into(),
    }
}
