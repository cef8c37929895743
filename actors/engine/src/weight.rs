//! How sure a finding may be: points for what speaks for it, and one curve that makes a share of
//! them.

use tapio_model::{Confidence, EvidenceClass};

/// The most that evidence can say, in log-odds: 98 in 100. Scenes are told wrong for reasons that
/// no point here knows of; and what is missing must still show where all else is perfect.
const CEILING: f64 = 3.9;

/// What speaks for a finding, and what is missing.
///
/// All of it can be read off a story: whoever reads one can reckon its confidence again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    /// The class of the strongest evidence.
    pub class: EvidenceClass,
    /// Events that the finding cites.
    pub events: usize,
    /// Patterns that are known to cause it: what many things can cause is seldom the last word.
    pub causes: usize,
    /// Kinds of consequences that were seen and follow from it, or stand beside it.
    pub consequences: usize,
    /// Evidence that was expected and not seen.
    pub missing: usize,
    /// Whether events were lost.
    pub is_lossy: bool,
}

/// Log-odds for each part of a [`Weight`].
///
/// # Source
/// docs/calibration.md; `tapio eval --calibration` fits them anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Points {
    /// For a finding of one event that merely happened beside others.
    pub base: f64,
    /// For each step up the classes of evidence.
    pub class: f64,
    /// For each further event.
    pub event: f64,
    /// For each pattern that may be its cause.
    pub cause: f64,
    /// For each kind of consequence.
    pub consequence: f64,
    /// For each thing that was expected and not seen.
    pub missing: f64,
    /// For lost events.
    pub lost: f64,
}

impl Points {
    /// The points in force.
    pub const FITTED: Self = Self {
        base: 3.45,
        class: 0.02,
        event: 0.53,
        cause: -0.56,
        consequence: 0.64,
        missing: -0.56,
        lost: -0.5,
    };

    /// How many there are.
    pub const LEN: usize = 7;

    /// Returns them in the order of [`Weight::parts`].
    #[must_use]
    pub const fn to_array(self) -> [f64; Self::LEN] {
        let Self { base, class, event, cause, consequence, missing, lost } = self;
        [base, class, event, cause, consequence, missing, lost]
    }

    /// Makes them of an array in the order of [`Weight::parts`].
    #[must_use]
    pub const fn from_array(points: [f64; Self::LEN]) -> Self {
        let [base, class, event, cause, consequence, missing, lost] = points;
        Self { base, class, event, cause, consequence, missing, lost }
    }

    /// Returns how sure a finding of this weight may be.
    #[must_use]
    pub fn confidence(&self, weight: &Weight) -> Confidence {
        let [base, class, event, cause, consequence, ..] = weight.parts();
        let shown = self.base * base
            + self.class * class
            + self.event * event
            + self.cause * cause
            + self.consequence * consequence;
        share(shown.min(CEILING) + self.gaps(weight.missing, weight.is_lossy))
    }

    /// Returns how sure a pattern may be that has computed it, with what it misses.
    pub(crate) fn computed(&self, sure: f64, missing: usize, is_lossy: bool) -> Confidence {
        share(log_odds(sure).min(CEILING) + self.gaps(missing, is_lossy))
    }

    /// Returns how sure a story may be of its root, once its consequences and the gaps of all its
    /// traces are known. `before` holds the gaps that the root itself knew of.
    pub(crate) fn with_consequences(
        &self,
        root: Confidence,
        consequences: usize,
        (missing, before, after): (usize, bool, bool),
    ) -> Confidence {
        let shown = log_odds(root.get()) - self.gaps(missing, before);
        let shown = shown + self.consequence * capped(consequences, CONSEQUENCES_MAX);
        share(shown.min(CEILING) + self.gaps(missing, after))
    }

    fn gaps(&self, missing: usize, is_lossy: bool) -> f64 {
        self.missing * capped(missing, MISSING_MAX) + self.lost * f64::from(u8::from(is_lossy))
    }
}

/// Further events that count: the fourth witness of one thing adds nothing.
const EVENTS_MAX: usize = 3;

/// Patterns that count as a cause of it.
const CAUSES_MAX: usize = 4;

/// Kinds of consequences that count.
const CONSEQUENCES_MAX: usize = 3;

/// Missing evidence that counts, thing by thing.
const MISSING_MAX: usize = 3;

impl Weight {
    /// Returns how often each of the [`Points`] counts, in their order.
    #[must_use]
    pub fn parts(&self) -> [f64; Points::LEN] {
        let class = match self.class {
            EvidenceClass::CoOccurrence => 0.0,
            EvidenceClass::LogTemplate => 1.0,
            EvidenceClass::EventText => 2.0,
            EvidenceClass::ObjectStatus => 3.0,
            EvidenceClass::KernelProof => 4.0,
        };
        [
            1.0,
            class,
            capped(self.events.saturating_sub(1), EVENTS_MAX),
            capped(self.causes, CAUSES_MAX),
            capped(self.consequences, CONSEQUENCES_MAX),
            capped(self.missing, MISSING_MAX),
            f64::from(u8::from(self.is_lossy)),
        ]
    }
}

fn capped(count: usize, most: usize) -> f64 {
    u8::try_from(count.min(most)).map_or(0.0, f64::from)
}

/// Makes log-odds of a share; what is certain either way has as much as can be reckoned with.
fn log_odds(share: f64) -> f64 {
    let share = share.clamp(1e-6, 1.0 - 1e-6);
    (share / (1.0 - share)).ln()
}

fn share(log_odds: f64) -> Confidence {
    Confidence::new(1.0 / (1.0 + (-log_odds).exp()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weight() -> impl Strategy<Value = Weight> {
        let counts = (0..6_usize, 0..12_usize, 0..5_usize, 0..5_usize);
        let class = prop::sample::select(EvidenceClass::ALL.to_vec());
        (class, counts, any::<bool>()).prop_map(
            |(class, (events, causes, consequences, missing), is_lossy)| Weight {
                class,
                events,
                causes,
                consequences,
                missing,
                is_lossy,
            },
        )
    }

    fn sure(weight: Weight) -> f64 {
        Points::FITTED.confidence(&weight).get()
    }

    /// As a person reads it: in hundredths.
    fn percent(weight: Weight) -> String {
        Points::FITTED.confidence(&weight).to_string()
    }

    proptest! {
        #[test]
        fn what_is_missing_lowers_confidence_and_what_is_seen_never_does(weight in weight()) {
            let lower = [
                Weight { missing: weight.missing + 1, ..weight },
                Weight { is_lossy: true, ..weight },
                Weight { causes: weight.causes + 1, ..weight },
            ];
            let higher = [
                Weight { events: weight.events + 1, ..weight },
                Weight { consequences: weight.consequences + 1, ..weight },
            ];
            for other in lower {
                prop_assert!(sure(other) <= sure(weight), "{other:?}");
            }
            for other in higher {
                prop_assert!(sure(other) >= sure(weight), "{other:?}");
            }
        }

        #[test]
        fn the_first_gaps_show_in_what_a_person_reads(weight in weight()) {
            let whole = Weight { missing: 0, is_lossy: false, ..weight };
            for lacking in [Weight { missing: 1, ..whole }, Weight { is_lossy: true, ..whole }] {
                prop_assert_ne!(percent(lacking), percent(whole), "{:?}", whole);
            }
        }

        #[test]
        fn a_stronger_class_is_never_less_sure(weight in weight()) {
            let of = |class| sure(Weight { class, ..weight });
            prop_assert!(EvidenceClass::ALL.map(of).is_sorted());
        }

        #[test]
        fn consequences_count_alike_whether_the_root_or_the_story_knows_of_them(
            weight in weight(),
            consequences in 0..5_usize,
        ) {
            let points = Points::FITTED;
            let alone = Weight { consequences: 0, is_lossy: false, ..weight };
            let later = points.with_consequences(
                points.confidence(&alone),
                consequences,
                (weight.missing, false, weight.is_lossy),
            );
            let whole = sure(Weight { consequences, ..weight });
            prop_assert!((later.get() - whole).abs() < 1e-9, "{later} {whole}");
        }
    }

    #[test]
    fn nothing_is_certain() {
        let best = Weight {
            class: EvidenceClass::KernelProof,
            events: 99,
            causes: 0,
            consequences: 9,
            missing: 0,
            is_lossy: false,
        };
        assert_eq!(percent(best), "98 %");
        assert_eq!(Points::FITTED.computed(1.0, 0, false).to_string(), "98 %");
        assert!(Points::FITTED.computed(f64::NAN, 0, false).get() < 1.0);
    }

    #[test]
    fn what_is_computed_stays_as_it_is_while_nothing_is_missing() {
        let points = Points::FITTED;
        assert!((points.computed(0.7, 0, false).get() - 0.7).abs() < 1e-9);
        assert!(points.computed(0.7, 1, false).get() < 0.62);
        assert!(points.computed(0.7, 0, true).get() < 0.62);
    }

    #[test]
    fn points_keep_their_order() {
        let points = Points::FITTED;
        assert_eq!(Points::from_array(points.to_array()), points);
    }
}
