//! What a node of the mesh shows of itself.

use std::{sync::Arc, time::Duration};

use tapio_actors::MeshActors;
use tapio_model::Ledger;
use tapio_nats::{Connection, NatsFabric};
use tapio_owner::{MeshView, OwnerFigures, Phase, TakenIn};
use tapio_telemetry::{CommitResult, FindingFate, Label, Meters, Metric};
use tokio::sync::watch;

/// Where the figures are kept.
pub(super) struct Sources {
    pub(super) owner: Arc<OwnerFigures>,
    pub(super) view: watch::Receiver<MeshView>,
    pub(super) actors: Arc<MeshActors>,
    pub(super) connection: Connection,
    pub(super) fabric: Arc<NatsFabric>,
}

/// Lets everything be read whenever somebody looks, for as long as the process lives.
pub(super) fn observe(meters: &Meters, sources: Sources) {
    let Sources { owner, view, actors, connection, fabric } = sources;
    let commits = meters.histogram(Metric::CommitDuration, ());
    drop(commits);
    let arrivals = Arc::new(meters.histogram(Metric::PublishToActor, ()));
    let clock = Arc::clone(&fabric);
    owner.intake.add(move |batch| {
        let (arrivals, clock) = (Arc::clone(&arrivals), Arc::clone(&clock));
        let handed_over = batch.time;
        TakenIn::new(move || {
            // The log's clock: nothing in a node reads the wall clock.
            if let Some(now) = tapio_bus::Fabric::log_time(&*clock) {
                arrivals.record(now.since(handed_over));
            }
        })
    });
    let index = actors.open_incidents();
    let observer = meters.observe_all(move |sheet| {
        let view = view.borrow();
        let mut ledger = Ledger::default();
        let (mut traces, mut outbox, mut owned) = (0, 0, 0_u64);
        let mut lag = Duration::ZERO;
        let now = tapio_bus::Fabric::log_time(&*fabric);
        for status in view.held.values() {
            ledger.add(&status.ledger);
            traces += status.live_traces;
            outbox += status.outbox;
            owned += u64::from(status.phase == Phase::Owning);
            if status.waiting > 0
                && let Some(now) = now
            {
                lag = lag.max(now.since(status.now));
            }
        }
        sheet.set_ledger(&ledger);
        sheet.set(Metric::LiveTraces, (), traces);
        sheet.set(Metric::OutboxParcels, (), outbox);
        sheet.set(Metric::OwnedShards, (), owned);
        sheet.set(Metric::LogLag, (), lag);
        sheet.set(Metric::OpenIncidents, (), index.len() as u64);
        sheet.set(Metric::ReceivedEvents, (), owner.events.get());
        sheet.set(Metric::Claims, (), owner.claims.get());
        sheet.set(Metric::Takeovers, (), owner.takeovers.get());
        for (result, count) in [
            (CommitResult::Ok, &owner.commits),
            (CommitResult::Lost, &owner.lost_commits),
            (CommitResult::Unsure, &owner.unsure_commits),
        ] {
            sheet.set(Metric::Commits, Label::Commit(result), count.get());
        }
        for (fate, count) in [
            (FindingFate::Received, &owner.findings_heard),
            (FindingFate::Skipped, &owner.findings_skipped),
        ] {
            sheet.set(Metric::Findings, Label::Finding(fate), count.get());
        }
        sheet.set(Metric::DeadLetters, (), owner.dead_letters.get());
        sheet.set(Metric::ReplayMismatches, (), owner.differing.get() + owner.replay_mismatches.get());
        sheet.set(Metric::ExpiredUnread, (), owner.unread_gaps.get());
        sheet.set(Metric::NatsReconnects, (), connection.figures().reconnects());
        sheet.set(Metric::CircuitOpen, (), fabric.is_open());
    });
    observer.keep();
}
