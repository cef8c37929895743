//! From an object of the API, before and after, to what happened. Pure: no request, no clock.
//!
//! Ids come from what the API says, so that a restart and a second watcher repeat them: the
//! transition's own identity where it has one (container id, restart count, transition time,
//! generation, an Event's count), else the resource version.
//!
//! No event carries a generation: it would part the old pods of a workload from the new, and
//! telling a bad rollout means to compare the two in one trace. The attributes carry generation
//! and template hash instead.

mod config;
mod container;
mod event;
mod job;
mod node;
pub(crate) mod owner;
mod pod;
mod policy;
mod reason;
pub(crate) mod scaling;
mod seen;
mod selector;
mod service;
mod volume;
mod workload;

use std::{collections::BTreeMap, fmt, time::Duration};

use k8s_openapi::{
    Metadata,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    serde::{Serialize, de::DeserializeOwned},
};
use tapio_collect::Unbound;
use tapio_model::{Text, Timestamp, Workload};

/// What is older when the watch begins is old news: no story opens with an event that is later
/// than this, and a restart of the watch is not to tell an hour of it again.
pub(crate) const NEWS_AGE_MAX: Duration = Duration::from_secs(600);

/// An object whose changes are events.
pub(crate) trait Translate:
    Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Tells what happened between two looks at an object; `after` is `None` once it is gone.
    ///
    /// Without a `before` everything is news, except in the first list: of what was there already
    /// only what is wrong now, or went wrong a moment ago, is told.
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound>;
}

/// What a translation knows besides the object.
#[derive(Debug, Clone)]
pub(crate) struct Context<'a> {
    /// Cluster name.
    pub(crate) cluster: Option<Text>,
    /// The present, for what the API gives no time.
    pub(crate) now: Timestamp,
    /// Whether the object is of the list that a watch begins with, rather than a change after it.
    pub(crate) is_first_list: bool,
    /// How old something of the first list may be and still be told.
    pub(crate) news_age_max: Duration,
    /// Who owns what.
    pub(crate) owners: &'a dyn Owners,
}

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// What other objects say, as far as it is remembered.
///
/// Everything may be unknown. An answer that comes later completes the places of later events
/// only, so what others speak of is best listed before them.
pub(crate) trait Owners: fmt::Debug {
    /// Returns the workload of the pod or ReplicaSet of this UID.
    fn workload(&self, uid: &str) -> Option<Workload>;

    /// Returns the node of the pod of this UID.
    fn node(&self, _uid: &str) -> Option<Text> {
        None
    }

    /// Returns the workloads that use a `ConfigMap`, `Secret` or `PersistentVolumeClaim`, and the
    /// one that a `HorizontalPodAutoscaler` scales: its change is told in the trace of each.
    fn users(&self, _namespace: &str, _kind: &str, _name: &str) -> Vec<Workload> {
        Vec::new()
    }

    /// Returns the workloads of a namespace that have a pod whose labels are meant.
    fn tenants(&self, _namespace: &str, _is_meant: &dyn Fn(&Labels) -> bool) -> Vec<Workload> {
        Vec::new()
    }

    /// Returns the workloads whose pods are endpoints of a service, or were until lately.
    fn backends(&self, _namespace: &str, _service: &str) -> Vec<Workload> {
        Vec::new()
    }

    /// Returns how many endpoints, ready and not ready, the service has in its other slices.
    fn other_endpoints(&self, _namespace: &str, _service: &str, _slice: &str) -> (i64, i64) {
        (0, 0)
    }
}

#[cfg(test)]
mod tests;
