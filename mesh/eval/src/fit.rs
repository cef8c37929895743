//! Points for what speaks for a finding, fitted to what was right.

use std::collections::BTreeMap;

use tapio_engine::{Points, Weight};

use crate::{statistics::to_f64, trial::Trial};

/// Rounds of the search at most; some twenty suffice.
const ROUNDS_MAX: usize = 500;

/// When no point moves by more than this, the search is over.
const STILL: f64 = 1e-6;

/// How strongly points are held at nothing: as strongly as one verdict speaks.
const RIDGE: f64 = 1.0;

/// The least that a gap takes away, whatever the verdicts say, so that it shows in the story: at
/// 98 % it is a point in a hundred.
const GAP: f64 = -0.5;

/// Verdicts of one weight, and how many of them were right.
pub(crate) type Counts = BTreeMap<Weight, (usize, usize)>;

/// Counts the verdicts that points can be learnt from.
pub(crate) fn count(trials: &[&Trial]) -> Counts {
    let mut counts = Counts::new();
    for trial in trials.iter().filter(|trial| trial.is_decided && !trial.is_computed) {
        let (all, right) = counts.entry(trial.weight).or_default();
        *all += 1;
        *right += usize::from(trial.is_right);
    }
    counts
}

/// Fits points by logistic regression, beginning from others.
///
/// What speaks for a finding may not count against it, and what is missing must: each point stays
/// on its side. One point moves at a time, by Newton's step.
pub(crate) fn fit(counts: &Counts, begin: Points) -> Points {
    let rows: Vec<_> = counts
        .iter()
        .map(|(weight, (all, right))| (weight.parts(), to_f64(*all), to_f64(*right)))
        .collect();
    let mut points = begin.to_array();
    for _ in 0..ROUNDS_MAX {
        let mut most = 0.0_f64;
        for (at, bounds) in BOUNDS.into_iter().enumerate() {
            let step = newton(&rows, &points, at);
            if let Some(point) = points.get_mut(at) {
                let moved = (*point + step).clamp(bounds.0, bounds.1);
                most = most.max((moved - *point).abs());
                *point = moved;
            }
        }
        if most < STILL {
            break;
        }
    }
    Points::from_array(points)
}

/// The least and the most that each point may be, in the order of [`Weight::parts`].
const BOUNDS: [(f64, f64); Points::LEN] = [
    (f64::MIN, f64::MAX),
    (0.0, f64::MAX),
    (0.0, f64::MAX),
    (f64::MIN, 0.0),
    (0.0, f64::MAX),
    (f64::MIN, GAP),
    (f64::MIN, GAP),
];

/// What counts, how often it was told, and how often it was right.
type Row = ([f64; Points::LEN], f64, f64);

/// Returns Newton's step for the point at `at`, the others left as they are.
fn newton(rows: &[Row], points: &[f64; Points::LEN], at: usize) -> f64 {
    let ridge = if at == 0 { 0.0 } else { RIDGE };
    let point = points.get(at).copied().unwrap_or_default();
    let (mut slope, mut bend) = (-ridge * point, ridge + f64::EPSILON);
    for (parts, all, right) in rows {
        let Some(part) = parts.get(at).filter(|part| **part > 0.0) else { continue };
        let odds: f64 = parts.iter().zip(points).map(|(part, point)| part * point).sum();
        let share = 1.0 / (1.0 + (-odds).exp());
        slope += part * (right - all * share);
        bend += part * part * all * share * (1.0 - share);
    }
    slope / bend
}

#[cfg(test)]
mod tests {
    use tapio_model::EvidenceClass;

    use super::*;

    const BARE: Weight = Weight {
        class: EvidenceClass::CoOccurrence,
        events: 1,
        causes: 0,
        consequences: 0,
        missing: 0,
        is_lossy: false,
    };

    const NOTHING: Points = Points {
        base: 0.0,
        class: 0.0,
        event: 0.0,
        cause: 0.0,
        consequence: 0.0,
        missing: GAP,
        lost: GAP,
    };

    #[test]
    fn a_share_that_was_right_is_found_again() {
        let more = Weight { events: 2, ..BARE };
        let counts = Counts::from([(BARE, (10_000, 6_000)), (more, (10_000, 9_000))]);
        let points = fit(&counts, NOTHING);
        for (weight, right) in [(BARE, 0.6), (more, 0.9)] {
            let sure = points.confidence(&weight).get();
            assert!((sure - right).abs() < 0.005, "{weight:?}: {sure}");
        }
    }

    #[test]
    fn points_stay_on_their_side_whatever_the_verdicts_say() {
        let odd = Weight { missing: 1, is_lossy: true, causes: 3, ..BARE };
        let strong = Weight { class: EvidenceClass::KernelProof, events: 3, ..BARE };
        let counts = Counts::from([(BARE, (100, 90)), (odd, (100, 100)), (strong, (100, 10))]);
        let points = fit(&counts, NOTHING);
        let is_in = |(point, (least, most)): (f64, (f64, f64))| least <= point && point <= most;
        assert!(points.to_array().into_iter().zip(BOUNDS).all(is_in), "{points:?}");
        assert!(points.confidence(&odd) < points.confidence(&BARE));
    }

    #[test]
    fn of_nothing_nothing_is_learnt() {
        assert_eq!(fit(&Counts::new(), NOTHING).missing.to_bits(), GAP.to_bits());
    }
}
