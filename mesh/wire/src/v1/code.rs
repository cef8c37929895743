//! Numbers of the closed lists.
//!
//! A number is given once and never again to something else. A new variant of the model fails to
//! compile here until it has a number; a number given twice fails as an unreachable pattern.

use tapio_model::{
    Class, DeadReason, Ending, EvidenceClass, Kind, Level, Outcome, Role, Rule, Severity,
    ShedReason, Source,
};
use tapio_shard::NodeState;

use crate::DecodeError;

/// A closed list whose members travel as numbers.
pub(super) trait Coded: Sized {
    /// Returns the number.
    fn code(self) -> u32;

    /// Reads the number; it may be one that only a newer peer knows.
    fn from_code(code: u32) -> Result<Self, DecodeError>;
}

macro_rules! codes {
    ($list:ident, $field:literal, $($name:ident = $code:literal,)+) => {
        impl Coded for $list {
            fn code(self) -> u32 {
                match self { $(Self::$name => $code,)+ }
            }

            fn from_code(code: u32) -> Result<Self, DecodeError> {
                match code {
                    $($code => Ok(Self::$name),)+
                    code => Err(DecodeError::UnknownCode { field: $field, code }),
                }
            }
        }
    };
}

codes! {
    Kind, "kind",
    OomKill = 1,
    OomKillCounted = 2,
    MemoryLimitReached = 3,
    ProcessExit = 4,
    CpuThrottled = 5,
    Pressure = 6,
    TaskHung = 7,
    IoError = 8,
    FilesystemError = 9,
    FilesystemReadOnly = 10,
    StorageFull = 11,
    ConnectRefused = 12,
    ConnectTimeout = 13,
    SynRetransmit = 14,
    TcpReset = 15,
    DnsFailure = 16,
    ConntrackFull = 17,
    ContainerWaiting = 18,
    ContainerStarted = 19,
    ContainerTerminated = 20,
    ContainerKilling = 21,
    ContainerCreateFailed = 22,
    ImagePullFailed = 23,
    MountFailed = 24,
    ProbeFailed = 25,
    PodReadiness = 26,
    PodScheduled = 27,
    PodEvicted = 28,
    RolloutStarted = 29,
    RolloutStalled = 30,
    EndpointsChanged = 31,
    ConfigChanged = 32,
    NodeCondition = 33,
    NodeOom = 34,
    ObjectEvent = 35,
    UnitFailed = 36,
    Log = 37,
    Exception = 38,
    Span = 39,
    Metric = 40,
    ProcessStarted = 41,
    ProcessSignalled = 42,
    LimitReached = 43,
    AccessDenied = 44,
    CpuDelayed = 45,
    MemoryStalled = 46,
    IoSlow = 47,
    TcpRetransmit = 48,
    ConnectSlow = 49,
    HardwareError = 50,
    JobFailed = 51,
    VolumeUnbound = 52,
    ScalingLimited = 53,
    PolicyChanged = 54,
    ServiceChanged = 55,
    UnitChanged = 56,
    Anomaly = 57,
}

codes! {
    Source, "source",
    Kernel = 1,
    Cgroup = 2,
    Journal = 3,
    Kubernetes = 4,
    App = 5,
    Otlp = 6,
    Network = 7,
    Metrics = 8,
}

codes! {
    Severity, "severity",
    Trace = 1,
    Debug = 2,
    Info = 3,
    Warn = 4,
    Error = 5,
    Fatal = 6,
}

codes! {
    Class, "class",
    Memory = 1,
    Cpu = 2,
    Storage = 3,
    Network = 4,
    Naming = 5,
    Configuration = 6,
    Image = 7,
    Health = 8,
    Lifecycle = 9,
    Rollout = 10,
    Dependency = 11,
    Application = 12,
    Other = 13,
}

codes! {
    Rule, "binding",
    Workload = 1,
    Pod = 2,
    Container = 3,
    Unit = 4,
    Cgroup = 5,
    Service = 6,
    Node = 7,
    Source = 8,
}

codes! {
    Level, "level",
    Normal = 1,
    High = 2,
    Critical = 3,
}

codes! {
    Role, "role",
    Root = 1,
    Step = 2,
    Symptom = 3,
}

codes! {
    EvidenceClass, "evidence class",
    CoOccurrence = 1,
    LogTemplate = 2,
    EventText = 3,
    ObjectStatus = 4,
    KernelProof = 5,
}

codes! {
    Ending, "ending",
    Closed = 1,
    Quarantined = 2,
    Refused = 3,
}

codes! {
    DeadReason, "dead letter reason",
    BadBatch = 1,
    BadEvent = 2,
    Poison = 3,
    Crash = 4,
    BadFindings = 5,
}

codes! {
    NodeState, "node state",
    Joining = 1,
    Ready = 2,
    Leaving = 3,
}

codes! {
    ShedReason, "shed reason",
    TraceEvents = 1,
    TraceBytes = 2,
    NodeTraces = 3,
    Mailbox = 4,
    Bus = 5,
}

/// What the number of a shed event's outcome is above that of its reason.
const SHED: u32 = 16;

impl Coded for Outcome {
    fn code(self) -> u32 {
        match self {
            Self::Story => 1,
            Self::Open => 2,
            Self::Expired => 3,
            Self::Duplicate => 4,
            Self::Late => 5,
            Self::DeadLetter => 6,
            Self::Shed(reason) => SHED + reason.code(),
        }
    }

    fn from_code(code: u32) -> Result<Self, DecodeError> {
        let unknown = DecodeError::UnknownCode { field: "outcome", code };
        match code {
            1 => Ok(Self::Story),
            2 => Ok(Self::Open),
            3 => Ok(Self::Expired),
            4 => Ok(Self::Duplicate),
            5 => Ok(Self::Late),
            6 => Ok(Self::DeadLetter),
            0 | 7..=SHED => Err(unknown),
            code => ShedReason::from_code(code - SHED).map(Self::Shed).or(Err(unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// Outcomes, in the order of their numbers.
    const OUTCOMES: [Outcome; 11] = [
        Outcome::Story,
        Outcome::Open,
        Outcome::Expired,
        Outcome::Duplicate,
        Outcome::Late,
        Outcome::DeadLetter,
        Outcome::Shed(ShedReason::TraceEvents),
        Outcome::Shed(ShedReason::TraceBytes),
        Outcome::Shed(ShedReason::NodeTraces),
        Outcome::Shed(ShedReason::Mailbox),
        Outcome::Shed(ShedReason::Bus),
    ];

    fn row<T: Coded + Copy>(list: &str, members: &[T], name: fn(T) -> &'static str) -> String {
        let codes = members.iter().map(|&member| format!("{} {}", member.code(), name(member)));
        format!("{list}: {}\n", codes.collect::<Vec<_>>().join(", "))
    }

    /// The line of a list without names for people.
    fn unnamed<T: Coded + Copy + Debug>(list: &str, members: &[T]) -> String {
        let codes = members.iter().map(|&member| format!("{} {member:?}", member.code()));
        format!("{list}: {}\n", codes.collect::<Vec<_>>().join(", "))
    }

    /// The numbers are the protocol: a line of this snapshot grows, and never changes otherwise.
    #[test]
    fn numbers_stay() {
        insta::assert_snapshot!(
            [
                row("kind", Kind::ALL, Kind::name),
                row("source", &Source::ALL, Source::name),
                row("severity", &Severity::ALL, Severity::name),
                row("class", &Class::ALL, Class::name),
                row("rule", &Rule::ALL, Rule::name),
                row("level", &Level::ALL, Level::name),
                row("role", &Role::ALL, Role::name),
                row("evidence class", &EvidenceClass::ALL, EvidenceClass::name),
                unnamed("ending", &[Ending::Closed, Ending::Quarantined, Ending::Refused]),
                row("dead letter reason", &DeadReason::ALL, DeadReason::name),
                unnamed("node state", &[NodeState::Joining, NodeState::Ready, NodeState::Leaving]),
                row("shed reason", &ShedReason::ALL, ShedReason::name),
                unnamed("outcome", &OUTCOMES),
            ]
            .concat()
        );
    }

    #[test]
    fn zero_and_the_next_number_are_unknown() {
        for code in [0, 999, u32::MAX] {
            let want = DecodeError::UnknownCode { field: "kind", code };
            assert_eq!(Kind::from_code(code), Err(want));
        }
    }

    #[test]
    fn an_outcome_fits_a_byte_and_no_other_number_is_one() {
        for outcome in OUTCOMES {
            assert_eq!(Outcome::from_code(outcome.code()), Ok(outcome));
            assert!(u8::try_from(outcome.code()).is_ok(), "{outcome:?}");
        }
        for code in [0, 7, 15, 16, 22, 255, u32::MAX] {
            let want = DecodeError::UnknownCode { field: "outcome", code };
            assert_eq!(Outcome::from_code(code), Err(want));
        }
    }
}
