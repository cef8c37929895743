//! Keeping a node's share of the shards: hears who lives, places, claims, lets go.

mod listener;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::OptionFuture, stream::FuturesUnordered};
use tapio_bus::{Beat, FabricError, Revision, SharedFabric};
use tapio_engine::Rules;
use tapio_model::{ShardId, Text};
use tapio_shard::{
    Heard, Life, MemberLimits, Members, NodeId, NodeState, PlacementLimits, ShardCount, SignOfLife,
    place,
};
use tapio_telemetry::Telemetry;
use tapio_wire::{decode_sign_of_life, encode_sign_of_life};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

use self::listener::Listener;
pub use self::view::{MeshView, ShardOwner};
use crate::{
    AskRelated, Ended, Order, OwnerFigures, OwnerLimits, OwnerParts, OwnerStatus, Phase, trim::trim,
};

/// How long a shard that was handed off is left to others.
const HANDOFF_REST: Duration = Duration::from_secs(2);

/// How often the log is trimmed: at the highest rate it grows by a few per cent in between.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// An owner that was started.
#[derive(Debug)]
pub struct Running {
    /// Tells how it ended; closed if what ran it is gone. Dropping this stops the owner.
    pub ended: oneshot::Receiver<Ended>,
}

/// Starts owners: on actors' threads, or in a simulated world.
pub trait Hands: Send + Sync + fmt::Debug {
    /// Starts an owner. It runs until it ends or what is returned is dropped.
    fn start(&self, parts: OwnerParts) -> Running;
}

/// Times of a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperLimits {
    /// How often a sign of life is given.
    pub beat_every: Duration,
    /// How often is looked whether the shards are placed as they should be, beside every time that
    /// something changed.
    pub decide_every: Duration,
    /// How long a shard is left alone after its owner ended otherwise than ordered.
    pub rest: Duration,
    /// How long leaving may take.
    pub leave_max: Duration,
    /// Who counts as alive.
    pub members: MemberLimits,
    /// How shards are placed.
    pub placement: PlacementLimits,
}

impl Default for KeeperLimits {
    fn default() -> Self {
        Self {
            beat_every: Duration::from_millis(250),
            decide_every: Duration::from_millis(100),
            rest: Duration::from_millis(100),
            leave_max: Duration::from_secs(10),
            members: MemberLimits::default(),
            placement: PlacementLimits::default(),
        }
    }
}

/// What a keeper needs.
#[derive(Debug)]
pub struct KeeperParts {
    /// The durable middle.
    pub fabric: SharedFabric,
    /// Who this is.
    pub me: NodeId,
    /// How much it takes, relative to the others.
    pub capacity: u32,
    /// Which version it runs.
    pub version: Text,
    /// How many shards there are.
    pub shards: ShardCount,
    /// By what is judged: the limits of one shard.
    pub rules: Arc<Rules>,
    /// Bounds and times of owners.
    pub owner_limits: OwnerLimits,
    /// Times of the keeper.
    pub limits: KeeperLimits,
    /// Asks other shards.
    pub ask: Arc<dyn AskRelated>,
    /// Starts owners.
    pub hands: Arc<dyn Hands>,
    /// Turns true once the node is to leave.
    pub leave: watch::Receiver<bool>,
    /// Where others see how the mesh looks from here.
    pub view: watch::Sender<MeshView>,
    /// Shards that are to be let go once, for whoever should have them.
    pub handoffs: mpsc::Receiver<ShardId>,
    /// Where the owners count.
    pub figures: Arc<OwnerFigures>,
    /// Where their spans go.
    pub telemetry: Telemetry,
}

struct Held {
    order: watch::Sender<Order>,
    status: watch::Receiver<OwnerStatus>,
}

type Ends = FuturesUnordered<Pin<Box<dyn Future<Output = (ShardId, Option<Ended>)> + Send>>>;
type Beating = Pin<Box<dyn Future<Output = Result<Revision, FabricError>> + Send>>;

struct Keeper {
    parts: KeeperParts,
    began: Instant,
    members: Arc<Mutex<Members>>,
    state: NodeState,
    held: BTreeMap<ShardId, Held>,
    ends: Ends,
    rests: BTreeMap<ShardId, Instant>,
    /// Shards whose root may still name this boot though nobody here works on them.
    unreleased: BTreeSet<ShardId>,
    /// Whether the last sign of life was not heard: then all others count anew once it is.
    is_cut_off: bool,
    /// When a sign of life was last heard.
    beaten_at: Instant,
    /// Whether it knows who else is there. Without that nobody is dead for it.
    knows: Arc<AtomicBool>,
    is_beating: bool,
    /// See [`OwnerParts::care`].
    care: Arc<tokio::sync::Mutex<()>>,
}

/// Keeps the node's share of the shards until it is told to leave, then hands everything over.
///
/// # Cancel safety
/// Dropping the future is a crash: others take over after their TTL.
pub async fn keep(parts: KeeperParts) {
    let members = Arc::new(Mutex::new(Members::new(parts.limits.members)));
    let mut keeper = Keeper {
        parts,
        began: Instant::now(),
        members,
        state: NodeState::Joining,
        held: BTreeMap::new(),
        ends: FuturesUnordered::new(),
        rests: BTreeMap::new(),
        unreleased: BTreeSet::new(),
        is_cut_off: false,
        beaten_at: Instant::now(),
        knows: Arc::default(),
        is_beating: false,
        care: Arc::default(),
    };
    keeper.run().await;
    keeper.leave().await;
}

impl Keeper {
    async fn run(&mut self) {
        let mut leave = self.parts.leave.clone();
        let mut beat = interval(self.parts.limits.beat_every);
        let mut decide = interval(self.parts.limits.decide_every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        decide.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trim_tick = interval(TRIM_EVERY);
        trim_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trimming: OptionFuture<Pin<Box<dyn Future<Output = ()> + Send>>> = None.into();
        let mut beating: OptionFuture<Beating> = None.into();
        let mut beats = Listener::new(Arc::clone(&self.parts.fabric));
        loop {
            tokio::select! {
                biased;
                told = leave.wait_for(|leaves| *leaves) => {
                    drop(told);
                    return;
                }
                Some(beaten) = &mut beating => {
                    beating = None.into();
                    self.is_beating = false;
                    self.beaten(&beaten);
                }
                _ = beat.tick() => {
                    // One at a time: what hangs is not helped by more of it.
                    if !self.is_beating {
                        self.is_beating = true;
                        beating = Some(self.beat()).into();
                    }
                }
                Some(()) = &mut trimming => trimming = None.into(),
                _ = trim_tick.tick() => {
                    if self.is_trimmer() {
                        let fabric = Arc::clone(&self.parts.fabric);
                        let begun: Pin<Box<dyn Future<Output = ()> + Send>> =
                            Box::pin(trim(fabric, self.parts.shards));
                        trimming = Some(begun).into();
                    }
                }
                Some((shard, ended)) = self.ends.next() => self.ended(shard, ended),
                heard = beats.next() => {
                    if self.hear(&heard) {
                        self.decide();
                    }
                }
                Some(shard) = self.parts.handoffs.recv() => self.hand_off(shard),
                _ = decide.tick() => self.decide(),
            }
        }
    }

    /// One node of the mesh trims: the owner of the first shard.
    fn is_trimmer(&self) -> bool {
        let held = self.held.get(&ShardId::new(0));
        held.is_some_and(|held| held.status.borrow().phase == Phase::Owning)
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) -> Beating {
        let held = self.held.iter().filter_map(|(shard, held)| {
            let status = held.status.borrow();
            (status.epoch > 0).then_some((*shard, status.epoch))
        });
        let sign = SignOfLife {
            node: self.parts.me.clone(),
            capacity: self.parts.capacity,
            state: self.state,
            held: held.collect(),
            version: self.parts.version.clone(),
        };
        let fabric = Arc::clone(&self.parts.fabric);
        let (name, body) = (self.parts.me.name.clone(), Bytes::from(encode_sign_of_life(&sign)));
        Box::pin(async move { fabric.beat(&name, body).await })
    }

    fn beaten(&mut self, beaten: &Result<Revision, FabricError>) {
        match beaten {
            Ok(_) => {
                // Who was not heard for a TTL may not have heard the others either: the writes of all
                // go to one place.
                if self.is_unheard() {
                    let at = self.began.elapsed();
                    self.members().reconnected(at);
                    info!("heard again: watching the others anew");
                }
                self.is_cut_off = false;
                self.beaten_at = Instant::now();
            }
            Err(why) => {
                if !self.is_cut_off {
                    warn!(%why, "a sign of life was not heard");
                }
                self.is_cut_off = true;
            }
        }
    }

    /// Says whether the others may hold this node for dead.
    fn is_unheard(&self) -> bool {
        self.is_cut_off || self.beaten_at.elapsed() >= self.parts.limits.members.ttl
    }

    /// Hears a sign of life. Says whether it may change who owns what.
    fn hear(&self, beat: &Beat) -> bool {
        let sign = if beat.body.is_empty() {
            None
        } else {
            match decode_sign_of_life(&beat.body) {
                Ok(sign) => Some(sign),
                Err(why) => {
                    warn!(node = %beat.node, %why, "an unreadable sign of life");
                    return false;
                }
            }
        };
        let is_leaving = sign.as_ref().is_some_and(|sign| sign.state == NodeState::Leaving);
        let at = self.began.elapsed();
        let heard = self.members().hear(&beat.node, beat.revision.0, sign, at);
        is_leaving || !matches!(heard, Heard::Moved | Heard::Stale)
    }

    /// Claims what should be here and lets go what should not.
    fn decide(&mut self) {
        let at = self.began.elapsed();
        let (is_settled, view) = {
            let mut members = self.members();
            members.attend(at);
            (members.is_settled(at), self.look(&members, at))
        };
        // Who is not heard, or does not even hear itself, knows nothing of the others: it takes
        // nothing, and keeps what it holds. The roots say who is right.
        let me = &self.parts.me.name;
        let hears_itself = view.candidates.iter().any(|candidate| candidate.node.name == *me);
        let knows = is_settled && hears_itself && !self.is_unheard();
        self.knows.store(knows, Ordering::Relaxed);
        let wanted = if knows && self.state == NodeState::Ready {
            let current = view.owners.iter().map(|(shard, owner)| (*shard, owner.node.clone()));
            let current = current.collect();
            let placement = &self.parts.limits.placement;
            Some(place(self.parts.shards, &view.candidates, &current, placement))
        } else {
            None
        };
        if is_settled && self.state == NodeState::Joining {
            self.state = NodeState::Ready;
        }
        self.parts.view.send_replace(view);
        let Some(placed) = wanted else { return };
        let me = self.parts.me.name.clone();
        for shard in self.parts.shards.shards() {
            let is_mine = placed.get(&shard).is_some_and(|node| node.name == me);
            match (is_mine, self.held.get(&shard)) {
                (true, None) => self.start(shard, Order::Own),
                (false, None) if self.unreleased.contains(&shard) => {
                    self.start(shard, Order::Release);
                }
                (false, Some(held)) => {
                    held.order.send_replace(Order::Release);
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    /// Lets a shard go. If it is still placed here after the rest, it is claimed again.
    fn hand_off(&mut self, shard: ShardId) {
        if let Some(held) = self.held.get(&shard) {
            held.order.send_replace(Order::Release);
            self.rests.insert(shard, Instant::now() + HANDOFF_REST);
        }
    }

    fn look(&self, members: &Members, at: Duration) -> MeshView {
        let statuses = self.held.iter().map(|(shard, held)| (*shard, *held.status.borrow()));
        let live: Vec<_> = members.live(at).cloned().collect();
        MeshView::new(
            self.state,
            self.is_cut_off,
            &live,
            statuses.collect(),
            members.candidates(at),
        )
    }

    fn start(&mut self, shard: ShardId, first: Order) {
        if self.rests.get(&shard).is_some_and(|until| *until > Instant::now()) {
            return;
        }
        let (order, ordered) = watch::channel(first);
        let (status, seen) = watch::channel(OwnerStatus::default());
        let (members, began) = (Arc::clone(&self.members), self.began);
        let knows = Arc::clone(&self.knows);
        let is_dead = move |node: &NodeId| {
            if !knows.load(Ordering::Relaxed) {
                return false;
            }
            let members = members.lock().unwrap_or_else(PoisonError::into_inner);
            members.life_of(node, began.elapsed()) == Life::Dead
        };
        let running = self.parts.hands.start(OwnerParts {
            fabric: Arc::clone(&self.parts.fabric),
            shard,
            shards: self.parts.shards,
            me: self.parts.me.clone(),
            rules: Arc::clone(&self.parts.rules),
            limits: self.parts.owner_limits.clone(),
            is_dead: Arc::new(is_dead),
            care: Arc::clone(&self.care),
            ask: Arc::clone(&self.parts.ask),
            order: ordered,
            status,
            figures: Arc::clone(&self.parts.figures),
            telemetry: self.parts.telemetry.clone(),
        });
        self.ends.push(Box::pin(async move { (shard, running.ended.await.ok()) }));
        self.held.insert(shard, Held { order, status: seen });
    }

    fn ended(&mut self, shard: ShardId, ended: Option<Ended>) {
        self.held.remove(&shard);
        match ended {
            Some(Ended::Released) => {
                self.unreleased.remove(&shard);
                info!(%shard, "released");
                return;
            }
            Some(Ended::Dropped(why)) => warn!(%shard, %why, "dropped"),
            Some(Ended::BrainGone) | None => warn!(%shard, "its brain is gone: claiming it anew"),
        }
        self.unreleased.insert(shard);
        self.rests.insert(shard, Instant::now() + self.parts.limits.rest);
    }

    /// Hands everything over and signs off.
    async fn leave(&mut self) {
        self.state = NodeState::Leaving;
        let patience = self.parts.limits.beat_every;
        for held in self.held.values() {
            held.order.send_replace(Order::Release);
        }
        // The others may claim what is released only once they know that this node takes nothing.
        drop(timeout(patience, self.beat()).await);
        let leave_max = self.parts.limits.leave_max;
        let leaving = async {
            while let Some((shard, ended)) = self.ends.next().await {
                self.ended(shard, ended);
            }
        };
        if timeout(leave_max, leaving).await.is_err() {
            warn!(shards = self.held.len(), "left without handing everything over");
        }
        let off = self.parts.fabric.beat(&self.parts.me.name, Bytes::new());
        drop(timeout(patience, off).await);
        self.parts.view.send_modify(|view| view.held.clear());
    }
}
