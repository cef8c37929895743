//! A cluster at one moment, as somebody wrote it down: what a watch would tell of it.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value as Json;
use tapio_collect::Unbound;
use tapio_model::{Place, Text, Timestamp};

use crate::{
    Resource, WatchCache,
    translate::{Context, NEWS_AGE_MAX},
};

/// Which of what an object says is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// What a watch tells of its first list: what is wrong now, or went wrong a moment ago.
    Recent,
    /// The same, however long ago it went wrong.
    Standing,
    /// Everything: the object came while somebody watched.
    Whole,
}

/// Why an object is not told.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Nobody watches objects of this kind.
    #[error("objects of kind {0:?} are not watched")]
    Kind(String),
    /// It is not an object of its kind.
    #[error("not a {kind}")]
    Malformed {
        /// The kind that it says it has.
        kind: String,
        /// What is wrong with it.
        #[source]
        error: serde_json::Error,
    },
}

/// A cluster at one moment, without a server: objects of a file go the way of those of a list.
///
/// Ids are those that a watch gives to the same objects.
pub struct Snapshot {
    cluster: Option<Text>,
    now: Timestamp,
    cache: WatchCache,
}

impl Snapshot {
    /// Makes an empty one of the moment `now`.
    #[must_use]
    pub fn new(cluster: Option<Text>, now: Timestamp) -> Self {
        let cache = WatchCache::new(cluster.clone(), None, None);
        Self { cluster, now, cache }
    }

    /// Learns whose an object is and who uses it; what others speak of is best learnt before any
    /// is told.
    ///
    /// # Errors
    /// [`ObjectError`] if the object cannot be read as one of `kind`.
    pub fn learn(&self, kind: &str, object: &Json) -> Result<(), ObjectError> {
        let resource = resource(kind)?;
        resource.learn(object, &self.cache).map_err(|error| malformed(kind, error))
    }

    /// Tells what an object says.
    ///
    /// # Errors
    /// [`ObjectError`] if the object cannot be read as one of `kind`.
    pub fn tell(&self, kind: &str, object: &Json, news: News) -> Result<Vec<Unbound>, ObjectError> {
        let context = Context {
            cluster: self.cluster.clone(),
            now: self.now,
            is_first_list: news != News::Whole,
            news_age_max: if news == News::Recent { NEWS_AGE_MAX } else { Duration::MAX },
            owners: &self.cache,
        };
        resource(kind)?.tell(object, &context).map_err(|error| malformed(kind, error))
    }

    /// Returns the place of a pod that was learnt.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<Arc<Place>> {
        self.cache.pod(uid)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("cluster", &self.cluster)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

fn resource(kind: &str) -> Result<Resource, ObjectError> {
    Resource::from_kind(kind).ok_or_else(|| ObjectError::Kind(kind.to_owned()))
}

fn malformed(kind: &str, error: serde_json::Error) -> ObjectError {
    ObjectError::Malformed { kind: kind.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tapio_model::{Kind, keys};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_767_323_045);

    fn told(snapshot: &Snapshot, kind: &str, object: &Json, news: News) -> Vec<(Kind, Unbound)> {
        let told = snapshot.tell(kind, object, news).unwrap();
        told.into_iter().map(|event| (event.kind, event)).collect()
    }

    #[test]
    fn what_stands_is_told_however_old_it_is() {
        let job = json!({ "metadata": { "name": "import", "namespace": "shop", "uid": "j1" },
            "status": { "failed": 2, "conditions": [{ "type": "Failed", "status": "True",
                "lastTransitionTime": "2025-01-01T00:00:00Z" }] } });
        let snapshot = Snapshot::new(None, NOW);
        assert_eq!(told(&snapshot, "Job", &job, News::Recent), []);
        assert!(matches!(
            told(&snapshot, "Job", &job, News::Standing).as_slice(),
            [(Kind::JobFailed, _)]
        ));
    }

    #[test]
    fn an_old_end_of_what_runs_again_is_no_news() {
        let pod = json!({ "metadata": { "name": "cart-1", "namespace": "shop", "uid": "p1" },
            "status": { "phase": "Running", "containerStatuses": [{ "name": "cart", "restartCount": 6,
                "state": { "running": { "startedAt": "2025-01-01T00:00:01Z" } },
                "lastState": { "terminated": { "exitCode": 255, "reason": "Unknown",
                    "finishedAt": "2025-01-01T00:00:00Z" } } }] } });
        assert_eq!(told(&Snapshot::new(None, NOW), "Pod", &pod, News::Standing), []);
    }

    #[test]
    fn who_is_killed_again_and_again_is_not_well_because_it_runs_again() {
        let pod = |restarts: u32| {
            json!({ "metadata": { "name": "cart-1", "namespace": "shop", "uid": "p1" },
            "status": { "phase": "Running", "containerStatuses": [{ "name": "cart",
                "restartCount": restarts, "image": "", "imageID": "", "ready": true,
                "state": { "running": {} }, "lastState": { "terminated": { "exitCode": 137,
                    "reason": "OOMKilled", "finishedAt": "2026-01-02T02:40:00Z" } } }] } })
        };
        let snapshot = Snapshot::new(None, NOW);
        for (restarts, news, want) in
            [(3, News::Standing, 1), (2, News::Standing, 0), (3, News::Recent, 0)]
        {
            assert_eq!(told(&snapshot, "Pod", &pod(restarts), news).len(), want, "{restarts}");
        }
    }

    #[test]
    fn an_event_that_stands_keeps_its_count_and_finds_its_pod() {
        let pod = json!({ "metadata": { "name": "cart-1", "namespace": "shop", "uid": "p1",
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart",
                "uid": "s1", "controller": true }] } });
        let event = json!({ "metadata": { "name": "e", "namespace": "shop", "uid": "e1" },
            "involvedObject": { "kind": "Pod", "name": "cart-1", "namespace": "shop", "uid": "p1" },
            "reason": "BackOff", "message": "Back-off restarting failed container", "count": 256,
            "firstTimestamp": "2025-01-01T00:00:00Z", "lastTimestamp": "2025-01-02T00:00:00Z" });
        let snapshot = Snapshot::new(None, NOW);
        snapshot.learn("Pod", &pod).unwrap();
        let told = told(&snapshot, "Event", &event, News::Standing);
        let [(Kind::ContainerWaiting, event)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(event.place.workload.as_ref().map(|owner| &*owner.name), Some("cart"));
        let counts = event.attributes.iter().filter(|(key, _)| key == keys::COUNT);
        assert_eq!(counts.map(|(_, value)| value.to_string()).collect::<Vec<_>>(), ["256"]);
        assert!(snapshot.pod("p1").is_some());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let snapshot = Snapshot::new(None, NOW);
        let unknown = snapshot.tell("Unicorn", &json!({}), News::Recent).unwrap_err();
        assert_eq!(unknown.to_string(), "objects of kind \"Unicorn\" are not watched");
        let torn = json!({ "metadata": { "creationTimestamp": "yesterday" } });
        for refused in [snapshot.learn("Pod", &torn).err(), snapshot.learn("Pod", &json!(7)).err()]
        {
            assert_eq!(refused.unwrap().to_string(), "not a Pod");
        }
    }
}
