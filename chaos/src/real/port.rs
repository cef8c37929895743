//! Ports that stay ours while a server is down.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::getpid;

use crate::real::lease;

/// The ports tried: below the range from which Linux takes those of outgoing connections.
///
/// A port of that range could be taken by any client between a kill and the restart; worse, a
/// client that dials it on loopback meanwhile may end up connected to itself.
const PORTS: std::ops::Range<u16> = 14_000..32_000;

/// Where the next search of this process starts, as an offset into [`PORTS`].
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A TCP port that no other lease of this user holds, until dropped.
///
/// # Invariant
/// The lock on a file named like the port outlives the server, so a restart finds it free.
#[derive(Debug)]
pub(crate) struct PortLease {
    port: u16,
    _lock: File,
}

impl PortLease {
    /// Takes a port that nobody holds and nobody listens on.
    pub(crate) fn take() -> io::Result<Self> {
        let width = PORTS.end - PORTS.start;
        // Processes start apart, so that they seldom try each other's ports first.
        let pid = getpid().as_raw_nonzero().get().unsigned_abs();
        let home = u16::try_from(pid.wrapping_mul(61) % u32::from(width)).unwrap_or(0);
        for _ in 0..width {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = (u32::from(home) + u32::from(step)) % u32::from(width);
            let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
            let Some(lock) = lease::try_take("ports", &port.to_string())? else { continue };
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                return Ok(Self { port, _lock: lock });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port between 14000 and 32000"))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_leases_share_a_port() {
        let leases: Vec<_> = (0..20).map(|_| PortLease::take().unwrap()).collect();
        let mut ports: Vec<_> = leases.iter().map(PortLease::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn a_lease_given_back_can_be_taken_again() {
        let port = PortLease::take().unwrap().port();
        assert!(lease::try_take("ports", &port.to_string()).unwrap().is_some());
    }

    #[test]
    fn a_held_lease_cannot_be_taken() {
        let held = PortLease::take().unwrap();
        assert!(lease::try_take("ports", &held.port().to_string()).unwrap().is_none());
    }
}
