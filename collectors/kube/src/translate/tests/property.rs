//! Objects that no API server would send.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*};
use serde_json::{Value as Json, json};

use super::script::{Cluster, Look, scripts, translate};

static SCRIPTS: LazyLock<Vec<(String, Vec<Look>)>> = LazyLock::new(scripts);

/// One thing done to an object: where, and what.
type Blow = (usize, usize, i32);

/// Words that mean something somewhere, and some that mean nothing.
const WORDS: &[&str] = &[
    "",
    "True",
    "False",
    "Unknown",
    "Ready",
    "OOMKilled",
    "CrashLoopBackOff",
    "://",
    "spec.{}",
    "9999-12-31T23:59:59Z",
    "-009999-01-02T00:00:00Z",
    "1970-01-01T00:00:00.000000001Z",
    "é{",
    "-",
];

fn pointers(json: &Json, here: &str, found: &mut Vec<String>) {
    let mut under = |key: &str, value: &Json| {
        let key = key.replace('~', "~0").replace('/', "~1");
        let path = format!("{here}/{key}");
        found.push(path.clone());
        pointers(value, &path, found);
    };
    match json {
        Json::Object(fields) => fields.iter().for_each(|(key, value)| under(key, value)),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| under(&at.to_string(), value));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn strike(object: &mut Json, (place, what, number): Blow) {
    let mut paths = Vec::new();
    pointers(object, "", &mut paths);
    let path = paths.get(place % paths.len().max(1)).cloned().unwrap_or_default();
    let word = WORDS.get(what % WORDS.len()).copied().unwrap_or_default();
    let other = paths.get(what % paths.len().max(1)).and_then(|path| object.pointer(path)).cloned();
    let Some(target) = object.pointer_mut(&path) else { return };
    *target = match what % 5 {
        0 => Json::Null,
        1 => other.unwrap_or_default(),
        2 if target.is_number() => json!(number),
        3 if target.is_array() => json!([]),
        _ if target.is_string() => json!(word),
        _ if target.is_boolean() => json!(number % 2 == 0),
        _ => return,
    };
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_object_makes_it_panic_or_repeat_itself(
        script in any::<prop::sample::Index>(),
        order in vec(any::<prop::sample::Index>(), 1..6),
        blows in vec(vec((any::<usize>(), any::<usize>(), any::<i32>()), 0..5), 6),
        is_found in any::<bool>(),
    ) {
        let (_, looks) = script.get(&SCRIPTS);
        let mut before: Option<Json> = None;
        for (at, blows) in order.iter().zip(&blows) {
            let look = at.get(looks);
            let mut object = look.object.clone();
            if let Some(object) = &mut object {
                blows.iter().for_each(|blow| strike(object, *blow));
            }
            let context = Cluster.context(look.now, is_found);
            let told = translate(&look.kind, before.as_ref(), object.as_ref(), &context);
            // An object that cannot be read never comes so far.
            let Ok(told) = told else { continue };
            let again = translate(&look.kind, before.as_ref(), object.as_ref(), &context).unwrap();
            prop_assert_eq!(&told, &again);
            if object.is_some() {
                let same = translate(&look.kind, object.as_ref(), object.as_ref(), &context);
                prop_assert_eq!(same.unwrap(), []);
            }
            before = object;
        }
    }
}
