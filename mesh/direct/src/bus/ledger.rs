//! What was handed over and is not acknowledged: pure book-keeping, without a socket or a clock.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tapio_bus::Offset;
use tokio::sync::oneshot;

use crate::protocol::{Answer, Outcome, Parcel};

/// An envelope, and who waits for what becomes of it.
#[derive(Debug)]
pub(super) struct Shipment {
    pub(super) envelope: Bytes,
    pub(super) done: oneshot::Sender<Fate>,
}

/// What became of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is kept.
    Kept(Offset),
    /// It can never be.
    Refused {
        /// The reason, as it is counted.
        code: String,
        /// In words.
        why: String,
    },
}

/// What an answer leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// Nothing, or more credit.
    Noted,
    /// An envelope is kept, short of so many events.
    Kept {
        /// Events the node could not read.
        rejected_events: u32,
    },
    /// An envelope is refused for good.
    Refused {
        /// The reason, as it is counted.
        code: String,
    },
    /// An envelope waits again: the node has no room.
    Busy,
    /// The node ends the stream once it has answered what it has.
    Leaving,
    /// The node does not take an envelope that another one may.
    Elsewhere,
}

/// What was handed over and is not acknowledged.
///
/// # Invariant
/// `waiting` is a part of `held`; the rest of it is on its way.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    held: BTreeMap<u64, Shipment>,
    /// What this connection has not sent yet, oldest first.
    waiting: BTreeSet<u64>,
    /// Highest sequence ever sent: what is sent below it is sent again.
    sent_up_to: u64,
    credit: u32,
}

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes an envelope in. Sequences begin with one: zero is nothing's.
    pub(super) fn hold(&mut self, shipment: Shipment) {
        self.next += 1;
        self.held.insert(self.next, shipment);
        self.waiting.insert(self.next);
    }

    /// Begins a connection that grants `credit`.
    pub(super) const fn connected(&mut self, credit: u32) {
        self.credit = credit;
    }

    /// Ends a connection: what has no answer waits again, in its order.
    pub(super) fn disconnected(&mut self) {
        self.credit = 0;
        self.waiting.extend(self.held.keys());
    }

    /// Says whether something waits that may be sent.
    pub(super) fn can_send(&self) -> bool {
        self.credit > 0 && !self.waiting.is_empty()
    }

    /// Takes out the next parcel to send, and whether it is sent again; `None` if nothing waits or
    /// nothing is granted.
    pub(super) fn send(&mut self) -> Option<(Parcel, bool)> {
        if self.credit == 0 {
            return None;
        }
        let sequence = self.waiting.pop_first()?;
        let envelope = self.held.get(&sequence)?.envelope.clone();
        self.credit -= 1;
        let is_again = sequence <= self.sent_up_to;
        self.sent_up_to = self.sent_up_to.max(sequence);
        Some((Parcel { sequence, envelope }, is_again))
    }

    /// Takes an answer in. One about a parcel that is not on its way only brings its credit.
    pub(super) fn settle(&mut self, answer: Answer) -> Settled {
        // What a node grants is bounded by what is held; a wild number must not wrap.
        self.credit = self.credit.saturating_add(answer.credit);
        let outcome = answer.outcome();
        if outcome == Outcome::Leaving {
            // Stays held: it is sent again wherever we go.
            return if answer.sequence == 0 { Settled::Leaving } else { Settled::Elsewhere };
        }
        let Answer { sequence, code, why, offset, rejected_events, .. } = answer;
        if !self.held.contains_key(&sequence) || self.waiting.contains(&sequence) {
            return Settled::Noted;
        }
        match outcome {
            Outcome::Grant | Outcome::Leaving => Settled::Noted,
            Outcome::Busy => {
                self.waiting.insert(sequence);
                Settled::Busy
            }
            Outcome::Kept => {
                self.finish(sequence, Fate::Kept(Offset(offset)));
                Settled::Kept { rejected_events }
            }
            Outcome::Refused => {
                self.finish(sequence, Fate::Refused { code: code.clone(), why });
                Settled::Refused { code }
            }
        }
    }

    fn finish(&mut self, sequence: u64, fate: Fate) {
        if let Some(shipment) = self.held.remove(&sequence) {
            // Whoever published may have stopped waiting; the batch is published all the same.
            drop(shipment.done.send(fate));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shipment() -> (Shipment, oneshot::Receiver<Fate>) {
        let (done, fate) = oneshot::channel();
        (Shipment { envelope: Bytes::from_static(b"x"), done }, fate)
    }

    #[test]
    fn sends_only_what_is_granted_and_again_what_was_not_answered() {
        let mut ledger = Ledger::default();
        let mut fates: Vec<_> = (0..3)
            .map(|_| {
                let (shipment, fate) = shipment();
                ledger.hold(shipment);
                fate
            })
            .collect();
        assert!(!ledger.can_send(), "nothing is granted before a connection");
        ledger.connected(2);
        let sent: Vec<_> = std::iter::from_fn(|| ledger.send()).collect();
        let sequences = |sent: &[(Parcel, bool)]| -> Vec<_> {
            sent.iter().map(|(parcel, again)| (parcel.sequence, *again)).collect()
        };
        assert_eq!(sequences(&sent), [(1, false), (2, false)]);
        let kept = Answer { offset: 7, ..Answer::to(2, Outcome::Kept) };
        assert_eq!(ledger.settle(kept.clone()), Settled::Kept { rejected_events: 0 });
        assert_eq!(fates[1].try_recv(), Ok(Fate::Kept(Offset(7))));
        assert_eq!(ledger.settle(kept), Settled::Noted, "an answer counts once");
        ledger.disconnected();
        ledger.connected(9);
        let sent: Vec<_> = std::iter::from_fn(|| ledger.send()).collect();
        assert_eq!(sequences(&sent), [(1, true), (3, false)]);
        assert_eq!(ledger.settle(Answer::to(1, Outcome::Busy)), Settled::Busy);
        let refused = Settled::Refused { code: "malformed".to_owned() };
        assert_eq!(ledger.settle(Answer::refuse(3, "malformed", &"x")), refused);
        assert_eq!((ledger.len(), ledger.can_send()), (1, true), "what is busy waits again");
    }

    proptest! {
        /// Whatever a node answers: every envelope is held, or its publisher was told.
        #[test]
        fn never_loses_an_envelope(
            answers in prop::collection::vec((0_u64..6, 0_i32..6, 0_u32..3, any::<bool>()), 0..60),
        ) {
            let mut ledger = Ledger::default();
            let mut fates = Vec::new();
            for _ in 0..4 {
                let (shipment, fate) = shipment();
                ledger.hold(shipment);
                fates.push(fate);
            }
            ledger.connected(1);
            for (sequence, outcome, credit, is_cut) in answers {
                while ledger.send().is_some() {}
                ledger.settle(Answer { sequence, outcome, credit, ..Answer::default() });
                if is_cut {
                    ledger.disconnected();
                    ledger.connected(1);
                }
            }
            let told = fates.iter_mut().filter_map(|fate| fate.try_recv().ok()).count();
            prop_assert_eq!(told + ledger.len(), 4);
        }
    }
}
