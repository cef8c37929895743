//! The judge: what was told against what is true.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::Text;

use crate::{
    Fault, Labels,
    calibration::{Claim, brier, calibration_error, calibration_interval},
    grouping::rand_index,
    heard::{Heard, Told},
    interval::poisson_interval,
    score::{Case, FalseStories, FalseStory, KindScore, Score},
    statistics::{mean, quantile, ratio, to_f64},
    times::{Course, Place},
};

/// What came of one recording, or of several: what figures are made of.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    faults: Vec<Ranked>,
    false_stories: FalseStories,
    told_falsely: Vec<FalseStory>,
    claims: Vec<Claim>,
    /// Of each event that a story of a fault cites, the story and the fault.
    groups: Vec<(usize, usize)>,
    stories: usize,
    abstentions: usize,
}

impl Judgement {
    /// Judges what was heard of a recording.
    #[must_use]
    pub fn of(labels: &Labels, heard: &Heard) -> Self {
        let course = Course::of(labels, heard);
        let mut stories_of: BTreeMap<usize, Vec<&Told>> = BTreeMap::new();
        let mut falsely = Vec::new();
        for told in heard.stories() {
            let place = course.place(told.opened_at());
            if let Place::Fault(fault) = place {
                stories_of.entry(fault).or_default().push(told);
            } else {
                falsely.push((place, told));
            }
        }
        let faults = labels.faults.iter().enumerate().map(|(at, fault)| {
            let stories = stories_of.get(&at).map_or(&[][..], Vec::as_slice);
            Ranked::of(fault, stories, &course, at)
        });
        Self {
            faults: faults.collect(),
            false_stories: course.false_stories(falsely.iter().map(|(place, _)| *place)),
            told_falsely: falsely.iter().map(|(place, told)| told.falsely(*place)).collect(),
            claims: claims(labels, &course, heard),
            groups: groups(&course, heard),
            stories: heard.stories().count(),
            abstentions: heard.stories().filter(|told| told.last().is_unknown).count(),
        }
    }

    /// Adds what came of another recording.
    pub fn join(&mut self, other: Self) {
        let (stories, faults) = (self.stories, self.faults.len());
        let groups = other.groups.into_iter();
        self.groups.extend(groups.map(|(story, fault)| (stories + story, faults + fault)));
        self.faults.extend(other.faults);
        self.false_stories.add(&other.false_stories);
        self.told_falsely.extend(other.told_falsely);
        self.claims.extend(other.claims);
        self.stories += other.stories;
        self.abstentions += other.abstentions;
    }

    /// Returns how sure each story was, and whether it was right.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Returns the figures.
    #[must_use]
    pub fn score(&self) -> Score {
        let faults = &self.faults;
        let fair = |top| mean(faults.iter().map(|it| it.expected(top)));
        let against = |top| mean(faults.iter().map(|it| it.pessimistic(top)));
        let told = faults.iter().map(|it| it.case.stories).sum();
        let counts = self.false_stories.all();
        let falsely = counts.iter().map(|count| count.stories).sum();
        let hours = counts.iter().map(|count| count.minutes).sum::<f64>() / 60.0;
        let times = faults.iter().filter_map(|it| it.case.seconds_to_correct);
        let times: Vec<f64> = times.map(|it| it.max(0.0)).collect();
        let without_one = without_one_service(faults);
        Score {
            faults: faults.len(),
            as_at_1: fair(1),
            as_at_3: fair(3),
            as_at_5: fair(5),
            as_at_1_pessimistic: against(1),
            as_at_3_pessimistic: against(3),
            as_at_5_pessimistic: against(5),
            by_kind: grouped(faults, |case| &case.kind),
            by_service: grouped(faults, |case| &case.service),
            leave_one_service_out_min: without_one.iter().copied().min_by(f64::total_cmp),
            leave_one_service_out_max: without_one.iter().copied().max_by(f64::total_cmp),
            stories_per_incident: ratio(told, faults.len()),
            adjusted_rand_index: rand_index(&self.groups),
            false_stories: self.false_stories,
            false_per_hour: if hours > 0.0 { to_f64(falsely) / hours } else { 0.0 },
            false_per_hour_interval: poisson_interval(falsely, hours),
            brier: brier(&self.claims),
            ece: calibration_error(&self.claims),
            ece_interval: calibration_interval(&self.claims),
            verdicts: self.claims.len(),
            abstentions: self.abstentions,
            seconds_to_correct_median: quantile(&times, 0.5),
            seconds_to_correct_max: quantile(&times, 1.0),
            not_in_time: faults.iter().filter_map(Ranked::lateness).collect(),
            patterns_right: patterns_right(faults),
            cases: faults.iter().map(|it| it.case.clone()).collect(),
            told_falsely: self.told_falsely.clone(),
        }
    }
}

/// A fault, and the services that were told for it in order.
#[derive(Debug, Clone)]
struct Ranked {
    case: Case,
    /// Services told before, and beside, the right one.
    before: Option<usize>,
    beside: usize,
    is_in_time: bool,
}

impl Ranked {
    fn of(fault: &Fault, stories: &[&Told], course: &Course, at: usize) -> Self {
        // With the story that named it: a tie is one within a story, and a later story's services
        // come after all of an earlier one's.
        let mut ranking: Vec<(Text, (usize, f64))> = Vec::new();
        for (number, told) in stories.iter().enumerate() {
            let last = told.last_until(course.end_of(at));
            for (service, score) in &last.ranking {
                if ranking.iter().all(|(known, _)| known != service) {
                    ranking.push((service.clone(), (number, *score)));
                }
            }
        }
        let right = ranking.iter().position(|(service, _)| *service == fault.service);
        let (before, beside) = right.map_or((None, 0), |right| {
            let (story, score) = ranking.get(right).map_or((0, 0.0), |(_, score)| *score);
            let is_tied = |(service, (other, known)): &&(Text, (usize, f64))| {
                *service != fault.service && *other == story && known.to_bits() == score.to_bits()
            };
            let tied_before = ranking.iter().take(right).filter(is_tied).count();
            let tied = ranking.iter().filter(is_tied).count();
            (Some(right - tied_before), tied)
        });
        let correct = stories.iter().filter_map(|told| told.correct_at(&fault.service)).min();
        let seconds = correct.map(|told| told.as_nanos() - fault.at.as_nanos());
        let first = stories.first();
        let case = Case {
            service: fault.service.to_string(),
            kind: fault.kind.to_string(),
            at: jiff::Timestamp::from_nanosecond(i128::from(fault.at.as_nanos()))
                .map(|at| at.to_string())
                .unwrap_or_default(),
            rank: before.map(|before| before + beside + 1),
            #[expect(clippy::cast_precision_loss, reason = "a day has few enough nanoseconds")]
            seconds_to_correct: seconds.map(|nanos| (nanos as f64 / 1e7).round() / 100.0),
            stories: stories.len(),
            told: first.map(|told| told.headline()),
            is_pattern_right: fault.pattern.as_ref().map(|pattern| {
                first.is_some_and(|told| told.last_until(course.end_of(at)).pattern == *pattern)
            }),
            services: ranking.into_iter().map(|(service, _)| service.to_string()).take(5).collect(),
        };
        let is_in_time = correct.is_some_and(|correct| correct <= course.end_of(at));
        Self { case, before, beside, is_in_time }
    }

    /// Returns whether the right service is among the first `top`, every tie against us.
    fn pessimistic(&self, top: usize) -> f64 {
        let is_in = self.before.is_some_and(|before| before + self.beside < top);
        f64::from(u8::from(is_in))
    }

    /// Returns how probably it is, ties resolved by chance.
    fn expected(&self, top: usize) -> f64 {
        let Some(before) = self.before else { return 0.0 };
        (to_f64(top.saturating_sub(before)) / to_f64(self.beside + 1)).min(1.0)
    }

    fn lateness(&self) -> Option<String> {
        let Case { service, kind, at, .. } = &self.case;
        (!self.is_in_time).then(|| format!("{at} {service} {kind}"))
    }
}

/// Returns the share of faults that were told by the pattern their label names, if any names one.
fn patterns_right(faults: &[Ranked]) -> Option<f64> {
    let told: Vec<bool> = faults.iter().filter_map(|it| it.case.is_pattern_right).collect();
    let right = told.iter().filter(|is_right| **is_right).count();
    (!told.is_empty()).then(|| ratio(right, told.len()))
}

/// Returns the shares of faults that have something in common.
fn grouped(ranked: &[Ranked], key: impl Fn(&Case) -> &str) -> BTreeMap<String, KindScore> {
    let mut groups: BTreeMap<String, Vec<&Ranked>> = BTreeMap::new();
    for fault in ranked {
        groups.entry(key(&fault.case).to_owned()).or_default().push(fault);
    }
    let score = |of: Vec<&Ranked>| KindScore {
        faults: of.len(),
        as_at_1: mean(of.iter().map(|it| it.pessimistic(1))),
        as_at_3: mean(of.iter().map(|it| it.pessimistic(3))),
    };
    groups.into_iter().map(|(key, of)| (key, score(of))).collect()
}

/// Returns for each service the share of the faults of all others whose service comes first: how
/// much the figure owes to one of them.
fn without_one_service(ranked: &[Ranked]) -> Vec<f64> {
    let services: BTreeSet<&str> = ranked.iter().map(|it| it.case.service.as_str()).collect();
    if services.len() < 2 {
        return Vec::new();
    }
    let without = |service: &&str| {
        mean(ranked.iter().filter(|it| it.case.service != *service).map(|it| it.expected(1)))
    };
    services.iter().map(without).collect()
}

/// Returns of every story how sure it was, and whether its root was right. What was told where
/// there are metrics alone has no label, right or wrong.
fn claims(labels: &Labels, course: &Course, heard: &Heard) -> Vec<Claim> {
    let is_labelled = |told: &&Told| course.place(told.opened_at()) != Place::MetricsOnly;
    let judged = heard.stories().filter(is_labelled).map(|told| {
        let last = told.last();
        let is_right = match course.place(told.opened_at()) {
            Place::Fault(at) => {
                let truth = labels.faults.get(at).map(|fault| &fault.service);
                last.ranking.first().map(|(service, _)| service) == truth
            }
            Place::FaultFree | Place::BeforeFirstFault | Place::Elsewhere | Place::MetricsOnly => {
                false
            }
        };
        Claim { confidence: last.confidence, is_right }
    });
    judged.collect()
}

/// Returns for each cited event its story and its truth.
fn groups(course: &Course, heard: &Heard) -> Vec<(usize, usize)> {
    let stories = heard.stories().enumerate();
    let cited = stories.flat_map(|(story, told)| {
        told.last().cited.iter().filter_map(move |at| match course.place(*at) {
            Place::Fault(fault) => Some((story, fault)),
            Place::FaultFree | Place::BeforeFirstFault | Place::Elsewhere | Place::MetricsOnly => {
                None
            }
        })
    });
    cited.collect()
}

#[cfg(test)]
mod tests;
