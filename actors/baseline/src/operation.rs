//! The operations there are: what a service does under one span name.

use ahash::AHashMap;
use tapio_model::Text;
use xxhash_rust::xxh3::xxh3_64;

use crate::feature::Feature;

/// An operation's number.
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
    by_key: AHashMap<u64, Mark>,
    features: Vec<Feature>,
}

/// The operations there are, numbered in the order in which they were first seen.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    by_name: AHashMap<u64, Op>,
    list: Vec<Operation>,
}

impl Operations {
    /// Returns the number of an operation; nothing once there are too many.
    pub(crate) fn number(&mut self, service: &Text, name: &Text, max: usize) -> Option<Op> {
        let key = xxh3_64(service.as_bytes()).rotate_left(7) ^ xxh3_64(name.as_bytes());
        if let Some(op) = self.by_name.get(&key) {
            return Some(*op);
        }
        let op = Op(u32::try_from(self.list.len()).ok().filter(|_| self.list.len() < max)?);
        self.by_name.insert(key, op);
        self.list.push(Operation {
            service: service.clone(),
            name: name.clone(),
            by_key: AHashMap::new(),
            features: Vec::new(),
        });
        Some(op)
    }

    /// Returns the number of an operation's feature; nothing once there are too many.
    pub(crate) fn mark(&mut self, op: Op, feature: Feature, max: usize) -> Option<Mark> {
        let operation = self.list.get_mut(usize::try_from(op.0).ok()?)?;
        let key = feature.key();
        if let Some(mark) = operation.by_key.get(&key) {
            return Some(*mark);
        }
        let count = operation.features.len();
        let mark = Mark(u16::try_from(count).ok().filter(|_| count < max)?);
        operation.by_key.insert(key, mark);
        operation.features.push(feature);
        Some(mark)
    }

    pub(crate) fn get(&self, op: Op) -> Option<&Operation> {
        self.list.get(usize::try_from(op.0).ok()?)
    }

    pub(crate) fn feature(&self, op: Op, mark: Mark) -> Option<&Feature> {
        self.get(op)?.features.get(usize::from(mark.0))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the operations of a service.
    pub(crate) fn of_service(&self, service: &str) -> impl Iterator<Item = Op> {
        let is_its = move |(_, operation): &(u32, &Operation)| operation.service == service;
        (0..).zip(&self.list).filter(is_its).map(|(number, _)| Op(number))
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
        let mut number = |name: &str| operations.number(&"cart".into(), &name.into(), 2);
        let first = number("GET");
        assert_eq!((number("GET"), number("PUT").is_some(), number("POST")), (first, true, None));
        let op = first.unwrap();
        let line = |text: &str| Feature { sort: Sort::Line(Severity::Info), text: text.into() };
        let mark = operations.mark(op, line("a"), 1);
        assert_eq!(operations.mark(op, line("a"), 1), mark);
        assert_eq!(operations.mark(op, line("b"), 1), None);
        assert_eq!(operations.feature(op, mark.unwrap()), Some(&line("a")));
        assert_eq!(operations.of_service("cart").count(), 2);
    }
}
