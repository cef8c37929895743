//! From drafts to findings: what is decided, what is unknown, and how sure we are.

use std::collections::BTreeSet;

use tapio_model::{
    Confidence, Entity, Evidence, Finding, FindingId, Hypothesis, Incarnation, Role, Slug, Text,
    TraceId, Verdict,
};

use crate::{Doubt, Draft, Points, Spec, Weight, candidate};

/// How much surer a decided finding is than one whose deciding evidence is missing: of two that
/// look alike, one is right about every other time.
///
/// # Source
/// docs/calibration.md, guesses.
const GUESS: f64 = 0.5;

/// Which trace the drafts come from, and what it knows of its own gaps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) trace: TraceId,
    pub(crate) incarnation: Incarnation,
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
}

/// Turns the drafts of one evaluation into findings.
///
/// A draft in doubt gives way to a decided one that touches its subject. What stays in doubt about
/// one subject becomes one finding, whose verdict names the candidates. A change that waits is one
/// only while nothing is told of what was changed.
pub(crate) fn weigh(drafts: Vec<(&'static Spec, Draft)>, origin: Origin) -> Vec<Finding> {
    let (mut changes, drafts): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|(_, draft)| draft.is_candidate());
    changes.retain(|(_, change)| {
        drafts.iter().all(|(_, draft)| !draft.touches.contains(&change.subject))
    });
    let (doubtful, decided): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|(_, draft)| draft.doubt.is_some());
    let mut open: Vec<(&Spec, Draft)> = Vec::new();
    for (spec, draft) in doubtful {
        let explained = decided.iter().any(|(_, known)| known.touches.contains(&draft.subject));
        if !explained && !draft.evidence.is_empty() {
            open.push((spec, draft));
        }
    }
    // Best first: one finding a subject, told in the words of its strongest draft.
    open.sort_by(|(_, a), (_, b)| {
        (&a.subject, b.class, a.root_time()).cmp(&(&b.subject, a.class, b.root_time()))
    });
    let mut findings: Vec<Finding> = unite(decided)
        .into_iter()
        .map(|(spec, draft)| finding(spec, draft, origin, Verdict::Cause))
        .collect();
    let mut open = open.into_iter().peekable();
    while let Some((spec, mut best)) = open.next() {
        let mut hypotheses = vec![hypothesis(spec.slug, &best.title, &best, origin)];
        let check = best.doubt.as_ref().map(|doubt| doubt.check.clone()).unwrap_or_default();
        push_alternative(&mut hypotheses, best.doubt.as_ref());
        while let Some((rival, draft)) = open.next_if(|(_, draft)| draft.subject == best.subject) {
            if hypotheses.iter().all(|known| known.pattern != rival.slug) {
                hypotheses.push(hypothesis(rival.slug, &draft.title, &draft, origin));
            }
            push_alternative(&mut hypotheses, draft.doubt.as_ref());
            absorb(&mut best, draft);
        }
        hypotheses.sort_by(|a, b| b.confidence.get().total_cmp(&a.confidence.get()));
        let verdict = Verdict::Unknown { hypotheses, check };
        findings.push(finding(spec, best, origin, verdict));
    }
    let changes = unite(changes).into_iter();
    findings
        .extend(changes.map(|(spec, draft)| finding(spec, draft, origin, candidate::verdict())));
    findings.sort_by(|a, b| a.id.cmp(&b.id));
    findings
}

/// Makes one draft of those that one pattern has about one subject: the earliest root stays.
fn unite(mut drafts: Vec<(&'static Spec, Draft)>) -> Vec<(&'static Spec, Draft)> {
    drafts.sort_by(|(a_spec, a), (b_spec, b)| {
        (a_spec.slug, &a.subject, a.root_time()).cmp(&(b_spec.slug, &b.subject, b.root_time()))
    });
    let mut united: Vec<(&'static Spec, Draft)> = Vec::with_capacity(drafts.len());
    for (spec, draft) in drafts {
        match united.last_mut() {
            Some((known, first)) if known.slug == spec.slug && first.subject == draft.subject => {
                absorb(first, draft);
            }
            Some(_) | None => united.push((spec, draft)),
        }
    }
    united
}

fn push_alternative(hypotheses: &mut Vec<Hypothesis>, doubt: Option<&Doubt>) {
    let Some(doubt) = doubt else { return };
    if hypotheses.iter().any(|known| known.pattern == doubt.alternative) {
        return;
    }
    let best = hypotheses.first().map_or(0.5, |best| best.confidence.get());
    hypotheses.push(Hypothesis {
        pattern: doubt.alternative.into(),
        text: doubt.text.clone(),
        // The pattern that looked found what it looked for; its look-alike is a step behind.
        confidence: Confidence::new(best * 0.8),
    });
}

fn absorb(best: &mut Draft, rival: Draft) {
    for evidence in rival.evidence {
        // Two roots in one finding would be two findings.
        let role = if evidence.role == Role::Root { Role::Step } else { evidence.role };
        best.add(Evidence { role, ..evidence });
    }
    best.touches.extend(rival.touches);
    best.missing.extend(rival.missing);
    best.recommendation.extend(rival.recommendation);
}

fn hypothesis(slug: &str, title: &Text, draft: &Draft, origin: Origin) -> Hypothesis {
    Hypothesis {
        pattern: slug.into(),
        text: title.clone(),
        confidence: Confidence::new(confidence(draft, origin).get() * GUESS),
    }
}

fn finding(spec: &Spec, mut draft: Draft, origin: Origin, verdict: Verdict) -> Finding {
    let confidence = match &verdict {
        Verdict::Cause => confidence(&draft, origin),
        Verdict::Unknown { hypotheses, .. } => {
            // A change that waits is as sure as it will be once something follows.
            hypotheses.first().map_or_else(|| confidence(&draft, origin), |best| best.confidence)
        }
    };
    let leads_to = draft.effects.unwrap_or(spec.leads_to);
    draft.evidence.sort();
    draft.ruled_out.sort();
    draft.ruled_out.dedup();
    let touches: BTreeSet<Entity> = draft.touches.into_iter().collect();
    let missing: BTreeSet<Text> = draft.missing.into_iter().collect();
    let leads_to: Vec<Slug> = leads_to.iter().map(|slug| Slug::from(*slug)).collect();
    let mut recommendation = draft.recommendation;
    let mut told = BTreeSet::new();
    recommendation.retain(|step| told.insert(step.clone()));
    Finding {
        anchor: anchor(&draft.subject, &touches),
        id: FindingId {
            trace: origin.trace,
            incarnation: origin.incarnation,
            pattern: spec.slug.into(),
            subject: draft.subject,
        },
        root: draft.root,
        evidence: draft.evidence,
        class: draft.class,
        touches: touches.into_iter().collect(),
        leads_to,
        verdict,
        confidence,
        title: if draft.title.is_empty() { spec.title.into() } else { draft.title },
        root_cause: draft.root_cause,
        recommendation,
        ruled_out: draft.ruled_out,
        missing: missing.into_iter().collect(),
        lost: origin.lost,
        late: origin.late,
        trace_events: origin.events,
    }
}

/// Chooses the thing by which the incident of a finding is found: what it is about if that is
/// something people name, else the workload, service or node it belongs to.
fn anchor(subject: &Entity, touches: &BTreeSet<Entity>) -> Entity {
    let rank = |entity: &Entity| match entity {
        Entity::Workload { .. } => Some(0),
        Entity::Service { .. } => Some(1),
        Entity::Edge { .. } => Some(2),
        Entity::Node { .. } => Some(3),
        Entity::Container { .. }
        | Entity::Cgroup { .. }
        | Entity::Pod { .. }
        | Entity::Process { .. }
        | Entity::Object { .. } => None,
    };
    if rank(subject).is_some() {
        return subject.clone();
    }
    let named = touches.iter().filter_map(|entity| Some((rank(entity)?, entity)));
    named.min().map_or_else(|| subject.clone(), |(_, entity)| entity.clone())
}

/// Weighs a draft by what speaks for it and what is missing.
///
/// # Source
/// The ranking of docs/adr/0005-verdict.md; the points are those of docs/calibration.md.
fn confidence(draft: &Draft, origin: Origin) -> Confidence {
    let missing: BTreeSet<_> = draft.missing.iter().collect();
    let (points, missing, is_lossy) = (Points::FITTED, missing.len(), origin.lost > 0);
    if let Some(sure) = draft.sure {
        return points.computed(sure, missing, is_lossy);
    }
    points.confidence(&Weight {
        class: draft.class,
        events: draft.evidence.len(),
        causes: draft.causes,
        consequences: 0,
        missing,
        is_lossy,
    })
}
