//! What goes wrong when, and what is merely everyday.

use super::script::SEED;

/// A minute, in microseconds.
pub(crate) const MINUTE_US: i64 = 60_000_000;

/// How long each fault lasts, and how long it is until the next one.
const LASTS_US: i64 = 5 * MINUTE_US / 2;
const EVERY_US: i64 = 13 * MINUTE_US / 2;

/// How long all is well before the first fault.
const QUIET_US: i64 = 10 * MINUTE_US;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It returns right away, and says that all is well.
    EarlyReturn,
    /// It throws.
    Exception,
    /// It takes long by itself.
    SlowDependency,
    /// It uses all the CPU it may, and takes somewhat longer.
    CpuSaturation,
}

impl Kind {
    /// Returns the name that labels have.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EarlyReturn => "early_return",
            Self::Exception => "exception",
            Self::SlowDependency => "slow_dependency",
            Self::CpuSaturation => "cpu_saturation",
        }
    }
}

/// A fault, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) service: &'static str,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// What happens in a recording.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) title: &'static str,
    pub(crate) seed: u64,
    pub(crate) minutes: i64,
    pub(crate) faults: Vec<Fault>,
    /// Twenty seconds each, from this minute on, in which somebody far away refuses connections.
    pub(crate) refusals: &'static [i64],
    /// From this minute on customers want other things than before.
    pub(crate) other_mix_from: i64,
    /// From this minute on the catalog sometimes writes a line it never wrote.
    pub(crate) new_line_from: i64,
}

impl Plan {
    /// Eight faults, each kind on two services. Another take has other numbers, and the kinds are
    /// on other services.
    pub(crate) fn of_faults(take: u8) -> Self {
        let faults = [
            (Kind::EarlyReturn, "payments"),
            (Kind::Exception, "stock"),
            (Kind::SlowDependency, "session"),
            (Kind::CpuSaturation, "catalog"),
            (Kind::EarlyReturn, "cart"),
            (Kind::Exception, "orders"),
            (Kind::SlowDependency, "payments"),
            (Kind::CpuSaturation, "checkout"),
        ];
        let services = faults.iter().cycle().skip(usize::from(take)).map(|(_, service)| *service);
        let faults = faults.iter().zip(services).map(|((kind, _), service)| (*kind, service));
        let faults = (0..).zip(faults).map(|(number, (kind, service))| {
            let from_us = QUIET_US + number * EVERY_US;
            Fault { kind, service, from_us, to_us: from_us + LASTS_US }
        });
        Self {
            title: "a shop with eight faults",
            seed: seed(take),
            minutes: 62,
            faults: faults.collect(),
            refusals: &[7, 28],
            other_mix_from: 34,
            new_line_from: 47,
        }
    }

    /// An hour in which nothing is wrong, and much happens.
    pub(crate) fn of_a_quiet_hour(take: u8) -> Self {
        Self {
            title: "a shop in a quiet hour",
            seed: seed(take),
            minutes: 60,
            faults: Vec::new(),
            refusals: &[11, 23, 38, 51],
            other_mix_from: 26,
            new_line_from: 43,
        }
    }

    /// Returns the fault of a service at a time.
    pub(crate) fn fault(&self, service: &str, at: i64) -> Option<Kind> {
        let is_its =
            |fault: &&Fault| fault.service == service && (fault.from_us..fault.to_us).contains(&at);
        self.faults.iter().find(is_its).map(|fault| fault.kind)
    }

    /// Says whether somebody far away refuses connections.
    pub(crate) fn is_refused(&self, at: i64) -> bool {
        self.refusals.iter().any(|minute| (0..MINUTE_US / 3).contains(&(at - minute * MINUTE_US)))
    }
}

/// Take 0 is the one that scores are watched on.
fn seed(take: u8) -> u64 {
    SEED.rotate_left(u32::from(take))
}
