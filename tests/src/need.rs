//! What a test needs of its machine.

use std::fmt;

/// Something a test needs and this machine does not have, with the reason.
///
/// With `CI=true` a need that could have been met is a failure, not a reason to skip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Cannot be had here: a kernel feature, a privilege, a data set that is not ours to ship.
    Absent(String),
    /// Could have been installed.
    NotInstalled(String),
}

impl Need {
    /// Says whether the test must fail rather than be skipped.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::NotInstalled(_)) && is_ci()
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) | Self::NotInstalled(why) => f.write_str(why),
        }
    }
}

/// Says whether this is a run of continuous integration.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test harness has no configuration but this")]
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
