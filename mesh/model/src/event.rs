//! What was seen.

use std::{fmt, sync::Arc};

use crate::{Attributes, EventId, Kind, Place, SpanId, Timestamp, TraceId};

/// Who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The kernel: its log, its figures or a probe in it.
    Kernel,
    /// Counters of control groups.
    Cgroup,
    /// The systemd journal.
    Journal,
    /// The Kubernetes API.
    Kubernetes,
    /// An application's log.
    App,
    /// OpenTelemetry spans and logs.
    Otlp,
    /// The network: packets, connections, names.
    Network,
    /// Metrics.
    Metrics,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 8] = [
        Self::Kernel,
        Self::Cgroup,
        Self::Journal,
        Self::Kubernetes,
        Self::App,
        Self::Otlp,
        Self::Network,
        Self::Metrics,
    ];

    /// Returns the name used in subjects, labels and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Cgroup => "cgroup",
            Self::Journal => "journal",
            Self::Kubernetes => "kubernetes",
            Self::App => "app",
            Self::Otlp => "otlp",
            Self::Network => "network",
            Self::Metrics => "metrics",
        }
    }

    /// Reads a source's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// How bad the source says it is, after OpenTelemetry's severity ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// Finest detail.
    Trace,
    /// Detail for developers.
    Debug,
    /// As it should be.
    #[default]
    Info,
    /// Odd, and survived.
    Warn,
    /// Something did not work.
    Error,
    /// Something is gone.
    Fatal,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 6] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// Reads a severity's name, in any case, with the spellings loggers use.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        const SPELLINGS: [(&str, Severity); 17] = [
            ("trace", Severity::Trace),
            ("verbose", Severity::Trace),
            ("debug", Severity::Debug),
            ("info", Severity::Info),
            ("information", Severity::Info),
            ("notice", Severity::Info),
            ("warn", Severity::Warn),
            ("warning", Severity::Warn),
            ("error", Severity::Error),
            ("err", Severity::Error),
            ("severe", Severity::Error),
            ("critical", Severity::Fatal),
            ("crit", Severity::Fatal),
            ("fatal", Severity::Fatal),
            ("panic", Severity::Fatal),
            ("alert", Severity::Fatal),
            ("emerg", Severity::Fatal),
        ];
        SPELLINGS
            .into_iter()
            .find_map(|(known, severity)| known.eq_ignore_ascii_case(name).then_some(severity))
    }
}

/// What kind of trouble or change an event speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Memory.
    Memory,
    /// CPU time.
    Cpu,
    /// Disks, volumes and filesystems.
    Storage,
    /// Connections and packets.
    Network,
    /// Names that do not resolve.
    Naming,
    /// ConfigMaps, Secrets, environment, arguments.
    Configuration,
    /// Images and registries.
    Image,
    /// Probes, readiness, endpoints.
    Health,
    /// Starts, stops, restarts, scheduling.
    Lifecycle,
    /// A new version.
    Rollout,
    /// One service failing another.
    Dependency,
    /// The application's own errors.
    Application,
    /// Nothing in particular.
    #[default]
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 13] = [
        Self::Memory,
        Self::Cpu,
        Self::Storage,
        Self::Network,
        Self::Naming,
        Self::Configuration,
        Self::Image,
        Self::Health,
        Self::Lifecycle,
        Self::Rollout,
        Self::Dependency,
        Self::Application,
        Self::Other,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Naming => "naming",
            Self::Configuration => "configuration",
            Self::Image => "image",
            Self::Health => "health",
            Self::Lifecycle => "lifecycle",
            Self::Rollout => "rollout",
            Self::Dependency => "dependency",
            Self::Application => "application",
            Self::Other => "other",
        }
    }

    /// Reads a class's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// How much an event matters to users, 0 (not at all) to 1 (something is down).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Impact(f32);

impl Impact {
    /// Nothing happened to anybody.
    pub const NONE: Self = Self(0.0);
    /// Above this an event is high-impact.
    pub const HIGH: Self = Self(0.7);
    /// From here on an event is critical.
    pub const CRITICAL: Self = Self(0.9);

    /// Makes an impact; anything outside 0 to 1 is clamped, and not-a-number is 0.
    #[must_use]
    pub const fn new(impact: f32) -> Self {
        if impact.is_nan() { Self::NONE } else { Self(impact.clamp(0.0, 1.0)) }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> f32 {
        self.0
    }
}

/// How urgently an event travels, and what is shed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything else.
    Normal,
    /// Impact above 0.7.
    High,
    /// Severity fatal, or impact of 0.9 and more.
    Critical,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: [Self; 3] = [Self::Normal, Self::High, Self::Critical];

    /// Returns the name used in subjects and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The rule that gave an event its trace id, when the source did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The top owner and its generation.
    Workload,
    /// The pod, where its owner is not known.
    Pod,
    /// The container, where its pod is not known.
    Container,
    /// The systemd unit.
    Unit,
    /// The control group, where nothing above it is known.
    Cgroup,
    /// The service, for telemetry that names nothing else.
    Service,
    /// The node.
    Node,
    /// Nothing but the source is known.
    Source,
}

impl Rule {
    /// Every rule, most specific owner first.
    pub const ALL: [Self; 8] = [
        Self::Workload,
        Self::Pod,
        Self::Container,
        Self::Unit,
        Self::Cgroup,
        Self::Service,
        Self::Node,
        Self::Source,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Cgroup => "cgroup",
            Self::Service => "service",
            Self::Node => "node",
            Self::Source => "source",
        }
    }
}

/// Why an event has its trace id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// The source carried it.
    Explicit,
    /// We gave it, by this rule.
    Inferred(Rule),
}

impl Binding {
    /// Says whether we gave the trace id.
    #[must_use]
    pub const fn is_inferred(self) -> bool {
        matches!(self, Self::Inferred(_))
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit => f.write_str("explicit"),
            Self::Inferred(rule) => write!(f, "inferred({})", rule.name()),
        }
    }
}

/// Which trace an event belongs to, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span it happened in, if the source said so.
    pub span_id: Option<SpanId>,
    /// The span that called this span.
    pub parent_span_id: Option<SpanId>,
    /// Why it has this trace id.
    pub binding: Binding,
}

/// Something that was seen, in the one shape every source is brought to.
///
/// # Invariant
/// A published event never changes: not its id, not its trace, not its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Identity, derived from source content.
    pub id: EventId,
    /// When it happened, by the source's account; a span's end.
    pub time: Timestamp,
    /// Who saw it.
    pub source: Source,
    /// What happened.
    pub kind: Kind,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// Where it happened.
    pub place: Arc<Place>,
    /// How bad the source says it is.
    pub severity: Severity,
    /// How much it matters to users.
    pub impact: Impact,
    /// What kind of trouble it speaks of.
    pub class: Class,
    /// Everything else.
    pub attributes: Attributes,
}

impl Event {
    /// Returns the urgency of the event.
    #[must_use]
    pub fn level(&self) -> Level {
        if self.severity == Severity::Fatal || self.impact >= Impact::CRITICAL {
            Level::Critical
        } else if self.impact > Impact::HIGH {
            Level::High
        } else {
            Level::Normal
        }
    }

    /// Says whether the event is a sign of trouble or change, rather than everyday hum.
    #[must_use]
    pub fn is_sign(&self) -> bool {
        !self.kind.is_ambient() || self.severity >= Severity::Warn
    }

    /// Returns the key events are ordered by: time, then id.
    #[must_use]
    pub const fn order(&self) -> (Timestamp, EventId) {
        (self.time, self.id)
    }

    /// Returns the message the source wrote, or the kind's name.
    #[must_use]
    pub fn message(&self) -> &str {
        self.attributes.text(crate::keys::MESSAGE).unwrap_or_else(|| self.kind.name())
    }

    /// Returns about how many bytes the event holds, its place (shared) left out.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.attributes.bytes()
    }
}
