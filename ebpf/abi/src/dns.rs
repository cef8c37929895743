//! Questions that were asked and not answered yet: what the map [`crate::maps::DNS`] holds.

use zerocopy::{FromBytes, IntoBytes};

use crate::record::Header;

/// Bytes of a name that are kept.
pub const DNS_NAME_BYTES: usize = 128;

/// Which question: the key of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes)]
#[repr(C)]
pub struct DnsKey {
    /// Network namespace of who asked.
    pub netns: u32,
    /// Port of who asked, as a number.
    pub port: u16,
    /// Id of the question, as a number.
    pub id: u16,
}

/// A question and who asked it: the value of the map.
///
/// The reader takes what is older than its patience for unanswered, and deletes it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes)]
#[repr(C)]
pub struct DnsQuery {
    /// Who asked, and when first. `kind` and `size` are those of a [`crate::Dns`] record.
    pub header: Header,
    /// Address that was asked; the first four bytes for IPv4. In the order of the network.
    pub server: [u8; 16],
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// Type of the question.
    pub qtype: u16,
    /// Bytes of the name that were kept.
    pub name_len: u16,
    /// Not used; zero.
    pub reserved: u16,
    /// Times that the question was sent.
    pub tries: u32,
    /// Not used; zero.
    pub reserved_too: u32,
    /// The name as on the wire: labels, each after its length.
    pub name: [u8; DNS_NAME_BYTES],
}

impl DnsQuery {
    /// Reads a value of the map.
    #[must_use]
    pub fn read(bytes: &[u8; 224]) -> Self {
        zerocopy::transmute!(*bytes)
    }
}

impl DnsKey {
    /// Reads a key of the map.
    #[must_use]
    pub fn read(bytes: [u8; 8]) -> Self {
        zerocopy::transmute!(bytes)
    }
}

const _: () = assert!(size_of::<DnsKey>() == 8 && size_of::<DnsQuery>() == 224);
