//! How much is watched: one node, some namespaces, page by page, up to a limit, or nothing.

use std::sync::Mutex;

use tapio_model::Place;

use super::*;

const PODS: &str = "/api/v1/pods";

fn pod(name: &str) -> serde_json::Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "controller": true,
                "name": "backup-29000000", "uid": "job" }] },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c" }] },
        "status": { "containerStatuses": [{ "name": "c", "containerID": format!("containerd://{name}"),
            "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] },
    })
}

#[tokio::test]
async fn the_agent_of_a_node_learns_its_pods_and_tells_nothing() {
    let server = serve().await;
    server.serve_everything();
    server.put_whole(PODS, pod("old"));
    let learned: Arc<Mutex<Vec<Place>>> = Arc::default();
    let log = Arc::clone(&learned);
    let mut config = config(Resource::ALL);
    (config.only_node, config.lead) = (Some("n1".into()), true);
    config.learn = Some(Arc::new(move |place| log.lock().unwrap().push(place.clone())));
    let run = Run::start(&server, config, memory());
    run.reach("pods", |status| status.state == WatchState::Watching).await;
    server.put_whole(PODS, pod("new"));
    run.reach("pods", |status| status.known == 2).await;
    server.delete(PODS, "old");
    run.reach("pods", |status| status.known == 1).await;
    let status = run.board.snapshot();
    assert_eq!(status.resources.keys().collect::<Vec<_>>(), ["pods"]);
    assert_eq!((status.lead, status.resources["pods"].told), (LeadState::Alone, 0));
    // A probe asks for one object of any node: it wants a sign of life, and the version.
    let asked = server.requests();
    let is_probe = |asked: &String| asked.ends_with("limit=1") || asked.contains("limit=1&");
    let asked: Vec<_> = asked.iter().filter(|asked| !is_probe(asked)).collect();
    for request in &asked {
        assert!(request.contains("fieldSelector=spec.nodeName%3Dn1"), "{asked:?}");
    }
    let owners: Vec<_> = learned.lock().unwrap().iter().map(Place::label).collect();
    assert_eq!(owners, ["shop/old/c", "shop/old", "shop/new/c", "shop/new"]);
    let Run { mut events, stopper, running, .. } = run;
    stopper.stop();
    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn only_the_named_namespaces_are_asked_for_and_what_has_none_is_whole() {
    let server = serve().await;
    server.serve_everything();
    let mut config = config(&[Resource::ConfigMaps, Resource::Nodes]);
    config.namespaces = vec!["bank".into(), "shop".into()];
    let mut run = Run::start(&server, config, memory());
    for name in ["configmaps/bank", "configmaps/shop", "nodes"] {
        run.reach(name, |status| status.state == WatchState::Watching).await;
    }
    let paths: BTreeSet<String> = server
        .requests()
        .iter()
        .filter_map(|request| Some(request.split_once('?')?.0.to_owned()))
        .collect();
    let wanted = [
        "/api/v1/namespaces/bank/configmaps",
        "/api/v1/namespaces/shop/configmaps",
        "/api/v1/nodes",
    ];
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), wanted);
    let map = |name: &str| json!({ "metadata": { "name": name, "uid": name }, "data": {} });
    let bank = server.put_whole(wanted[0], map("a"));
    let shop = server.put_whole(wanted[1], map("b"));
    run.expect(&[at("a", bank), at("b", shop)]).await;
    run.stop().await;
}

#[tokio::test]
async fn a_listing_of_many_pages_is_one_listing() {
    let server = serve().await;
    server.fault(Faults { page_max: 2, ..Faults::default() });
    for name in ["a", "b", "c", "d", "e"] {
        server.put(name);
    }
    let run = Run::of_maps(&server).await;
    run.reach("configmaps", |status| status.known == 5).await;
    assert_eq!(run.board.snapshot().resources["configmaps"].listings, 1);
    let asked = server.requests();
    let pages: Vec<_> = ["continue=2", "continue=4"]
        .into_iter()
        .filter(|page| asked.iter().any(|request| request.contains(page)))
        .collect();
    assert_eq!(pages.len(), 2, "{asked:?}");
    run.finish(&server, "pages").await;
}

#[tokio::test]
async fn a_page_that_expired_begins_the_listing_anew_and_loses_nobody() {
    let server = serve().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.put(name);
    }
    let mut run = Run::of_maps(&server).await;
    server.fault(Faults { is_frozen: true, ..Faults::default() });
    let version = server.put("a");
    server.delete(MAPS, "d");
    server.compact();
    let paged = Faults { page_max: 2, expired_pages: 2, ..Faults::default() };
    server.fault(Faults { gone: true, ..paged.clone() });
    run.reach("configmaps", |status| status.failures >= 1).await;
    server.fault(paged);
    // Half a listing is no proof of absence: `c` and `e` are still there.
    run.expect(&[at("a", version), gone("d")]).await;
    assert!(server.requests().iter().any(|request| request.contains("continue=2")));
    run.finish(&server, "expired page").await;
}

#[tokio::test]
async fn what_is_above_the_limit_is_counted_and_the_rest_is_followed() {
    let server = serve().await;
    for name in ["a", "b", "c"] {
        server.put(name);
    }
    let mut config = config(&[Resource::ConfigMaps]);
    config.objects_max = 2;
    let mut run = Run::start(&server, config, memory());
    run.reach("configmaps", |status| status.state == WatchState::Watching).await;
    server.put("c");
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    assert_eq!(run.account.snapshot().dropped(DropReason::Full), 2);
    assert_eq!(run.board.snapshot().resources["configmaps"].known, 2);
    // Room that comes free is used.
    server.delete(MAPS, "b");
    run.expect(&[gone("b")]).await;
    let version = server.put("c");
    run.expect(&[at("c", version)]).await;
    run.stop().await;
}

#[tokio::test]
async fn who_may_not_have_the_lease_watches_nothing_and_names_the_rule() {
    let server = serve().await;
    server.put("a");
    server.fault(Faults { refuses_leases: true, ..Faults::default() });
    let mut config = config(&[Resource::ConfigMaps]);
    config.lead = true;
    config.leader.ttl = ms(1_500);
    let mut run = Run::start(&server, config, memory());
    let is_refused = |lead: &LeadState| {
        match lead {
        LeadState::Refused(rule) => rule.to_string().contains(
            r#"["coordination.k8s.io"], resources: ["leases"], verbs: ["create", "get", "update"] in namespace tapio"#,
        ),
        LeadState::Alone
        | LeadState::Following { .. }
        | LeadState::Leading
        | LeadState::Unreachable(_) => false,
    }
    };
    let refused = run.board.wait_until(|status| is_refused(&status.lead));
    timeout(PATIENCE, refused).await.unwrap();
    assert!(run.board.snapshot().resources.is_empty());
    assert_eq!(server.requests(), Vec::<String>::new());
    server.fault(Faults::default());
    run.reach("configmaps", |status| status.state == WatchState::Watching).await;
    assert_eq!(run.board.snapshot().lead, LeadState::Leading);
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    run.finish(&server, "refused Lease").await;
}
