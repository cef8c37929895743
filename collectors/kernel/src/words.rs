//! The kernel's numbers and bytes in words.

use std::net::IpAddr;

use tapio_model::Text;

/// Reads the name of a thread: up to the first zero, whatever else is in it.
pub(crate) fn comm(bytes: &[u8]) -> Option<Text> {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned().into())
}

/// Reads an address of 4 or 16 bytes in the order of the network.
pub(crate) fn address(bytes: [u8; 16], family: u16) -> Option<IpAddr> {
    let address = match family {
        2 => IpAddr::from(*bytes.first_chunk::<4>()?),
        10 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    (!address.is_unspecified()).then_some(address)
}

/// Returns the name of an errno; one that is not in the list is its number.
pub(crate) fn errno(number: u32) -> Text {
    const NAMES: [(u32, &str); 24] = [
        (1, "EPERM"),
        (5, "EIO"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (23, "ENFILE"),
        (24, "EMFILE"),
        (28, "ENOSPC"),
        (30, "EROFS"),
        (52, "EBADE"),
        (61, "ENODATA"),
        (67, "ENOLINK"),
        (84, "EILSEQ"),
        (95, "EOPNOTSUPP"),
        (98, "EADDRINUSE"),
        (99, "EADDRNOTAVAIL"),
        (100, "ENETDOWN"),
        (101, "ENETUNREACH"),
        (104, "ECONNRESET"),
        (110, "ETIMEDOUT"),
        (111, "ECONNREFUSED"),
        (112, "EHOSTDOWN"),
        (113, "EHOSTUNREACH"),
        (121, "EREMOTEIO"),
    ];
    let known = NAMES.iter().find_map(|(known, name)| (*known == number).then_some(*name));
    known.map_or_else(|| format!("errno {number}").into(), Text::from)
}

/// Returns the name of a signal; one that is not in the list is its number.
pub(crate) fn signal(number: u32) -> Text {
    const NAMES: [(u32, &str); 15] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    let known = NAMES.iter().find_map(|(known, name)| (*known == number).then_some(*name));
    known.map_or_else(|| format!("signal {number}").into(), Text::from)
}

/// Reads a name as it travels: labels, each after its length; ends where it was cut.
pub(crate) fn dns_name(wire: &[u8]) -> Text {
    let mut name = String::new();
    let mut rest = wire;
    while let Some((&length, after)) = rest.split_first() {
        let length = usize::from(length);
        if length == 0 {
            break;
        }
        let label = after.get(..length).unwrap_or(after);
        if !name.is_empty() {
            name.push('.');
        }
        // Labels are bytes of any kind; what is no letter or digit is shown as such.
        name.push_str(&label.escape_ascii().to_string());
        rest = after.get(length..).unwrap_or_default();
    }
    name.into()
}

/// Writes a number of the kernel as the model's.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes nanoseconds as milliseconds, for people.
pub(crate) fn millis(nanos: u64) -> String {
    format!("{}.{} ms", nanos / 1_000_000, nanos / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_of_threads() {
        assert_eq!(comm(b"nginx\0rest\0\0\0\0\0\0").as_deref(), Some("nginx"));
        assert_eq!(comm(b"sixteen-letters!").as_deref(), Some("sixteen-letters!"));
        assert_eq!(comm(&[0; 16]), None);
        assert_eq!(comm(b"\xff\0").as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn reads_addresses_of_both_families() {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[10, 0, 0, 7]);
        assert_eq!(address(bytes, 2), "10.0.0.7".parse().ok());
        assert_eq!(address([0; 16], 2), None);
        let mapped: std::net::Ipv6Addr = "::ffff:10.0.0.7".parse().unwrap();
        assert_eq!(address(mapped.octets(), 10), "10.0.0.7".parse().ok());
        assert_eq!(address(bytes, 1), None);
    }

    #[test]
    fn reads_names_as_they_travel() {
        let cases: [(&[u8], &str); 6] = [
            (b"\x02db\x04shop\x03svc\0", "db.shop.svc"),
            (b"\x02db\x04sh", "db.sh"),
            (b"\x02db\x04", "db."),
            (b"\0rest", ""),
            (b"", ""),
            (b"\x03a\x00b\0", "a\\x00b"),
        ];
        for (wire, want) in cases {
            assert_eq!(dns_name(wire), want, "{wire:?}");
        }
    }

    #[test]
    fn numbers_without_a_name_stay_numbers() {
        assert_eq!(errno(28), "ENOSPC");
        assert_eq!(errno(3), "errno 3");
        assert_eq!(signal(9), "SIGKILL");
        assert_eq!(signal(64), "signal 64");
        assert_eq!(int(u64::MAX), i64::MAX);
        assert_eq!(millis(1_250_000), "1.2 ms");
    }
}
