//! Whether confidence means what it says.

use std::collections::BTreeMap;

use crate::{
    dice::Dice,
    statistics::{mean, quantile, ratio},
};

/// Bins of a reliability diagram.
pub const BINS: u8 = 10;

/// Resamples of the bootstrap: enough that the interval's ends move in the third digit only.
const RESAMPLES: usize = 1_000;

/// Where the resampling begins: the same verdicts have the same interval.
const SEED: u64 = 0x7461_7069_6f21;

/// How sure a story was, and whether its root was right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// 0 to 1.
    pub confidence: f64,
    /// Whether it named the service at fault.
    pub is_right: bool,
}

impl Claim {
    fn truth(self) -> f64 {
        f64::from(u8::from(self.is_right))
    }
}

/// The claims that are about equally sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Confidence from which on, and below which.
    pub range: (f64, f64),
    /// How many there are.
    pub claims: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub right: f64,
}

/// Returns the bins of a reliability diagram, the least sure first.
#[must_use]
pub fn bins(claims: &[Claim]) -> Vec<Bin> {
    let all = (0..BINS).map(|bin| {
        let (from, to) = (f64::from(bin) / 10.0, f64::from(bin + 1) / 10.0);
        let is_last = bin + 1 == BINS;
        let is_in = |sure: f64| sure >= from && (sure < to || is_last);
        let inside = claims.iter().filter(|claim| is_in(claim.confidence));
        Bin {
            range: (from, to),
            claims: inside.clone().count(),
            confidence: mean(inside.clone().map(|claim| claim.confidence)),
            right: mean(inside.map(|claim| claim.truth())),
        }
    });
    all.collect()
}

/// Returns the mean squared difference of confidence and truth.
pub(crate) fn brier(claims: &[Claim]) -> f64 {
    mean(claims.iter().map(|claim| (claim.confidence - claim.truth()).powi(2)))
}

/// Returns the expected calibration error: how far confidence is from truth in each bin, weighted
/// by its size.
pub(crate) fn calibration_error(claims: &[Claim]) -> f64 {
    let errors = bins(claims)
        .into_iter()
        .map(|bin| (bin.confidence - bin.right).abs() * ratio(bin.claims, claims.len()));
    errors.sum()
}

/// Returns the 95 % interval of the calibration error: percentiles of the bootstrap.
///
/// The error of a resample is biased upward where claims are few: the interval may lie above the
/// error itself.
///
/// # Source
/// Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
pub(crate) fn calibration_interval(claims: &[Claim]) -> (f64, f64) {
    let mut dice = Dice(SEED);
    let errors: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..claims.len()).filter_map(|_| claims.get(dice.place(claims.len())));
            calibration_error(&drawn.copied().collect::<Vec<_>>())
        })
        .collect();
    let end = |share| quantile(&errors, share).unwrap_or_default();
    (end(0.025), end(0.975))
}

/// Returns the 95 % interval of the calibration error of claims that come in clusters: whole
/// clusters are drawn, for what is claimed of one thing hangs together.
///
/// # Source
/// Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
pub(crate) fn clustered_interval(claims: &[(usize, Claim)]) -> (f64, f64) {
    let mut clusters: BTreeMap<usize, Sums> = BTreeMap::new();
    for (cluster, claim) in claims {
        add(clusters.entry(*cluster).or_default(), claim);
    }
    let clusters: Vec<Sums> = clusters.into_values().collect();
    let mut dice = Dice(SEED);
    let errors: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn =
                (0..clusters.len()).filter_map(|_| clusters.get(dice.place(clusters.len())));
            let mut sums = Sums::default();
            for cluster in drawn {
                for (sum, part) in sums.iter_mut().zip(cluster) {
                    *sum = (sum.0 + part.0, sum.1 + part.1);
                }
            }
            let all: f64 = sums.iter().map(|(claims, _)| claims).sum();
            sums.iter().map(|(_, excess)| excess.abs()).sum::<f64>() / all.max(1.0)
        })
        .collect();
    let end = |share| quantile(&errors, share).unwrap_or_default();
    (end(0.025), end(0.975))
}

/// Of each bin, how many claims there are, and by how much they are too sure in sum.
type Sums = [(f64, f64); BINS as usize];

fn add(sums: &mut Sums, claim: &Claim) {
    let bins = (1..=BINS).zip(sums);
    let is_in = |bin: u8| claim.confidence < f64::from(bin) / f64::from(BINS) || bin == BINS;
    if let Some((_, sum)) = bins.into_iter().find(|(bin, _)| is_in(*bin)) {
        *sum = (sum.0 + 1.0, sum.1 + claim.confidence - claim.truth());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(confidence: f64, right: usize, of: usize) -> Vec<Claim> {
        (0..of).map(|at| Claim { confidence, is_right: at < right }).collect()
    }

    #[test]
    fn confidence_is_held_against_truth() {
        assert!(calibration_error(&claims(1.0, 10, 10)).abs() < 1e-9);
        assert!((calibration_error(&claims(0.95, 5, 10)) - 0.45).abs() < 1e-9);
        assert!((brier(&claims(0.9, 1, 2)) - 0.41).abs() < 1e-9);
        assert!(calibration_error(&[]).abs() < 1e-9);
    }

    #[test]
    fn every_claim_is_in_one_bin() {
        let all = [0.0, 0.05, 0.1, 0.55, 0.999, 1.0].map(|sure| claims(sure, 1, 1)).concat();
        let counts: Vec<_> = bins(&all).into_iter().map(|bin| bin.claims).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]);
    }

    #[test]
    fn the_interval_narrows_with_the_number_of_claims() {
        let width = |times: usize| {
            let (from, to) = calibration_interval(&claims(0.8, 8 * times, 10 * times));
            assert!((0.0..=1.0).contains(&from) && from <= to && to <= 1.0);
            to - from
        };
        assert!(width(50) < width(2) / 3.0, "{} {}", width(50), width(2));
        assert_eq!(calibration_interval(&[]), (0.0, 0.0));
    }

    #[test]
    fn claims_of_one_thing_are_drawn_together() {
        let each = claims(0.8, 400, 500);
        let alone: Vec<_> = each.iter().copied().enumerate().collect();
        let in_tens: Vec<_> = alone.iter().map(|(at, claim)| (at / 10, *claim)).collect();
        let width = |claims: &[(usize, Claim)]| {
            let (from, to) = clustered_interval(claims);
            to - from
        };
        assert!(width(&in_tens) > width(&alone) * 2.0, "{} {}", width(&in_tens), width(&alone));
        assert_eq!(clustered_interval(&[]), (0.0, 0.0));
    }

    #[test]
    fn the_interval_holds_the_error_that_was_made_up() {
        let (from, to) = calibration_interval(&claims(0.95, 50, 100));
        assert!(from < 0.45 && 0.45 < to && to - from < 0.25, "{from}..{to}");
        assert_eq!(calibration_interval(&claims(0.95, 50, 100)), (from, to));
    }
}
