//! What must hold of the books of a mesh: what only a simulated world can see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tapio_model::{Address, DeadLetter, DeadReason, Outcome, ShardId};
use tapio_owner::OwnerFigures;
use tapio_wire::decode_dead_letter;

use super::{
    judge,
    publish::Published,
    world::{Middle, Why, Written},
};
use crate::invariants::Violation;

/// Processes that must have died while they tried an entry before it is given up.
const TRIES: usize = 2;

/// Checks every root that was ever written.
pub(super) fn check_roots(middle: &Middle, found: &mut Vec<Violation>) {
    let mut say = |what| found.push(Violation { invariant: "books_balance", what });
    for (shard, writes) in &middle.roots {
        let mut last: Option<&Written> = None;
        for written in writes {
            let root = &written.root;
            let (commit, ledger) = (root.commit, &root.ledger);
            if !ledger.balances() {
                say(format!("shard {shard}, commit {commit}: {ledger:?} does not balance"));
            }
            if root.low.sequence > root.processed + 1 {
                let low = root.low.sequence;
                say(format!("shard {shard}, commit {commit}: skips entries before {low}"));
            }
            let goes_back = last.is_some_and(|last| {
                let last = &last.root;
                let forgets = |(from, number): (&ShardId, &u64)| {
                    root.received.get(from).is_none_or(|known| known < number)
                };
                last.findings_read > root.findings_read
                    || last.now > root.now
                    || last.low.sequence > root.low.sequence
                    || last.ledger.received > ledger.received
                    || last.unread_gaps > root.unread_gaps
                    || last.received.iter().any(forgets)
            });
            if goes_back {
                say(format!("shard {shard}, commit {commit}: its books go back"));
            }
            last = Some(written);
        }
    }
}

/// Checks that what was received is what was delivered, entry by entry, and that nothing that aged
/// out unread is passed over in silence.
pub(super) fn check_sum(middle: &Middle, published: &Published, found: &mut Vec<Violation>) {
    let mut say = |what| found.push(Violation { invariant: "books_balance", what });
    let mut unread: BTreeMap<ShardId, BTreeSet<u64>> = BTreeMap::new();
    for aged in &middle.aged {
        if aged.why == Why::Trimmed && aged.is_needed {
            let (shard, sequence) = (aged.shard, aged.entry.sequence);
            say(format!("shard {shard}: entry {sequence} was trimmed and is needed"));
        }
        if aged.is_unread {
            unread.entry(aged.shard).or_default().insert(aged.entry.sequence);
        }
    }
    for (shard, entries) in &unread {
        let gaps = middle.root(*shard).map(|written| written.root.unread_gaps);
        if gaps.unwrap_or_default() == 0 {
            say(format!("shard {shard}: {} entries aged out unread in silence", entries.len()));
        }
    }
    let mut delivered: BTreeMap<ShardId, u64> = BTreeMap::new();
    for ((shard, sequence), events) in &published.deliveries {
        let is_unread = unread.get(shard).is_some_and(|entries| entries.contains(sequence));
        *delivered.entry(*shard).or_default() += if is_unread { 0 } else { *events };
    }
    for (shard, events) in delivered {
        let received = middle.root(shard).map(|written| written.root.ledger.received);
        let received = received.unwrap_or_default();
        if received != events {
            say(format!("shard {shard}: {events} events delivered, {received} received"));
        }
    }
}

/// Checks that every message of findings that was handed over was taken in exactly once.
pub(super) fn check_findings(middle: &Middle, found: &mut Vec<Violation>) {
    let mut say = |what| found.push(Violation { invariant: "heard_once", what });
    let is_written = |shard: ShardId, write: (u64, u64)| {
        let mut writes = middle.roots.get(&shard).into_iter().flatten();
        writes.any(|written| (written.root.epoch, written.root.commit) == write)
    };
    let mut heard: BTreeMap<(ShardId, ShardId, u64), u32> = BTreeMap::new();
    for it in middle.heard.iter().filter(|it| is_written(it.shard, it.write)) {
        *heard.entry((it.from, it.shard, it.number)).or_default() += 1;
    }
    for (from, to, number) in middle.handed_over.iter().copied() {
        let times = heard.get(&(from, to, number)).copied().unwrap_or_default();
        if times != 1 {
            say(format!("message {number} of shard {from} was taken in {times} times by {to}"));
        }
    }
}

/// Checks that what nobody can digest became exactly one dead letter, and nothing else did.
pub(super) fn check_letters(middle: &Middle, published: &Published, found: &mut Vec<Violation>) {
    let mut say = |what| found.push(Violation { invariant: "dead_letters", what });
    let aged: BTreeSet<_> =
        middle.aged.iter().map(|aged| (aged.shard, aged.entry.sequence)).collect();
    let letters = middle.places.iter().filter_map(|(address, body)| {
        let is_letter = matches!(address, Address::DeadLetter { .. });
        is_letter.then(|| decode_dead_letter(body))
    });
    let (mut letters, bad): (Vec<DeadLetter>, Vec<_>) =
        letters.fold((Vec::new(), Vec::new()), |(mut letters, mut bad), letter| {
            match letter {
                Ok(letter) => letters.push(letter),
                Err(why) => bad.push(why),
            }
            (letters, bad)
        });
    if !bad.is_empty() {
        say(format!("letters that cannot be read: {bad:?}"));
    }
    let outcomes = judge::outcomes(middle);
    for it in &published.indigestible {
        let (shard, sequence, reason) = (it.shard, it.sequence, it.reason);
        let is_its = |letter: &DeadLetter| match reason {
            // The letter comes with the entry at which the trace was given up.
            DeadReason::Poison => letter.shard == shard && letter.reason == reason,
            DeadReason::Crash
            | DeadReason::BadBatch
            | DeadReason::BadEvent
            | DeadReason::BadFindings => {
                (letter.shard, letter.sequence, letter.reason) == (shard, sequence, reason)
                    && letter.original == it.body
            }
        };
        let before = letters.len();
        letters.retain(|letter| !is_its(letter));
        let count = before - letters.len();
        let is_shed = it.events.iter().any(|event| {
            outcomes.get(event).is_some_and(|outcome| matches!(outcome, Outcome::Shed(_)))
        });
        if count != 1 && !aged.contains(&(shard, sequence)) && !is_shed {
            say(format!("entry {sequence} of shard {shard} is {count} letters of {reason:?}"));
        }
    }
    for letter in &letters {
        let (shard, sequence, reason) = (letter.shard, letter.sequence, letter.reason);
        let tries = tries_of(middle, shard, sequence);
        if reason != DeadReason::Crash || tries < TRIES {
            say(format!(
                "entry {sequence} of shard {shard} is a letter of {reason:?} after {tries} tries"
            ));
        }
    }
}

/// Returns how many claims ended with the entry announced.
fn tries_of(middle: &Middle, shard: ShardId, sequence: u64) -> usize {
    let writes = middle.roots.get(&shard).into_iter().flatten();
    let announced = writes.filter(|written| written.root.trying == Some(sequence));
    announced.map(|written| written.root.epoch).collect::<BTreeSet<_>>().len()
}

/// Checks what the owners counted of which nothing may be.
pub(super) fn check_figures(
    figures: impl Iterator<Item = Arc<OwnerFigures>>,
    (panics, is_aged): (u64, bool),
    found: &mut Vec<Violation>,
) {
    let mut sums = [0_u64; 3];
    for figures in figures {
        let [mismatches, missing, differing] = &mut sums;
        *mismatches += figures.replay_mismatches.get();
        *missing += figures.missing_parts.get();
        *differing += figures.differing.get();
    }
    let [mismatches, missing, differing] = sums;
    for (count, what, is_excused) in [
        (mismatches, "reading the log again led elsewhere", is_aged),
        (missing, "a part of a state was gone", false),
        (differing, "two owners told different things", false),
        (panics, "an owner panicked", false),
    ] {
        if count > 0 && !is_excused {
            let what = format!("{what}: {count} times");
            found.push(Violation { invariant: "owners_agree", what });
        }
    }
}
