use serde_json::json;

use super::*;
use crate::importers::k8s_objects::moment::Detail;

fn calls(rule: &Json) -> Calls {
    let mut moment = Moment::default();
    let service = json!({ "metadata": { "namespace": "pay", "name": "pay" },
        "spec": { "clusterIP": "10.0.0.7", "selector": { "app": "pay" } } });
    let mut add = |kind: &str, json: Json| {
        moment.add(Name::of(kind, &json).seen(json, Detail::Whole, None));
    };
    add("Service", service);
    add(
        "NetworkPolicy",
        json!({ "metadata": { "namespace": "pay", "name": "own" },
        "spec": { "podSelector": { "matchLabels": { "app": "pay" } }, "ingress": [rule] } }),
    );
    Calls::of(&moment)
}

fn call(address: &str) -> Unbound {
    let place =
        Place { namespace: Some("shop".into()), pod: Some("cart-1".into()), ..Place::default() };
    let id = event_id(&[b"call"]);
    Unbound::new(id, Timestamp::from_secs(9), Source::App, Kind::ConnectTimeout)
        .at(place)
        .with(keys::PEER_ADDRESS, address)
}

#[test]
fn an_address_is_named_by_its_service() {
    let calls = calls(&json!({}));
    let mut lines = vec![call("10.0.0.7"), call("10.0.0.8")];
    calls.complete(&mut lines, Timestamp::from_secs(9));
    let named: Vec<_> = lines.iter().map(|line| line.text(keys::PEER_SERVICE)).collect();
    assert_eq!(named, [Some("pay.pay"), None]);
}

#[test]
fn what_is_told_in_brief_is_told_of_the_address_that_is_known() {
    let calls = calls(&json!({}));
    let line = |address: &str, said: &str| call(address).message(said.to_owned());
    let mut lines = vec![
        line("10.0.0.7", "7 refused by 10.0.0.7"),
        line("10.0.0.8", "9 refused by 10.0.0.8"),
        line("10.0.0.9", "another complaint of 10.0.0.9"),
        line("10.0.0.9", "3 refused by 10.0.0.9").with(keys::PEER_PORT, 6_379_i64),
    ];
    calls.complete(&mut lines, Timestamp::from_secs(9));
    let named: Vec<_> = lines.iter().map(|line| line.text(keys::PEER_SERVICE)).collect();
    assert_eq!(named, [Some("pay.pay"), Some("pay.pay"), None, None]);
}

#[test]
fn who_is_not_named_is_the_one_that_the_log_or_a_variable_names() {
    let mut moment = Moment::default();
    let mut add = |kind: &str, json: Json| {
        moment.add(Name::of(kind, &json).seen(json, Detail::Whole, None));
    };
    add("Service", json!({ "metadata": { "namespace": "shop", "name": "queue" } }));
    let variables = [
        json!({ "name": "A", "value": "jdbc:mysql://u:p@db.lan:3306/x" }),
        json!({ "name": "B", "value": "http://localhost:80" }),
    ];
    add(
        "Pod",
        json!({ "metadata": { "namespace": "shop", "name": "cart-1" },
        "spec": { "containers": [{ "env": variables }] } }),
    );
    let calls = Calls::of(&moment);
    let line = |said: &str| {
        let id = event_id(&[said.as_bytes()]);
        let place = call("x").place;
        Unbound::new(id, Timestamp::from_secs(9), Source::App, Kind::Log)
            .at(place)
            .with(keys::SAMPLED, 9_i64)
            .message(said.to_owned())
    };
    for (said, want) in [("broker amqp://queue:5672", "queue"), ("begin", "db.lan")] {
        let mut lines = vec![line(said), line("cannot connect")];
        calls.complete(&mut lines, Timestamp::from_secs(9));
        assert_eq!(lines[1].text(keys::PEER_ADDRESS), Some(want), "{said}");
        assert_eq!(lines[0].text(keys::PEER_ADDRESS), None, "{said}");
    }
}

#[test]
fn a_workload_that_knows_one_host_waited_for_it() {
    let mut moment = Moment::default();
    let variables = |port: &str| {
        json!([
            { "name": "CACHE_HOST", "value": "cache-main.data.svc.cluster.local" },
            { "name": "CACHE_PORT", "value": port },
            { "name": "HOME_HOST", "value": "localhost" },
            { "name": "TTL", "value": "60" },
        ])
    };
    let deployment = |port: &str| {
        json!({ "metadata": { "namespace": "shop", "name": "cart" },
            "spec": { "template": { "spec": { "containers": [{ "env": variables(port) }] } } } })
    };
    let mut add = |kind: &str, json: Json| {
        moment.add(Name::of(kind, &json).seen(json, Detail::Whole, None));
    };
    add("Deployment", deployment("6379"));
    // Nobody printed the Service.
    add(
        "Pod",
        json!({ "metadata": { "namespace": "data", "name": "cache-main-0",
            "labels": { "app": "redis" } } }),
    );
    add(
        "NetworkPolicy",
        json!({ "metadata": { "namespace": "data", "name": "own" }, "spec": {
            "podSelector": { "matchLabels": { "app": "redis" } },
            "ingress": [{ "from": [{ "podSelector": {} }] }] } }),
    );
    let line = |said: &str| {
        let workload = tapio_model::Workload { kind: "Deployment".into(), name: "cart".into() };
        let place = Place { workload: Some(workload), ..call("x").place };
        Unbound::new(event_id(&[said.as_bytes()]), Timestamp::from_secs(9), Source::App, Kind::Log)
            .at(place)
            .with(keys::SAMPLED, 9_i64)
            .message(said.to_owned())
    };
    for (said, kind, is_told) in [
        ("TimeoutError: Timeout connecting to server", Kind::ConnectTimeout, true),
        ("connected to the server again", Kind::Log, false),
    ] {
        let mut lines = vec![line(said)];
        Calls::of(&moment).complete(&mut lines, Timestamp::from_secs(9));
        assert_eq!(lines[0].kind, kind, "{said}");
        let is = lines.iter().any(|line| line.kind == Kind::PolicyChanged);
        assert_eq!(is, is_told, "{said}");
    }
}

#[test]
fn who_is_not_let_in_has_the_policy_told() {
    let from = |peer: Json| json!({ "from": [peer] });
    let of = |name: &str| json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
    let among = |names: &[&str]| {
        json!({ "matchExpressions": [{ "key": "kubernetes.io/metadata.name",
            "operator": "In", "values": names }] })
    };
    let pod = |app: &str| json!({ "matchLabels": { "app": app } });
    for (rule, is_told) in [
        (from(json!({ "podSelector": pod("cart") })), true),
        (from(json!({ "namespaceSelector": of("shop") })), false),
        (from(json!({ "namespaceSelector": of("shop"), "podSelector": pod("cart") })), false),
        (from(json!({ "namespaceSelector": of("shop"), "podSelector": pod("web") })), true),
        (from(json!({ "namespaceSelector": of("ops") })), true),
        (from(json!({ "namespaceSelector": among(&["ops", "web"]) })), true),
        (from(json!({ "namespaceSelector": among(&["ops", "shop"]) })), false),
        (from(json!({ "namespaceSelector": { "matchLabels": { "team": "a" } } })), false),
        (from(json!({ "ipBlock": { "cidr": "0.0.0.0/0" } })), false),
        (json!({}), false),
    ] {
        let mut lines = vec![call("pay.pay.svc.cluster.local")];
        calls(&rule).complete(&mut lines, Timestamp::from_secs(9));
        let told = lines.iter().any(|line| line.kind == Kind::PolicyChanged);
        assert_eq!(told, is_told, "{rule}");
    }
}

#[test]
fn containers_that_name_others_alike_name_several() {
    let told = |value: &str| json!({ "env": [{ "name": "REDIS_URL", "value": value }] });
    let pod = json!({ "spec": { "containers": [told("redis://cache:6379"), told("redis://queue:6379")] } });
    assert_eq!(addressees(&pod, "/spec/containers").len(), 2);
    for (said, want) in [("idle connection timeout", false), ("connection timeout", true)] {
        assert_eq!(is_timeout(&call("x").message(said.to_owned())), want, "{said}");
    }
}
