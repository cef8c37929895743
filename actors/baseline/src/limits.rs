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
    /// A rare operation is looked at for longer, until so many traces of it are in.
    pub window_traces: f64,
    /// But not for more than so many segments.
    pub window_segments_max: usize,
    /// Silence after which a trace is taken as complete.
    pub trace_idle: Duration,
    /// A gap in a node's log after which it is as if the node was never heard before.
    pub hearing_gap: Duration,
    /// How far ahead of the present an event may be dated.
    pub ahead_max: Duration,
    /// Traces an operation must have been in before anything is said of it.
    pub learnt_min: f64,
    /// A feature is rare up to this share of an operation's spans, and may then appear.
    pub rare: f64,
    /// A feature is sure from this share on, and may then vanish.
    pub sure: f64,
    /// The natural logarithm by which a change must be likelier than chance.
    pub change_min: f64,
    /// The score at which a service is told: three traces that are as unlike as they can be of an
    /// operation of which a few dozen are known.
    pub open_min: f64,
    /// The same where lines get lost on their way: more is unlike by accident.
    pub open_lossy_min: f64,
    /// What the spans of one operation in one trace can add to the score.
    pub span_score_max: f64,
    /// Segments for which what is unlike is not learnt; what stays is normal afterwards.
    pub held_segments_max: u32,
    /// Traces of an operation that are remembered with full weight; then the past counts half.
    pub memory_traces: f64,
    /// What is learnt may take so many bytes; beyond, what was not seen for longest is forgotten.
    pub learnt_bytes_max: usize,
    /// The traces that are looked at may take so many bytes; others are passed over, and counted.
    pub window_bytes_max: usize,
    /// The events of traces that are being assembled may take so many bytes, likewise.
    pub open_bytes_max: usize,
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
    /// The levels of metrics may take so many bytes; beyond, those that fell silent are forgotten.
    pub points_bytes_max: usize,
    /// The rates of services may take so many bytes, likewise.
    pub rates_bytes_max: usize,
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
            window_traces: 6.0,
            window_segments_max: 12,
            trace_idle: Duration::from_secs(5),
            hearing_gap: Duration::from_secs(60),
            ahead_max: Duration::from_secs(60),
            learnt_min: 4.0,
            rare: 0.02,
            sure: 0.97,
            change_min: 3.0,
            open_min: 15.0,
            open_lossy_min: 18.0,
            span_score_max: 6.0,
            held_segments_max: 40,
            memory_traces: 1_000.0,
            learnt_bytes_max: 128 << 20,
            window_bytes_max: 128 << 20,
            open_bytes_max: 64 << 20,
            operations_max: 20_000,
            features_max: 96,
            traces_max: 20_000,
            traces_per_second_max: 1_000,
            trace_events_max: 10_000,
            series_max: 50_000,
            points_bytes_max: 64 << 20,
            rates_bytes_max: 16 << 20,
            without: BTreeSet::new(),
        }
    }
}
