//! Doing to a mesh what its run has drawn, for as long as the load comes.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tapio_model::ShardId;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    gate::Fuse,
    node::SimNode,
    options::SimOptions,
    step::{Moment, Step},
    trouble::Trouble,
    weather::Weather,
    world::{Log, Why, World},
};

/// Does to a mesh what its run has drawn.
pub(super) struct Director {
    options: SimOptions,
    world: Arc<World>,
    pub(super) nodes: Vec<SimNode>,
    rng: StdRng,
}

impl Director {
    pub(super) fn new(options: SimOptions, world: Arc<World>, nodes: Vec<SimNode>) -> Self {
        let rng = StdRng::seed_from_u64(options.seed ^ 0xFA17);
        Self { options, world, nodes, rng }
    }

    /// Lets things go wrong for as long as the load comes.
    pub(super) async fn disturb(&mut self) {
        let acts = self.options.troubles.iter().copied().filter(|trouble| trouble.is_act());
        let acts: Vec<_> = acts.collect();
        let end = Instant::now() + self.options.duration;
        while Instant::now() < end {
            self.wait(50, 800).await;
            let has_fuse = self.options.has(Trouble::Fuse) && self.rng.random_range(0..4) == 0;
            let trouble =
                if has_fuse { Some(Trouble::Fuse) } else { acts.choose(&mut self.rng).copied() };
            if let Some(trouble) = trouble {
                self.act(trouble).await;
            }
            // A name that died comes back sooner or later.
            let number = self.rng.random_range(0..self.nodes.len());
            self.start(number);
        }
    }

    /// Lets everything be well again, but for fuses that still burn.
    pub(super) fn calm(&mut self) {
        let mut middle = self.world.middle();
        middle.weather = Weather::FAIR;
        middle.outage_until = None;
        drop(middle);
        for node in &mut self.nodes {
            node.resume();
            node.cut_off(false);
            node.start();
        }
    }

    /// Starts the nodes that have died, as whatever watches over processes does.
    pub(super) fn revive(&mut self) {
        self.nodes.iter_mut().for_each(SimNode::start);
    }

    fn start(&mut self, number: usize) {
        let has_fuses = self.options.has(Trouble::Fuse);
        let is_deadly = self.options.has(Trouble::Deadly);
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.is_dead()) else { return };
        node.start();
        // Claim, load and replay come at once or not at all.
        if has_fuses && self.rng.random_range(0..2) == 0 {
            let steps = [Step::Look, Step::Claim, Step::Load, Step::Replay];
            let step = steps.choose(&mut self.rng).copied().unwrap_or(Step::Claim);
            self.set_fuse(number, step, 4);
        }
        if has_fuses && is_deadly && self.rng.random_range(0..3) > 0 {
            self.set_fuse(number, Step::Announce, 1);
        }
    }

    async fn wait(&mut self, from_ms: u64, to_ms: u64) {
        sleep(Duration::from_millis(self.rng.random_range(from_ms..to_ms))).await;
    }

    fn set_fuse(&mut self, number: usize, step: Step, passes_max: u32) {
        let moments = [Moment::Before, Moment::After];
        let moment = moments.choose(&mut self.rng).copied().unwrap_or(Moment::Before);
        let passes = self.rng.random_range(1..=passes_max);
        if let Some(node) = self.nodes.get(number) {
            node.set_fuse(Fuse { step, moment, passes });
        }
    }

    async fn act(&mut self, trouble: Trouble) {
        let number = self.rng.random_range(0..self.nodes.len());
        debug!(trouble = trouble.name(), number, at = ?self.world.age(), "comes");
        match trouble {
            Trouble::Fuse => self.light_fuses(),
            Trouble::Kill => self.with(number, SimNode::kill),
            Trouble::Pause => {
                self.with(number, SimNode::pause);
                self.wait(100, 4_000).await;
                self.with(number, SimNode::resume);
            }
            Trouble::CutOff => {
                self.with(number, |node| node.cut_off(true));
                self.wait(100, 4_000).await;
                self.with(number, |node| node.cut_off(false));
            }
            Trouble::Leave => {
                self.light_release(number);
                self.with(number, SimNode::leave);
            }
            Trouble::Roll => {
                for number in 0..self.nodes.len() {
                    self.with(number, SimNode::leave);
                    self.wait(200, 900).await;
                    self.start(number);
                }
            }
            Trouble::HandOff => {
                self.light_release(number);
                let shard = ShardId::new(self.rng.random_range(0..self.options.shards));
                // Only its owner heeds it.
                self.nodes.iter().for_each(|node| node.hand_off(shard));
            }
            Trouble::Foul => self.blow(Weather::FOUL),
            Trouble::SlowChunks => self.blow(Weather::SLOW_CHUNKS),
            Trouble::Outage => self.cut_everybody_off(2_000),
            Trouble::LeaderChange => {
                self.cut_everybody_off(800);
                let behind_max = [100, 100, 1_500].choose(&mut self.rng).copied().unwrap_or(100);
                let behind = Duration::from_millis(self.rng.random_range(0..behind_max));
                self.world.middle().clock_behind = behind;
            }
            Trouble::KillAll => self.nodes.iter().for_each(SimNode::kill),
            Trouble::AgeOut => self.age_out().await,
            Trouble::ShortLog
            | Trouble::Repeat
            | Trouble::Garbage
            | Trouble::Panic
            | Trouble::Deadly
            | Trouble::Scarce => {}
        }
    }

    fn with(&self, number: usize, act: impl FnOnce(&SimNode)) {
        if let Some(node) = self.nodes.get(number) {
            act(node);
        }
    }

    /// Whoever comes to one of two steps next dies there.
    fn light_fuses(&mut self) {
        for _ in 0..2 {
            // Some steps are rarely come to at all.
            let rare =
                [Step::DeadLetter, Step::Sweep, Step::Sweep, Step::Trim, Step::Trim, Step::Hear];
            let steps = if self.rng.random_range(0..3) == 0 { &rare } else { Step::ALL };
            let step = steps.choose(&mut self.rng).copied().unwrap_or(Step::Cut);
            for number in 0..self.nodes.len() {
                self.set_fuse(number, step, 3);
            }
        }
    }

    fn light_release(&mut self, number: usize) {
        if self.options.has(Trouble::Fuse) && self.rng.random_range(0..3) == 0 {
            self.set_fuse(number, Step::Release, 2);
        }
    }

    /// Lets the weather change, or clear up.
    fn blow(&mut self, weather: Weather) {
        let mut middle = self.world.middle();
        let is_fair = middle.weather == Weather::FAIR;
        middle.weather = if is_fair { weather } else { Weather::FAIR };
    }

    fn cut_everybody_off(&mut self, ms_max: u64) {
        let lasting = Duration::from_millis(self.rng.random_range(50..ms_max));
        self.world.middle().outage_until = Some(Instant::now() + lasting);
    }

    /// Kills all nodes, and lets the log age out before anybody has read all of it.
    async fn age_out(&mut self) {
        self.nodes.iter().for_each(SimNode::kill);
        self.wait(200, 2_000).await;
        let mut middle = self.world.middle();
        let (first, last) = (middle.first_kept, middle.last(Log::Events));
        let upto = self.rng.random_range(first..=last.max(first) + 1);
        middle.age_out(upto, Why::Old);
    }
}
