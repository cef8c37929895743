//! ConfigMaps and Secrets: that they changed and which keys did. Never a value.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    Metadata,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Severity, keys};

use super::{Context, Translate, seen::Seen};

/// A ConfigMap may hold a thousand files; a story names a few.
const KEYS_MAX: usize = 32;

impl Translate for ConfigMap {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let contents = |object: &'_ Self| -> BTreeMap<String, Vec<u8>> {
            let texts = object.data.iter().flatten();
            let texts = texts.map(|(key, text)| (key.clone(), text.clone().into_bytes()));
            let bytes = object.binary_data.iter().flatten();
            texts.chain(bytes.map(|(key, bytes)| (key.clone(), bytes.0.clone()))).collect()
        };
        changes("ConfigMap", (before, after), contents, context)
    }
}

impl Translate for Secret {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let contents = |object: &'_ Self| -> BTreeMap<String, Vec<u8>> {
            let bytes = object.data.iter().flatten();
            bytes.map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect()
        };
        changes("Secret", (before, after), contents, context)
    }
}

/// Tells a change of content. Leader elections write into a ConfigMap's metadata every other
/// second, which nobody reads.
fn changes<K: Metadata<Ty = ObjectMeta>>(
    kind: &str,
    (before, after): (Option<&K>, Option<&K>),
    contents: impl Fn(&K) -> BTreeMap<String, Vec<u8>>,
    context: &Context<'_>,
) -> Vec<Unbound> {
    let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_found()) else {
        return Vec::new();
    };
    // Deleted and made anew between two looks, it was changed for those who read it.
    let (was, now) = (before.map(&contents), after.map(&contents));
    let (change, what) = match (&was, &now) {
        (None, _) => ("added", vec!["content", seen.version()]),
        (Some(_), None) => ("deleted", vec!["deleted"]),
        (Some(was), Some(now)) if was != now => ("modified", vec!["content", seen.version()]),
        (Some(_), Some(_)) => return Vec::new(),
    };
    let changed = changed(&was.unwrap_or_default(), &now.unwrap_or_default());
    let message = format!("{kind} {}/{} {change}", seen.namespace(), seen.name());
    let event = seen
        .event(Kind::ConfigChanged, seen.time(None), &what)
        .at(seen.place())
        .rated(Severity::Info, 0.2, Class::Configuration)
        .with(keys::CHANGE, change)
        .with(keys::CHANGED, changed)
        .with(keys::RESOURCE_VERSION, seen.version())
        .message(message);
    seen.to_users(seen.named(event, kind), kind, &what)
}

/// Names the keys that came, went or hold something else.
fn changed(was: &BTreeMap<String, Vec<u8>>, now: &BTreeMap<String, Vec<u8>>) -> String {
    let all: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let mut keys = all.into_iter().filter(|key| was.get(*key) != now.get(*key));
    let named: Vec<&str> = keys.by_ref().take(KEYS_MAX).map(String::as_str).collect();
    let rest = keys.count();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
