use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::*;

const POD: &str = r#"{"metadata":{"name":"cart-7d9f-x","namespace":"shop","uid":"u1",
  "labels":{"app":"cart","pod-template-hash":"7d9f"},
  "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"cart-7d9f","uid":"r1","controller":true}]},
 "spec":{"nodeName":"n1","containers":[{"name":"cart","envFrom":[{"configMapRef":{"name":"env"}}]}],
  "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}]},
 "status":{"podIPs":[{"ip":"10.0.0.7"}],
  "containerStatuses":[{"name":"cart","containerID":"containerd://abc","image":"","imageID":"","ready":true,"restartCount":0}]}}"#;

#[test]
fn a_pod_is_found_by_container_uid_and_address_and_its_address_is_freed() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&told);
    let tell: Learn = Arc::new(move |place| {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(place.label());
    });
    let cache = WatchCache::new(None, Some(tell), None);
    let pod: Pod = serde_json::from_str(POD).unwrap();
    cache.learn_pod(&pod);
    let address: IpAddr = "10.0.0.7".parse().unwrap();
    let container = cache.container("abc").unwrap();
    let deployment = Workload { kind: "Deployment".into(), name: "cart".into() };
    assert_eq!(container.workload.as_ref(), Some(&deployment));
    assert_eq!(container.service.as_deref(), Some("cart"));
    assert_eq!(cache.pod("u1"), cache.address(address));
    assert_eq!(*told.lock().unwrap(), ["shop/cart-7d9f-x/cart", "shop/cart-7d9f-x"]);
    assert_eq!(cache.users("shop", "ConfigMap", "env"), std::slice::from_ref(&deployment));
    assert_eq!(cache.users("shop", "PersistentVolumeClaim", "data"), [deployment]);
    assert!(cache.users("shop", "Secret", "env").is_empty());
    cache.forget_pod(&pod);
    assert_eq!(cache.address(address), None);
    assert!(cache.container("abc").is_some(), "late events still find it");
}

#[test]
fn a_pod_is_found_by_labels_and_through_its_service_until_it_is_gone() {
    let cache = WatchCache::new(None, None, None);
    let pod: Pod = serde_json::from_str(POD).unwrap();
    cache.learn_pod(&pod);
    let slice = serde_json::from_str(
        r#"{"metadata":{"name":"cart-1","namespace":"shop","labels":{"kubernetes.io/service-name":"cart"}},
            "addressType":"IPv4","endpoints":[
              {"addresses":["10.0.0.7"],"targetRef":{"kind":"Pod","uid":"u1"}},
              {"addresses":["10.0.0.8"],"targetRef":{"kind":"Pod","uid":"unknown"}},
              {"addresses":["10.0.0.9"],"targetRef":{"kind":"Node","uid":"u1"}}]}"#,
    )
    .unwrap();
    cache.learn_slice(&slice);
    let deployment = [Workload { kind: "Deployment".into(), name: "cart".into() }];
    let of_app =
        |app: &'static str| move |labels: &Labels| labels.get("app").is_some_and(|it| it == app);
    assert_eq!(cache.tenants("shop", &of_app("cart")), deployment);
    assert!(cache.tenants("shop", &of_app("db")).is_empty());
    assert_eq!(cache.backends("shop", "cart"), deployment);
    assert!(cache.backends("bank", "cart").is_empty());
    assert_eq!(cache.node("u1").as_deref(), Some("n1"));
    cache.forget_slice(&slice);
    assert_eq!(
        cache.backends("shop", "cart"),
        deployment,
        "remembered when its endpoints are gone"
    );
    let mut done = pod.clone();
    done.status.as_mut().unwrap().phase = Some("Failed".into());
    for gone in [done, pod.clone()] {
        cache.learn_pod(&pod);
        assert_eq!(cache.tenants("shop", &|_| true), deployment);
        if gone == pod {
            cache.forget_pod(&gone);
        } else {
            cache.learn_pod(&gone);
        }
        assert!(cache.tenants("shop", &|_| true).is_empty());
    }
}

#[test]
fn an_autoscaler_has_the_one_user_that_it_scales_now() {
    let cache = WatchCache::new(None, None, None);
    for target in ["cart", "kart"] {
        let scaler = serde_json::json!({ "metadata": { "name": "scaler", "namespace": "shop" },
            "spec": { "maxReplicas": 3, "scaleTargetRef": { "kind": "Deployment", "name": target } } });
        cache.learn_scaler(&serde_json::from_value(scaler).unwrap());
        let users = cache.users("shop", "HorizontalPodAutoscaler", "scaler");
        assert_eq!(users, [Workload { kind: "Deployment".into(), name: target.into() }]);
    }
}
