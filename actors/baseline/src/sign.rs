//! What is unlike of a service, in the shape in which it is told.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use tapio_model::{Place, Severity, Source, Text, TraceId};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    blame::{Held, Reason},
    change::{Change, How},
    episode::Look,
    feature::Sort,
    latency::SlowWays,
    series::Reached,
    stall::Stalled,
};

/// What a resource that is used up weighs: more than lines and calls that follow from it.
const REACHED_SCORE: f64 = 240.0;

/// What a resource weighs of which far more is used than ever, and not all.
const RISEN_SCORE: f64 = 60.0;

/// What each slow way of a service whose network is slow weighs.
const WAY_SCORE: f64 = 30.0;

/// Something that is unlike, in the shape in which it is told.
#[derive(Debug, Clone)]
pub(crate) struct Sign {
    pub(crate) service: Text,
    pub(crate) place: Option<Arc<Place>>,
    pub(crate) source: Source,
    pub(crate) signal: &'static str,
    pub(crate) change: &'static str,
    pub(crate) before: f64,
    pub(crate) now: f64,
    pub(crate) score: f64,
    /// Whether it is a limit that is reached: proof by itself.
    pub(crate) is_limit: bool,
    pub(crate) operation: Option<Text>,
    pub(crate) template: Option<Text>,
    pub(crate) severity: Severity,
    pub(crate) example: Option<TraceId>,
    pub(crate) message: String,
}

/// Returns all signs by service, the weightiest first.
pub(crate) fn signs(look: &Look<'_>) -> BTreeMap<Text, Vec<Sign>> {
    let mut signs: Vec<Sign> = Vec::new();
    for (service, suspect) in look.suspects {
        signs.extend(suspect.held.iter().filter_map(|held| sign(service, held, look)));
    }
    signs.extend(look.reached.iter().map(of_reached));
    signs.extend(look.stalled.iter().map(of_stalled));
    signs.extend(look.network.map(of_network));
    // What vanished beside one line and beside another is one sign.
    let mut united: BTreeMap<u128, Sign> = BTreeMap::new();
    for sign in signs {
        match united.entry(sign.key()) {
            Entry::Vacant(vacant) => drop(vacant.insert(sign)),
            Entry::Occupied(known) => unite(known.into_mut(), sign),
        }
    }
    let mut signs: Vec<Sign> = united.into_values().collect();
    signs.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.message.cmp(&b.message)));
    let mut by_service: BTreeMap<Text, Vec<Sign>> = BTreeMap::new();
    for sign in signs {
        by_service.entry(sign.service.clone()).or_default().push(sign);
    }
    by_service
}

/// Adds what a sign weighs to the same one, told in the words of the weightier.
fn unite(known: &mut Sign, other: Sign) {
    let score = known.score + other.score;
    if other.score > known.score {
        *known = other;
    }
    known.score = score;
}

impl Sign {
    /// Returns what identifies it within an episode.
    pub(crate) fn key(&self) -> u128 {
        let text = |text: &Option<Text>| text.clone().unwrap_or_default();
        let (operation, template) = (text(&self.operation), text(&self.template));
        let parts = [&*self.service, self.signal, self.change, &operation, &template];
        xxh3_128(parts.join("\u{0}").as_bytes())
    }
}

fn sign(service: &Text, held: &Held, look: &Look<'_>) -> Option<Sign> {
    let operation = look.operations.get(held.op)?.name.clone();
    let sign = |signal, change, before, now, message| Sign {
        service: service.clone(),
        place: None,
        source: Source::Otlp,
        signal,
        change,
        before,
        now,
        score: held.score,
        is_limit: false,
        operation: Some(operation.clone()),
        template: None,
        severity: Severity::Warn,
        example: Some(held.example),
        message,
    };
    match held.reason {
        Reason::Slow(slow) => {
            let (before, now) = (slow.before_us / 1e3, slow.now_us / 1e3);
            let message =
                format!("{operation} takes {now:.0} ms by itself; it took {before:.0} ms at most");
            Some(sign("self_time", "rose", before, now, message))
        }
        Reason::Changed(change) => {
            let feature = look.operations.feature(held.op, change.mark)?;
            let signal = if feature.sort == Sort::Call { "call" } else { "log_template" };
            let how = match change.how {
                How::Appeared => "appeared",
                How::Vanished { .. } => "vanished",
            };
            let message = tell_change(&operation, &feature.text, feature.sort, &change);
            let severity = match feature.sort {
                Sort::Line(severity) => severity.max(Severity::Warn),
                Sort::Call => Severity::Warn,
            };
            let template = Some(feature.text.clone());
            let sign = sign(signal, how, change.before, change.now, message);
            Some(Sign { template, severity, ..sign })
        }
    }
}

fn tell_change(operation: &str, feature: &str, sort: Sort, change: &Change) -> String {
    let (does, lacks) = match sort {
        Sort::Line(_) => ("writes", "no longer writes"),
        Sort::Call => ("calls", "no longer calls"),
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let (before, now) = (percent(change.before), percent(change.now));
    let traces = change.traces.round();
    match change.how {
        How::Appeared => format!(
            "{operation} {does} {feature} in {now} of its last {traces} traces; it was {before}"
        ),
        How::Vanished { .. } => format!(
            "{operation} {lacks} {feature}: {now} of its last {traces} traces; it was {before}"
        ),
    }
}

fn of_reached(reached: &Reached) -> Sign {
    let Reached { service, place, resource, before, now, is_limit, .. } = reached;
    let (percent, usual) = (now * 100.0, before * 100.0);
    Sign {
        service: service.clone(),
        place: Some(Arc::clone(place)),
        source: Source::Metrics,
        signal: resource,
        change: "rose",
        before: *before,
        now: *now,
        score: if *is_limit { REACHED_SCORE } else { RISEN_SCORE },
        is_limit: *is_limit,
        operation: None,
        template: None,
        severity: Severity::Warn,
        example: None,
        message: format!(
            "{service} uses {percent:.0} % of its {resource} limit; {usual:.1} % is usual"
        ),
    }
}

fn of_stalled(stalled: &Stalled) -> Sign {
    let Stalled { service, score, before, now, requests, longest_us, usual_us } = stalled;
    let (percent, usual, ms) = (now * 100.0, before * 100.0, longest_us / 1e3);
    Sign {
        service: service.clone(),
        place: None,
        source: Source::Otlp,
        signal: "self_time",
        change: "rose",
        before: usual_us / 1e3,
        now: (usual_us + longest_us) / 1e3,
        score: *score,
        is_limit: false,
        operation: None,
        template: None,
        severity: Severity::Warn,
        example: None,
        message: format!(
            "{service} keeps {percent:.0} % of its last {requests} requests waiting, for up to \
             {ms:.0} ms; it was {usual:.0} %"
        ),
    }
}

fn of_network(ways: &SlowWays) -> Sign {
    let SlowWays { service, slow, of, worst } = ways;
    let (before, now) = (worst.before_us / 1e3, worst.now_us / 1e3);
    let ways = u32::try_from(*slow).map_or(0.0, f64::from);
    Sign {
        service: service.clone(),
        place: None,
        source: Source::Otlp,
        signal: "edge_latency",
        change: "rose",
        before,
        now,
        score: WAY_SCORE * ways,
        is_limit: false,
        operation: None,
        template: None,
        severity: Severity::Warn,
        example: None,
        message: format!(
            "the way to and from {service} takes up to {now:.0} ms on {slow} of {of} edges; it took \
             {before:.0} ms at most"
        ),
    }
}
