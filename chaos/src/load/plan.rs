//! What comes when.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

use super::{LoadOptions, Shape};

/// How much later than the first the second part of an incident shows, in milliseconds.
const PART_LAG_MS: std::ops::Range<u64> = 60..400;

/// How much later than the evidence the hum around it comes, in milliseconds. Never before: an
/// explicit trace lives once, and hum alone would end it if the evidence were delayed.
const HUM_LAG_MS: std::ops::Range<u64> = 60..800;

/// How far the spans of one trace are apart, in milliseconds.
const SPAN_LAG_MS: std::ops::Range<u64> = 1..200;

/// Something that is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) what: What,
}

/// What is to be sent. The events are made when their time comes, so that a plan stays small.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// The evidence of one part of an incident: one batch, so that it is accepted whole or not.
    Evidence { number: u32, part: u8 },
    /// A span beside it.
    Hum { number: u32, part: u8, index: u16 },
    /// A span of a trace in which nothing happens.
    Span { trace: u32, index: u16 },
}

/// Plans everything, in order of time.
pub(super) fn plan(options: &LoadOptions, rng: &mut StdRng) -> Vec<Planned> {
    let mut planned = Vec::new();
    for number in 0..options.incidents {
        let place = f64::from(number) + rng.random_range(0.0..1.0);
        let at = options.duration.mul_f64(place / f64::from(options.incidents));
        plan_incident(options, (number, at), rng, &mut planned);
    }
    for trace in 0..options.healthy_traces {
        let mut at = healthy_at(options, rng.random_range(0.0..1.0));
        for index in 0..options.spans_per_trace {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            planned.push(Planned { at, what: What::Span { trace, index } });
            at += Duration::from_millis(rng.random_range(SPAN_LAG_MS));
        }
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn plan_incident(
    options: &LoadOptions,
    (number, mut at): (u32, Duration),
    rng: &mut StdRng,
    planned: &mut Vec<Planned>,
) {
    let shape = Shape::of(options, number);
    for part in 0..shape.parts() {
        planned.push(Planned { at, what: What::Evidence { number, part } });
        at += Duration::from_millis(rng.random_range(PART_LAG_MS));
    }
    for index in 0..options.hum_per_incident {
        let (part, index) = hum_place(shape, index);
        let at = at + Duration::from_millis(rng.random_range(HUM_LAG_MS));
        planned.push(Planned { at, what: What::Hum { number, part, index } });
    }
}

/// Returns the part that the `index`-th span of hum is beside, and its index there.
pub(super) fn hum_place(shape: Shape, index: u32) -> (u8, u16) {
    let part = u8::try_from(index % u32::from(shape.parts())).unwrap_or_default();
    (part, u16::try_from(index).unwrap_or(u16::MAX))
}

/// Spreads healthy traces evenly, more densely inside a burst.
fn healthy_at(options: &LoadOptions, place: f64) -> Duration {
    let whole = options.duration.as_secs_f64();
    let Some(burst) = options.burst else { return options.duration.mul_f64(place) };
    let (from, to) = (burst.from.as_secs_f64().min(whole), burst.to.as_secs_f64().min(whole));
    let times = f64::from(burst.times);
    // Time counted so that a second of the burst weighs as much as it brings.
    let weight = place * ((to - from).mul_add(times - 1.0, whole));
    let burst_weight = (to - from) * times;
    let seconds = if weight < from {
        weight
    } else if weight < from + burst_weight {
        from + (weight - from) / times
    } else {
        to + (weight - from - burst_weight)
    };
    Duration::from_secs_f64(seconds.clamp(0.0, whole))
}
