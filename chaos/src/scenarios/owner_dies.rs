//! Nodes are killed (SIGKILL), one after the other, and come back.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "nodes are killed (SIGKILL), one after the other, and come back",
    duration_s: 30,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut plan = Plan::default();
    let beat = Beat {
        kind: FaultKind::KillNode,
        first: Duration::from_secs(4),
        // Longer than a takeover, so that it is another node that takes over.
        lasting: 3_500..4_500,
        gap: Duration::from_secs(4),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
