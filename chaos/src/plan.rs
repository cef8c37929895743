//! What is to be done to a mesh, and when.

use std::{ops::Range, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{fault::FaultKind, load::Burst, record::Bounds};

/// On what a plan is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Nodes of the mesh.
    pub nodes: usize,
    /// How long the load takes.
    pub duration: Duration,
}

impl Stage {
    /// Returns what a plan draws from.
    #[must_use]
    pub fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ 0x5EED_F417)
    }
}

/// A fault that is to be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, after the start of the load.
    pub at: Duration,
    /// How long it lasts.
    pub lasting: Duration,
    /// Which kind.
    pub kind: FaultKind,
    /// Which node or server, where the kind hits one of several.
    pub target: usize,
}

impl Fault {
    /// Returns when it ends.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at + self.lasting
    }
}

/// Whether something that not every machine has is part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Wish {
    /// It is not.
    #[default]
    Never,
    /// It is if the machine has it; else what needs it is left out and counted.
    IfThere,
    /// Without it the run is skipped and counted.
    Must,
}

/// How the mesh of a run is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Servers: one, or three that form a cluster.
    pub servers: usize,
    /// Whether nodes reach the servers through proxies that can be slow, or fail.
    pub is_proxied: bool,
    /// Whether the first node lives in a network namespace of its own.
    pub namespace: Wish,
    /// Whether the servers keep their stores on one small disk.
    pub small_disk: Wish,
    /// Whether nodes write their roots without looking: the control that must violate.
    pub is_unfenced: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            servers: 3,
            is_proxied: false,
            namespace: Wish::Never,
            small_disk: Wish::Never,
            is_unfenced: false,
        }
    }
}

/// What is to be done in a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// How the mesh is set up.
    pub setup: Setup,
    /// The faults, in order of their begin.
    pub faults: Vec<Fault>,
    /// A time in which more comes than usual.
    pub burst: Option<Burst>,
    /// What the run must keep within.
    pub bounds: Bounds,
}

/// The begin or the end of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// When.
    pub at: Duration,
    /// Which of the plan's faults.
    pub index: usize,
    /// The fault.
    pub fault: Fault,
    /// Whether it ends.
    pub is_end: bool,
}

impl Plan {
    /// Returns begins and ends of all faults, in order of time; ends go first.
    #[must_use]
    pub fn edges(&self) -> Vec<Edge> {
        let faults = self.faults.iter().copied().enumerate();
        let mut edges: Vec<_> = faults
            .flat_map(|(index, fault)| {
                let begin = Edge { at: fault.at, index, fault, is_end: false };
                [begin, Edge { at: fault.end(), is_end: true, ..begin }]
            })
            .collect();
        edges.sort_by_key(|edge| (edge.at, !edge.is_end, edge.index));
        edges
    }

    /// Adds one fault after the other, as long as the load lasts: the first after `first`, each
    /// next one `gap` after the end of the one before.
    pub fn repeat(&mut self, stage: &Stage, beat: &Beat, rng: &mut StdRng) {
        let mut at = beat.first;
        for turn in 0_usize.. {
            let lasting = draw(rng, &beat.lasting);
            if at + lasting >= stage.duration {
                break;
            }
            let target = if beat.in_turn { turn } else { rng.random_range(0..usize::MAX) };
            let target = target.checked_rem(stage.nodes).unwrap_or_default();
            self.faults.push(Fault { at, lasting, kind: beat.kind, target });
            at += lasting + beat.gap;
        }
    }
}

/// A fault that comes again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Which kind.
    pub kind: FaultKind,
    /// When it comes first.
    pub first: Duration,
    /// How long it lasts, in milliseconds.
    pub lasting: Range<u64>,
    /// How long until it comes again.
    pub gap: Duration,
    /// Whether nodes are hit in turn, rather than drawn.
    pub in_turn: bool,
}

/// Draws a time from a range of milliseconds.
pub(crate) fn draw(rng: &mut StdRng, range: &Range<u64>) -> Duration {
    let millis = if range.is_empty() { range.start } else { rng.random_range(range.clone()) };
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_comes_before_a_begin_of_the_same_moment() {
        let secs = Duration::from_secs;
        let fault = |at, lasting| Fault {
            at: secs(at),
            lasting: secs(lasting),
            kind: FaultKind::KillNode,
            target: 0,
        };
        let plan = Plan { faults: vec![fault(3, 2), fault(1, 2)], ..Plan::default() };
        let edges: Vec<_> =
            plan.edges().iter().map(|edge| (edge.at.as_secs(), edge.is_end)).collect();
        assert_eq!(edges, [(1, false), (3, true), (3, false), (5, true)]);
    }

    #[test]
    fn repeated_faults_end_before_the_load_does() {
        let stage = Stage { seed: 1, nodes: 3, duration: Duration::from_secs(20) };
        let mut plan = Plan::default();
        let beat = Beat {
            kind: FaultKind::DrainNode,
            first: Duration::from_secs(3),
            lasting: 1_000..1_001,
            gap: Duration::from_secs(2),
            in_turn: true,
        };
        plan.repeat(&stage, &beat, &mut stage.rng());
        let targets: Vec<_> = plan.faults.iter().map(|fault| fault.target).collect();
        assert_eq!(targets, [0, 1, 2, 0, 1, 2]);
        assert!(plan.faults.iter().all(|fault| fault.end() < stage.duration));
    }
}
