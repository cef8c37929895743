//! Asks the owners of shards and keeps account of them: pure, time is an input.

use std::{collections::BTreeMap, time::Duration};

use tapio_model::{Coverage, Epoch, Item, Owner, ShardAnswer, ShardId, Text};

use super::Recalled;

#[cfg(test)]
mod tests;

/// How often a shard is asked about: once, and after two changes of hands.
pub const SCATTER_ASKS_MAX: u8 = 3;

/// One request to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u32);

/// Until when to wait, counted from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// When to answer with what there is.
    pub deadline: Duration,
    /// When to fetch copies from the roots of shards whose owners are slow; `None` if a copy is of
    /// no use, because something is to be done.
    pub hedge_at: Option<Duration>,
}

/// A request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Which.
    pub id: AskId,
    /// The shard on whose subject the owner hears it.
    pub via: ShardId,
    /// All shards it asks about.
    pub shards: Vec<ShardId>,
    /// The owner, as far as known.
    pub owner: Option<Text>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a request.
    Ask(Asking),
    /// Read a shard's root.
    Recall(ShardId),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An owner answered.
    Answered {
        /// The request.
        ask: AskId,
        /// One answer a shard.
        shards: Vec<ShardAnswer>,
    },
    /// Nobody listens where the request went.
    Unowned {
        /// The request.
        ask: AskId,
    },
    /// The request could not be sent, or was refused, or what came back is no answer.
    Failed {
        /// The request.
        ask: AskId,
    },
    /// A root was read, or could not be.
    Recalled {
        /// The shard.
        shard: ShardId,
        /// What it says.
        found: Option<Recalled>,
    },
    /// Time has passed.
    Tick,
}

/// What was gathered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gathered {
    /// Who answered.
    pub shards: Coverage,
    /// What was found, in order of shards.
    pub results: Vec<(ShardId, Vec<Item>)>,
    /// What was found and left out.
    pub omitted: u64,
}

/// What is known of one shard.
#[derive(Debug, Default)]
struct Slot {
    /// The highest epoch heard of: older answers do not count.
    epoch: Epoch,
    asks: u8,
    waits_for: Option<AskId>,
    known: Option<(Epoch, Vec<Item>, u64)>,
    root: Root,
}

/// Who is to hear a request.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Listener {
    Node(Text),
    Whoever(ShardId),
}

#[derive(Debug, Default)]
enum Root {
    #[default]
    Unread,
    Asked,
    Read(Option<Recalled>),
}

/// Asks the owners of shards, and keeps account of them.
///
/// # Invariant
/// Every shard that was expected ends in exactly one list of [`Gathered::shards`].
#[derive(Debug)]
pub struct Scatter {
    plan: Plan,
    slots: BTreeMap<ShardId, Slot>,
    vias: BTreeMap<AskId, ShardId>,
    has_hedged: bool,
    is_late: bool,
}

impl Scatter {
    /// Begins: one request for each owner that is known, and one for each shard without.
    #[must_use]
    pub fn begin(
        expected: impl IntoIterator<Item = ShardId>,
        owner_of: impl Fn(ShardId) -> Option<Owner>,
        plan: Plan,
    ) -> (Self, Vec<Effect>) {
        let mut scatter = Self {
            plan,
            slots: BTreeMap::new(),
            vias: BTreeMap::new(),
            has_hedged: false,
            is_late: false,
        };
        let mut askers = Vec::new();
        for shard in expected {
            let owner = owner_of(shard);
            let epoch = owner.as_ref().map_or(Epoch::default(), |owner| owner.epoch);
            scatter.slots.insert(shard, Slot { epoch, ..Slot::default() });
            askers.push((shard, owner.map(|owner| owner.node)));
        }
        let effects = scatter.ask(askers);
        (scatter, effects)
    }

    /// Takes in what happened by `now`.
    #[must_use]
    pub fn on(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        let mut effects = match input {
            Input::Answered { ask, shards } => self.answered(ask, shards),
            Input::Unowned { ask } => self.unowned(ask),
            Input::Failed { ask } => {
                // No second try: a node that is busy is not helped by it.
                self.slots_of(ask).for_each(|(_, slot)| slot.asks = SCATTER_ASKS_MAX);
                self.give_up(ask)
            }
            Input::Recalled { shard, found } => {
                if let Some(slot) = self.slots.get_mut(&shard) {
                    slot.root = Root::Read(found);
                }
                Vec::new()
            }
            Input::Tick => Vec::new(),
        };
        self.is_late |= now >= self.plan.deadline;
        if !self.has_hedged && self.plan.hedge_at.is_some_and(|at| now >= at) {
            self.has_hedged = true;
            effects.extend(self.recall(|slot| slot.known.is_none()));
        }
        effects
    }

    /// Returns when to come back with [`Input::Tick`] at the latest.
    #[must_use]
    pub fn wakes_at(&self) -> Duration {
        let hedge_at = self.plan.hedge_at.filter(|_| !self.has_hedged);
        hedge_at.map_or(self.plan.deadline, |at| at.min(self.plan.deadline))
    }

    /// Says whether nothing more is to be expected, or the time is up.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_late || self.slots.values().all(|slot| self.is_settled(slot))
    }

    /// Returns what was gathered.
    #[must_use]
    pub fn finish(self) -> Gathered {
        let mut gathered = Gathered::default();
        for (shard, slot) in self.slots {
            let (list, results, omitted) = match (slot.known, slot.root) {
                (Some((_, results, omitted)), _) => {
                    (&mut gathered.shards.answered, results, omitted)
                }
                (None, Root::Read(Some(root))) => {
                    (&mut gathered.shards.stale, root.results, root.omitted)
                }
                (None, Root::Read(None) | Root::Asked | Root::Unread) => {
                    (&mut gathered.shards.missing, Vec::new(), 0)
                }
            };
            list.push(shard);
            gathered.omitted += omitted;
            if !results.is_empty() {
                gathered.results.push((shard, results));
            }
        }
        gathered
    }

    fn is_settled(&self, slot: &Slot) -> bool {
        let has_copy = matches!(slot.root, Root::Read(_)) || self.plan.hedge_at.is_none();
        slot.known.is_some() || (slot.waits_for.is_none() && has_copy)
    }

    fn answered(&mut self, ask: AskId, shards: Vec<ShardAnswer>) -> Vec<Effect> {
        let mut askers = Vec::new();
        for answer in shards {
            let Some(slot) = self.slots.get_mut(&answer.shard()) else { continue };
            match answer {
                ShardAnswer::Known { epoch, results, omitted, .. } => {
                    slot.take(epoch, results, omitted);
                }
                ShardAnswer::Moved { shard, owner, epoch } => {
                    slot.epoch = slot.epoch.max(epoch);
                    // The hint is for whom it concerns: one request for all that moved to one node.
                    if slot.waits_for == Some(ask) && slot.known.is_none() {
                        slot.waits_for = None;
                        askers.push((shard, owner));
                    }
                }
            }
        }
        // A shard left out of the answer, or answered by an owner that was one, is asked by itself.
        for (shard, slot) in self.slots_of(ask) {
            slot.waits_for = None;
            askers.push((shard, None));
        }
        let mut effects = self.ask(askers);
        effects.extend(self.recall_lost());
        effects
    }

    fn unowned(&mut self, ask: AskId) -> Vec<Effect> {
        let via = self.vias.get(&ask).copied();
        if let Some(slot) = via.and_then(|via| self.slots.get_mut(&via)) {
            slot.asks = SCATTER_ASKS_MAX;
        }
        // The others were only thought to be of the same owner: each has a subject of its own.
        self.give_up(ask)
    }

    /// Stops waiting for a request: its shards are asked by themselves while they may be.
    fn give_up(&mut self, ask: AskId) -> Vec<Effect> {
        let mut askers = Vec::new();
        for (shard, slot) in self.slots_of(ask) {
            slot.waits_for = None;
            askers.push((shard, None));
        }
        let mut effects = self.ask(askers);
        effects.extend(self.recall_lost());
        effects
    }

    fn slots_of(&mut self, ask: AskId) -> impl Iterator<Item = (ShardId, &mut Slot)> {
        let waiting = self.slots.iter_mut().filter(move |(_, slot)| slot.waits_for == Some(ask));
        waiting.map(|(shard, slot)| (*shard, slot))
    }

    /// Asks about shards, together where one node owns several.
    fn ask(&mut self, askers: Vec<(ShardId, Option<Text>)>) -> Vec<Effect> {
        let mut groups: BTreeMap<Listener, Vec<ShardId>> = BTreeMap::new();
        for (shard, owner) in askers {
            let Some(slot) = self.slots.get(&shard) else { continue };
            if slot.asks < SCATTER_ASKS_MAX && slot.waits_for.is_none() {
                let listener = owner.map_or(Listener::Whoever(shard), Listener::Node);
                groups.entry(listener).or_default().push(shard);
            }
        }
        let mut effects = Vec::new();
        for (listener, shards) in groups {
            let owner = match listener {
                Listener::Node(node) => Some(node),
                Listener::Whoever(_) => None,
            };
            let Some(via) = shards.first().copied() else { continue };
            let id = AskId(u32::try_from(self.vias.len()).unwrap_or(u32::MAX));
            self.vias.insert(id, via);
            for shard in &shards {
                if let Some(slot) = self.slots.get_mut(shard) {
                    slot.asks += 1;
                    slot.waits_for = Some(id);
                }
            }
            effects.push(Effect::Ask(Asking { id, via, shards, owner }));
        }
        effects
    }

    /// Reads the roots of shards that nobody will answer for.
    fn recall_lost(&mut self) -> Vec<Effect> {
        self.recall(|slot| slot.known.is_none() && slot.waits_for.is_none())
    }

    fn recall(&mut self, wanted: impl Fn(&Slot) -> bool) -> Vec<Effect> {
        if self.plan.hedge_at.is_none() {
            return Vec::new();
        }
        let slots = self.slots.iter_mut();
        let unread = slots.filter(|(_, slot)| matches!(slot.root, Root::Unread) && wanted(slot));
        unread
            .map(|(shard, slot)| {
                slot.root = Root::Asked;
                Effect::Recall(*shard)
            })
            .collect()
    }
}

impl Slot {
    /// Takes an answer, unless the shard is known to have changed hands since.
    fn take(&mut self, epoch: Epoch, results: Vec<Item>, omitted: u64) {
        let is_newer = self.known.as_ref().is_none_or(|(known, _, _)| *known < epoch);
        if epoch >= self.epoch && is_newer {
            self.epoch = epoch;
            self.waits_for = None;
            self.known = Some((epoch, results, omitted));
        }
    }
}
