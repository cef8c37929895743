//! How long operations take by themselves, and how long the way from one service to another takes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tapio_model::Text;

use crate::{
    assembly::{Digest, Row},
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

/// Where everything takes longer, half of that is plain.
const OWN_SHIFTED_US: f64 = 25_000.0;

/// The quick ones: four of five take longer.
const QUICK: f64 = 0.2;

/// The way is the network's, and takes no time by itself.
const WAY_SLOWER_US: f64 = 20_000.0;

/// Ways that are known: names come from outside.
const WAYS_KNOWN_MAX: usize = 20_000;

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
    /// Whether nearly all take longer than nearly all did.
    pub(crate) is_shifted: bool,
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
pub(crate) type Way = (Text, Text);

/// What was slow in a window.
#[derive(Debug, Default)]
pub(crate) struct SlowOnes {
    pub(crate) ops: BTreeSet<Op>,
    pub(crate) ways: BTreeSet<Way>,
}

/// Times of one segment or window.
#[derive(Debug, Default)]
pub(crate) struct Times {
    own: BTreeMap<Op, Vec<f64>>,
    ways: BTreeMap<Way, Vec<f64>>,
    /// Ways of which a span tells that does nothing else.
    pure: BTreeSet<Way>,
}

impl Times {
    /// Adds the times of the spans of whole traces that are `shown`; those of the ways of traces that
    /// are `as_ever`.
    pub(crate) fn add(
        &mut self,
        digests: &[Digest],
        operations: &Operations,
        shown: impl Fn(&Row) -> bool,
        as_ever: impl Fn(&Digest) -> bool,
    ) {
        for digest in digests {
            let has_ways = as_ever(digest);
            for row in digest.rows.iter().filter(|row| shown(row)) {
                if let Some(us) = row.own_us {
                    self.own.entry(row.op).or_default().push(us);
                }
                let Some(us) = row.way_us.filter(|_| has_ways) else { continue };
                let service = |op: Op| operations.get(op).map(|it| it.service.clone());
                let caller = row.parent.and_then(|parent| digest.rows.get(parent));
                let is_pure = caller.is_some_and(|it| it.is_way);
                if let Some(way) = caller.and_then(|it| service(it.op)).zip(service(row.op)) {
                    if is_pure {
                        self.pure.insert(way.clone());
                    }
                    self.ways.entry(way).or_default().push(us);
                }
            }
        }
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
        self.held_own.retain(|op, _| !ops.contains(op));
        self.ways.retain(|(from, to), _| from != service && to != service);
        self.held_ways.retain(|(from, to), _| from != service && to != service);
    }

    /// Forgets an operation that is known no more.
    pub(crate) fn drop_operation(&mut self, op: Op) {
        self.own.remove(&op);
        self.held_own.remove(&op);
    }

    /// Forgets the ways of services that are known no more.
    pub(crate) fn keep_ways(&mut self, services: &BTreeSet<&Text>) {
        let is_known = |(from, to): &Way| services.contains(from) && services.contains(to);
        self.ways.retain(|way, _| is_known(way));
        self.held_ways.retain(|way, _| is_known(way));
    }

    /// Returns what it takes to know the times of an operation.
    pub(crate) fn bytes_of(&self, op: Op) -> usize {
        self.own.get(&op).map_or(0, |times| size_of::<(Op, VecDeque<f64>, u32)>() + bytes(times))
    }

    /// Returns what it takes to know the times of the ways.
    pub(crate) fn bytes_of_ways(&self) -> usize {
        let ways = self.ways.iter();
        ways.map(|((from, to), times)| {
            2 * (size_of::<Way>() + from.len() + to.len()) + bytes(times)
        })
        .sum()
    }

    /// Returns how long an operation usually takes by itself at the longest, in microseconds.
    pub(crate) fn longest(&self, op: Op) -> Option<f64> {
        let known = self.own.get(&op).filter(|it| it.len() >= TIMES_MIN)?;
        quantile(&known.iter().copied().collect::<Vec<_>>(), LONGEST)
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
    pub(crate) fn slow_ways(&self, now: &Times) -> BTreeMap<Way, Slow> {
        let slow = now.ways.iter().filter_map(|(way, times)| {
            Some((way.clone(), WAY.compare(self.ways.get(way)?, times)?))
        });
        slow.collect()
    }

    /// Returns the service whose ways are slow to and from nearly everybody: it is its network.
    pub(crate) fn slow_network(&self, now: &Times, slow: &BTreeMap<Way, Slow>) -> Option<SlowWays> {
        let known = now.ways.iter().filter(|(way, times)| {
            times.len() >= WAY_SPANS_MIN
                && self.ways.get(*way).is_some_and(|it| it.len() >= TIMES_MIN)
        });
        let mut services: BTreeMap<&Text, Ends<'_>> = BTreeMap::new();
        for (way, times) in known {
            let past = self.ways.get(way);
            let is_always = now.pure.contains(way)
                && past.is_some_and(|it| ALWAYS.compare(it, times).is_some());
            for (service, other) in [(&way.0, &way.1), (&way.1, &way.0)] {
                let ends = services.entry(service).or_default();
                ends.add(slow.get(way), is_always.then_some(other));
            }
        }
        let its_own = services.iter().filter(|(_, ends)| ends.is_its_own(&services));
        // The most ways first; of as many, the slowest.
        let most = its_own.max_by(|(a_name, a), (b_name, b)| {
            let by_time = |ends: &Ends<'_>| ends.worst.map_or(0.0, |slow| slow.now_us);
            (a.slow.cmp(&b.slow))
                .then(by_time(a).total_cmp(&by_time(b)))
                .then_with(|| b_name.cmp(a_name))
        });
        let (service, ends) = most?;
        let (slow, of, worst) = (ends.slow, ends.of, ends.worst?);
        Some(SlowWays { service: (*service).clone(), slow, of, worst })
    }

    /// Learns the times of a segment, but for what is slow in it and has not been for long.
    pub(crate) fn learn(&mut self, times: &Times, slow: &SlowOnes, held_max: u32) {
        for (op, times) in &times.own {
            let held = self.held_own.entry(*op).or_default();
            if !is_held_back(slow.ops.contains(op), held, held_max) {
                remember(self.own.entry(*op).or_default(), times);
            }
        }
        for (way, times) in &times.ways {
            if !self.ways.contains_key(way) && self.ways.len() >= WAYS_KNOWN_MAX {
                continue;
            }
            let known = self.ways.entry(way.clone()).or_default();
            let held = self.held_ways.entry(way.clone()).or_default();
            let is_slow = slow.ways.contains(way) || WAY.compare(known, times).is_some();
            if !is_held_back(is_slow, held, held_max) {
                remember(known, times);
            }
        }
    }
}

/// The ways of a service.
#[derive(Debug, Default)]
struct Ends<'a> {
    /// Slow ways, of how many.
    slow: usize,
    of: usize,
    worst: Option<Slow>,
    /// Where a way leads, or comes from, that is slow for nearly every request.
    other: Option<&'a Text>,
}

impl<'a> Ends<'a> {
    fn add(&mut self, slow: Option<&Slow>, other: Option<&'a Text>) {
        self.of += 1;
        let Some(slow) = slow else { return };
        self.slow += 1;
        self.other = other;
        if self.worst.is_none_or(|worst| slow.now_us > worst.now_us) {
            self.worst = Some(*slow);
        }
    }

    fn is_mostly_slow(&self) -> bool {
        self.slow > 0 && to_f64(self.slow) >= WAYS_SHARE * to_f64(self.of)
    }

    /// Says whether it is the network of the service, and not that of whoever is at the other end:
    /// of a single way that is told by the other end's further ways, which all are well.
    fn is_its_own(&self, services: &BTreeMap<&Text, Self>) -> bool {
        let is_well =
            |other: &Text| services.get(other).is_some_and(|ends| ends.of > 1 && ends.slow == 1);
        self.is_mostly_slow() && (self.slow >= WAYS_MIN || self.other.is_some_and(is_well))
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

pub(crate) fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// When something counts as slow.
struct Bar {
    spans_min: usize,
    slower_us: f64,
    /// How much longer even the quick ones must take, where nearly all do.
    shifted_us: f64,
    /// The time now that must be so much longer is longer than this share of the others.
    now: f64,
}

const OWN: Bar =
    Bar { spans_min: SPANS_MIN, slower_us: OWN_SLOWER_US, shifted_us: OWN_SHIFTED_US, now: 0.5 };
const WAY: Bar =
    Bar { spans_min: WAY_SPANS_MIN, slower_us: WAY_SLOWER_US, shifted_us: WAY_SLOWER_US, now: 0.5 };
/// A delay of the network is everybody's: who speaks alone must be slow for four of five.
const ALWAYS: Bar = Bar { spans_min: SPANS_MIN, now: QUICK, ..WAY };

impl Bar {
    fn compare(&self, known: &VecDeque<f64>, times: &[f64]) -> Option<Slow> {
        if known.len() < TIMES_MIN || times.len() < self.spans_min {
            return None;
        }
        let known: Vec<_> = known.iter().copied().collect();
        let (before_us, now_us) = (quantile(&known, LONGEST)?, quantile(times, self.now)?);
        let from_us = before_us + (now_us - before_us) * 0.3;
        let is_slow = now_us > before_us * SLOW_TIMES && now_us > before_us + self.slower_us;
        let is_shifted = self.is_shifted(median(&known)?, before_us, times);
        (is_slow || is_shifted).then_some(Slow { before_us, now_us, from_us, is_shifted })
    }

    /// Says whether a delay was added to everything: even the quick ones take longer than was
    /// usually the longest. That is told of times that used to differ much, too.
    fn is_shifted(&self, usual_us: f64, before_us: f64, times: &[f64]) -> bool {
        let Some(quick_us) = quantile(times, QUICK).filter(|_| times.len() >= SPANS_MIN) else {
            return false;
        };
        quick_us > before_us
            && quick_us > usual_us * SLOW_TIMES
            && quick_us > usual_us + self.shifted_us
    }
}

fn bytes(times: &VecDeque<f64>) -> usize {
    size_of::<f64>() * times.capacity()
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
        assert!(slow(70_000.0) && !slow(30_000.0));
        let some = [10_000.0, 10_000.0, 50_000.0, 50_000.0, 50_000.0];
        assert!(OWN.compare(&known, &some).is_none());
        let fast: VecDeque<f64> = [10.0; TIMES_MIN].into();
        assert!(OWN.compare(&fast, &[1_000.0; 5]).is_none());
        assert!(OWN.compare(&known, &[1e9; 4]).is_none());
        assert!(WAY.compare(&known, &[1e9; 3]).is_some());
    }

    #[test]
    fn a_delay_of_everything_is_told_of_times_that_differed_much() {
        let mut known: VecDeque<f64> = [2_500.0; 14].into();
        known.extend([24_000.0; 4]);
        let slow = |times: &[f64]| WAY.compare(&known, times);
        assert!(slow(&[52_000.0; 5]).is_some_and(|slow| slow.is_shifted));
        // One of five that is quick could be chance; two are as ever.
        assert!(slow(&[2_500.0, 2_500.0, 52_000.0, 52_000.0, 52_000.0]).is_none());
        assert!(slow(&[52_000.0; 4]).is_none(), "too few to be everything");
        assert!(slow(&[26_000.0; 5]).is_some() && slow(&[20_000.0; 5]).is_none());
        assert!(OWN.compare(&known, &[26_000.0; 5]).is_none(), "nobody notices");
    }

    fn network(latency: &Latency, now: &Times) -> Option<SlowWays> {
        latency.slow_network(now, &latency.slow_ways(now))
    }

    #[test]
    fn what_is_slow_in_its_window_is_not_learnt_however_few_there_are() {
        let way = (Text::from("web"), Text::from("cart"));
        let times =
            |us: &[f64]| Times { ways: [(way.clone(), us.to_vec())].into(), ..Times::default() };
        let mut latency = Latency::default();
        latency.learn(&times(&[900.0; TIMES_MIN]), &SlowOnes::default(), 40);
        let slow = SlowOnes { ways: [way.clone()].into(), ..SlowOnes::default() };
        (0..9).for_each(|_| latency.learn(&times(&[200_000.0; 2]), &slow, 40));
        assert_eq!(latency.slow_ways(&times(&[200_000.0; 5])).len(), 1);
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
            latency.learn(&times(&[]), &SlowOnes::default(), 40);
        }
        let found = network(&latency, &times(&[0, 1])).unwrap();
        assert_eq!((&*found.service, found.slow, found.of), ("cart", 2, 2));
        // One slow way between two that have others is somebody's, and nobody knows whose.
        assert_eq!(network(&latency, &times(&[1])), None);
        // The other end has ways that are well, and this one has no other.
        let mut latency = Latency::default();
        let all = [way("web", "cart"), way("web", "pay"), way("web", "ads")];
        let times = |slow: &[usize]| {
            let us = |at: usize| vec![if slow.contains(&at) { 200_000.0 } else { 900.0 }; 6];
            let ways = all.iter().cloned().zip((0..).map(us)).collect();
            Times { ways, pure: all.iter().cloned().collect(), ..Times::default() }
        };
        (0..2).for_each(|_| latency.learn(&times(&[]), &SlowOnes::default(), 40));
        let found = network(&latency, &times(&[1])).unwrap();
        assert_eq!((&*found.service, found.slow, found.of), ("pay", 1, 1));
        let found = network(&latency, &times(&[0, 1, 2])).unwrap();
        assert_eq!((&*found.service, found.slow, found.of), ("web", 3, 3));
    }
}
