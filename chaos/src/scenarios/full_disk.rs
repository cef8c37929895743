//! The disk under the servers' stores is full, and has room again.

use std::time::Duration;

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    plan::{Beat, Plan, Setup, Stage, Wish},
};

pub(super) const SPEC: Spec = Spec {
    about: "the disk under a server's store is full, and has room again (needs root)",
    duration_s: 36,
    events: 6_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let setup = Setup { servers: 1, small_disk: Wish::Must, ..Setup::default() };
    let mut plan = Plan { setup, ..Plan::default() };
    let beat = Beat {
        kind: FaultKind::FullDisk,
        first: Duration::from_secs(6),
        lasting: 3_000..6_000,
        gap: Duration::from_secs(16),
        in_turn: false,
    };
    plan.repeat(stage, &beat, &mut stage.rng());
    plan
}
