//! The task that holds the connection, and finds another one when it is gone.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    connect::{Nodes, Session},
    figures::Figures,
    ledger::{Ledger, Settled, Shipment},
};
use crate::{DirectConfig, backoff, error::chain, protocol::Answer};

/// Failures in a row of the same kind after which the log has one more line of it.
const FAILURES_QUIET: u32 = 64;

/// How a connection ended.
enum End {
    /// The node is gone, or wants us to go.
    Lost(String),
    /// The bus is closed, and all is acknowledged.
    Closed,
}

/// The task that holds the connection.
pub(super) struct Link {
    nodes: Nodes,
    queue: mpsc::Receiver<Shipment>,
    closing: watch::Receiver<bool>,
    figures: Arc<Figures>,
    ledger: Ledger,
    in_flight_max: usize,
    drain: Duration,
    seed: u64,
    /// Attempts in a row that failed, or connections that brought nothing.
    failures: u32,
    /// Answers in a row that there is no room.
    refusals: u32,
    /// Nothing is sent before: the node has no room.
    pause: Option<Instant>,
    /// Nothing is sent any more: the node is leaving.
    is_leaving: bool,
}

impl Link {
    pub(super) fn new(
        config: &DirectConfig,
        nodes: Nodes,
        (queue, closing): (mpsc::Receiver<Shipment>, watch::Receiver<bool>),
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            nodes,
            queue,
            closing,
            figures,
            ledger: Ledger::default(),
            in_flight_max: config.in_flight_max.max(1),
            drain: config.drain,
            seed: config.seed,
            failures: 0,
            refusals: 0,
            pause: None,
            is_leaving: false,
        }
    }

    /// Runs until the bus is closed. What is held then is dropped, which tells who waits for it.
    pub(super) async fn run(mut self) {
        let mut closing = self.closing.clone();
        loop {
            let connecting = self.nodes.connect_next();
            let attempt = tokio::select! {
                attempt = connecting => attempt,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            let why = match attempt {
                Ok(session) => match self.serve(session, &mut closing).await {
                    End::Closed => return,
                    End::Lost(why) => why,
                },
                Err(why) => why.to_string(),
            };
            self.note_failure(why);
            let wait = sleep(backoff::delay(self.seed, self.failures));
            tokio::select! {
                () = wait => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    fn note_failure(&mut self, why: String) {
        self.failures = self.failures.saturating_add(1);
        self.figures.enter(|books| {
            let is_news = books.last_failure.as_ref() != Some(&why);
            if is_news || self.failures.is_multiple_of(FAILURES_QUIET) {
                warn!(why, failures = self.failures, "no node takes envelopes; they wait");
            }
            books.connected = None;
            books.failures += 1;
            books.last_failure = Some(why);
        });
    }

    /// Uses a connection until its end.
    async fn serve(&mut self, session: Session, closing: &mut watch::Receiver<bool>) -> End {
        info!(address = session.address, window = session.credit, "connected to a node");
        self.figures.enter(|books| {
            books.connected = Some(session.address.clone());
            books.connections += 1;
        });
        (self.pause, self.refusals, self.is_leaving) = (None, 0, false);
        self.ledger.connected(session.credit);
        let mut session = session;
        let is_closing = tokio::select! {
            end = self.converse(&mut session, false) => Err(end),
            _ = closing.wait_for(|closing| *closing) => Ok(()),
        };
        let end = match is_closing {
            Err(end) => end,
            // What publishers were told is under way is still theirs to hear about.
            Ok(()) => {
                let drain = self.drain;
                let draining = self.converse(&mut session, true);
                timeout(drain, draining).await.unwrap_or(End::Closed)
            }
        };
        self.ledger.disconnected();
        end
    }

    /// Sends and hears. Ends with the connection, or, if the bus is closing, once nothing is held.
    ///
    /// # Cancel safety
    /// Nothing is awaited between taking something and having it in the books.
    async fn converse(&mut self, session: &mut Session, mut is_closing: bool) -> End {
        loop {
            self.figures.enter(|books| books.unacknowledged = self.ledger.len());
            if is_closing && self.ledger.is_empty() {
                return End::Closed;
            }
            let has_room = self.ledger.len() < self.in_flight_max;
            let pause = self.pause;
            let may_send = pause.is_none() && !self.is_leaving && self.ledger.can_send();
            tokio::select! {
                answer = session.answers.message() => match answer {
                    Ok(Some(answer)) => if let Some(end) = self.hear(answer) { return end },
                    Ok(None) => return End::Lost("the node ended the stream".to_owned()),
                    Err(status) => return End::Lost(chain(&status)),
                },
                place = session.parcels.reserve(), if may_send => {
                    let Ok(place) = place else {
                        return End::Lost("the connection to the node is gone".to_owned());
                    };
                    if let Some((parcel, is_again)) = self.ledger.send() {
                        place.send(parcel);
                        self.figures.enter(|books| {
                            books.sent += 1;
                            books.sent_again += u64::from(is_again);
                        });
                    }
                }
                shipment = self.queue.recv(), if has_room && !is_closing => match shipment {
                    Some(shipment) => self.ledger.hold(shipment),
                    // The bus was dropped without being closed.
                    None => is_closing = true,
                },
                () = until(pause), if pause.is_some() => self.pause = None,
            }
        }
    }

    /// Takes an answer in; says how the connection ends, if it does.
    fn hear(&mut self, answer: Answer) -> Option<End> {
        match self.ledger.settle(answer) {
            Settled::Noted => {}
            Settled::Kept { rejected_events } => {
                (self.failures, self.refusals) = (0, 0);
                self.figures.enter(|books| {
                    books.kept += 1;
                    books.rejected_events += u64::from(rejected_events);
                });
            }
            Settled::Refused { code } => {
                self.failures = 0;
                self.figures.refuse(&code);
            }
            Settled::Busy => {
                // A window full of them is one reason to wait, not sixty-four.
                if self.pause.is_none() {
                    self.refusals = self.refusals.saturating_add(1);
                    let delay = backoff::delay(self.seed, self.refusals);
                    self.pause = Some(Instant::now() + delay);
                }
                self.figures.enter(|books| books.busy += 1);
            }
            // It ends the stream once it has answered what it has.
            Settled::Leaving => self.is_leaving = true,
            Settled::Elsewhere => return Some(End::Lost("the node is leaving".to_owned())),
        }
        None
    }
}

/// Waits until the end of a pause.
async fn until(pause: Option<Instant>) {
    if let Some(pause) = pause {
        sleep_until(pause).await;
    }
}
