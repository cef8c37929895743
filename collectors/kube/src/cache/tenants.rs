//! Who lives in a namespace, by the labels of the pods that are there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tapio_model::{Text, Workload};

use crate::translate::Labels;

/// Where a pod lives: namespace and workload.
type Home = (Text, Workload);

/// Pods by UID, with their labels.
type Pods = BTreeMap<Text, Arc<Labels>>;

/// The pods that are there, by namespace and workload.
///
/// # Invariant
/// Holds at most `pods_max` pods, each in one home; a pod that comes above that is not found by its
/// labels. No home is empty.
pub(super) struct Tenants {
    pods_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    homes: BTreeMap<Text, Home>,
    namespaces: BTreeMap<Text, BTreeMap<Workload, Pods>>,
}

impl Tenants {
    pub(super) fn new(pods_max: usize) -> Self {
        Self { pods_max, held: Mutex::default() }
    }

    /// Learns where a pod lives and what its labels are.
    pub(super) fn learn(&self, uid: &str, home: Home, labels: &Labels) {
        let mut held = self.lock();
        if held.homes.get(uid).is_some_and(|known| *known != home) {
            held.forget(uid);
        }
        if held.homes.len() < self.pods_max || held.homes.contains_key(uid) {
            held.learn(uid, home, labels);
        }
    }

    /// Forgets a pod that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().forget(uid);
    }

    /// Returns the workloads of a namespace that have a pod whose labels are meant.
    pub(super) fn of(&self, namespace: &str, is_meant: &dyn Fn(&Labels) -> bool) -> Vec<Workload> {
        let held = self.lock();
        let workloads = held.namespaces.get(namespace).into_iter().flatten();
        let meant = workloads.filter(|(_, pods)| pods.values().any(|labels| is_meant(labels)));
        meant.map(|(workload, _)| workload.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Each change is whole before the next begins, or the process is at its end.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn learn(&mut self, uid: &str, (namespace, workload): Home, labels: &Labels) {
        let pods = self
            .namespaces
            .entry(namespace.clone())
            .or_default()
            .entry(workload.clone())
            .or_default();
        if pods.get(uid).is_some_and(|known| **known == *labels) {
            return;
        }
        // The pods of one template have the same labels, most of them.
        let same = pods.values().next().filter(|known| ***known == *labels).map(Arc::clone);
        pods.insert(uid.into(), same.unwrap_or_else(|| Arc::new(labels.clone())));
        self.homes.insert(uid.into(), (namespace, workload));
    }

    fn forget(&mut self, uid: &str) {
        let Some((namespace, workload)) = self.homes.remove(uid) else { return };
        let Some(workloads) = self.namespaces.get_mut(&namespace) else { return };
        if let Some(pods) = workloads.get_mut(&workload) {
            pods.remove(uid);
            if pods.is_empty() {
                workloads.remove(&workload);
            }
        }
        if workloads.is_empty() {
            self.namespaces.remove(&namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(namespace: &str, name: &str) -> Home {
        (namespace.into(), Workload { kind: "Deployment".into(), name: name.into() })
    }

    fn labels(app: &str) -> Labels {
        [("app".to_owned(), app.to_owned())].into()
    }

    fn names(tenants: &Tenants, namespace: &str, app: &str) -> String {
        let is_meant =
            |labels: &Labels| app.is_empty() || labels.get("app").is_some_and(|it| it == app);
        let of = tenants.of(namespace, &is_meant);
        of.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_workload_is_found_by_the_labels_of_any_pod_that_is_there() {
        let tenants = Tenants::new(9);
        tenants.learn("1", home("shop", "cart"), &labels("cart"));
        tenants.learn("2", home("shop", "cart"), &labels("cart-v2"));
        tenants.learn("3", home("shop", "db"), &labels("db"));
        tenants.learn("4", home("bank", "db"), &labels("db"));
        assert_eq!(names(&tenants, "shop", ""), "cart db");
        assert_eq!(names(&tenants, "shop", "cart-v2"), "cart");
        assert_eq!(names(&tenants, "bank", "cart"), "");
        tenants.forget("2");
        assert_eq!(names(&tenants, "shop", "cart-v2"), "");
        tenants.learn("1", home("shop", "cart"), &labels("kart"));
        assert_eq!(names(&tenants, "shop", "kart"), "cart");
        tenants.learn("1", home("shop", "adopted"), &labels("kart"));
        assert_eq!(names(&tenants, "shop", ""), "adopted db");
        for uid in ["1", "3", "4", "unknown"] {
            tenants.forget(uid);
        }
        let held = tenants.lock();
        assert!(held.homes.is_empty() && held.namespaces.is_empty());
    }

    #[test]
    fn a_full_house_takes_nobody_in_and_keeps_up_with_who_is_there() {
        let tenants = Tenants::new(1);
        tenants.learn("1", home("shop", "cart"), &labels("cart"));
        tenants.learn("2", home("shop", "db"), &labels("db"));
        tenants.learn("1", home("shop", "cart"), &labels("kart"));
        assert_eq!(names(&tenants, "shop", ""), "cart");
        assert_eq!(names(&tenants, "shop", "kart"), "cart");
        tenants.forget("1");
        tenants.learn("2", home("shop", "db"), &labels("db"));
        assert_eq!(names(&tenants, "shop", ""), "db");
    }
}
