//! All nodes are restarted in turn, as an update does.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Stage},
    record::Bounds,
};

pub(super) const SPEC: Spec = Spec {
    about: "all nodes are restarted in turn (SIGTERM, start), as an update does",
    duration_s: 30,
    events: 6_000,
    expects: Expects::Holds,
};

/// One second, and up to 250 ms until the commit that says so.
const LATE_MAX: Duration = Duration::from_millis(1_250);

pub(super) fn plan(stage: &Stage) -> Plan {
    let bounds = Bounds { late_max: Some(LATE_MAX), ..Bounds::default() };
    let mut plan = Plan { bounds, ..Plan::default() };
    let beat = Beat {
        kind: FaultKind::DrainNode,
        first: Duration::from_secs(6),
        lasting: 600..900,
        gap: Duration::from_secs(5),
        in_turn: true,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan.faults.truncate(stage.nodes);
    plan
}
