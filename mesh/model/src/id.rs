//! Identities. Each is a newtype, so that swapped arguments do not compile.

use std::{fmt, str::FromStr};

use crate::Timestamp;

/// Text that should have been an id and was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIdError {
    what: &'static str,
    want: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a {}: expected {}", self.what, self.want)
    }
}

impl std::error::Error for ParseIdError {}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal, $want:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Makes the id from its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Returns the id's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Says whether every byte is zero, which W3C Trace Context calls invalid.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0 == [0; $bytes]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self).ok_or(ParseIdError { what: $what, want: $want })
            }
        }
    };
}

hex_id!(
    /// A trace: explicit (W3C Trace Context) or inferred from the owner of what happened.
    TraceId, 16, "trace id", "32 hexadecimal digits"
);
hex_id!(
    /// A span inside a trace.
    SpanId, 8, "span id", "16 hexadecimal digits"
);
hex_id!(
    /// An event. Derived from source content, so that reading a source twice repeats ids.
    EventId, 16, "event id", "32 hexadecimal digits"
);

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
    }
    Some(bytes)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A story, and the incident it tells of.
///
/// The first six bytes are the opening time in milliseconds, so that ids sort by age and "the
/// older id wins" is a comparison of ids. Shown as a ULID: 26 letters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoryId([u8; 16]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl StoryId {
    /// Makes an id from the opening time and 80 bits that no other incident of that millisecond
    /// shares: the first finding's identity.
    #[must_use]
    pub fn new(opened_at: Timestamp, seed: [u8; 10]) -> Self {
        let millis = u64::try_from(opened_at.as_millis().max(0)).unwrap_or_default();
        let mut bytes = [0; 16];
        let (age, rest) = bytes.split_at_mut(6);
        let [_, _, millis @ ..] = millis.to_be_bytes();
        age.copy_from_slice(&millis);
        rest.copy_from_slice(&seed);
        Self(bytes)
    }

    /// Makes the id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for StoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for place in (0..26).rev() {
            let digit = usize::try_from((bits >> (place * 5)) & 31).unwrap_or_default();
            let letter = CROCKFORD.get(digit).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StoryId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = ParseIdError { what: "story id", want: "26 letters of Crockford's base 32" };
        // The first letter carries three bits: 26 * 5 is 130, and an id has 128.
        if text.len() != 26 || !text.starts_with(|c: char| matches!(c, '0'..='7')) {
            return Err(error);
        }
        text.bytes()
            .try_fold(0_u128, |bits, letter| {
                let letter = letter.to_ascii_uppercase();
                let digit = CROCKFORD.iter().position(|&known| known == letter)?;
                Some((bits << 5) | u128::try_from(digit).ok()?)
            })
            .map(|bits| Self(bits.to_be_bytes()))
            .ok_or(error)
    }
}

/// A shard: the unit of ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

impl ShardId {
    /// Makes the id from its number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the shard's number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Returns the shard's number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_ids_read_back_what_they_show() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        let id: TraceId = text.parse().expect("32 digits");
        assert_eq!(id.to_string(), text);
        for bad in ["", "4bf9", "4bf92f3577b34da6a3ce929d0e0e473g", "ééééééééééééééééé"]
        {
            assert!(bad.parse::<TraceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn story_ids_read_back_and_sort_by_age() {
        let old = StoryId::new(Timestamp::from_millis(1), [255; 10]);
        let new = StoryId::new(Timestamp::from_millis(2), [0; 10]);
        assert!(old < new && old.to_string() < new.to_string());
        assert_eq!(old.to_string().parse(), Ok(old));
        for bad in ["", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "0000000000000000000000000U"] {
            assert!(bad.parse::<StoryId>().is_err(), "{bad}");
        }
    }
}
