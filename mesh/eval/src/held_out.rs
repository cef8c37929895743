//! Is what is told as sure as it is right, on patterns that nothing was learnt from?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tapio_engine::Points;

use crate::{
    BINS, Claim, bins,
    calibration::{brier, calibration_error, clustered_interval},
    fit::{count, fit},
    statistics::{mean, ratio, to_f64},
    trial::{Origin, Trial, Trials},
};

/// Whether the stories of scenes are as sure as they are right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Scenes that were played, recordings among them.
    pub scenes: usize,
    /// Recordings of real faults that were played.
    pub recordings: usize,
    /// How often one was played, under all hardships.
    pub plays: usize,
    /// Stories that said that they do not know.
    pub abstentions: usize,
    /// Plays of a scene with a cause of which nothing was told.
    pub silences: usize,
    /// Verdicts, each as sure as points say that were fitted without its pattern.
    pub held_out: Reliability,
    /// The same verdicts, as sure as the engine told them: its points have seen them all.
    pub in_force: Reliability,
    /// The calibration error held out if each hardship counted alike, however often it was played.
    pub held_out_ece_alike: f64,
    /// Of the verdicts held out, those of recordings.
    pub recorded: Reliability,
    /// Guesses, which the engine makes where it does not know.
    pub guesses: Reliability,
    /// Verdicts held out, by what was done to their scene.
    pub by_hardship: BTreeMap<&'static str, Share>,
    /// Verdicts held out, by the pattern they tell.
    pub by_pattern: BTreeMap<String, Share>,
    /// The points in force.
    pub points: Table,
    /// The points that all verdicts together give.
    pub fitted: Table,
    /// Each verdict held out, for a diagram.
    #[serde(skip)]
    pub claims: Vec<Claim>,
}

/// How far confidence is from truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reliability {
    /// Verdicts it is of.
    pub verdicts: usize,
    /// Share of them that is right.
    pub right: f64,
    /// Their mean confidence.
    pub confidence: f64,
    /// Mean squared difference of confidence and truth.
    pub brier: f64,
    /// What that would be if each were as sure as all are right.
    pub brier_of_share: f64,
    /// Expected calibration error, ten bins.
    pub ece: f64,
    /// Its 95 % interval: resamples of whole scenes, because what is told of one scene hangs
    /// together.
    pub ece_interval: (f64, f64),
}

/// Verdicts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many there are.
    pub verdicts: usize,
    /// Share of them that is right.
    pub right: f64,
    /// Their mean confidence.
    pub confidence: f64,
}

/// Points by name.
pub type Table = BTreeMap<&'static str, f64>;

/// A verdict, and how sure one is of it.
type Judged<'a> = (&'a Trial, Claim);

impl Calibration {
    /// Reckons all figures.
    #[must_use]
    pub fn of(trials: &Trials) -> Self {
        let (decided, guessed): (Vec<_>, Vec<_>) =
            trials.trials.iter().partition(|trial| trial.is_decided);
        let fitted = fit(&count(&decided), Points::FITTED);
        let held_out = held_out(&decided, fitted);
        let as_told = |of: &[&'_ Trial]| -> Vec<(usize, Claim)> {
            of.iter().map(|trial| (trial.scene, claim(trial, trial.confidence))).collect()
        };
        let of_scene = |(trial, claim): &Judged<'_>| (trial.scene, *claim);
        let judged: Vec<_> = held_out.iter().map(of_scene).collect();
        let is_recorded = |(trial, _): &&Judged<'_>| trial.origin == Origin::Recorded;
        let recorded: Vec<_> = held_out.iter().filter(is_recorded).map(of_scene).collect();
        Self {
            scenes: trials.scenes,
            recordings: trials.recordings,
            plays: trials.plays,
            abstentions: trials.abstentions,
            silences: trials.silences,
            held_out: Reliability::of(&judged),
            held_out_ece_alike: calibration_error_alike(&held_out),
            in_force: Reliability::of(&as_told(&decided)),
            recorded: Reliability::of(&recorded),
            guesses: Reliability::of(&as_told(&guessed)),
            by_hardship: shares(&held_out, |trial| trial.hardship.name()),
            by_pattern: shares(&held_out, |trial| trial.told.clone()),
            points: table(Points::FITTED),
            fitted: table(fitted),
            claims: judged.into_iter().map(|(_, claim)| claim).collect(),
        }
    }
}

/// Makes each verdict as sure as points say that were fitted to verdicts neither about its pattern
/// nor telling it.
///
/// Leaving out only what is about a pattern would not do: all that is left of a pattern that is
/// often told for others would be its wrong verdicts, and the points would learn to distrust it.
fn held_out<'a>(decided: &[&'a Trial], begin: Points) -> Vec<Judged<'a>> {
    let groups: BTreeSet<&str> = decided.iter().map(|trial| trial.group).collect();
    let folds = groups.into_iter().flat_map(|group| {
        let is_other = |it: &&&Trial| it.group != group && it.told != group;
        let others: Vec<_> = decided.iter().filter(is_other).copied().collect();
        let points = fit(&count(&others), begin);
        decided.iter().filter(move |trial| trial.group == group).map(move |trial| {
            let by_weight = points.confidence(&trial.weight).get();
            let sure = if trial.is_computed { trial.confidence } else { by_weight };
            (*trial, claim(trial, sure))
        })
    });
    folds.collect()
}

const fn claim(trial: &Trial, confidence: f64) -> Claim {
    Claim { confidence, is_right: trial.is_right }
}

impl Reliability {
    fn of(claims: &[(usize, Claim)]) -> Self {
        let only: Vec<Claim> = claims.iter().map(|(_, claim)| *claim).collect();
        let right = ratio(only.iter().filter(|claim| claim.is_right).count(), only.len());
        Self {
            verdicts: only.len(),
            right,
            confidence: mean(only.iter().map(|claim| claim.confidence)),
            brier: brier(&only),
            brier_of_share: right * (1.0 - right),
            ece: calibration_error(&only),
            ece_interval: clustered_interval(claims),
        }
    }
}

/// Weighs verdicts so that each hardship has the same say.
fn calibration_error_alike(judged: &[Judged<'_>]) -> f64 {
    let mut hardships: BTreeMap<_, Vec<Claim>> = BTreeMap::new();
    for (trial, claim) in judged {
        hardships.entry(trial.hardship).or_default().push(*claim);
    }
    let mut excess = [0.0_f64; BINS as usize];
    for claims in hardships.values() {
        for (sum, bin) in excess.iter_mut().zip(bins(claims)) {
            *sum += (bin.confidence - bin.right) * ratio(bin.claims, claims.len());
        }
    }
    excess.iter().map(|it| it.abs()).sum::<f64>() / to_f64(hardships.len().max(1))
}

fn shares<K: Ord>(judged: &[Judged<'_>], key: impl Fn(&Trial) -> K) -> BTreeMap<K, Share> {
    let mut groups: BTreeMap<K, Vec<Claim>> = BTreeMap::new();
    for (trial, claim) in judged {
        groups.entry(key(trial)).or_default().push(*claim);
    }
    let share = |claims: Vec<Claim>| Share {
        verdicts: claims.len(),
        right: ratio(claims.iter().filter(|claim| claim.is_right).count(), claims.len()),
        confidence: mean(claims.iter().map(|claim| claim.confidence)),
    };
    groups.into_iter().map(|(key, claims)| (key, share(claims))).collect()
}

fn table(points: Points) -> Table {
    let names = ["base", "class", "event", "cause", "consequence", "missing", "lost"];
    let hundredths = |point: f64| (point * 100.0).round() / 100.0;
    names.into_iter().zip(points.to_array().map(hundredths)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// The most that the calibration error may be.
    const ECE_MAX: f64 = 0.05;

    /// The least number of verdicts that it must be of.
    const VERDICTS_MIN: usize = 500;

    const CURE: &str = "look at what `tapio eval --calibration` says: if a scene or a pattern \
        is new and told right, put the points it calls fitted into actors/engine/src/weight.rs";

    static ALL: LazyLock<Calibration> =
        LazyLock::new(|| Calibration::of(&crate::trial::tests::ALL));

    #[test]
    fn what_is_told_is_as_sure_as_it_is_right() {
        for (name, it) in [("held out", ALL.held_out), ("in force", ALL.in_force)] {
            assert!(it.verdicts >= VERDICTS_MIN, "{name}: {} verdicts", it.verdicts);
            assert!(it.ece <= ECE_MAX, "{name}: ECE {:.3}; {CURE}", it.ece);
            assert!(it.brier < it.brier_of_share, "{name}: {it:?} says no more than one share");
        }
    }

    #[test]
    fn what_is_told_of_recorded_faults_is_as_sure_as_it_is_right() {
        let it = ALL.recorded;
        assert!(it.verdicts >= VERDICTS_MIN, "{} verdicts", it.verdicts);
        assert!(it.ece <= ECE_MAX, "ECE {:.3}; {CURE}", it.ece);
    }

    #[test]
    fn the_points_in_force_are_near_those_that_the_verdicts_give() {
        let far = |(name, point): (&&str, &f64)| {
            let fitted = ALL.fitted.get(*name).copied().unwrap_or(f64::NAN);
            ((fitted - point).abs() > 0.5).then(|| format!("{name}: {point}, fitted {fitted}"))
        };
        let far: Vec<_> = ALL.points.iter().filter_map(far).collect();
        assert!(far.is_empty(), "{far:?}; {CURE}");
    }

    #[test]
    fn every_verdict_is_held_out_once() {
        assert_eq!(ALL.claims.len(), ALL.in_force.verdicts);
        let of_hardships: usize = ALL.by_hardship.values().map(|it| it.verdicts).sum();
        let of_patterns: usize = ALL.by_pattern.values().map(|it| it.verdicts).sum();
        assert_eq!((of_hardships, of_patterns), (ALL.claims.len(), ALL.claims.len()));
    }

    #[test]
    fn guesses_are_about_as_sure_as_they_are_right() {
        assert!(ALL.guesses.verdicts > 50 && ALL.guesses.ece <= 0.2, "{:?}", ALL.guesses);
    }
}
