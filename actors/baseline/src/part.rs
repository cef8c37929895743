//! The parts of the reasoning, for finding out what each contributes.

/// A part of the reasoning that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Lines and calls that never were.
    Appeared,
    /// Lines and calls that always were in every span.
    Vanished,
    /// Lines and calls that always were beside others.
    Beside,
    /// Of the unlike spans of a trace, only the deepest count.
    Deepest,
    /// What is missing counts only where somebody listened.
    Hearing,
    /// Spans that did not reach somebody else are excused.
    Unreached,
    /// What is unlike is not learnt.
    Held,
    /// Own time, and the time of the ways.
    Latency,
    /// Metrics.
    Metrics,
    /// How many requests there are, and how many of them fail.
    Rates,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 10] = [
        Self::Appeared,
        Self::Vanished,
        Self::Beside,
        Self::Deepest,
        Self::Hearing,
        Self::Unreached,
        Self::Held,
        Self::Latency,
        Self::Metrics,
        Self::Rates,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Beside => "beside",
            Self::Deepest => "deepest",
            Self::Hearing => "hearing",
            Self::Unreached => "unreached",
            Self::Held => "held",
            Self::Latency => "latency",
            Self::Metrics => "metrics",
            Self::Rates => "rates",
        }
    }

    /// Reads a part's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}
