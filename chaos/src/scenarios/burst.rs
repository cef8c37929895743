//! For a few seconds ten times the usual comes.

use super::{Expects, Spec};
use crate::{
    fault::FaultKind,
    load::Burst,
    plan::{Fault, Plan, Stage},
};

pub(super) const SPEC: Spec = Spec {
    about: "for a few seconds ten times the usual comes",
    duration_s: 24,
    events: 60_000,
    expects: Expects::Holds,
};

pub(super) fn plan(stage: &Stage) -> Plan {
    let (from, to) = (stage.duration / 3, stage.duration / 2);
    let fault = Fault { at: from, lasting: to - from, kind: FaultKind::Burst, target: 0 };
    let burst = Some(Burst { from, to, times: 10 });
    Plan { faults: vec![fault], burst, ..Plan::default() }
}
