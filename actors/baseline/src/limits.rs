//! Every bound and threshold of the baseline, by name.

use std::{collections::BTreeSet, time::Duration};

use crate::Part;

/// Bounds and thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineLimits {
    /// How far apart two looks are, and how long a segment of time is.
    pub step: Duration,
    /// What is compared with all before it: so many segments.
    pub window_segments: usize,
    /// Silence after which a trace is taken as complete.
    pub trace_idle: Duration,
    /// A gap in a node's log after which it is as if the node was never heard before.
    pub hearing_gap: Duration,
    /// How far ahead of the present an event may be dated.
    pub ahead_max: Duration,
    /// Spans an operation must have had before anything is said of it.
    pub learnt_min: u32,
    /// A feature is rare up to this share of an operation's spans, and may then appear.
    pub rare: f64,
    /// A feature is sure from this share on, and may then vanish.
    pub sure: f64,
    /// The natural logarithm by which a change must be likelier than chance.
    pub change_min: f64,
    /// The score at which a service is told: three spans that are as unlike as can be.
    pub open_min: f64,
    /// What one span can add to the score.
    pub span_score_max: f64,
    /// Segments for which what is unlike is not learnt; what stays is normal afterwards.
    pub held_segments_max: u32,
    /// Spans of an operation that are remembered with full weight; then the past counts half.
    pub memory_spans: u32,
    /// Operations that are watched.
    pub operations_max: usize,
    /// Features of one operation.
    pub features_max: usize,
    /// Traces that are being assembled.
    pub traces_max: usize,
    /// New traces a second: those beyond are not looked at, and counted.
    pub traces_per_second_max: u32,
    /// Spans and lines of one trace.
    pub trace_events_max: usize,
    /// Series of metrics.
    pub series_max: usize,
    /// Parts of the reasoning that are left out.
    pub without: BTreeSet<Part>,
}

impl BaselineLimits {
    /// Says whether a part of the reasoning is used.
    pub(crate) fn has(&self, part: Part) -> bool {
        !self.without.contains(&part)
    }
}

impl Default for BaselineLimits {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(15),
            window_segments: 4,
            trace_idle: Duration::from_secs(5),
            hearing_gap: Duration::from_secs(60),
            ahead_max: Duration::from_secs(60),
            learnt_min: 4,
            rare: 0.02,
            sure: 0.97,
            change_min: 3.0,
            open_min: 18.0,
            span_score_max: 6.0,
            held_segments_max: 40,
            memory_spans: 4_000,
            operations_max: 20_000,
            features_max: 96,
            traces_max: 20_000,
            traces_per_second_max: 1_000,
            trace_events_max: 10_000,
            series_max: 50_000,
            without: BTreeSet::new(),
        }
    }
}
