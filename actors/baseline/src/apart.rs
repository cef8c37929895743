//! Which of the services that are unlike at one time have nothing to do with each other.
//!
//! One fault makes several services unlike: those that call the broken one, those that need what it
//! needs, those that share a node with it. Two faults do so, too. So of each service it is asked how
//! much of its evidence is its own beside another one: of operations that do not need the other, nor
//! anything that the other needs; in traces in which the other is as ever; in words that the other
//! does not use.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::Text;

use crate::{
    blame::{Reason, Suspect, Witness},
    episode::Look,
    operation::Op,
    sign::Sign,
};

/// Such a share of its evidence must be its own.
const OWN_SHARE: f64 = 0.5;

/// Where lines get lost, some are missing of many at once: it takes so many times as much to be told
/// beside another.
const LOSSY_TIMES: f64 = 2.0;

/// It takes so many traces to know an operation well enough for that: of four, all may be alike by
/// chance.
const KNOWN_MIN: f64 = 10.0;

/// What two services that are unlike have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Nothing: each would be told without the other.
    Apart,
    /// Little of what is unlike in one of them is its own beside the other.
    Explained,
    /// There is too little of it to say.
    Open,
}

/// What a service has to do with the others of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the first, or has nothing to do with those before it.
    Root,
    /// It has to do with one of them.
    Kin,
    /// There is too little of it to say.
    Open,
}

/// A service that is unlike.
pub(crate) struct Party<'a> {
    pub(crate) service: &'a Text,
    pub(crate) signs: &'a [Sign],
    pub(crate) score: f64,
    suspect: Option<&'a Suspect>,
    /// What it does or lacks.
    words: BTreeSet<&'a str>,
    /// Whom its unlike operations need, and whom all of them do.
    needed_by: BTreeMap<Op, BTreeSet<&'a Text>>,
    needed: BTreeSet<&'a Text>,
    /// Whether it is slower, or uses more, than it did.
    is_slow: bool,
}

impl<'a> Party<'a> {
    pub(crate) fn new(service: &'a Text, signs: &'a [Sign], look: &Look<'a>) -> Self {
        let suspect = look.suspects.get(service);
        let ops: BTreeSet<Op> =
            suspect.into_iter().flat_map(|it| &it.held).map(|held| held.op).collect();
        let is_slow =
            |sign: &Sign| matches!(sign.signal, "self_time" | "edge_latency" | "cpu" | "memory");
        // What is seen of no single operation may be any one's.
        let is_whole = signs.iter().any(|sign| sign.operation.is_none());
        let all = look.operations.of_service(service).filter(|_| is_whole);
        Self {
            service,
            signs,
            score: signs.iter().map(|sign| sign.score).sum(),
            suspect,
            words: signs.iter().filter_map(|sign| sign.template.as_deref()).collect(),
            needed: look.operations.needed_by(all.chain(ops.iter().copied())),
            needed_by: ops.iter().map(|op| (*op, look.operations.needed_by([*op]))).collect(),
            is_slow: signs.iter().any(is_slow),
        }
    }

    /// Returns how much of what is unlike in it is its own beside `other`.
    fn own(&self, other: &Self, look: &Look<'_>) -> f64 {
        let witnesses = self.suspect.into_iter().flat_map(|it| &it.witnesses);
        let shown: f64 = witnesses
            .filter(|witness| self.is_own(witness, other, look))
            .map(|witness| witness.score)
            .sum();
        let whole = self.signs.iter().filter(|sign| sign.operation.is_none());
        let is_own = |sign: &&Sign| {
            // Two that are slow may wait for one thing that nobody sees; a limit is one's own.
            !self.needed.contains(other.service) && (sign.is_limit || !other.is_slow)
        };
        shown + whole.filter(is_own).map(|sign| sign.score).sum::<f64>()
    }

    fn is_own(&self, witness: &Witness, other: &Self, look: &Look<'_>) -> bool {
        let needs_it = self.needed_by.get(&witness.op).is_some_and(|needed| {
            needed.contains(other.service)
                || other.needed_by.values().any(|theirs| !theirs.is_disjoint(needed))
        });
        let says_more = match witness.reason {
            Reason::Slow(_) => !other.is_slow,
            Reason::Changed(change) => {
                let feature = look.operations.feature(witness.op, change.mark);
                change.known >= KNOWN_MIN
                    && feature.is_some_and(|feature| !other.words.contains(&*feature.text))
            }
        };
        let is_together =
            other.suspect.is_some_and(|suspect| suspect.unlike_in.contains(&witness.trace));
        says_more && !needs_it && !is_together
    }

    /// Says whether most of what is unlike in it is of operations that need `other`.
    fn leans_on(&self, other: &Self) -> bool {
        let needs =
            |op: &Op| self.needed_by.get(op).is_some_and(|needed| needed.contains(other.service));
        let witnesses = self.suspect.into_iter().flat_map(|it| &it.witnesses);
        let leaning = witnesses.filter(|it| needs(&it.op)).map(|it| it.score).sum::<f64>();
        let needs_it = self.needed.contains(other.service);
        let whole = self.signs.iter().filter(|sign| sign.operation.is_none() && needs_it);
        let leaning = leaning + whole.map(|sign| sign.score).sum::<f64>();
        leaning > self.score * OWN_SHARE
    }

    /// Returns what two have to do with each other.
    fn relate(&self, other: &Self, look: &Look<'_>) -> Relation {
        let times = if look.is_lossy { LOSSY_TIMES } else { 1.0 };
        let (mine, theirs) = (self.own(other, look), other.own(self, look));
        if mine < self.score * OWN_SHARE || theirs < other.score * OWN_SHARE {
            Relation::Explained
        } else if mine.min(theirs) >= look.open_min * times {
            Relation::Apart
        } else {
            Relation::Open
        }
    }
}

/// The services of an episode that have nothing to do with each other, pair by pair.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    pairs: BTreeSet<(Text, Text)>,
    /// Services that had a story of their own in this episode.
    roots: BTreeSet<Text>,
}

/// Pairs that are remembered of an episode.
const PAIRS_MAX: usize = 64;

impl Apart {
    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
        self.roots.clear();
    }

    fn has(&self, one: &Text, other: &Text) -> bool {
        self.pairs.contains(&pair(one, other))
    }

    fn note(&mut self, one: &Text, other: &Text, relation: Relation) {
        let pair = pair(one, other);
        match relation {
            Relation::Apart if self.pairs.len() < PAIRS_MAX => {
                self.pairs.insert(pair);
            }
            Relation::Explained => {
                self.pairs.remove(&pair);
            }
            // What was seen to be apart is so until the contrary is seen.
            Relation::Apart | Relation::Open => {}
        }
    }

    /// Compares those that are unlike now, the weightiest first, each with the roots before it.
    pub(crate) fn compare(&mut self, parties: &[Party<'_>], look: &Look<'_>) -> Vec<Standing> {
        let mut roots: Vec<&Party<'_>> = Vec::new();
        let mut standings = Vec::with_capacity(parties.len());
        for party in parties {
            let standing = self.place(party, &roots, look);
            roots.extend((standing == Standing::Root).then_some(party));
            standings.push(standing);
        }
        if self.roots.len() < PAIRS_MAX {
            self.roots.extend(roots.iter().map(|root| root.service.clone()));
        }
        let are_kin = parties.iter().zip(&standings).filter(|(_, it)| **it == Standing::Kin);
        let kin: Vec<_> = are_kin.map(|(party, _)| party).collect();
        for party in &kin {
            self.part(party, &roots, look);
        }
        // Who leans on somebody who has to do with a root has to do with that root.
        for (party, standing) in parties.iter().zip(&mut standings).skip(1) {
            let cause = kin.iter().find(|cause| party.leans_on(cause));
            let Some(cause) = cause.filter(|_| *standing != Standing::Kin) else { continue };
            *standing = Standing::Kin;
            for root in roots.iter().filter(|root| root.service != party.service) {
                if !self.has(root.service, cause.service) {
                    self.note(root.service, party.service, Relation::Explained);
                }
            }
        }
        standings
    }

    /// Compares a party with the roots before it.
    fn place(&mut self, party: &Party<'_>, roots: &[&Party<'_>], look: &Look<'_>) -> Standing {
        let mut standing = Standing::Root;
        for root in roots {
            let mut relation = root.relate(party, look);
            // Hardly anything is left of it: that is no word against what was seen before.
            let has_faded = party.score < look.open_min && self.has(root.service, party.service);
            // It had enough by itself, before the other came.
            let had_story = !look.is_lossy && self.roots.contains(party.service);
            if has_faded || (relation == Relation::Open && had_story) {
                relation = Relation::Apart;
            }
            self.note(root.service, party.service, relation);
            if relation == Relation::Explained {
                standing = Standing::Kin;
            } else if standing == Standing::Root && !self.has(root.service, party.service) {
                standing = Standing::Open;
            }
        }
        standing
    }

    /// Notes that whoever has to do with a later root alone has nothing to do with those before it.
    fn part(&mut self, party: &Party<'_>, roots: &[&Party<'_>], look: &Look<'_>) {
        let is_kin = |root: &&Party<'_>| root.relate(party, look) == Relation::Explained;
        let before = roots.iter().take_while(|root| !is_kin(root));
        before.for_each(|root| self.note(root.service, party.service, Relation::Apart));
    }

    /// Returns the services that have nothing to do with one.
    pub(crate) fn others(&self, service: &Text) -> impl Iterator<Item = &Text> {
        self.pairs.iter().filter_map(move |(one, other)| {
            if one == service { Some(other) } else { (other == service).then_some(one) }
        })
    }
}

fn pair(one: &Text, other: &Text) -> (Text, Text) {
    (one.min(other).clone(), one.max(other).clone())
}
