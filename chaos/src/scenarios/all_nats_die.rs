//! All servers are killed at once, and come back.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "all servers are killed at once (SIGKILL), and come back",
    duration_s: 45,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut plan = Plan::default();
    let beat = Beat {
        kind: FaultKind::KillAllServers,
        first: Duration::from_secs(6),
        lasting: 1_000..5_000,
        gap: Duration::from_secs(18),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
