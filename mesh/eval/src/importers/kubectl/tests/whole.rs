//! What objects and logs say together.

use super::{read_text, stories};

/// A client that is refused by the database's address in the cluster, each ten seconds.
fn refused(address: &str) -> String {
    let line = |at: u32| {
        format!(
            "2026-01-02T03:{:02}:{:02}Z ERROR connect ECONNREFUSED {address}\n",
            at / 6,
            at % 6 * 10
        )
    };
    let lines: String = (0..60).map(line).collect();
    format!("$ kubectl logs cart-7f6b8d9c4-x2z4q -n shop\n{lines}")
}

const SERVICE: &str = "$ kubectl get svc -n shop -o wide\n\
    NAME    TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)    AGE   SELECTOR\n\
    sql     ClusterIP   10.96.0.12   <none>        5432/TCP   90d   app=db\n";

/// Lists what has replicas of its own name.
fn sets(ready: &str) -> String {
    format!(
        "$ kubectl get sts -n shop --show-labels\nNAME  READY  AGE  LABELS\ndb    {ready}    90d  app=db\n"
    )
}

#[test]
fn who_calls_what_is_scaled_to_zero_is_told_so() {
    let client = refused("10.96.0.12:5432");
    for (text, want) in [
        ([SERVICE, &sets("0/0"), &client].concat(), Some("scaled_away")),
        ([SERVICE, &sets("1/1"), &client].concat(), Some("connection_failed")),
        ([SERVICE, &sets("0/0"), &refused("10.96.0.13:5432")].concat(), Some("connection_failed")),
        ([SERVICE, &sets("0/0")].concat(), None),
    ] {
        let told = stories(&read_text(&text).0);
        assert_eq!(told, Vec::from_iter(want), "{text}");
    }
}

#[test]
fn a_service_whose_pods_listen_elsewhere_leads_nowhere() {
    let service = "$ kubectl describe svc api -n shop\nName:  api\nNamespace:  shop\n\
        Selector:  app=api\nType:  ClusterIP\nIP:  10.96.0.30\nPort:  http  80/TCP\n\
        TargetPort:  8080/TCP\nEndpoints:  10.42.0.7:8080\nSession Affinity:  None\n";
    let pods = "$ kubectl get pods -n shop --show-labels\n\
        NAME                  READY  STATUS   RESTARTS  AGE  LABELS\n\
        api-7f6b8d9c4-bbbbb   1/1    Running  0         9d   app=api,pod-template-hash=7f6b8d9c4\n";
    let log = |port: &str| {
        format!(
            "$ kubectl logs api-7f6b8d9c4-bbbbb -n shop\n2026-01-02T02:00:00Z INFO listening on :{port}\n"
        )
    };
    let client = refused("10.42.0.7:8080");
    for (port, want) in [("3000", "selector_mismatch"), ("8080", "connection_failed")] {
        let told = stories(&read_text(&[service, pods, &log(port), &client].concat()).0);
        assert_eq!(told, [want], "{port}");
    }
}

#[test]
fn a_webhook_without_endpoints_names_what_is_scaled_to_zero_beside_it() {
    let events = "$ kubectl get events -n shop\n\
        LAST SEEN   TYPE      REASON         OBJECT                       MESSAGE\n\
        2m          Warning   FailedCreate   replicaset/cart-7f6b8d9c4    Error creating: Internal \
        error occurred: failed calling webhook \"v.policy.io\": failed to call webhook: Post \
        \"https://policy.guard.svc:443/v?timeout=10s\": no endpoints available for service \"policy\"\n";
    let list = |rows: &str| {
        format!("$ kubectl get deploy -n guard\nNAME    READY  UP-TO-DATE  AVAILABLE  AGE\n{rows}")
    };
    let (policy, old) = (
        "policy  0/0    0           0          9d\n",
        "old     0/0    0           0          9d\n",
    );
    for (rows, is_named) in [(policy.to_owned(), true), ([policy, old].concat(), false)] {
        let read = read_text(&[events, &list(&rows)].concat()).0;
        let refusal = read.iter().find(|event| event.message().contains("webhook")).unwrap();
        let changed = refusal.attributes.text(tapio_model::keys::CHANGED);
        let want = is_named.then_some("Deployment guard/policy is scaled to 0 replicas");
        assert_eq!(changed, want, "{rows}");
    }
}

#[test]
fn a_policy_that_lets_other_namespaces_in_keeps_the_caller_out() {
    let deployment = "$ kubectl describe deploy cart -n shop\nName:  cart\nNamespace:  shop\n\
        Selector:  app=cart\nReplicas:  1 desired | 1 updated | 1 total | 1 available | 0 unavailable\n\
        StrategyType:  RollingUpdate\nPod Template:\n  Labels:  app=cart\n  Containers:\n   app:\n    \
        Image:  shop/cart:7\n    Environment:\n      CACHE_HOST:  cache.data.svc.cluster.local\n      \
        CACHE_PORT:  6379\n      TTL:  60\n    Mounts:  <none>\n  Volumes:  <none>\nEvents:  <none>\n";
    let policy = |spaces: &str| {
        format!(
            "$ kubectl describe netpol own -n data\nName:  own\nNamespace:  data\n\
             Created on:  2026-01-02 03:40:00 +0000 UTC\nSpec:\n  PodSelector:  app=redis\n  \
             Allowing ingress traffic:\n    To Port: 6379/TCP\n    From:\n      \
             NamespaceSelector: kubernetes.io/metadata.name in ({spaces})\n  \
             Not affecting egress traffic\n  Policy Types: Ingress\n"
        )
    };
    let pods = "$ kubectl get pods -n data --show-labels\n\
        NAME     READY  STATUS   RESTARTS  AGE  LABELS\ncache-0  1/1    Running  0         9d   app=redis\n";
    let line = |at: u32| {
        format!(
            "2026-01-02T03:{at:02}:00Z ERROR redis.TimeoutError: Timeout connecting to server\n"
        )
    };
    let lines: String = (41..59).map(line).collect();
    let log = format!("$ kubectl logs cart-7f6b8d9c4-x2z4q -n shop\n{lines}");
    for (spaces, want) in [("web,pay", true), ("web,shop", false)] {
        let text = [deployment, &policy(spaces), pods, &log].concat();
        let told = stories(&read_text(&text).0);
        assert_eq!(told == ["network_policy"], want, "{spaces}: {told:?}");
    }
}
