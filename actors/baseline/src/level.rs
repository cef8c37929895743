//! The level of a quantity, learnt as it comes, and steps away from it.
//!
//! A step is a value far from the median of the last hour, beyond all that was in it, and, where an
//! earlier day is known, beyond what was at that hour. So a ramp and a day's rise and fall are none.

use std::collections::{BTreeMap, VecDeque};

use tapio_model::Timestamp;

use crate::latency::median;

/// Values that are remembered: an hour of minutes.
const RECENT_MAX: usize = 60;

/// Values that must be known before anything is said: of ten, four may be odd, and the median is
/// still one of the usual ones.
pub(crate) const KNOWN_MIN: usize = 10;

/// How far beyond all that is remembered a value must be: what gains less from one value to the next
/// is a ramp, for the one before it is remembered.
const BEYOND_TIMES: f64 = 1.25;

/// How far beyond what was at that hour of an earlier day.
const SEASON_TIMES: f64 = 1.5;

/// How many times the usual spread a step must be.
const SPREADS: f64 = 6.0;

/// What makes a median deviation a standard one, for normal numbers.
const DEVIATION: f64 = 1.4826;

/// What is left of an hour's extremes after a day: after a week some 60 %, so that a Monday is
/// compared with the last one too.
const FADING: f64 = 0.93;

/// How near to the next hour a time belongs to both: what runs at a fixed hour is seldom on the dot.
const NEAR_NANOS: i64 = 600 * 1_000_000_000;

const HOUR_NANOS: i64 = 3_600 * 1_000_000_000;

/// What a step weighs at most.
const SCORE_MAX: f64 = 60.0;

/// What counts as a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Yardstick {
    /// How many times the median it must be, or what share of it.
    pub(crate) times: f64,
    /// How much more or less, in the quantity's own unit.
    pub(crate) more: f64,
    /// Whether it is a count, of which the square root is chance.
    pub(crate) is_count: bool,
}

/// Which way a step leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Up.
    Rose,
    /// Down.
    Fell,
}

impl Direction {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rose => "rose",
            Self::Fell => "fell",
        }
    }
}

/// A value unlike those before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) direction: Direction,
    pub(crate) before: f64,
    pub(crate) now: f64,
    pub(crate) score: f64,
}

/// The least and the most that were seen.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    const fn and(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// What an hour of the day was.
#[derive(Debug, Clone, Copy)]
struct Hour {
    day: i64,
    /// Of that day.
    range: Range,
    /// Of the days before it.
    before: Option<Range>,
}

impl Hour {
    /// Returns what it was on the days before `day`.
    fn until(&self, day: i64) -> Option<Range> {
        if self.day >= day {
            return self.before;
        }
        let days = i32::try_from(day - self.day).unwrap_or(i32::MAX);
        let fading = FADING.powi(days.saturating_sub(1));
        let faded = |range: Range, by: f64| Range { low: range.low / by, high: range.high * by };
        let own = faded(self.range, fading);
        Some(self.before.map_or(own, |before| own.and(faded(before, fading * FADING))))
    }
}

/// The level of a quantity.
#[derive(Debug, Default)]
pub(crate) struct Level {
    recent: VecDeque<f64>,
    /// By hour of the day; nothing where it does not follow the day.
    hours: Option<BTreeMap<i64, Hour>>,
    /// Values in a row that were steps and not learnt.
    held: u32,
}

impl Level {
    /// Makes the level of something that follows the day.
    pub(crate) fn daily() -> Self {
        Self { hours: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Returns about what it takes to hold it.
    pub(crate) fn bytes(&self) -> usize {
        let hours = self.hours.as_ref().map_or(0, BTreeMap::len);
        size_of::<Self>()
            + self.recent.capacity() * size_of::<f64>()
            + hours * 2 * size_of::<Hour>()
    }

    /// Returns what is usual, if enough is known.
    pub(crate) fn usual(&self) -> Option<f64> {
        if self.recent.len() < KNOWN_MIN {
            return None;
        }
        let known: Vec<_> = self.recent.iter().copied().collect();
        median(&known)
    }

    /// Says whether a value is a step.
    pub(crate) fn judge(&self, value: f64, at: Timestamp, yardstick: &Yardstick) -> Option<Step> {
        let usual = self.usual()?;
        let apart: Vec<_> = self.recent.iter().map(|known| (known - usual).abs()).collect();
        let chance = if yardstick.is_count { usual.max(1.0).sqrt() } else { usual.abs() / 20.0 };
        let spread = (median(&apart)? * DEVIATION).max(chance).max(f64::EPSILON);
        let first = Range { low: usual, high: usual };
        let of = |value: &f64| Range { low: *value, high: *value };
        let recent = self.recent.iter().map(of).fold(first, Range::and);
        let season = self.season(at);
        let (more, times) = (yardstick.more, yardstick.times);
        let has_risen = value - usual >= more
            && value > usual * times
            && value > recent.high * BEYOND_TIMES
            && season.is_none_or(|season| value > season.high * SEASON_TIMES);
        let has_fallen = usual - value >= more
            && value * times < usual
            && value * BEYOND_TIMES < recent.low
            && season.is_none_or(|season| value * SEASON_TIMES < season.low);
        let spreads = (value - usual).abs() / spread;
        let direction = match (has_risen, has_fallen) {
            (true, _) => Direction::Rose,
            (false, true) => Direction::Fell,
            (false, false) => return None,
        };
        let score = (spreads * spreads / 2.0).min(SCORE_MAX);
        (spreads >= SPREADS).then_some(Step { direction, before: usual, now: value, score })
    }

    /// Learns a value. A step is not learnt until it has lasted for `held_max` values; then it is
    /// where the level is, and all is learnt anew. What was at this hour is learnt in any case.
    pub(crate) fn learn(&mut self, value: f64, at: Timestamp, is_step: bool, held_max: u32) {
        self.note_hour(value, at);
        if is_step && self.held < held_max {
            self.held += 1;
            return;
        }
        if is_step {
            self.recent.clear();
        }
        self.held = 0;
        self.recent.push_back(value);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn note_hour(&mut self, value: f64, at: Timestamp) {
        let Some(hours) = &mut self.hours else { return };
        let (day, hour) = hour_of(at.as_nanos());
        let range = Range { low: value, high: value };
        let known = hours.entry(hour).or_insert(Hour { day, range, before: None });
        if known.day < day {
            *known = Hour { day, range, before: known.until(day) };
        } else {
            known.range = known.range.and(range);
        }
    }

    /// Returns what was around this time of the day on earlier days.
    fn season(&self, at: Timestamp) -> Option<Range> {
        let hours = self.hours.as_ref()?;
        let nanos = at.as_nanos();
        let near = [nanos.saturating_sub(NEAR_NANOS), nanos.saturating_add(NEAR_NANOS)];
        let ranges = near.into_iter().filter_map(|nanos| {
            let (day, hour) = hour_of(nanos);
            hours.get(&hour)?.until(day)
        });
        ranges.reduce(Range::and)
    }
}

/// Returns the day and the hour of the day.
const fn hour_of(nanos: i64) -> (i64, i64) {
    let hours = nanos.div_euclid(HOUR_NANOS);
    (hours.div_euclid(24), hours.rem_euclid(24))
}

#[cfg(test)]
mod tests;
