//! What a node of the mesh shows of itself.

use std::{sync::Arc, time::Duration};

use tapio_actors::OpenIncidents;
use tapio_bus::Fabric as _;
use tapio_model::Ledger;
use tapio_nats::{AsyncEvent, BusFigures, Connection, FabricFigures, NatsFabric, ServiceFigures};
use tapio_owner::{MeshView, OwnerFigures, Phase, TakenIn};
use tapio_telemetry::{
    CommitResult, FindingFate, Label, Meters, Metric, NatsErrorKind, RequestOp, RequestResult,
    Sheet,
};
use tokio::sync::watch;

use super::samples::Samples;

/// Where the figures are kept.
pub(super) struct Sources {
    pub(super) owner: Arc<OwnerFigures>,
    pub(super) view: watch::Receiver<MeshView>,
    pub(super) index: Arc<OpenIncidents>,
    pub(super) samples: Arc<Samples>,
    pub(super) connection: Connection,
    pub(super) fabric: Arc<NatsFabric>,
    /// The bus that events go to which a request delivers.
    pub(super) bus: Box<dyn Fn() -> BusFigures + Send + Sync>,
    pub(super) service: Box<dyn Fn() -> ServiceFigures + Send + Sync>,
}

/// Lets everything be read whenever somebody looks, for as long as the process lives.
pub(super) fn observe(meters: &Meters, sources: Sources) {
    let durations = meters.histogram(Metric::CommitDuration, ());
    // Set before means that these owners are measured already.
    drop(sources.owner.commit_duration.set(durations));
    let arrivals = Arc::new(meters.histogram(Metric::PublishToActor, ()));
    let clock = Arc::clone(&sources.fabric);
    sources.owner.intake.add(move |batch| {
        let (arrivals, clock) = (Arc::clone(&arrivals), Arc::clone(&clock));
        let handed_over = batch.time;
        TakenIn::new(move || {
            // The log's clock: nothing in a node reads the wall clock.
            if let Some(now) = clock.log_time() {
                arrivals.record(now.since(handed_over));
            }
        })
    });
    let observer = meters.observe_all(move |sheet| {
        sources.shards(sheet);
        sources.actors(sheet);
        owners(&sources.owner, sheet);
        sources.middle(sheet);
        delivered((sources.bus)(), sheet);
        turned_away((sources.service)(), sheet);
    });
    observer.keep();
}

impl Sources {
    fn shards(&self, sheet: &mut Sheet) {
        let view = self.view.borrow();
        let now = self.fabric.log_time();
        let mut ledger = Ledger::default();
        let (mut traces, mut outbox, mut owned) = (0, 0, 0_u64);
        let mut lag = Duration::ZERO;
        for status in view.held.values() {
            ledger.add(&status.ledger);
            traces += status.live_traces;
            outbox += status.outbox;
            owned += u64::from(status.phase == Phase::Owning);
            if let Some(now) = now.filter(|_| status.waiting > 0) {
                lag = lag.max(now.since(status.now));
            }
        }
        sheet.set_ledger(&ledger);
        sheet.set(Metric::LiveTraces, (), traces);
        sheet.set(Metric::OutboxParcels, (), outbox);
        sheet.set(Metric::OwnedShards, (), owned);
        sheet.set(Metric::LogLag, (), lag);
        sheet.set(Metric::OpenIncidents, (), self.index.len() as u64);
    }

    fn actors(&self, sheet: &mut Sheet) {
        let stats = self.samples.total();
        for (metric, value) in [
            (Metric::LiveActors, stats.live_actors),
            (Metric::LiveBytes, stats.live_bytes),
            (Metric::WaitingEvents, stats.waiting_events),
            (Metric::Restarts, stats.restarts),
            (Metric::Quarantined, stats.quarantined),
            (Metric::RefusedWakes, stats.wakes_refused),
        ] {
            sheet.set(metric, (), value);
        }
    }

    /// What the durable middle and the way there did.
    fn middle(&self, sheet: &mut Sheet) {
        let connection = self.connection.figures();
        sheet.set(Metric::NatsReconnects, (), connection.reconnects());
        for told in AsyncEvent::ALL {
            if let Some(kind) = error_kind(told) {
                sheet.set(Metric::NatsErrors, Label::NatsError(kind), connection.of(told));
            }
        }
        let FabricFigures {
            reopened_gap,
            reopened_silent,
            reopened_gone,
            reopened_moved,
            reopened_reconnected,
            ..
        } = self.fabric.figures();
        let recreated = reopened_silent + reopened_gone + reopened_moved + reopened_reconnected;
        sheet.set(Metric::LogGaps, (), reopened_gap);
        sheet.set(Metric::ReadersRecreated, (), recreated);
        sheet.set(Metric::CircuitOpen, (), self.fabric.is_open());
    }
}

fn owners(owner: &OwnerFigures, sheet: &mut Sheet) {
    for (metric, count) in [
        (Metric::ReceivedEvents, &owner.events),
        (Metric::Claims, &owner.claims),
        (Metric::Takeovers, &owner.takeovers),
        (Metric::Handoffs, &owner.handoffs),
        (Metric::ToldStories, &owner.tellings),
        (Metric::DeadLetters, &owner.letters_sent),
        (Metric::DifferingParcels, &owner.differing),
        (Metric::ReplayMismatches, &owner.replay_mismatches),
        (Metric::ExpiredUnread, &owner.unread_gaps),
    ] {
        sheet.set(metric, (), count.get());
    }
    for (result, count) in [
        (CommitResult::Ok, &owner.commits),
        (CommitResult::Lost, &owner.lost_commits),
        (CommitResult::Unsure, &owner.unsure_commits),
    ] {
        sheet.set(Metric::Commits, Label::Commit(result), count.get());
    }
    for (fate, count) in [
        (FindingFate::Sent, &owner.findings_sent),
        (FindingFate::Received, &owner.findings_heard),
        (FindingFate::Skipped, &owner.findings_skipped),
    ] {
        sheet.set(Metric::Findings, Label::Finding(fate), count.get());
    }
}

/// What requests delivered to the mesh through this node.
fn delivered(bus: BusFigures, sheet: &mut Sheet) {
    sheet.set(Metric::PublishedEvents, (), bus.published_events);
    sheet.set(Metric::PublishRetries, (), bus.retries);
}

/// Requests that nobody has read, and replies that nobody got.
fn turned_away(service: ServiceFigures, sheet: &mut Sheet) {
    for (result, count) in
        [(RequestResult::Refused, service.busy), (RequestResult::Failed, service.unsent)]
    {
        let labels = (Label::Op(RequestOp::Unread), Label::Request(result));
        sheet.set(Metric::Requests, labels, count);
    }
}

/// What the client tells of, as a metric calls it; that it is connected is no error.
const fn error_kind(told: AsyncEvent) -> Option<NatsErrorKind> {
    match told {
        AsyncEvent::Connected => None,
        AsyncEvent::Disconnected => Some(NatsErrorKind::Disconnected),
        AsyncEvent::LameDuck => Some(NatsErrorKind::LameDuck),
        AsyncEvent::SlowConsumer => Some(NatsErrorKind::SlowConsumer),
        AsyncEvent::Denied => Some(NatsErrorKind::Authorization),
        AsyncEvent::ServerError => Some(NatsErrorKind::Server),
        AsyncEvent::ClientError => Some(NatsErrorKind::Client),
        AsyncEvent::Closing => Some(NatsErrorKind::Closed),
    }
}
