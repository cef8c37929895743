//! Ordinary failures in the forms that kubectl prints, each told by its cause.

use super::{read_text, stories};

const POD: &str = "cart-7f6b8d9c4-x2z4q";

/// Describes the pod: its containers' lines, its conditions and its Events.
fn pod(status: &str, containers: &str, events: &[&str]) -> String {
    let rows: String = events.iter().map(|event| format!("  {event}\n")).collect();
    let scheduled = if containers.contains("Started:") || !rows.contains("FailedScheduling") {
        "True"
    } else {
        "False"
    };
    let node = if scheduled == "True" { "n1/10.0.0.1" } else { "<none>" };
    format!(
        "$ kubectl describe pod {POD} -n shop\nName:             {POD}\nNamespace:        shop\n\
         Node:             {node}\nStart Time:       Fri, 02 Jan 2026 04:00:00 +0100\n\
         Labels:           app=cart\nStatus:           {status}\n\
         Controlled By:    ReplicaSet/cart-7f6b8d9c4\n{containers}\
         Conditions:\n  Type            Status\n  Ready           False\n  PodScheduled    {scheduled}\n\
         Volumes:\n  data:\n    Type:       PersistentVolumeClaim (a reference to a claim)\n    \
         ClaimName:  data\nEvents:\n  \
         Type     Reason     Age                  From     Message\n  \
         ----     ------     ----                 ----     -------\n{rows}"
    )
}

/// Describes the pod in back-off after a process that ended so, and prints its log.
fn crash(code: u8, log: &str) -> String {
    let containers = format!(
        "Containers:\n  cart:\n    Container ID:  containerd://4a\n    Image:         shop/cart:7\n    \
         State:         Waiting\n      Reason:      CrashLoopBackOff\n    Last State:    Terminated\n      \
         Reason:      Error\n      Exit Code:   {code}\n      \
         Started:     Fri, 02 Jan 2026 04:20:00 +0100\n      \
         Finished:    Fri, 02 Jan 2026 04:20:02 +0100\n    Ready:         False\n    Restart Count: 8\n"
    );
    let back_off = "Warning  BackOff    2m (x90 over 21m)    kubelet  Back-off restarting failed container cart in pod x";
    let log = format!("$ kubectl logs {POD} -n shop --previous\n{log}\n");
    pod("Running", &containers, &[back_off]) + &log
}

/// Describes the pod while its container waits.
fn waits(reason: &str, event: &str) -> String {
    let containers = format!(
        "Containers:\n  cart:\n    Image:         shop/cart:7\n    State:         Waiting\n      \
         Reason:      {reason}\n    Ready:         False\n    Restart Count: 0\n"
    );
    pod("Pending", &containers, &[event])
}

/// Describes the pod while it runs well, and prints its log: each line once a minute.
fn runs(lines: &[&str]) -> String {
    let containers = "Containers:\n  cart:\n    Image:         shop/cart:7\n    State:         Running\n      \
        Started:     Fri, 02 Jan 2026 04:00:02 +0100\n    Ready:         True\n    Restart Count: 0\n";
    let minute = |(at, line): (usize, &&str)| format!("2026-01-02T03:{at:02}:00Z {line}\n");
    let log: String = lines.iter().enumerate().map(minute).collect();
    let well = pod("Running", containers, &[]).replace("False", "True");
    well + &format!("$ kubectl logs {POD} -n shop\n{log}")
}

fn told(text: &str) -> Vec<String> {
    stories(&read_text(text).0)
}

#[test]
fn a_process_that_dies_is_told_by_its_last_words() {
    let trace = "Starting\nTraceback (most recent call last):\n  File \"/app/main.py\", line 7, in <module>\n";
    let cases = [
        (format!("{trace}ValueError: bad limit"), "cannot_start"),
        (format!("{trace}ModuleNotFoundError: No module named 'flask'"), "cannot_start"),
        ("panic: assignment to entry in nil map\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:12 +0x25".to_owned(), "cannot_start"),
        ("Error: listen EADDRINUSE: address already in use :::8080\n    at Server.listen (node:net:1740:16)\n\nNode.js v18.17.0".to_owned(), "cannot_start"),
        ("dial tcp 10.96.0.7:5432: connect: connection refused".to_owned(), "connection_failed"),
        ("ERROR connection to server at \"db\" (10.96.0.7), port 5432 failed: Connection refused\nFATAL giving up".to_owned(), "connection_failed"),
        ("java.net.UnknownHostException: db: Name or service not known".to_owned(), "connection_failed"),
        ("Error from server (Forbidden): pods is forbidden: User \"system:serviceaccount:shop:default\" cannot list resource \"pods\" in API group \"\" in the namespace \"shop\"".to_owned(), "rbac_denied"),
    ];
    for (log, want) in cases {
        assert_eq!(told(&crash(1, &log)), [want], "{log}");
    }
}

#[test]
fn a_pod_that_waits_is_told_by_its_events() {
    let cases = [
        (
            "ContainerCreating",
            "Warning  FailedMount  28s (x17 over 18m)  kubelet  MountVolume.SetUp failed for volume \"config\" : configmap \"cart-config\" not found",
            "missing_config",
        ),
        (
            "CreateContainerConfigError",
            "Warning  Failed  28s (x17 over 18m)  kubelet  Error: couldn't find key PASSWORD in Secret shop/db",
            "missing_config",
        ),
        (
            "ImagePullBackOff",
            "Warning  Failed  28s (x17 over 18m)  kubelet  Failed to pull image \"shop/cart:7\": docker.io/shop/cart:7: not found",
            "image_pull",
        ),
    ];
    for (reason, event, want) in cases {
        assert_eq!(told(&waits(reason, event)), [want], "{event}");
    }
    let refused = |why: &str| {
        let event = format!(
            "Warning  FailedScheduling  3m (x5 over 20m)  default-scheduler  0/2 nodes are available: {why}. preemption: none."
        );
        pod("Pending", "Containers:\n  cart:\n    Image:  shop/cart:7\n", &[&event])
    };
    assert_eq!(told(&refused("2 Insufficient cpu")), ["unschedulable"]);
    assert_eq!(told(&refused("2 node(s) had untolerated taint {team: a}")), ["unschedulable"]);
    let claim = "$ kubectl describe pvc data -n shop\nName:  data\nNamespace:  shop\nStorageClass:  fast\n\
        Status:  Pending\nVolume:\nVolumeMode:  Filesystem\nUsed By:  x\nEvents:\n  \
        Type     Reason              Age                 From  Message\n  \
        ----     ------              ----                ----  -------\n  \
        Warning  ProvisioningFailed  1m (x84 over 21m)   x     storageclass.storage.k8s.io \"fast\" not found\n";
    let text = refused("pod has unbound immediate PersistentVolumeClaims") + claim;
    assert_eq!(told(&text), ["volume_unbound"], "the claim and its pod are one story");
}

#[test]
fn a_controller_that_is_refused_again_and_again_is_heard() {
    let replicas = |message: &str| {
        format!(
            "$ kubectl get events -n shop\n\
             LAST SEEN   TYPE      REASON         OBJECT                      MESSAGE\n\
             2m          Warning   FailedCreate   replicaset/cart-7f6b8d9c4   Error creating: pods \"cart-7f6b8d9c4-a\" is forbidden: {message}\n"
        )
    };
    for message in [
        "exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2",
        "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
        "error looking up service account shop/cart: serviceaccount \"cart\" not found",
    ] {
        assert_eq!(told(&replicas(message)), ["quota_refused"], "{message}");
    }
}

#[test]
fn what_a_log_says_again_and_again_is_a_story() {
    let failed = ["INFO ok", "ERROR order 1 is lost: division by zero"].repeat(6);
    assert_eq!(told(&runs(&failed)), ["application_errors"]);
    let slow = ["INFO db query finished in 6.01 seconds", "INFO ok"].repeat(4);
    assert_eq!(told(&runs(&slow)), ["slow_call"]);
    let expired = ["ERROR x509: certificate has expired or is not yet valid"; 5];
    assert_eq!(told(&runs(&expired)), ["certificate_expired"]);
    for well in [
        ["INFO ok", "INFO request took 12 ms"].repeat(8),
        [vec!["ERROR retrying", "ERROR retrying"], vec!["INFO ok"; 30]].concat(),
        ["INFO next sync in 300 seconds", "INFO backup completed in 41 seconds"].repeat(4),
    ] {
        assert_eq!(told(&runs(&well)), Vec::<String>::new(), "{well:?}");
    }
}

#[test]
fn services_ingresses_and_policies_that_lead_nowhere_are_told() {
    let service = "$ kubectl describe service cart -n shop\nName:  cart\nNamespace:  shop\nSelector:  app=kart\n\
        Endpoints:\nSession Affinity:  None\n";
    let text = format!("{service}{}", runs(&["INFO ok"]));
    assert_eq!(told(&text), ["selector_mismatch"]);
    assert_eq!(told(&text.replace("app=kart", "app=cart")), Vec::<String>::new());
    let ingress = "$ kubectl get ingress -n shop\nNAME  CLASS   HOSTS  ADDRESS   PORTS  AGE\n\
        web   inside  a.io             80     9m\n$ kubectl get ingressclass\n\
        NAME   CONTROLLER            PARAMETERS  AGE\nnginx  k8s.io/ingress-nginx  <none>  9d\n";
    assert_eq!(told(ingress), ["ingress_unserved"]);
    let policy = "$ kubectl describe networkpolicy -n shop\nName:  locked\nNamespace:  shop\n\
        Created on:  2025-08-10 05:00:00 +0200 CEST\nSpec:\n  PodSelector:  <none> (all pods)\n  \
        Allowing egress traffic:\n    <none> (Selected pods are isolated for egress connectivity)\n  \
        Policy Types: Egress\n";
    let unnamed = "ERROR getaddrinfo EAI_AGAIN db.data.svc.cluster.local";
    let text = format!("{}{policy}", runs(&[unnamed; 5]));
    assert_eq!(told(&text), ["network_policy"]);
    assert_eq!(told(&format!("{}{policy}", runs(&["INFO ok"; 5]))), Vec::<String>::new());
}

#[test]
fn rows_of_others_are_not_what_a_recording_is_about_unless_it_names_them() {
    let rows = "$ kubectl get pods -A\n\
        NAMESPACE   NAME         READY   STATUS             RESTARTS   AGE\n\
        shop        db-0         0/1     ImagePullBackOff   0          2d\n\
        play        toy-7f6b8d9c4-x2z4q   0/1     ImagePullBackOff   0          2d\n\
        play        toy-7f6b8d9c4-x2z4r   0/1     ImagePullBackOff   0          2d\n";
    assert_eq!(told(&format!("{rows}{}", runs(&["INFO ok"]))), Vec::<String>::new());
    assert_eq!(told(&format!("{rows}{}", runs(&["INFO host db is known"]))), ["image_pull"]);
    assert_eq!(told(rows), ["image_pull"], "a list alone is about all of it");
}

#[test]
fn what_events_say_of_one_workload_within_an_hour_is_one_story() {
    let row = |sight: &str, reason: &str, pod: &str, message: &str| {
        format!("{sight:<22}Warning   {reason:<10}Pod/web-849c4c4958-{pod}   {message}\n")
    };
    let wait = "Back-off pulling image \"shop/web:9\"";
    let text = format!(
        "$ kubectl events -n shop\nLAST SEEN             TYPE      REASON    OBJECT                     MESSAGE\n{}{}{}",
        row("32m (x390 over 55m)", "BackOff", "47b9z", wait),
        row(
            "14m (x4 over 17m)",
            "Failed",
            "lm8qp",
            "Failed to pull image \"shop/web:9\": docker.io/shop/web:9: not found"
        ),
        row("2m (x20 over 17m)", "BackOff", "lm8qp", wait),
    );
    assert_eq!(told(&text), ["image_pull"]);
}
