//! Changes that wait for what follows from them.
//!
//! A change alone is no fault, so its finding is no verdict: it has no hypotheses, and opens no
//! incident. It is told as the root of an incident in which somebody fails at what was changed, if
//! nothing speaks against it; else it is told as ruled out, with what does.

use std::{borrow::Cow, time::Duration};

use tapio_model::{Entity, EventId, Finding, RuledOut, Text, Timestamp, Verdict};

use crate::narrate::{SKEW, lag, leads_to, root_time};

/// How long after the last sign of a change what follows from it may begin: a mounted ConfigMap
/// takes a minute, and callers keep a connection for a while.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(120);

/// How far apart two changes are that may be one deployment: then neither is the later one.
const TOGETHER: Duration = Duration::from_secs(10);

/// Returns the verdict of a change that waits.
pub(crate) fn verdict() -> Verdict {
    Verdict::Unknown { hypotheses: Vec::new(), check: Text::default() }
}

/// Says whether a finding is a change that waits for what follows from it.
pub(crate) fn is_candidate(finding: &Finding) -> bool {
    matches!(&finding.verdict, Verdict::Unknown { hypotheses, .. } if hypotheses.is_empty())
}

/// What the changes among the findings of an incident came to.
pub(crate) struct Judged<'a> {
    /// The findings; of the changes those that explain something, decided.
    pub(crate) findings: Cow<'a, [Finding]>,
    /// The changes that might explain something and do not, and why.
    pub(crate) ruled_out: Vec<RuledOut>,
}

/// Decides which of the changes among some findings explain something.
pub(crate) fn judge(findings: &[Finding]) -> Judged<'_> {
    if !findings.iter().any(is_candidate) {
        return Judged { findings: Cow::Borrowed(findings), ruled_out: Vec::new() };
    }
    let (changes, mut held): (Vec<_>, Vec<_>) = findings.iter().cloned().partition(is_candidate);
    let mut ruled_out = Vec::new();
    let mut proved = Vec::new();
    for change in changes {
        match answer(&change, &held) {
            None => {}
            Some(Answer::Explains) => proved.push(change),
            Some(Answer::Not(because, effect)) => {
                ruled_out.push(rule_out(&change, &because, effect));
            }
        }
    }
    let latest = proved.iter().map(root_time).max().unwrap_or(Timestamp::MIN);
    for change in proved {
        if root_time(&change).after(TOGETHER) < latest {
            ruled_out.push(rule_out(&change, "all was well until a later change", change.root));
        } else {
            held.push(Finding { verdict: Verdict::Cause, ..change });
        }
    }
    held.sort_by(|a, b| (&a.id, a.begins_at()).cmp(&(&b.id, b.begins_at())));
    Judged { findings: Cow::Owned(held), ruled_out }
}

fn rule_out(change: &Finding, because: &str, effect: EventId) -> RuledOut {
    RuledOut {
        pattern: change.id.pattern.clone(),
        because: format!("{}, but {because}", what_changed(change)).into(),
        events: vec![change.root, effect],
    }
}

fn what_changed(change: &Finding) -> &str {
    let root = change.evidence.iter().find(|evidence| evidence.event == change.root);
    root.map_or(&*change.title, |root| &*root.text)
}

/// Says whether a change may have to do with one of these findings.
pub(crate) fn concerns_any(change: &Finding, findings: &[Finding]) -> bool {
    findings.iter().any(|effect| !is_candidate(effect) && concerns(change, effect))
}

/// What a change is to the findings of an incident.
enum Answer {
    Explains,
    /// Why not, and the root of what it does not explain.
    Not(Text, EventId),
}

fn answer(change: &Finding, held: &[Finding]) -> Option<Answer> {
    let mut first = None;
    for effect in held.iter().filter(|effect| concerns(change, effect)) {
        match against(change, effect, held) {
            None => return Some(Answer::Explains),
            Some(because) => first = first.or(Some(Answer::Not(because, effect.root))),
        }
    }
    first
}

/// Says whether a finding is about somebody who fails at what was changed, near it in time: he
/// calls it by a name that both touch.
fn concerns(change: &Finding, effect: &Finding) -> bool {
    if !change.leads_to.contains(&effect.id.pattern)
        || effect.begins_at() > change.ends_at().after(FOLLOWS_WITHIN)
    {
        return false;
    }
    let called = match &effect.id.subject {
        Entity::Edge { to, .. } => to.split('.').next(),
        Entity::Service { name, .. } => Some(name.as_str()),
        Entity::Container { .. }
        | Entity::Cgroup { .. }
        | Entity::Pod { .. }
        | Entity::Workload { .. }
        | Entity::Node { .. }
        | Entity::Process { .. }
        | Entity::Object { .. } => None,
    };
    change.touches.iter().any(|thing| {
        matches!(thing, Entity::Service { name, .. } if Some(name.as_str()) == called)
            && effect.touches.contains(thing)
    })
}

/// Returns what speaks against a change as the cause of a finding.
fn against(change: &Finding, effect: &Finding, held: &[Finding]) -> Option<Text> {
    let begin = root_time(change);
    let is_alike =
        |other: &&Finding| other.id.pattern == effect.id.pattern && concerns(change, other);
    let sooner = held.iter().filter(is_alike).map(Finding::begins_at).min()?;
    if sooner.after(SKEW) < begin {
        return Some(format!("callers failed {} before already", lag(begin.since(sooner))).into());
    }
    let said = effect.ruled_out.iter().find(|it| it.pattern == change.id.pattern);
    if let Some(said) = said {
        return Some(said.because.clone());
    }
    if effect.ends_at().after(SKEW) < change.ends_at() {
        return Some("callers fail no more since it was done".into());
    }
    let cause = held.iter().find(|cause| leads_to(cause, effect))?;
    Some(format!("something else explains who fails: {}", cause.title).into())
}

#[cfg(test)]
mod tests {
    use tapio_model::{
        Confidence, Evidence, EvidenceClass, FindingId, Incarnation, Kind, Role, Source, TraceId,
    };

    use super::*;

    fn service(name: &str) -> Entity {
        Entity::Service { namespace: "shop".into(), name: name.into() }
    }

    /// A finding with evidence at these seconds, the first of them its root.
    fn finding(pattern: &str, subject: Entity, touches: &[Entity], seconds: &[i64]) -> Finding {
        let evidence = seconds.iter().map(|second| Evidence {
            time: Timestamp::from_secs(*second),
            event: EventId::from_bytes([u8::try_from(*second).unwrap(); 16]),
            role: if *second == seconds[0] { Role::Root } else { Role::Step },
            source: Source::Kubernetes,
            kind: Kind::ObjectEvent,
            place: "shop".into(),
            text: "seen".into(),
        });
        let evidence: Vec<_> = evidence.collect();
        Finding {
            id: FindingId {
                trace: TraceId::from_bytes([7; 16]),
                incarnation: Incarnation::default(),
                pattern: pattern.into(),
                subject: subject.clone(),
            },
            anchor: subject,
            root: evidence[0].event,
            evidence,
            class: EvidenceClass::ObjectStatus,
            touches: touches.to_vec(),
            leads_to: Vec::new(),
            verdict: Verdict::Cause,
            confidence: Confidence::new(0.9),
            title: format!("{pattern} of {seconds:?}").into(),
            root_cause: "it was changed".into(),
            recommendation: Vec::new(),
            ruled_out: Vec::new(),
            missing: Vec::new(),
            lost: 0,
            late: 0,
            trace_events: 2,
        }
    }

    fn change(seconds: &[i64]) -> Finding {
        let leads_to = vec!["refused".into()];
        let change = finding("rollout", service("cart"), &[service("cart")], seconds);
        Finding { leads_to, verdict: verdict(), ..change }
    }

    fn refused(from: &str, to: &str, seconds: &[i64]) -> Finding {
        let edge = Entity::Edge { from: from.into(), to: to.into() };
        let touches = [service(from), service(to.split('.').next().unwrap())];
        finding("refused", edge, &touches, seconds)
    }

    /// Returns the patterns that are held, and why a change is not.
    fn judged(findings: &[Finding]) -> (Vec<String>, Vec<String>) {
        let judged = judge(findings);
        let held = judged.findings.iter().map(|it| it.id.pattern.to_string()).collect();
        (held, judged.ruled_out.iter().map(|it| it.because.to_string()).collect())
    }

    #[test]
    fn a_change_explains_who_is_refused_by_what_was_changed_and_only_since() {
        for to in ["cart", "cart.shop", "cart.shop.svc.cluster.local"] {
            let told = judged(&[change(&[10, 12]), refused("checkout", to, &[13, 20])]);
            assert_eq!(told, (vec!["refused".into(), "rollout".into()], vec![]), "{to}");
        }
    }

    #[test]
    fn what_speaks_against_it_is_named() {
        let kill = finding("oom", service("cart"), &[service("cart")], &[11]);
        let oom = Finding { leads_to: vec!["refused".into()], ..kill };
        let mut silent = refused("checkout", "cart", &[13, 20]);
        silent.ruled_out.push(RuledOut {
            pattern: "rollout".into(),
            because: "no RST came back".into(),
            events: Vec::new(),
        });
        let cases = [
            (vec![refused("checkout", "cart", &[5, 20])], "failed 5.0 s before already"),
            (
                vec![refused("checkout", "cart", &[13, 20]), refused("orders", "cart", &[5])],
                "failed 5.0 s before already",
            ),
            (vec![refused("checkout", "cart", &[9])], "fail no more since"),
            (
                vec![refused("checkout", "cart", &[13]), oom],
                "something else explains who fails: oom",
            ),
            (vec![silent], "no RST came back"),
        ];
        for (effects, why) in cases {
            let (held, ruled_out) = judged(&[vec![change(&[10, 12])], effects.clone()].concat());
            assert_eq!(held.len(), effects.len(), "{why}");
            assert!(ruled_out[0].contains(why), "{ruled_out:?}");
        }
    }

    #[test]
    fn what_does_not_concern_it_is_not_weighed() {
        let elsewhere = Finding {
            touches: vec![Entity::Service { namespace: "other".into(), name: "cart".into() }],
            ..refused("checkout", "cart", &[13])
        };
        for effect in [
            refused("cart", "db", &[13]),
            refused("checkout", "cart", &[200]),
            Finding {
                leads_to: vec![],
                ..finding("slow", service("cart"), &[service("cart")], &[13])
            },
            elsewhere,
        ] {
            let (held, ruled_out) = judged(&[change(&[10, 12]), effect.clone()]);
            assert_eq!((held.len(), ruled_out), (1, vec![]), "{effect:?}");
        }
    }

    #[test]
    fn of_two_changes_the_later_one_is_it() {
        let earlier = change(&[10, 12]);
        let id = FindingId { pattern: "config".into(), ..earlier.id.clone() };
        let later = Finding { id, ..change(&[40, 41]) };
        let (held, ruled_out) = judged(&[earlier, later, refused("checkout", "cart", &[42, 50])]);
        assert_eq!(held, ["config", "refused"]);
        assert!(ruled_out[0].contains("until a later change"), "{ruled_out:?}");
    }
}
