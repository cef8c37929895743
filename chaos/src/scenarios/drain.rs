//! Nodes are told to end (SIGTERM) under load, stay away for a while, and come back.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "nodes are told to end (SIGTERM) under load, and come back",
    duration_s: 30,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut plan = Plan::default();
    let beat = Beat {
        kind: FaultKind::DrainNode,
        first: Duration::from_secs(4),
        lasting: 2_000..3_000,
        gap: Duration::from_secs(4),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
