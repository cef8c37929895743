//! The objects that are there, as far as is known: what makes a listing a comparison.

use std::{collections::BTreeMap, marker::PhantomData};

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use tracing::warn;

use crate::version::Version;

/// An object before and after.
#[derive(Debug, PartialEq)]
pub(crate) struct Change<'a, K> {
    pub(crate) before: Option<K>,
    pub(crate) after: Option<&'a K>,
}

/// Namespace and name: what a listing tells two objects apart by.
type Key = (String, String);

/// What is known of one resource.
///
/// # Invariant
/// Holds at most `objects_max`; what comes above that is refused and counted by the caller.
#[derive(Debug)]
pub(crate) struct Known<K> {
    objects: BTreeMap<Key, Held>,
    listing: u64,
    objects_max: usize,
    resource: PhantomData<fn() -> K>,
}

/// An object as JSON: a trimmed pod is a kilobyte of it, and thirty as a value. It is read again only
/// when the object changes.
#[derive(Debug)]
struct Held {
    uid: Option<Box<str>>,
    version: Option<Box<str>>,
    json: Box<[u8]>,
    /// The listing that saw it last.
    listing: u64,
}

/// There is no room for one more object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Known<K> {
    pub(crate) const fn new(objects_max: usize) -> Self {
        Self { objects: BTreeMap::new(), listing: 0, objects_max, resource: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Begins a listing: what it does not show until [`Known::end_listing`] is gone.
    pub(crate) const fn begin_listing(&mut self) {
        self.listing += 1;
    }

    /// Takes an object, listed or watched, and says what changed; at most two changes, as an object
    /// that was replaced by a namesake went before the namesake came.
    pub(crate) fn take<'a>(&mut self, object: &'a K) -> Result<Vec<Change<'a, K>>, Overflow> {
        let key = key(object);
        let is_full = self.objects.len() >= self.objects_max;
        let before = match self.objects.get_mut(&key) {
            Some(held) if held.is_version_of(object) => {
                held.listing = self.listing;
                return Ok(Vec::new());
            }
            Some(held) => Some(std::mem::replace(held, Held::new(object, self.listing))),
            None if is_full => return Err(Overflow),
            None => {
                self.objects.insert(key, Held::new(object, self.listing));
                None
            }
        };
        let is_namesake = before.as_ref().is_some_and(|before| !before.is_same(object));
        let before = before.and_then(|before| before.read());
        let after = Some(object);
        Ok(if is_namesake {
            vec![Change { before, after: None }, Change { before: None, after }]
        } else {
            vec![Change { before, after }]
        })
    }

    /// Forgets an object that the server says is deleted; the last that was known of it.
    pub(crate) fn delete(&mut self, object: &K) -> Option<K> {
        self.objects.remove(&key(object)).and_then(|held| held.read())
    }

    /// Ends a listing; returns what it did not show, and forgets it.
    pub(crate) fn end_listing(&mut self) -> Vec<K> {
        let listing = self.listing;
        let gone = self.objects.extract_if(.., |_, held| held.listing != listing);
        gone.filter_map(|(_, held)| held.read()).collect()
    }
}

impl Held {
    fn new<K: Resource + Serialize>(object: &K, listing: u64) -> Self {
        let meta = object.meta();
        // Objects that came as JSON can be written as JSON; one that cannot reads as never known.
        let json = serde_json::to_vec(object).unwrap_or_default();
        Self {
            uid: meta.uid.as_deref().map(Into::into),
            version: meta.resource_version.as_deref().map(Into::into),
            json: json.into(),
            listing,
        }
    }

    fn is_same<K: Resource>(&self, object: &K) -> bool {
        self.uid.as_deref() == object.meta().uid.as_deref()
    }

    fn is_version_of<K: Resource>(&self, object: &K) -> bool {
        self.is_same(object)
            && self.version.is_some()
            && self.version.as_deref() == object.meta().resource_version.as_deref()
    }

    fn read<K: DeserializeOwned>(&self) -> Option<K> {
        let read = serde_json::from_slice(&self.json);
        read.inspect_err(|error| warn!(%error, "an object cannot be read again")).ok()
    }
}

/// Says whether `object` was last changed at or before `position`.
pub(crate) fn is_told<K: Resource>(object: &K, position: &Version) -> bool {
    Version::new(object.meta().resource_version.as_deref())
        .is_some_and(|version| version == *position || version.is_below(position))
}

fn key<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn map(name: &str, uid: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    /// What `take` says, as `before>after` in versions.
    fn take(known: &mut Known<ConfigMap>, object: &ConfigMap) -> Vec<String> {
        let version = |object: Option<&ConfigMap>| {
            object.and_then(|object| object.metadata.resource_version.clone()).unwrap_or_default()
        };
        let changes = known.take(object).unwrap_or_default();
        let said = changes.iter();
        said.map(|c| format!("{}>{}", version(c.before.as_ref()), version(c.after))).collect()
    }

    #[test]
    fn an_object_is_told_once_a_version_and_a_namesake_is_another_object() {
        let mut known = Known::new(9);
        assert_eq!(take(&mut known, &map("a", "u1", "1")), [">1"]);
        assert!(take(&mut known, &map("a", "u1", "1")).is_empty());
        assert_eq!(take(&mut known, &map("a", "u1", "2")), ["1>2"]);
        assert_eq!(take(&mut known, &map("a", "u2", "5")), ["2>", ">5"]);
        // A server that was restored counts from below, and still speaks of now.
        assert_eq!(take(&mut known, &map("a", "u2", "3")), ["5>3"]);
    }

    #[test]
    fn what_a_listing_does_not_show_is_gone() {
        let mut known = Known::new(9);
        for name in ["a", "b", "c"] {
            take(&mut known, &map(name, name, "1"));
        }
        known.begin_listing();
        take(&mut known, &map("b", "b", "1"));
        let names = |gone: Vec<ConfigMap>| -> Vec<_> {
            gone.into_iter().filter_map(|map| map.metadata.name).collect()
        };
        assert_eq!(names(known.end_listing()), ["a", "c"]);
        known.begin_listing();
        assert_eq!(known.delete(&map("b", "b", "2")), Some(map("b", "b", "1")));
        assert!(names(known.end_listing()).is_empty() && known.len() == 0);
    }

    #[test]
    fn a_full_store_refuses_new_objects_and_follows_the_old_ones() {
        let mut known = Known::new(1);
        take(&mut known, &map("a", "a", "1"));
        assert_eq!(known.take(&map("b", "b", "1")), Err(Overflow));
        assert_eq!(take(&mut known, &map("a", "a", "2")), ["1>2"]);
    }
}
