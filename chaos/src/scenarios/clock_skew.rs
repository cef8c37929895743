//! A node comes back with a wall clock that is an hour wrong.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "a node comes back with a wall clock that is an hour wrong",
    duration_s: 36,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let mut plan = Plan::default();
    let beat = Beat {
        kind: FaultKind::SkewClock,
        first: Duration::from_secs(4),
        lasting: 5_000..8_000,
        gap: Duration::from_secs(5),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
