//! Whose pods are endpoints of a service, and were until lately.

use std::{collections::BTreeSet, sync::Arc};

use moka::{ops::compute::Op, sync::Cache};
use tapio_model::{Text, Workload};

/// Workloads of one service that are remembered; a service leads to one, or to a few versions.
const BACKENDS_MAX: usize = 64;

/// A service: namespace and name.
type Service = (Text, Text);

/// Workloads by service, each remembered for [`super::KNOWN_IDLE`] after a slice named it last.
pub(super) struct Backends {
    all: Cache<Service, Arc<BTreeSet<Workload>>>,
    /// Those of `all` that are not forgotten yet.
    recent: Cache<(Service, Workload), ()>,
}

impl Backends {
    pub(super) fn new() -> Self {
        Self { all: super::cache(), recent: super::cache() }
    }

    /// Learns the workloads that a slice of a service names now.
    pub(super) fn learn(&self, service: &Service, named: &BTreeSet<Workload>) {
        if named.is_empty() {
            return;
        }
        for workload in named.iter().take(BACKENDS_MAX) {
            self.recent.insert((service.clone(), workload.clone()), ());
        }
        self.all.entry(service.clone()).and_compute_with(|entry| {
            let known = entry.map(moka::Entry::into_value).unwrap_or_default();
            let recent =
                known.iter().filter(|one| self.is_recent(service, one) || named.contains(*one));
            let mut now: BTreeSet<Workload> = recent.cloned().collect();
            let room = BACKENDS_MAX.saturating_sub(now.len());
            let new: Vec<_> = named.difference(&now).take(room).cloned().collect();
            now.extend(new);
            if now == *known { Op::Nop } else { Op::Put(Arc::new(now)) }
        });
    }

    /// Returns the workloads of a service.
    pub(super) fn of(&self, service: &Service) -> Vec<Workload> {
        let known = self.all.get(service).unwrap_or_default();
        known.iter().filter(|one| self.is_recent(service, one)).cloned().collect()
    }

    /// Says whether a slice named it lately; to ask does not make it so.
    fn is_recent(&self, service: &Service, workload: &Workload) -> bool {
        self.recent.contains_key(&(service.clone(), workload.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Workload> {
        let named = |name: &&str| Workload { kind: "Deployment".into(), name: (*name).into() };
        names.iter().map(named).collect()
    }

    fn names(backends: &Backends, service: &Service) -> String {
        let of = backends.of(service);
        of.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn who_is_named_no_more_is_remembered_until_it_is_forgotten() {
        let backends = Backends::new();
        let service = ("shop".into(), "cart".into());
        backends.learn(&service, &set(&["cart"]));
        backends.learn(&service, &set(&[]));
        assert_eq!(names(&backends, &service), "cart");
        backends.learn(&service, &set(&["kart"]));
        assert_eq!(names(&backends, &service), "cart kart");
        let [cart] = set(&["cart"]).into_iter().collect::<Vec<_>>().try_into().unwrap();
        backends.recent.invalidate(&(service.clone(), cart));
        assert_eq!(names(&backends, &service), "kart");
        backends.learn(&service, &set(&["kart"]));
        assert_eq!(backends.all.get(&service).unwrap().len(), 1, "what is forgotten makes room");
        assert_eq!(names(&backends, &("bank".into(), "cart".into())), "");
    }

    #[test]
    fn a_service_of_very_many_workloads_is_cut() {
        let backends = Backends::new();
        let service = ("shop".into(), "all".into());
        let many: Vec<String> = (0..=BACKENDS_MAX).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        backends.learn(&service, &set(&many));
        assert_eq!(backends.of(&service).len(), BACKENDS_MAX);
        backends.learn(&service, &set(&["one-more"]));
        assert_eq!(backends.of(&service).len(), BACKENDS_MAX);
    }
}
