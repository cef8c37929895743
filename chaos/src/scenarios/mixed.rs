//! Faults of every kind, drawn from the seed; some hit nodes and servers at once.

use std::{ops::Range, time::Duration};

use rand::RngExt as _;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Fault, Plan, Setup, Stage, Wish, draw},
};

pub(super) const SPEC: Spec = Spec {
    about: "faults of every kind, drawn from the seed; some hit nodes and servers at once",
    duration_s: 75,
    events: 25_000,
    expects: Expects::Holds,
};

/// A kind, how long it lasts in milliseconds, and how many seconds the mesh then has to itself.
type Card = (FaultKind, Range<u64>, u64);

const OF_NODES: [Card; 5] = [
    (FaultKind::KillNode, 500..4_000, 4),
    (FaultKind::PauseNode, 1_000..4_500, 4),
    (FaultKind::DrainNode, 300..2_500, 3),
    (FaultKind::SkewClock, 3_000..5_000, 3),
    (FaultKind::PartitionNode, 2_000..5_000, 5),
];

const OF_MIDDLE: [Card; 5] = [
    (FaultKind::KillLeader, 4_000..8_000, 14),
    (FaultKind::KillAllServers, 1_000..4_000, 14),
    (FaultKind::KillServer, 2_000..6_000, 6),
    (FaultKind::SlowMiddle, 2_000..6_000, 4),
    (FaultKind::FailingMiddle, 100..2_000, 4),
];

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut rng = stage.rng();
    let setup = Setup { is_proxied: true, namespace: Wish::IfThere, ..Setup::default() };
    let mut plan = Plan { setup, ..Plan::default() };
    let mut at = Duration::from_secs(5);
    loop {
        let deck = if rng.random_bool(0.6) { &OF_NODES } else { &OF_MIDDLE };
        let Some(card) = deck.get(rng.random_range(0..deck.len())) else { break };
        let fault = deal(card, at, stage, &mut rng);
        // The next card waits for both of two faults that come together.
        let mut end = fault.end() + Duration::from_secs(card.2);
        let mut faults = vec![fault];
        if fault.kind.hits_middle()
            && rng.random_bool(0.4)
            && let Some(card) = OF_NODES.get(rng.random_range(0..OF_NODES.len()))
        {
            let company = deal(card, at + draw(&mut rng, &(0..1_000)), stage, &mut rng);
            end = end.max(company.end() + Duration::from_secs(card.2));
            faults.push(company);
        }
        if faults.iter().any(|fault| fault.end() >= stage.duration) {
            break;
        }
        plan.faults.extend(faults);
        at = end + draw(&mut rng, &(0..1_500));
    }
    plan
}

fn deal(card: &Card, at: Duration, stage: &Stage, rng: &mut rand::rngs::StdRng) -> Fault {
    let (kind, lasting, _) = card;
    let drawn = rng.random_range(0..stage.nodes.max(1));
    // The first node is the one that can be cut off.
    let target = if *kind == FaultKind::PartitionNode { 0 } else { drawn };
    Fault { at, lasting: draw(rng, lasting), kind: *kind, target }
}
