//! Records of the kernel log.

use std::time::Duration;

use tapio_model::Timestamp;

/// One record, as `/dev/kmsg` gives it.
///
/// # Units
/// `usec` counts microseconds since boot on the kernel's monotonic clock.
/// # Source
/// Documentation/ABI/testing/dev-kmsg in the kernel's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// 0 (emergency) to 7 (debug).
    pub(crate) priority: u8,
    /// 0 is the kernel itself; anything else was written by a process.
    pub(crate) facility: u32,
    pub(crate) seq: u64,
    pub(crate) usec: u64,
    pub(crate) message: String,
}

impl Record {
    /// Reads `prio,seq,usec,flags[,more];message`.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b';', line)?;
        let (head, message) = (line.get(..at)?, line.get(at + 1..)?);
        let mut fields = std::str::from_utf8(head).ok()?.split(',');
        let prio: u32 = fields.next()?.parse().ok()?;
        let seq = fields.next()?.parse().ok()?;
        let usec = fields.next()?.parse().ok()?;
        let priority = u8::try_from(prio & 7).ok()?;
        Some(Self { priority, facility: prio >> 3, seq, usec, message: unescape(message) })
    }

    /// Returns when it was written, on the wall clock.
    ///
    /// The kernel's log clock and the monotonic clock may differ by milliseconds, and a record is
    /// never from the future.
    pub(crate) fn wall_time(&self, now: Timestamp, uptime: Duration) -> Timestamp {
        now.before(uptime.saturating_sub(Duration::from_micros(self.usec)))
    }
}

/// Undoes the kernel's `\xNN` for bytes that are not printable, and for the backslash itself.
fn unescape(message: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                hex(*high).zip(hex(*low)).map(|(high, low)| ((high << 4) | low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((byte, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let record =
            Record::parse(b"3,423,4522579553,-,caller=T123;a;b\\x5cx2d\\xc3\\xa9").unwrap();
        let want = Record {
            priority: 3,
            facility: 0,
            seq: 423,
            usec: 4_522_579_553,
            message: "a;b\\x2dé".into(),
        };
        assert_eq!(record, want);
        let by_process = Record::parse(b"30,1,2,-;systemd[1]: hello").unwrap();
        assert_eq!((by_process.priority, by_process.facility), (6, 3));
        for bad in [&b""[..], b"6,1,2,-", b"x,1,2,-;m", b"6,1;m", b" SUBSYSTEM=block"] {
            assert_eq!(Record::parse(bad), None);
        }
    }

    #[test]
    fn wall_time_is_now_less_its_age_and_never_the_future() {
        let record = Record::parse(b"6,1,5000000,-;m").unwrap();
        let now = Timestamp::from_secs(100);
        assert_eq!(record.wall_time(now, Duration::from_secs(7)), Timestamp::from_secs(98));
        assert_eq!(record.wall_time(now, Duration::from_secs(4)), now);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let line = [&b"6,1,2,-;"[..], &bytes].concat();
            prop_assert!(Record::parse(&line).is_some());
            drop(Record::parse(&bytes));
        }
    }
}
