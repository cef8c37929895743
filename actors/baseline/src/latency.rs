//! How long operations take by themselves, and how long the way from one service to another takes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tapio_model::Text;

use crate::{
    assembly::Digest,
    operation::{Op, Operations},
};

/// Times that are remembered of an operation or a way.
const TIMES_MAX: usize = 120;

/// Times that must be known.
const TIMES_MIN: usize = 8;

/// Spans of an operation that must be seen now.
const SPANS_MIN: usize = 5;

/// Requests on a way that must be seen now: where there are few, several ways speak together.
const WAY_SPANS_MIN: usize = 3;

/// What is usually the longest: nine of ten are shorter.
const LONGEST: f64 = 0.9;

/// Something is slow when half of it takes so many times as long as was usually the longest.
const SLOW_TIMES: f64 = 3.0;

/// And longer by so much: nobody notices less.
const OWN_SLOWER_US: f64 = 50_000.0;

/// The way is the network's, and takes no time by itself.
const WAY_SLOWER_US: f64 = 20_000.0;

/// Of the ways to and from a service, the slow ones must be so many.
const WAYS_MIN: usize = 2;

/// And such a share.
const WAYS_SHARE: f64 = 0.7;

/// How long something took, and takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slow {
    pub(crate) before_us: f64,
    pub(crate) now_us: f64,
    /// Spans that take longer are slow.
    pub(crate) from_us: f64,
}

/// A service whose ways are slow, in both directions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlowWays {
    pub(crate) service: Text,
    /// Slow ways, of how many.
    pub(crate) slow: usize,
    pub(crate) of: usize,
    /// The slowest of them.
    pub(crate) worst: Slow,
}

/// The way from a service to another.
type Way = (Text, Text);

/// Times of one segment or window.
#[derive(Debug, Default)]
pub(crate) struct Times {
    own: BTreeMap<Op, Vec<f64>>,
    ways: BTreeMap<Way, Vec<f64>>,
}

impl Times {
    pub(crate) fn of(digests: &[&Digest], operations: &Operations) -> Self {
        let mut times = Self::default();
        for digest in digests {
            for row in &digest.rows {
                times.own.entry(row.op).or_default().push(row.self_us);
                let Some(us) = row.way_us else { continue };
                let service = |op: Op| operations.get(op).map(|it| it.service.clone());
                let caller = row.parent.and_then(|parent| digest.rows.get(parent));
                if let Some(way) = caller.and_then(|it| service(it.op)).zip(service(row.op)) {
                    times.ways.entry(way).or_default().push(us);
                }
            }
        }
        times
    }
}

/// What is remembered of times.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    own: BTreeMap<Op, VecDeque<f64>>,
    ways: BTreeMap<Way, VecDeque<f64>>,
    /// Segments in a row that were slow and not learnt.
    held_own: BTreeMap<Op, u32>,
    held_ways: BTreeMap<Way, u32>,
}

impl Latency {
    /// Forgets a service of which a new version runs.
    pub(crate) fn forget(&mut self, service: &str, ops: &BTreeSet<Op>) {
        self.own.retain(|op, _| !ops.contains(op));
        self.ways.retain(|(from, to), _| from != service && to != service);
    }

    /// Returns the operations that take longer by themselves.
    pub(crate) fn slow(&self, now: &Times) -> BTreeMap<Op, Slow> {
        let slow = now
            .own
            .iter()
            .filter_map(|(op, times)| Some((*op, OWN.compare(self.own.get(op)?, times)?)));
        slow.collect()
    }

    /// Returns the ways that take longer.
    fn slow_ways(&self, now: &Times) -> BTreeMap<Way, Slow> {
        let slow = now.ways.iter().filter_map(|(way, times)| {
            Some((way.clone(), WAY.compare(self.ways.get(way)?, times)?))
        });
        slow.collect()
    }

    /// Returns the service whose ways are slow to and from nearly everybody: it is its network.
    pub(crate) fn slow_network(&self, now: &Times) -> Option<SlowWays> {
        let slow = self.slow_ways(now);
        let mut services: BTreeMap<&Text, (usize, usize, Option<Slow>)> = BTreeMap::new();
        let known = now.ways.iter().filter(|(way, times)| {
            times.len() >= WAY_SPANS_MIN
                && self.ways.get(*way).is_some_and(|it| it.len() >= TIMES_MIN)
        });
        for (way, _) in known {
            for service in [&way.0, &way.1] {
                let entry = services.entry(service).or_default();
                entry.1 += 1;
                if let Some(slow) = slow.get(way) {
                    entry.0 += 1;
                    let worst = entry.2.get_or_insert(*slow);
                    if slow.now_us > worst.now_us {
                        *worst = *slow;
                    }
                }
            }
        }
        let is_its_own = |(slow, of): (usize, usize)| {
            slow >= WAYS_MIN && to_f64(slow) >= WAYS_SHARE * to_f64(of)
        };
        let candidates = services.into_iter().filter(|(_, (slow, of, _))| is_its_own((*slow, *of)));
        let most = candidates.max_by_key(|(service, (slow, _, _))| (*slow, *service))?;
        let (service, (slow, of, worst)) = most;
        Some(SlowWays { service: service.clone(), slow, of, worst: worst? })
    }

    /// Learns the times of a segment, but for what is slow in it and has not been for long.
    pub(crate) fn learn(&mut self, times: &Times, slow: &BTreeSet<Op>, held_max: u32) {
        for (op, times) in &times.own {
            let held = self.held_own.entry(*op).or_default();
            if !is_held_back(slow.contains(op), held, held_max) {
                remember(self.own.entry(*op).or_default(), times);
            }
        }
        for (way, times) in &times.ways {
            let known = self.ways.entry(way.clone()).or_default();
            let held = self.held_ways.entry(way.clone()).or_default();
            if !is_held_back(WAY.compare(known, times).is_some(), held, held_max) {
                remember(known, times);
            }
        }
    }
}

/// Says whether something slow is not to be learnt yet.
const fn is_held_back(is_slow: bool, held: &mut u32, held_max: u32) -> bool {
    if !is_slow {
        *held = 0;
        return false;
    }
    *held = held.saturating_add(1);
    *held <= held_max
}

fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// When something counts as slow.
struct Bar {
    spans_min: usize,
    slower_us: f64,
}

const OWN: Bar = Bar { spans_min: SPANS_MIN, slower_us: OWN_SLOWER_US };
const WAY: Bar = Bar { spans_min: WAY_SPANS_MIN, slower_us: WAY_SLOWER_US };

impl Bar {
    fn compare(&self, known: &VecDeque<f64>, times: &[f64]) -> Option<Slow> {
        if known.len() < TIMES_MIN || times.len() < self.spans_min {
            return None;
        }
        let known: Vec<_> = known.iter().copied().collect();
        let (before_us, now_us) = (quantile(&known, LONGEST)?, median(times)?);
        let from_us = before_us + (now_us - before_us) * 0.3;
        let is_slow = now_us > before_us * SLOW_TIMES && now_us > before_us + self.slower_us;
        is_slow.then_some(Slow { before_us, now_us, from_us })
    }
}

fn remember(known: &mut VecDeque<f64>, times: &[f64]) {
    known.extend(times);
    while known.len() > TIMES_MAX {
        known.pop_front();
    }
}

/// Returns the middle of some numbers.
pub(crate) fn median(numbers: &[f64]) -> Option<f64> {
    quantile(numbers, 0.5)
}

/// Returns the number that this share of the others is below.
fn quantile(numbers: &[f64], share: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let at = (to_f64(sorted.len()) * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_three_times_as_long_and_noticeably_so() {
        let mut known: VecDeque<f64> = [10_000.0; 16].into();
        // One that took long is no yardstick.
        known.push_back(900_000.0);
        let slow = |us: f64| OWN.compare(&known, &[us; 5]).is_some();
        assert!(slow(70_000.0) && !slow(50_000.0));
        let fast: VecDeque<f64> = [10.0; TIMES_MIN].into();
        assert!(OWN.compare(&fast, &[1_000.0; 5]).is_none());
        assert!(OWN.compare(&known, &[1e9; 4]).is_none());
        assert!(WAY.compare(&known, &[1e9; 3]).is_some());
    }

    #[test]
    fn a_service_with_slow_ways_to_everybody_has_a_slow_network() {
        let way = |from: &str, to: &str| (Text::from(from), Text::from(to));
        let mut latency = Latency::default();
        let all = [way("web", "cart"), way("cart", "db"), way("web", "pay"), way("pay", "db")];
        let times = |slow: &[usize]| {
            let us = |at: usize| vec![if slow.contains(&at) { 200_000.0 } else { 900.0 }; 6];
            let ways = all.iter().cloned().zip((0..).map(us)).collect();
            Times { ways, ..Times::default() }
        };
        for _ in 0..2 {
            latency.learn(&times(&[]), &BTreeSet::new(), 40);
        }
        let found = latency.slow_network(&times(&[0, 1])).unwrap();
        assert_eq!((&*found.service, found.slow, found.of), ("cart", 2, 2));
        // One slow way is somebody's, and nobody knows whose.
        assert_eq!(latency.slow_network(&times(&[1])), None);
    }
}
