//! What nodes and servers say to each other arrives late.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Setup, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "what nodes and servers say to each other arrives up to 400 ms late",
    duration_s: 36,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let setup = Setup { is_proxied: true, ..Setup::default() };
    let mut plan = Plan { setup, ..Plan::default() };
    let beat = Beat {
        kind: FaultKind::SlowMiddle,
        first: Duration::from_secs(5),
        lasting: 4_000..8_000,
        gap: Duration::from_secs(5),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
