//! Connections between nodes and servers break, again and again.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Setup, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "connections between nodes and servers break (RST), again and again",
    duration_s: 36,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let setup = Setup { is_proxied: true, ..Setup::default() };
    let mut plan = Plan { setup, ..Plan::default() };
    let beat = Beat {
        kind: FaultKind::FailingMiddle,
        first: Duration::from_secs(5),
        lasting: 100..2_500,
        gap: Duration::from_secs(4),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
