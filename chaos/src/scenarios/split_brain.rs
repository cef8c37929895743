//! Nodes are stopped in their tracks for longer than their lease, and wake up as zombies.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "nodes are paused past their lease (SIGSTOP), and wake up as zombies (SIGCONT)",
    duration_s: 30,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut plan = Plan::default();
    let beat = Beat {
        kind: FaultKind::PauseNode,
        first: Duration::from_secs(4),
        // Around the lease of 1.5 s and past it: waking up just then is the hardest.
        lasting: 1_400..4_500,
        gap: Duration::from_secs(4),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
