//! How well an engine did, in figures.

use std::collections::BTreeMap;

use serde::Serialize;

/// How well an engine did.
///
/// # Units
/// Fractions are 0 to 1, times are seconds, hours are hours of the recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Faults that were there.
    pub faults: usize,
    /// Share of faults whose service comes first; ties are resolved by chance.
    pub as_at_1: f64,
    /// The same among the first three.
    pub as_at_3: f64,
    /// The same among the first five.
    pub as_at_5: f64,
    /// Share of faults whose service comes first, every tie resolved against us.
    pub as_at_1_pessimistic: f64,
    /// The same among the first three.
    pub as_at_3_pessimistic: f64,
    /// The same among the first five.
    pub as_at_5_pessimistic: f64,
    /// By kind of fault: how many there were, and the share whose service comes first.
    pub by_kind: BTreeMap<String, KindScore>,
    /// By the service at fault: the same.
    pub by_service: BTreeMap<String, KindScore>,
    /// `as_at_1` of the faults of all services but one, where it is lowest; none with one service.
    pub leave_one_service_out_min: Option<f64>,
    /// The same where it is highest.
    pub leave_one_service_out_max: Option<f64>,
    /// Stories told for a fault, on average; faults without a story count as none.
    pub stories_per_incident: f64,
    /// Adjusted Rand index of what the stories put together against the faults; 1 is right.
    pub adjusted_rand_index: f64,
    /// Stories about nothing, by where they were told.
    pub false_stories: FalseStories,
    /// All stories about nothing, an hour.
    pub false_per_hour: f64,
    /// The exact 95 % interval of it.
    pub false_per_hour_interval: (f64, f64),
    /// Mean squared difference of confidence and truth.
    pub brier: f64,
    /// Expected calibration error: ten bins, weighted by their size.
    pub ece: f64,
    /// The 95 % interval of `ece`: 1,000 bootstrap resamples of the verdicts.
    pub ece_interval: (f64, f64),
    /// Verdicts `brier` and `ece` are of: of all stories, but where there are metrics alone.
    pub verdicts: usize,
    /// Stories whose verdict is `unknown`.
    pub abstentions: usize,
    /// From onset to the first telling with the right service, median.
    pub seconds_to_correct_median: Option<f64>,
    /// The same, of the slowest.
    pub seconds_to_correct_max: Option<f64>,
    /// Faults whose right story was told only when their recording had ended, or never.
    pub not_in_time: Vec<String>,
    /// Share of the faults that name their pattern whose first story is of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns_right: Option<f64>,
    /// Fault by fault.
    pub cases: Vec<Case>,
    /// Story by story what was told about nothing.
    pub told_falsely: Vec<FalseStory>,
}

/// Faults of one kind, or of one service.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct KindScore {
    /// How many there were.
    pub faults: usize,
    /// Share whose service comes first, pessimistic.
    pub as_at_1: f64,
    /// The same among the first three.
    pub as_at_3: f64,
}

/// Stories about nothing, and the minutes in which they could have been told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct FalseStories {
    /// In what the recording calls fault-free.
    pub fault_free: Count,
    /// Before its first fault.
    pub before_first_fault: Count,
    /// Between faults, where there are spans and logs.
    pub elsewhere: Count,
    /// Where there are metrics alone.
    pub metrics_only: Count,
}

impl FalseStories {
    /// Returns the counts of all four.
    pub(crate) const fn all(&self) -> [Count; 4] {
        [self.fault_free, self.before_first_fault, self.elsewhere, self.metrics_only]
    }

    /// Adds those of another recording.
    pub(crate) fn add(&mut self, other: &Self) {
        self.fault_free.add(other.fault_free);
        self.before_first_fault.add(other.before_first_fault);
        self.elsewhere.add(other.elsewhere);
        self.metrics_only.add(other.metrics_only);
    }
}

/// A story about nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FalseStory {
    /// When it was first told.
    pub at: String,
    /// Where that lies, as [`FalseStories`] has it.
    pub place: &'static str,
    /// The pattern and the title of its last telling.
    pub told: String,
    /// How sure that was.
    pub confidence: f64,
}

/// A count, and the minutes it is of.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Count {
    /// How many.
    pub stories: usize,
    /// In how many minutes.
    pub minutes: f64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.stories += other.stories;
        self.minutes += other.minutes;
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// What was at fault.
    pub service: String,
    /// What kind of fault it was.
    pub kind: String,
    /// When, by the recording's own account.
    pub at: String,
    /// The rank of the right service, every tie against us; none if no story names it.
    pub rank: Option<usize>,
    /// Seconds from onset to the first telling with the right service first; below zero where the
    /// fault showed before its label.
    pub seconds_to_correct: Option<f64>,
    /// Stories told for it.
    pub stories: usize,
    /// The pattern and the title of the first.
    pub told: Option<String>,
    /// Whether the first story is of the pattern that the label names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_pattern_right: Option<bool>,
    /// The first five services told.
    pub services: Vec<String>,
}
