//! The control: roots are written without looking, and nodes are paused past their lease.
//!
//! What the fence keeps away must be seen here, or the suite is blind.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Setup, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "the control: no fence, nodes are paused past their lease; must violate",
    duration_s: 30,
    events: 12_000,
    expects: Expects::Violates,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let setup = Setup { is_unfenced: true, ..Setup::default() };
    let mut plan = Plan { setup, ..Plan::default() };
    let beat = Beat {
        kind: FaultKind::PauseNode,
        first: Duration::from_secs(4),
        lasting: 2_500..3_500,
        gap: Duration::from_millis(1_500),
        in_turn: true,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
