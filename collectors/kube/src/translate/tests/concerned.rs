//! Whom a rule and a Service concern.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use tapio_collect::Unbound;
use tapio_model::{Timestamp, Workload};

use super::script::translate;
use crate::translate::{Context, Labels, NEWS_AGE_MAX, Owners};

/// So many workloads of one namespace, all alike.
#[derive(Debug)]
struct Crowd(usize);

impl Owners for Crowd {
    fn workload(&self, _uid: &str) -> Option<Workload> {
        None
    }

    fn tenants(&self, _namespace: &str, is_meant: &dyn Fn(&Labels) -> bool) -> Vec<Workload> {
        let labels = [("app".to_owned(), "shop".to_owned())].into();
        let count = if is_meant(&labels) { self.0 } else { 0 };
        let named = |number: usize| format!("shop-{number:03}").into();
        (0..count)
            .map(|number| Workload { kind: "Deployment".into(), name: named(number) })
            .collect()
    }
}

fn told(crowd: &Crowd, before: Option<&Json>, after: Option<&Json>) -> Vec<Unbound> {
    let context = Context {
        cluster: None,
        now: Timestamp::ZERO,
        is_first_list: false,
        news_age_max: NEWS_AGE_MAX,
        owners: crowd,
    };
    let kind = after.or(before).unwrap()["kind"].as_str().unwrap();
    translate(kind, before, after, &context).unwrap()
}

fn object(kind: &str, spec: &Json) -> Json {
    json!({ "kind": kind, "spec": spec,
        "metadata": { "name": "rule", "namespace": "shop", "uid": "u", "resourceVersion": "1" } })
}

fn owners(told: &[Unbound]) -> BTreeSet<Option<&Workload>> {
    told.iter().map(|event| event.place.workload.as_ref()).collect()
}

#[test]
fn a_rule_for_everybody_is_told_to_a_crowd_once_each_and_no_further() {
    for (count, want) in [(1, 1), (64, 64), (65, 64), (500, 64)] {
        let policy = object("NetworkPolicy", &json!({ "podSelector": {} }));
        let told = told(&Crowd(count), None, Some(&policy));
        assert_eq!(owners(&told).len(), want, "{count}");
        let ids: BTreeSet<_> = told.iter().map(|event| event.id).collect();
        assert_eq!((ids.len(), told.len()), (want, want));
    }
}

#[test]
fn the_id_of_what_a_workload_is_told_is_the_same_whoever_else_is_there() {
    let policy = object("NetworkPolicy", &json!({ "podSelector": {} }));
    let few = told(&Crowd(1), None, Some(&policy));
    let many = told(&Crowd(30), None, Some(&policy));
    assert_eq!(few[0], many[0]);
    let alone = told(&Crowd(0), None, Some(&policy));
    assert_eq!(owners(&alone), [None].into());
    assert_ne!(alone[0].id, few[0].id);
}

#[test]
fn a_service_is_told_where_it_led_and_where_it_leads() {
    let of =
        |selector: Json| object("Service", &json!({ "selector": selector, "type": "ClusterIP" }));
    let (all, other, none) =
        (of(json!({ "app": "shop" })), of(json!({ "app": "kart" })), of(json!({})));
    // (before, after, is anybody told)
    let cases = [
        (None, Some(&all), true),
        (Some(&all), Some(&other), true),
        (Some(&other), Some(&all), true),
        (Some(&all), None, true),
        (Some(&other), None, false),
        (Some(&none), None, false),
        (Some(&other), Some(&none), false),
    ];
    for (before, after, is_told) in cases {
        let told = told(&Crowd(2), before, after);
        let want = if is_told { 2 } else { 1 };
        assert_eq!(told.len(), want, "{before:?} {after:?}");
        assert_eq!(owners(&told).contains(&None), !is_told);
        assert!(told.iter().all(|event| event.place.service.as_deref() == Some("rule")));
    }
}
