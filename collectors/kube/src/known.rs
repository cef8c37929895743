//! The objects that are there, as far as is known: what makes a listing a comparison.

use std::collections::BTreeMap;

use kube::Resource;

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
    objects: BTreeMap<Key, Held<K>>,
    listing: u64,
    objects_max: usize,
}

#[derive(Debug)]
struct Held<K> {
    object: K,
    /// The listing that saw it last.
    listing: u64,
}

/// There is no room for one more object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

impl<K: Resource<DynamicType = ()> + Clone> Known<K> {
    pub(crate) const fn new(objects_max: usize) -> Self {
        Self { objects: BTreeMap::new(), listing: 0, objects_max }
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
    pub(crate) fn take<'a>(&'a mut self, object: K) -> Result<Vec<Change<'a, K>>, Overflow> {
        let key = key(&object);
        let is_full = self.objects.len() >= self.objects_max;
        let listing = self.listing;
        let before = match self.objects.get_mut(&key) {
            Some(held) if is_same_version(&held.object, &object) => {
                held.listing = listing;
                return Ok(Vec::new());
            }
            Some(held) => {
                held.listing = listing;
                Some(std::mem::replace(&mut held.object, object))
            }
            None if is_full => return Err(Overflow),
            None => {
                self.objects.insert(key.clone(), Held { object, listing });
                None
            }
        };
        let after = self.objects.get(&key).map(|held| &held.object);
        let uid = after.and_then(|after| after.meta().uid.as_ref());
        if before.as_ref().is_some_and(|before| before.meta().uid.as_ref() != uid) {
            let gone = Change { before, after: None };
            return Ok(vec![gone, Change { before: None, after }]);
        }
        Ok(vec![Change { before, after }])
    }

    /// Forgets an object that the server says is deleted; the last that was known of it.
    pub(crate) fn delete(&mut self, object: &K) -> Option<K> {
        self.objects.remove(&key(object)).map(|held| held.object)
    }

    /// Ends a listing; returns what it did not show, and forgets it.
    pub(crate) fn end_listing(&mut self) -> Vec<K> {
        let listing = self.listing;
        let gone = self.objects.extract_if(.., |_, held| held.listing != listing);
        gone.map(|(_, held)| held.object).collect()
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

fn is_same_version<K: Resource>(one: &K, other: &K) -> bool {
    let (one, other) = (one.meta(), other.meta());
    one.uid == other.uid
        && one.resource_version.is_some()
        && one.resource_version == other.resource_version
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
    fn take(known: &mut Known<ConfigMap>, object: ConfigMap) -> Vec<String> {
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
        assert_eq!(take(&mut known, map("a", "u1", "1")), [">1"]);
        assert!(take(&mut known, map("a", "u1", "1")).is_empty());
        assert_eq!(take(&mut known, map("a", "u1", "2")), ["1>2"]);
        assert_eq!(take(&mut known, map("a", "u2", "5")), ["2>", ">5"]);
        // A server that was restored counts from below, and still speaks of now.
        assert_eq!(take(&mut known, map("a", "u2", "3")), ["5>3"]);
    }

    #[test]
    fn what_a_listing_does_not_show_is_gone() {
        let mut known = Known::new(9);
        for name in ["a", "b", "c"] {
            take(&mut known, map(name, name, "1"));
        }
        known.begin_listing();
        take(&mut known, map("b", "b", "1"));
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
        take(&mut known, map("a", "a", "1"));
        assert_eq!(known.take(map("b", "b", "1")), Err(Overflow));
        assert_eq!(take(&mut known, map("a", "a", "2")), ["1>2"]);
    }
}
