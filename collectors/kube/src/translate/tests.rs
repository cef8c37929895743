//! Scripts of objects that change, in `tests/objects`, and what is told of each look.

mod agreement;
mod concerned;
mod property;
mod recorded;
mod script;

use std::collections::BTreeSet;

use script::{Cluster, Look, scripts, show, translate};
use tapio_model::{EventId, Kind};

/// Plays a script as it is written, one line an event.
fn play(name: &str, looks: &[Look]) -> String {
    let cluster = Cluster;
    let mut lines = format!("{name}\n");
    let mut before = None;
    for look in looks {
        let known = before.as_ref().filter(|_| !look.forgets);
        let context = cluster.context(look.now, look.is_found);
        let told = translate(&look.kind, known, look.object.as_ref(), &context).unwrap();
        lines.extend(["\n# ", &look.title, "\n"]);
        for event in &told {
            lines.push_str(&show(event));
        }
        if told.is_empty() {
            lines.push_str("-\n");
        }
        before.clone_from(&look.object);
    }
    lines
}

#[test]
fn every_transition_is_told_once_and_nothing_else_is() {
    let scripts = scripts();
    assert!(scripts.len() > 20, "{}", scripts.len());
    for (name, looks) in scripts {
        insta::assert_snapshot!(name.clone(), play(&name, &looks));
    }
}

#[test]
fn a_restart_repeats_ids_and_invents_none() {
    let mut found = 0;
    for (name, looks) in scripts() {
        let mut live: BTreeSet<EventId> = BTreeSet::new();
        let mut before = None;
        for look in looks.iter().filter(|look| look.object.is_some()) {
            let told = |before, is_first_list| {
                let context = Cluster.context(look.now, is_first_list);
                translate(&look.kind, before, look.object.as_ref(), &context).unwrap()
            };
            live.extend(told(before.as_ref(), false).iter().map(|event| event.id));
            // A pod that begins is not ready, which is no news; that it is found so is.
            let found_wrong = told(None, true);
            for event in found_wrong.iter().filter(|event| event.kind != Kind::PodReadiness) {
                assert!(live.contains(&event.id), "{name}, {}: {}", look.title, show(event));
                found += 1;
            }
            before.clone_from(&look.object);
        }
    }
    assert!(found > 10, "{found}");
}

#[test]
fn an_object_looked_at_twice_tells_nothing() {
    for (name, looks) in scripts() {
        for look in looks.iter().filter(|look| look.object.is_some()) {
            let (object, context) = (look.object.as_ref(), Cluster.context(look.now, false));
            let told = translate(&look.kind, object, object, &context).unwrap();
            assert_eq!(told, [], "{name}, {}", look.title);
        }
    }
}

#[test]
fn ids_of_one_script_differ() {
    for (name, looks) in scripts() {
        let mut ids = BTreeSet::new();
        let mut before = None;
        for look in looks.iter().filter(|look| !look.forgets) {
            let context = Cluster.context(look.now, look.is_found);
            for event in
                translate(&look.kind, before.as_ref(), look.object.as_ref(), &context).unwrap()
            {
                // The same wait, told when it alternates with its cause, and an eviction that was
                // announced, are one event.
                let again = ["pod_image_and_config", "pod_placed_and_evicted"];
                assert!(
                    ids.insert(event.id) || again.contains(&name.as_str()),
                    "{name}: {}",
                    show(&event)
                );
            }
            before.clone_from(&look.object);
        }
    }
}

#[test]
fn a_secret_keeps_its_values() {
    let scripts = scripts();
    let (name, looks) = scripts.iter().find(|(name, _)| name == "secret").unwrap();
    let told = play(name, looks);
    assert!(told.contains("password"), "{told}");
    let values = ["hunter2", "aHVudGVyMg", "correcthorse", "Y29ycmVjdGhvcnNl", "Y2FydA"];
    for value in values {
        assert!(!told.contains(value), "{value}");
    }
}

#[test]
fn without_a_cache_a_template_hash_tells_the_deployment() {
    let scripts = scripts();
    let (_, looks) = scripts.iter().find(|(name, _)| name == "pod_oom").unwrap();
    let look = looks.iter().find(|look| look.title == "killed at its limit").unwrap();
    let mut context = Cluster.context(look.now, false);
    context.owners = &script::Nobody;
    let workload = |object: &serde_json::Value| {
        let told = translate(&look.kind, None, Some(object), &context).unwrap();
        let owner = told[0].place.workload.clone().unwrap();
        format!("{}/{}", owner.kind, owner.name)
    };
    let mut object = look.object.clone().unwrap();
    assert_eq!(workload(&object), "Deployment/cart");
    object["metadata"]["labels"] = serde_json::json!({"pod-template-hash": "b8d9c4"});
    assert_eq!(workload(&object), "ReplicaSet/cart-7f6b8d9c4", "a dash parts name and hash");
    object["metadata"]["labels"] = serde_json::json!({});
    assert_eq!(workload(&object), "ReplicaSet/cart-7f6b8d9c4");
}
