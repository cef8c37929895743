//! What a probe writes into the ring buffer: a [`Header`] and a body by [`Kind`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::body::{
    BlockIo, COMM_BYTES, CpuDelay, Dns, OomKill, ProcessExit, ProcessSignalled, ProcessStarted,
    ReclaimStall, SyscallFailed, TcpReset, TcpRetransmit, TcpState,
};

/// The first 64 bytes of every record.
///
/// # Units
/// `time_ns` is `bpf_ktime_get_ns`, that is `CLOCK_MONOTONIC`. `cgroup_id` is the id of the cgroup of
/// the v2 hierarchy, `memcg_id` the inode number of the memory cgroup's directory on v1 (0 on v2, and
/// where the task is not known). `netns` is the namespace's inode number, 0 when unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`] as a number.
    pub kind: u16,
    /// Bytes of the whole record, header included.
    pub size: u16,
    /// Processor that wrote it.
    pub cpu: u32,
    /// When, in nanoseconds since boot without sleep.
    pub time_ns: u64,
    /// Cgroup of the v2 hierarchy.
    pub cgroup_id: u64,
    /// Memory cgroup of the v1 hierarchy.
    pub memcg_id: u64,
    /// Network namespace.
    pub netns: u32,
    /// Process (thread group); 0 when nobody is known.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Of so many alike this one was kept.
    pub sampled: u32,
    /// Name of the thread.
    pub comm: [u8; COMM_BYTES],
}

/// A header and a body side by side, as the probes reserve them.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Entry<B> {
    /// Who, where and when.
    pub header: Header,
    /// What.
    pub body: B,
}

macro_rules! records {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $bytes:literal;)+) => {
        /// What a record tells of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the kind with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Returns the bytes of a whole record of this kind.
            #[must_use]
            pub const fn size(self) -> usize {
                match self { $(Self::$name => size_of::<Entry<$name>>(),)+ }
            }
        }

        /// A body, borrowed from the ring buffer.
        #[derive(Debug, Clone, Copy)]
        pub enum Body<'a> {
            $($(#[doc = $doc])+ $name(&'a $name),)+
        }

        impl<'a> Body<'a> {
            fn read(kind: Kind, bytes: &'a [u8]) -> Result<Self, ReadError> {
                match kind {
                    $(Kind::$name => $name::ref_from_prefix(bytes)
                        .map(|(body, _)| Self::$name(body))
                        .map_err(|_cause| ReadError::Short { bytes: bytes.len() }),)+
                }
            }
        }

        $(const _: () = assert!(size_of::<$name>() == $bytes && align_of::<$name>() <= 8);)+
    };
}

records! {
    /// The kernel chose a victim for want of memory; the header is the victim's.
    OomKill = 1, 56;
    /// A process began to run a program.
    ProcessStarted = 2, 152;
    /// The last thread of a process ended.
    ProcessExit = 3, 32;
    /// A signal was sent; the header is the sender's.
    ProcessSignalled = 4, 56;
    /// The kernel sent a segment again.
    TcpRetransmit = 5, 56;
    /// A connection was reset.
    TcpReset = 6, 56;
    /// A connection changed its state.
    TcpState = 7, 64;
    /// A system call failed.
    SyscallFailed = 8, 16;
    /// A block device failed a request or took long over it.
    BlockIo = 9, 40;
    /// A thread waited long for a processor.
    CpuDelay = 10, 16;
    /// A thread stalled while the kernel reclaimed memory for it.
    ReclaimStall = 11, 24;
    /// A name server answered.
    Dns = 12, 176;
}

/// A record, borrowed from the ring buffer.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Who, where and when.
    pub header: &'a Header,
    /// What.
    pub body: Body<'a>,
}

impl<'a> Record<'a> {
    /// Reads one item of the ring buffer.
    ///
    /// # Errors
    /// [`ReadError`] for bytes that no probe of this version wrote.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let (header, rest) = Header::ref_from_prefix(bytes)
            .map_err(|_cause| ReadError::Short { bytes: bytes.len() })?;
        let kind = Kind::from_number(header.kind).ok_or(ReadError::Kind { number: header.kind })?;
        if usize::from(header.size) != kind.size() {
            return Err(ReadError::Size { kind, size: header.size });
        }
        let body = Body::read(kind, rest)?;
        Ok(Self { header, body })
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// Too few, or not where a record may begin (a multiple of eight).
    Short {
        /// How many there were.
        bytes: usize,
    },
    /// A kind that this version does not know.
    Kind {
        /// Its number.
        number: u16,
    },
    /// A size that the kind does not have.
    Size {
        /// The kind.
        kind: Kind,
        /// What the header says.
        size: u16,
    },
}

impl core::fmt::Display for ReadError {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short { bytes } => write!(to, "a record cut or moved: {bytes} bytes"),
            Self::Kind { number } => write!(to, "a record of unknown kind {number}"),
            Self::Size { kind, size } => write!(to, "a record {kind:?} of {size} bytes"),
        }
    }
}

impl core::error::Error for ReadError {}

const _: () = assert!(size_of::<Header>() == 64);

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::body::{block, exit};

    /// A record's bytes where one may begin: at a multiple of eight.
    #[repr(C, align(8))]
    struct Aligned([u8; 256]);

    fn aligned(bytes: &[u8]) -> Aligned {
        let mut room = Aligned([0; 256]);
        for (to, from) in room.0.iter_mut().zip(bytes) {
            *to = *from;
        }
        room
    }

    fn header(kind: u16, size: u16) -> Header {
        Header {
            kind,
            size,
            cpu: 1,
            time_ns: 5_000,
            cgroup_id: 7,
            memcg_id: 8,
            netns: 9,
            pid: 10,
            tid: 11,
            sampled: 1,
            comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    #[test]
    fn reads_what_a_probe_writes() {
        let body = SyscallFailed { nr: 257, errno: 24, count: 3, reserved: 0 };
        let mut bytes = Vec::from(header(8, 80).as_bytes());
        bytes.extend(body.as_bytes());
        let room = aligned(&bytes);
        let record = Record::read(&room.0[..bytes.len()]).unwrap();
        assert_eq!(record.header.pid, 10);
        let Body::SyscallFailed(read) = record.body else { panic!("{:?}", record.body) };
        assert_eq!((read.nr, read.errno, read.count), (257, 24, 3));
    }

    #[test]
    fn golden_bytes_of_a_header_do_not_change() {
        let golden = [
            8, 0, 80, 0, 1, 0, 0, 0, 136, 19, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0,
            0, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 11, 0, 0, 0, 1, 0, 0, 0, 110, 103, 105, 110, 120,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(header(8, 80).as_bytes(), golden);
    }

    #[test]
    fn refuses_what_no_probe_writes() {
        let cases = [
            (header(0, 80), 80, ReadError::Kind { number: 0 }),
            (header(13, 80), 80, ReadError::Kind { number: 13 }),
            (header(8, 72), 80, ReadError::Size { kind: Kind::SyscallFailed, size: 72 }),
            (header(8, 80), 79, ReadError::Short { bytes: 15 }),
            (header(8, 80), 63, ReadError::Short { bytes: 63 }),
        ];
        for (header, length, error) in cases {
            let room = aligned(header.as_bytes());
            assert_eq!(Record::read(&room.0[..length]).unwrap_err(), error);
        }
    }

    #[test]
    fn every_kind_reads_back_and_has_its_own_number() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(*kind as u16), Some(*kind));
            let size = u16::try_from(kind.size()).unwrap();
            let room = aligned(header(*kind as u16, size).as_bytes());
            assert!(Record::read(&room.0[..kind.size()]).is_ok(), "{kind:?}");
        }
    }

    #[test]
    fn an_exit_code_is_code_and_signal() {
        for (raw, code, signal) in [(0, 0, 0), (0x700, 7, 0), (9, 0, 9), (0x8b, 0, 11)] {
            assert_eq!((exit::code(raw), exit::signal(raw)), (code, signal), "{raw:#x}");
        }
    }

    #[test]
    fn a_block_status_is_an_errno_of_either_age() {
        for (status, errno) in [(0, 0), (7, 61), (10, 5), (3, 28), (-28, 28), (i32::MIN, 1 << 31)] {
            assert_eq!(block::errno(status), errno, "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let room = aligned(&bytes);
            if let Ok(record) = Record::read(&room.0[..bytes.len()]) {
                prop_assert!(usize::from(record.header.size) <= bytes.len());
            }
        }
    }
}
