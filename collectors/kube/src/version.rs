//! How the API server counts.

use std::fmt;

/// A resourceVersion.
///
/// A number for everything that is kept in etcd, and of one scale for all resources; a server that
/// writes something else is followed, and not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Version(String);

impl Version {
    /// Reads a version; `None` and the empty one are no version.
    pub(crate) fn new(text: Option<&str>) -> Option<Self> {
        text.filter(|text| !text.is_empty()).map(|text| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether this is certainly older than `other`.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.number().zip(other.number()).is_some_and(|(one, other)| one < other)
    }

    fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_the_rest_is_not_compared() {
        let below =
            |one: &str, other: &str| Version(one.to_owned()).is_below(&Version(other.to_owned()));
        assert!(below("9", "10"));
        for (one, other) in [("10", "9"), ("10", "10"), ("a", "10"), ("1", "b")] {
            assert!(!below(one, other), "{one} {other}");
        }
        assert_eq!(Version::new(Some("")), None);
    }
}
