//! Owning one shard: claim, load, read again, take in, commit, let go.

mod caution;
mod claim;
mod intake;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use futures::{StreamExt as _, future::OptionFuture, stream::FuturesUnordered};
use tapio_bus::{FabricError, LogEntry, LogReader, SharedFabric};
use tapio_engine::{Question, Rules};
use tapio_model::{Ledger, Mark, ShardId, StoryId, Timestamp};
use tapio_shard::{NodeId, PieceKey, Root, ShardCount};
use tapio_telemetry::Telemetry;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{Instrument as _, debug, error_span, warn};

use self::caution::Caution;
use self::claim::claim;
use crate::{
    AskRelated, Brain, BrainGone, Dropped, IncidentShard, OwnerFigures, OwnerLimits, Related,
    Sabotage,
    commit::Committer,
    draft::Intake,
    load::{self, Log, Source},
    trails::Trails,
};

/// What the owner of a shard is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Own it.
    Own,
    /// Let it go: write a last root that says so, deliver, and end.
    Release,
}

/// How far an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// It waits until the shard is free.
    #[default]
    Waiting,
    /// It has claimed the shard and fetches its state.
    Loading,
    /// It takes events in.
    Owning,
    /// It has let go, or lost the shard.
    Over,
}

/// What others may know of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerStatus {
    /// How far it is.
    pub phase: Phase,
    /// The epoch of its claim.
    pub epoch: u64,
    /// The last entry it took in.
    pub processed: u64,
    /// The time of that entry.
    pub now: Timestamp,
    /// Entries that waited behind it.
    pub waiting: u64,
    /// What became of its events, as of the last commit.
    pub ledger: Ledger,
    /// How many traces lived then.
    pub live_traces: u64,
    /// How much lay in the outbox then.
    pub outbox: u64,
}

/// How owning ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The shard was let go as ordered, or never claimed.
    Released,
    /// Another owner has it, or the middle refuses.
    Dropped(Dropped),
    /// What thinks for the shard is gone; the shard can be claimed again.
    BrainGone,
}

type IsDead = Arc<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// Everything an owner needs but its brain.
pub struct OwnerParts {
    /// The durable middle.
    pub fabric: SharedFabric,
    /// The shard.
    pub shard: ShardId,
    /// How many there are.
    pub shards: ShardCount,
    /// Who owns.
    pub me: NodeId,
    /// By what is judged: the limits of one shard.
    pub rules: Arc<Rules>,
    /// Bounds and times.
    pub limits: OwnerLimits,
    /// Says whether a node is known to be dead.
    pub is_dead: IsDead,
    /// Held while an entry is tried that may end the process: one at a time in it, so that it is
    /// known whose it was.
    pub care: Arc<Mutex<()>>,
    /// Asks other shards.
    pub ask: Arc<dyn AskRelated>,
    /// What to do.
    pub order: watch::Receiver<Order>,
    /// Where others see how far it is.
    pub status: watch::Sender<OwnerStatus>,
    /// Where it counts.
    pub figures: Arc<OwnerFigures>,
    /// Where its spans go.
    pub telemetry: Telemetry,
}

impl std::fmt::Debug for OwnerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnerParts").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// Owns a shard until it is ordered to let go, or loses it.
///
/// # Cancel safety
/// Dropping the future at any point is a crash: the next owner goes on from the last root, nothing
/// is lost and nothing told twice.
pub async fn own<B: Brain>(mut parts: OwnerParts, brain: B) -> Ended {
    let mut order = parts.order.clone();
    // Of the highest level, so that every line says which shard it is about, whatever is logged.
    let lines = error_span!("owner", shard = %parts.shard);
    let owning = async {
        match claim(&mut parts).await {
            Ok(Some(committer)) => match Owner::load(&parts, committer, brain).await {
                Ok(owner) => owner.run(&mut order).await,
                Err(ended) => ended,
            },
            Ok(None) => Ended::Released,
            Err(dropped) => Ended::Dropped(dropped),
        }
    };
    let ended = owning.instrument(lines).await;
    parts.status.send_modify(|status| status.phase = Phase::Over);
    ended
}

type Answer = (StoryId, Related);
type Committed = (Committer, Result<(), Dropped>);

/// An owner at work.
struct Owner<'a, B> {
    parts: &'a OwnerParts,
    brain: B,
    /// `None` while a commit is on its way.
    committer: Option<Committer>,
    events: Box<dyn LogReader>,
    findings: Box<dyn LogReader>,
    intake: Intake,
    /// The last message of each shard that was taken in.
    heard: BTreeMap<ShardId, u64>,
    trails: Trails,
    answers: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + 'a>>>,
    /// The engine's time as far as the shard has come.
    now: Timestamp,
    processed: u64,
    /// Events taken in that no root knows of.
    uncommitted: u64,
    /// Whether anything changed since the last cut.
    is_changed: bool,
    /// Whether the next entry may be what ends processes: then it waits for the root.
    caution: Option<Caution>,
    committed_at: Instant,
    heard_at: Instant,
    looked_at: Instant,
    /// Entries that waited behind the last one that was read.
    waiting: u64,
    next: Option<LogEntry>,
}

impl<'a, B: Brain> Owner<'a, B> {
    /// Fetches the state, reads the log again, and delivers what the last owner had decided.
    async fn load(
        parts: &'a OwnerParts,
        mut committer: Committer,
        mut brain: B,
    ) -> Result<Self, Ended> {
        let (limits, figures) = (&parts.limits, &*parts.figures);
        let root = committer.root.clone();
        parts.status.send_modify(|status| {
            (status.phase, status.epoch) = (Phase::Loading, root.epoch);
        });
        let fabric = &*parts.fabric;
        let source = Source { fabric, shard: parts.shard, limits, figures };
        let state = load::fetch(&root, fabric, limits).await.map_err(Ended::Dropped)?;
        figures.missing_parts.add(state.missing.len() as u64);
        for lost in &state.missing {
            committer.root.pieces.remove(lost);
        }
        let from = root.low.sequence.min(root.processed + 1);
        let open = async |log, from| source.open(log, from).await.map_err(Ended::Dropped);
        let mut events = open(Log::Events, from).await?;
        let findings = open(Log::Findings, root.findings_read + 1).await?;
        let mut intake = Intake {
            findings_read: root.findings_read,
            processed: root.processed,
            ..Intake::default()
        };
        // What was gone before anybody owned the shard was nobody's to read.
        let is_gap = |first_kept: u64, read: u64| first_kept > read + 1 && root.epoch > 1;
        let gaps = u64::from(is_gap(events.first_kept(), root.processed))
            + u64::from(is_gap(findings.first_kept(), root.findings_read));
        if gaps > 0 {
            warn!(shard = %parts.shard, gaps, "the log has aged out before it was read");
            figures.unread_gaps.add(gaps);
            intake.unread_gaps = gaps;
        }
        // Once is enough: what has aged out is behind now.
        intake.processed = intake.processed.max(events.first_kept().saturating_sub(1));
        intake.findings_read = intake.findings_read.max(findings.first_kept().saturating_sub(1));
        let rules = Arc::clone(&parts.rules);
        let replayed = load::replay(&root, state.shard, rules, &mut events, source).await;
        let replayed = replayed.map_err(Ended::Dropped)?;
        let incidents =
            IncidentShard::restore(parts.shard, Arc::clone(&parts.rules), state.incidents);
        brain.adopt(replayed.shard, incidents).await.map_err(|BrainGone| Ended::BrainGone)?;
        committer.deliver().await.map_err(Ended::Dropped)?;
        let instant = Instant::now();
        let caution = Caution::of(&root);
        Ok(Self {
            parts,
            brain,
            committer: Some(committer),
            events,
            findings,
            processed: intake.processed,
            intake,
            heard: match limits.breaks(Sabotage::ForgetReceived) {
                true => BTreeMap::new(),
                false => root.received,
            },
            trails: Trails::default(),
            answers: FuturesUnordered::new(),
            now: root.now,
            uncommitted: 0,
            is_changed: gaps > 0,
            caution,
            committed_at: instant,
            heard_at: instant,
            looked_at: instant,
            waiting: replayed.waiting,
            next: replayed.next,
        })
    }

    /// Works until ordered to let go, or until the shard is lost.
    async fn run(mut self, order: &mut watch::Receiver<Order>) -> Ended {
        self.show(Phase::Owning, 0);
        if let Some(committer) = &self.committer {
            self.show_books(&committer.root);
        }
        match self.work(order).await {
            Ok(()) => match self.release().await {
                Ok(()) => Ended::Released,
                Err(ended) => ended,
            },
            Err(ended) => ended,
        }
    }

    async fn work(&mut self, order: &mut watch::Receiver<Order>) -> Result<(), Ended> {
        let mut look = interval(self.parts.limits.look_every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commit: OptionFuture<Pin<Box<dyn Future<Output = Committed>>>> = None.into();
        let is_released = |order: &Order| *order == Order::Release;
        loop {
            self.caution.take_if(|caution| caution.is_over());
            let lets_in = |is_event| match &self.caution {
                Some(caution) => self.committer.is_some() && caution.lets_in(is_event),
                None => true,
            };
            let (is_heard, is_read) = (lets_in(false), lets_in(true) && self.has_room());
            tokio::select! {
                biased;
                released = order.wait_for(is_released) => {
                    // Who gives the orders is gone: so is the node.
                    drop(released);
                    if let Some((committer, committed)) = commit.await {
                        self.committer = Some(committer);
                        committed.map_err(Ended::Dropped)?;
                    }
                    return Ok(());
                }
                Some((committer, committed)) = &mut commit => {
                    commit = None.into();
                    self.show_books(&committer.root);
                    self.committer = Some(committer);
                    committed.map_err(Ended::Dropped)?;
                }
                Some((story, related)) = self.answers.next() => {
                    self.is_changed = true;
                    self.brain.answer(story, related, self.now).await?;
                }
                _ = look.tick() => {
                    self.pass().await?;
                    if let Some(writing) = self.begin_commit().await? {
                        commit = Some(writing).into();
                    }
                }
                entry = self.findings.next(), if is_heard => {
                    self.hear(entry.map_err(|why| refused(&why))?).await?;
                }
                entry = next(&mut self.next, &mut self.events), if is_read => {
                    self.take_in(entry.map_err(|why| refused(&why))?).await?;
                    if self.uncommitted >= self.parts.limits.commit_events
                        && let Some(writing) = self.begin_commit().await?
                    {
                        commit = Some(writing).into();
                    }
                }
            }
        }
    }

    /// Lets time pass where no entry brings it along, and asks what is to be asked.
    async fn pass(&mut self) -> Result<(), Ended> {
        // Who was stopped has not heard what came meanwhile: that brings its own time along.
        if self.looked_at.elapsed() >= self.parts.limits.idle {
            self.heard_at = Instant::now();
        }
        self.looked_at = Instant::now();
        let Some(time) = self.parts.fabric.log_time() else { return Ok(()) };
        // The incidents' time passes too; that of the traces is the log's, unless that is silent. An
        // entry that nobody can read moves the log's time and not the brain's.
        let time = if self.is_idle() { time.max(self.now) } else { self.now };
        if self.brain.advance(time).await? {
            self.now = time;
            self.is_changed = true;
            self.intake.ticks.push(Mark { sequence: self.processed, now: time });
        }
        for question in self.brain.take_questions().await? {
            self.parts.figures.questions.add(1);
            self.answers.push(Box::pin(ask(self.parts, question)));
        }
        Ok(())
    }

    /// Says whether the log has nothing more to say for now. What waits in it, or is held back here,
    /// must find its own time.
    fn is_idle(&self) -> bool {
        let (limits, silence) = (&self.parts.limits, self.heard_at.elapsed());
        let is_silent = silence >= if self.waiting > 0 { limits.replay_wait } else { limits.idle };
        is_silent && self.has_room()
    }

    const fn has_room(&self) -> bool {
        self.uncommitted < self.parts.limits.uncommitted_events_max
    }

    /// Begins a commit if there is news that a person waits for, or something changed and it is time.
    async fn begin_commit(
        &mut self,
    ) -> Result<Option<Pin<Box<dyn Future<Output = Committed>>>>, Ended> {
        if self.committer.is_none() {
            return Ok(None);
        }
        let limits = &self.parts.limits;
        let is_time = self.is_changed && self.committed_at.elapsed() >= limits.commit_every;
        let is_much = self.uncommitted >= limits.commit_events;
        if !is_time && !is_much && !self.brain.has_news().await? {
            return Ok(None);
        }
        let Some(mut committer) = self.committer.take() else { return Ok(None) };
        let old = self.old(&committer.root);
        let cut = self.brain.cut(old).await?;
        let draft = committer.draft(cut, self.intake.take(), (Order::Own, &self.trails));
        (self.uncommitted, self.is_changed) = (0, false);
        self.committed_at = Instant::now();
        let outbox = draft.root.outbox.len() as u64;
        self.parts.status.send_modify(|status| status.outbox = outbox);
        Ok(Some(Box::pin(async move {
            let committed = committer.commit(draft).await;
            (committer, committed)
        })))
    }

    /// Traces that need the log from before this time are to be written down.
    fn old(&self, root: &Root) -> Timestamp {
        let written = root.pieces.keys().filter(|key| matches!(key, PieceKey::Trace(_))).count();
        if written >= self.parts.limits.written_traces_max {
            return Timestamp::MIN;
        }
        self.now.before(self.parts.limits.write_after)
    }

    /// Writes a last root that lets the shard go, and delivers what it decided.
    async fn release(&mut self) -> Result<(), Ended> {
        self.commit_now(Order::Release).await?;
        self.parts.figures.handoffs.add(1);
        debug!(shard = %self.parts.shard, "let go");
        Ok(())
    }

    /// Commits and delivers, and takes nothing in before that is done.
    async fn commit_now(&mut self, order: Order) -> Result<(), Ended> {
        let Some(mut committer) = self.committer.take() else { return Ok(()) };
        let cut = self.brain.cut(self.old(&committer.root)).await?;
        let draft = committer.draft(cut, self.intake.take(), (order, &self.trails));
        (self.uncommitted, self.is_changed) = (0, false);
        self.committed_at = Instant::now();
        committer.commit(draft).await.map_err(Ended::Dropped)?;
        self.committer = Some(committer);
        Ok(())
    }

    fn show_books(&self, root: &Root) {
        self.parts.status.send_modify(|status| {
            status.ledger = root.ledger;
            status.live_traces = root.live_traces;
            status.outbox = root.outbox.len() as u64;
        });
    }

    fn show(&self, phase: Phase, waiting: u64) {
        let (processed, now) = (self.processed, self.now);
        self.parts.status.send_modify(|status| {
            *status = OwnerStatus { phase, processed, now, waiting, ..*status };
        });
    }
}

impl From<BrainGone> for Ended {
    fn from(_: BrainGone) -> Self {
        Self::BrainGone
    }
}

/// Returns the entry that was read already, or waits for one.
async fn next(
    read: &mut Option<LogEntry>,
    log: &mut Box<dyn LogReader>,
) -> Result<LogEntry, FabricError> {
    match read.take() {
        Some(entry) => Ok(entry),
        None => log.next().await,
    }
}

fn refused(why: &FabricError) -> Ended {
    Ended::Dropped(Dropped::Refused(why.to_string()))
}

async fn ask(parts: &OwnerParts, question: Question) -> Answer {
    let Question { story, entities, at } = question;
    (story, parts.ask.related(parts.shard, &entities, at).await)
}

#[cfg(test)]
mod tests;
