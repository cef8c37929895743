//! From an incident to the story a person reads. A pure function of the findings.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tapio_model::{
    Confidence, Entity, EventId, Evidence, Finding, Link, Role, RuledOut, Sentence, State, Story,
    Text, Timestamp, Verdict,
};

use crate::{
    Limits, Points,
    candidate::{Judged, judge},
    incident::Incident,
};

/// How much earlier than its cause an effect may seem to begin: clocks of two witnesses differ.
pub(crate) const SKEW: Duration = Duration::from_secs(2);

/// Tells an incident. `None` only for one without findings, which does not exist.
pub(crate) fn narrate(
    incident: &Incident,
    state: State,
    telling: u32,
    now: Timestamp,
    limits: &Limits,
) -> Option<Story> {
    let Judged { findings, ruled_out: changes } = judge(&incident.findings);
    let findings = &*findings;
    let root = root_finding(findings)?;
    let consequences = consequences(findings, root);
    let chain = chain(findings, root, limits.chain_links_max);
    let cited = findings.iter().flat_map(|it| &it.evidence).map(|evidence| evidence.event);
    let changed = changes.iter().flat_map(|it| &it.events).copied();
    let event_ids: BTreeSet<EventId> = cited.chain(changed).collect();
    let references = event_ids.difference(&incident.owned).copied().collect();
    let entities: BTreeSet<&Entity> = findings.iter().flat_map(|it| &it.touches).collect();
    let traces: BTreeSet<_> = findings.iter().map(|it| it.id.trace).collect();
    let (lost, late) = gaps(findings);
    let confidence = confidence(root, consequences.len(), lost > 0);
    Some(Story {
        id: incident.id,
        telling,
        state,
        opened_at: incident.opened_at,
        told_at: now,
        title: root.title.clone(),
        pattern: root.id.pattern.clone(),
        verdict: root.verdict.clone(),
        summary: summary((findings, incident.further), root, &consequences),
        root_cause: cite(root.root_cause.clone(), root.evidence.iter().map(|it| it.event)),
        root_cause_event: root.root,
        confidence,
        class: root.class,
        chain,
        recommendation: recommendation(root),
        ruled_out: ruled_out(root, &consequences, changes),
        missing: root.missing.clone(),
        lost,
        late,
        entities: entities.into_iter().cloned().collect(),
        trace_ids: traces.into_iter().collect(),
        event_ids: event_ids.into_iter().collect(),
        references,
        predecessor: incident.predecessor,
    })
}

/// Says how sure the whole is: each kind of consequence that followed as it should is a witness of
/// a decided root, and what any of its traces lost is missing.
fn confidence(root: &Finding, consequences: usize, is_lossy: bool) -> Confidence {
    let gaps = (root.missing.len(), root.lost > 0, is_lossy);
    match root.verdict {
        Verdict::Cause => Points::FITTED.with_consequences(root.confidence, consequences, gaps),
        // It goes by its best candidate, which no consequence speaks for.
        Verdict::Unknown { .. } => root.confidence,
    }
}

/// Adds up what was lost and late: once for each life of a trace, as its latest finding knows it.
fn gaps(findings: &[Finding]) -> (u64, u64) {
    let mut lives: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for finding in findings {
        let life = lives.entry((finding.id.trace, finding.id.incarnation)).or_default();
        *life = (life.0.max(finding.lost), life.1.max(finding.late));
    }
    lives.into_values().fold((0, 0), |sum, life| (sum.0 + life.0, sum.1 + life.1))
}

/// Chooses the finding the others follow from: decided before in doubt, unexplained before
/// explained, stronger evidence before weaker, then the earliest; of those of one pattern that begin
/// at once, for many times are whole seconds, the one that touches least: a node before a pod on it.
fn root_finding(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().max_by(|a, b| {
        let key = |it: &Finding| {
            let decided = it.verdict == Verdict::Cause;
            (decided, !is_explained(it, findings), it.class)
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| b.begins_at().cmp(&a.begins_at()))
            .then_with(|| b.id.pattern.cmp(&a.id.pattern))
            .then_with(|| b.touches.len().cmp(&a.touches.len()))
            .then_with(|| b.id.cmp(&a.id))
    })
}

fn is_explained(effect: &Finding, findings: &[Finding]) -> bool {
    findings.iter().any(|cause| leads_to(cause, effect))
}

/// Says whether a decided finding is a known cause of another, and began first.
pub(crate) fn leads_to(cause: &Finding, effect: &Finding) -> bool {
    cause.verdict == Verdict::Cause
        && cause.leads_to.contains(&effect.id.pattern)
        && cause.begins_at() <= effect.begins_at().after(SKEW)
}

/// One kind of what followed: the findings of one pattern, first one first.
struct Consequence<'a> {
    first: &'a Finding,
    roots: Vec<EventId>,
    traces: usize,
    follows: bool,
}

fn consequences<'a>(findings: &'a [Finding], root: &Finding) -> Vec<Consequence<'a>> {
    let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in findings.iter().filter(|it| it.id.pattern != root.id.pattern) {
        groups.entry(&finding.id.pattern).or_default().push(finding);
    }
    let mut groups: Vec<_> = groups
        .into_values()
        .filter_map(|group| {
            let first = *group.iter().min_by_key(|it| (it.begins_at(), &it.id))?;
            let traces: BTreeSet<_> = group.iter().map(|it| it.id.trace).collect();
            Some(Consequence {
                first,
                roots: group.iter().map(|it| it.root).collect(),
                traces: traces.len(),
                follows: is_explained(first, findings),
            })
        })
        .collect();
    groups.sort_by_key(|it| (it.first.begins_at(), it.first.id.clone()));
    groups
}

fn cite(text: Text, events: impl IntoIterator<Item = EventId>) -> Sentence {
    let events: BTreeSet<_> = events.into_iter().collect();
    Sentence { text, events: events.into_iter().collect() }
}

fn summary(
    (findings, further): (&[Finding], u64),
    root: &Finding,
    then: &[Consequence<'_>],
) -> Vec<Sentence> {
    let begin = root_time(root);
    let mut sentences = vec![cite(sentence(&root.title), root.evidence.iter().map(|it| it.event))];
    let alike: Vec<_> = findings.iter().filter(|it| it.id.pattern == root.id.pattern).collect();
    if alike.len() > 1 {
        let text = format!("The same was found {} times.", alike.len());
        sentences.push(cite(text.into(), alike.iter().map(|it| it.root)));
    }
    for consequence in then {
        let lag = lag(root_time(consequence.first).since(begin));
        let verb = if consequence.follows { "followed" } else { "was seen" };
        let scope = match consequence.traces {
            0 | 1 => String::new(),
            traces => format!(", in {traces} traces"),
        };
        let title = &consequence.first.title;
        let text = format!("{lag} later {verb}: {title}{scope}.");
        sentences.push(cite(text.into(), consequence.roots.iter().copied()));
    }
    if further > 0 {
        let text = format!("{further} more findings are counted and not shown.");
        sentences.push(cite(text.into(), [root.root]));
    }
    sentences
}

fn sentence(title: &str) -> Text {
    let title = title.trim_end_matches('.');
    format!("{title}.").into()
}

pub(crate) fn root_time(finding: &Finding) -> Timestamp {
    let root = finding.evidence.iter().find(|evidence| evidence.role == Role::Root);
    root.map_or_else(|| finding.begins_at(), |evidence| evidence.time)
}

pub(crate) fn lag(lag: Duration) -> String {
    match lag.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        _ if lag.as_secs() < 60 => format!("{:.1} s", lag.as_secs_f64()),
        _ => format!("{} min {} s", lag.as_secs() / 60, lag.as_secs() % 60),
    }
}

fn recommendation(root: &Finding) -> Vec<Sentence> {
    let check = match &root.verdict {
        Verdict::Unknown { check, .. } if !check.is_empty() => Some(check.clone()),
        Verdict::Unknown { .. } | Verdict::Cause => None,
    };
    let steps = check.into_iter().chain(root.recommendation.iter().cloned());
    steps.map(|step| cite(step, [root.root])).collect()
}

fn ruled_out(root: &Finding, then: &[Consequence<'_>], changes: Vec<RuledOut>) -> Vec<RuledOut> {
    let mut ruled_out: Vec<RuledOut> = root
        .ruled_out
        .iter()
        .cloned()
        .map(|mut it| {
            // The absence of events is shown by what is there instead.
            if it.events.is_empty() {
                it.events.push(root.root);
            }
            it
        })
        .collect();
    for consequence in then.iter().filter(|it| it.follows) {
        let pattern = &consequence.first.id.pattern;
        if ruled_out.iter().all(|known| known.pattern != *pattern) {
            let lag = lag(root_time(consequence.first).since(root_time(root)));
            ruled_out.push(RuledOut {
                pattern: pattern.clone(),
                because: format!("a consequence: it began {lag} after the root").into(),
                events: vec![consequence.first.root, root.root],
            });
        }
    }
    for change in changes {
        if ruled_out.iter().all(|known| known.pattern != change.pattern) {
            ruled_out.push(change);
        }
    }
    ruled_out
}

/// Chooses and orders the links: all of the root finding, then the beginnings of the others, then
/// what else there is room for.
fn chain(findings: &[Finding], root: &Finding, links_max: usize) -> Vec<Link> {
    let mut candidates: Vec<(u8, &Evidence, &Finding)> = Vec::new();
    for finding in findings {
        for evidence in &finding.evidence {
            let rank = match evidence.role {
                _ if finding.id == root.id && finding.root == root.root => 0,
                Role::Root => 1,
                Role::Symptom => 2,
                Role::Step => 3,
            };
            candidates.push((rank, evidence, finding));
        }
    }
    candidates.sort_by_key(|(rank, evidence, _)| (*rank, evidence.time, evidence.event));
    let mut seen = BTreeSet::new();
    candidates.retain(|(_, evidence, _)| seen.insert(evidence.event));
    // Hundreds of traces may say the same of a consequence: once is enough in a chain.
    let mut said = BTreeSet::new();
    candidates.retain(|(rank, evidence, _)| *rank == 0 || said.insert(&evidence.text));
    candidates.truncate(links_max);
    candidates.sort_by_key(|(_, evidence, _)| (evidence.time, evidence.event));
    let mut before = candidates.first().map(|(_, evidence, _)| evidence.time);
    candidates
        .into_iter()
        .map(|(rank, evidence, finding)| {
            let lag = before.map_or(Duration::ZERO, |before| evidence.time.since(before));
            before = Some(evidence.time);
            let mut evidence = evidence.clone();
            // The root of a consequence is a step of the whole.
            if rank != 0 && evidence.role == Role::Root {
                evidence.role = Role::Step;
            }
            Link { evidence, pattern: finding.id.pattern.clone(), lag }
        })
        .collect()
}
