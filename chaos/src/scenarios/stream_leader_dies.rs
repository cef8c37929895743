//! The server that leads the stream of events is killed, and comes back.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "the server that leads the stream of events is killed (SIGKILL), and comes back",
    duration_s: 45,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut plan = Plan::default();
    let beat = Beat {
        kind: FaultKind::KillLeader,
        first: Duration::from_secs(5),
        // An election takes four to nine seconds.
        lasting: 6_000..12_000,
        gap: Duration::from_secs(16),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
