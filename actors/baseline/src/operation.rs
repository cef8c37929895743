//! The operations there are: what a service does under one span name.

use std::collections::{BTreeMap, BTreeSet};

use ahash::AHashMap;
use tapio_model::{Text, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use crate::feature::Feature;

/// An operation's number; none is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Op(u32);

/// A feature's number within its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark(u16);

/// What a service does under one span name.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) service: Text,
    pub(crate) name: Text,
    /// When the latest of its spans ended.
    pub(crate) seen: Timestamp,
    /// What it takes to know it, without what was learnt of it.
    pub(crate) bytes: usize,
    key: u64,
    by_key: AHashMap<u64, Mark>,
    features: Vec<Feature>,
    /// What it was ever seen to call.
    calls: BTreeSet<Op>,
}

/// The operations there are, numbered in the order in which they were first seen.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    by_name: AHashMap<u64, Op>,
    list: BTreeMap<Op, Operation>,
    next: u32,
    /// Whether there is no room for further ones, however few they are.
    pub(crate) is_full: bool,
}

impl Operations {
    /// Returns the number of an operation of which a span ended at `at`; nothing once there are too
    /// many.
    pub(crate) fn number(
        &mut self,
        service: &Text,
        name: &Text,
        at: Timestamp,
        max: usize,
    ) -> Option<Op> {
        let key = xxh3_64(service.as_bytes()).rotate_left(7) ^ xxh3_64(name.as_bytes());
        if let Some(op) = self.by_name.get(&key) {
            let operation = self.list.get_mut(op)?;
            operation.seen = operation.seen.max(at);
            return Some(*op);
        }
        if self.is_full || self.list.len() >= max {
            return None;
        }
        let op = Op(self.next);
        self.next = self.next.checked_add(1)?;
        self.by_name.insert(key, op);
        let operation = Operation {
            service: service.clone(),
            name: name.clone(),
            seen: at,
            bytes: size_of::<Operation>() + service.len() + name.len(),
            key,
            by_key: AHashMap::new(),
            features: Vec::new(),
            calls: BTreeSet::new(),
        };
        self.list.insert(op, operation);
        Some(op)
    }

    /// Returns the number of an operation's feature; nothing once there are too many.
    pub(crate) fn mark(&mut self, op: Op, feature: Feature, max: usize) -> Option<Mark> {
        let operation = self.list.get_mut(&op)?;
        let key = feature.key();
        if let Some(mark) = operation.by_key.get(&key) {
            return Some(*mark);
        }
        let count = operation.features.len();
        let mark = Mark(u16::try_from(count).ok().filter(|_| count < max)?);
        operation.bytes += size_of::<(u64, Mark, Feature)>() + feature.text.len();
        operation.by_key.insert(key, mark);
        operation.features.push(feature);
        Some(mark)
    }

    /// Notes that an operation calls another; not if it calls `max` others already.
    pub(crate) fn note_call(&mut self, caller: Op, called: Op, max: usize) {
        let Some(operation) = self.list.get_mut(&caller) else { return };
        if operation.calls.len() < max && operation.calls.insert(called) {
            operation.bytes += 2 * size_of::<Op>();
        }
    }

    /// Returns the services that operations need: those that they call, through whomever.
    pub(crate) fn needed_by(&self, ops: impl IntoIterator<Item = Op>) -> BTreeSet<&Text> {
        let mut ahead: Vec<Op> = ops.into_iter().collect();
        let mut known: BTreeSet<Op> = ahead.iter().copied().collect();
        let own: BTreeSet<_> =
            ahead.iter().filter_map(|op| Some(&self.get(*op)?.service)).collect();
        let mut needed = BTreeSet::new();
        while let Some(op) = ahead.pop() {
            let Some(operation) = self.get(op) else { continue };
            if !own.contains(&operation.service) {
                needed.insert(&operation.service);
            }
            ahead.extend(operation.calls.iter().filter(|called| known.insert(**called)));
        }
        needed
    }

    /// Forgets an operation; it may come again under another number.
    pub(crate) fn forget(&mut self, op: Op) {
        if let Some(operation) = self.list.remove(&op) {
            self.by_name.remove(&operation.key);
        }
    }

    pub(crate) fn get(&self, op: Op) -> Option<&Operation> {
        self.list.get(&op)
    }

    pub(crate) fn feature(&self, op: Op, mark: Mark) -> Option<&Feature> {
        self.get(op)?.features.get(usize::from(mark.0))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Op, &Operation)> {
        self.list.iter().map(|(op, operation)| (*op, operation))
    }

    /// Returns the services that have an operation.
    pub(crate) fn services(&self) -> BTreeSet<&Text> {
        self.list.values().map(|operation| &operation.service).collect()
    }

    /// Returns the operations of a service.
    pub(crate) fn of_service(&self, service: &str) -> impl Iterator<Item = Op> {
        let is_its = move |(_, operation): &(Op, &Operation)| operation.service == service;
        self.iter().filter(is_its).map(|(op, _)| op)
    }
}

#[cfg(test)]
mod tests {
    use tapio_model::Severity;

    use super::*;
    use crate::feature::Sort;

    #[test]
    fn numbers_are_stable_and_bounded() {
        let mut operations = Operations::default();
        let mut number =
            |name: &str| operations.number(&"cart".into(), &name.into(), Timestamp::ZERO, 2);
        let first = number("GET");
        assert_eq!((number("GET"), number("PUT").is_some(), number("POST")), (first, true, None));
        let op = first.unwrap();
        let line = |text: &str| Feature { sort: Sort::Line(Severity::Info), text: text.into() };
        let mark = operations.mark(op, line("a"), 1);
        assert_eq!(operations.mark(op, line("a"), 1), mark);
        assert_eq!(operations.mark(op, line("b"), 1), None);
        assert_eq!(operations.feature(op, mark.unwrap()), Some(&line("a")));
        assert_eq!(operations.of_service("cart").count(), 2);
        operations.forget(op);
        assert_eq!((operations.len(), operations.feature(op, mark.unwrap())), (1, None));
        let again = operations.number(&"cart".into(), &"GET".into(), Timestamp::ZERO, 2);
        assert!(again.is_some_and(|again| again != op), "{again:?}");
        operations.is_full = true;
        assert_eq!(operations.number(&"cart".into(), &"HEAD".into(), Timestamp::ZERO, 9), None);
    }
    #[test]
    fn who_is_needed_is_known_through_others_and_round_in_circles() {
        let mut operations = Operations::default();
        let mut op = |service: &str| {
            operations.number(&service.into(), &"GET".into(), Timestamp::ZERO, 9).unwrap()
        };
        let [web, pay, bank, ads] = ["web", "pay", "bank", "ads"].map(&mut op);
        operations.note_call(web, pay, 1);
        operations.note_call(web, ads, 1);
        operations.note_call(pay, bank, 9);
        operations.note_call(bank, web, 9);
        let needed = |op| operations.needed_by([op]).into_iter().map(|it| &**it).collect();
        let expected: [(Op, Vec<&str>); 3] =
            [(web, vec!["bank", "pay"]), (pay, vec!["bank", "web"]), (ads, vec![])];
        for (op, want) in expected {
            let needed: Vec<&str> = needed(op);
            assert_eq!(needed, want);
        }
        operations.forget(pay);
        assert_eq!(operations.needed_by([web]).len(), 0);
    }
}
