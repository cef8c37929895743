//! One node is cut off from everything, silently, and comes back.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Setup, Stage, Wish},
};

pub(super) const SPEC: Spec = Spec {
    about: "a node in a network namespace of its own is cut off, and comes back (needs root)",
    duration_s: 36,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let setup = Setup { namespace: Wish::Must, ..Setup::default() };
    let mut plan = Plan { setup, ..Plan::default() };
    let beat = Beat {
        kind: FaultKind::PartitionNode,
        first: Duration::from_secs(5),
        lasting: 3_000..7_000,
        gap: Duration::from_secs(7),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan.faults.iter_mut().for_each(|fault| fault.target = 0);
    plan
}
