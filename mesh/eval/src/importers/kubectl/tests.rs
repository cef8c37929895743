mod ordinary;
mod whole;

use std::{fs, path::PathBuf, sync::Arc};

use proptest::prelude::*;
use tapio_collect::Home;
use tapio_engine::{Limits, Ring, Rules, Told as RingTold};
use tapio_model::{Event, Kind, Severity, keys};

use super::*;
use crate::importers::k8s_objects::tests::published;

type Read = (Vec<Arc<Event>>, ImportAccount);

fn read(input: Input) -> Result<Read, ImportError> {
    let mut recording = Format.open(input, Arc::new(Binder::new(Home::default())))?;
    let mut events = Vec::new();
    while recording.next_chunk(&mut events)? {}
    Ok((events, recording.account().clone()))
}

fn read_text(text: &str) -> Read {
    read(Input::Stream(Box::new(std::io::Cursor::new(text.as_bytes().to_vec())))).unwrap()
}

fn kinds(events: &[Arc<Event>]) -> Vec<Kind> {
    events.iter().map(|event| event.kind).collect()
}

/// A pod whose container is killed at its limit, its previous log, and the table it is in.
const KILLED: &str = "\
$ kubectl describe pod cart-7f6b8d9c4-x2z4q -n shop
Name:             cart-7f6b8d9c4-x2z4q
Namespace:        shop
Node:             n1/10.0.0.1
Start Time:       Fri, 02 Jan 2026 04:00:00 +0100
Labels:           app=cart
                  pod-template-hash=7f6b8d9c4
Status:           Running
Controlled By:    ReplicaSet/cart-7f6b8d9c4
Containers:
  cart:
    Container ID:   containerd://4a
    Image:          shop/cart:7
    State:          Waiting
      Reason:       CrashLoopBackOff
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Finished:     Fri, 02 Jan 2026 04:40:00 +0100
    Ready:          False
    Restart Count:  12
    Limits:
      memory:  64Mi
Conditions:
  Type              Status
  Initialized       True
  Ready             False
Events:
  Type     Reason     Age                   From               Message
  ----     ------     ----                  ----               -------
  Normal   Scheduled  45m                   default-scheduler  Successfully assigned shop/cart to n1
  Warning  BackOff    3m30s (x40 over 44m)  kubelet            Back-off restarting failed container cart in pod cart-7f6b8d9c4-x2z4q_shop(0b6f)

$ kubectl logs cart-7f6b8d9c4-x2z4q -n shop --previous
2026-01-02T03:10:00Z INFO loading catalogue
2026-01-02T03:10:07Z WARN heap is at 98 %
$ kubectl get pods -n shop
NAME                   READY   STATUS             RESTARTS       AGE
cart-7f6b8d9c4-x2z4q   0/1     CrashLoopBackOff   12 (5m ago)    45m
web-7f6b8d9c4-aaaaa    1/1     Running            3 (19d ago)    20d
";

#[test]
fn a_description_a_log_and_a_table_are_one_trace_that_ends_with_the_recording() {
    let (events, account) = read_text(KILLED);
    let want = [
        Kind::Log,
        Kind::PodScheduled,
        Kind::Log,
        Kind::ContainerWaiting,
        Kind::ContainerTerminated,
        Kind::ContainerWaiting,
        Kind::PodReadiness,
    ];
    assert_eq!(kinds(&events), want);
    assert!(account.balances() && account.rejected.is_empty(), "{account:?}");
    let [_, placed, .., last] = events.as_slice() else { panic!() };
    // It began at 4:00 and was placed 45 minutes before.
    assert_eq!(Some(last.time), clock::parse("2026-01-02T03:45:00Z"));
    assert!(last.time.since(placed.time) < Limits::default().window);
    for event in &events {
        assert_eq!(event.trace, placed.trace, "{event:?}");
        assert_eq!(event.place.workload.as_ref().map(|owner| &*owner.name), Some("cart"));
        assert_eq!(event.place.pod_uid, placed.place.pod_uid);
    }
    let killed = events.iter().find(|event| event.kind == Kind::ContainerTerminated).unwrap();
    assert_eq!(killed.attributes.text(keys::REASON), Some("OOMKilled"));
    assert_eq!(killed.attributes.int(keys::MEMORY_LIMIT), Some(64 << 20));
    assert_eq!(killed.attributes.int(keys::RESTART_COUNT), Some(12));
    assert_eq!(killed.place.container_id.as_deref(), Some("4a"));
    let counts = events.iter().filter_map(|event| event.attributes.int(keys::COUNT));
    assert_eq!(counts.collect::<Vec<_>>(), [1, 40]);
    let lines: Vec<_> = events.iter().filter(|event| event.kind == Kind::Log).collect();
    let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(second.time.since(first.time).as_secs(), 7, "distances stay");
    assert_eq!(killed.time.since(second.time).as_millis(), 1);
    assert_eq!(second.place.container.as_deref(), Some("cart"));
    assert_eq!(read_text(KILLED).0, events, "reading again gives the same");
}

fn stories(events: &[Arc<Event>]) -> Vec<String> {
    let limits = Limits::default();
    let rules = Rules::new(&tapio_patterns::patterns(), limits.clone());
    let mut ring = Ring::new(&Arc::new(rules));
    for event in events {
        ring.observe(Arc::clone(event), event.time);
    }
    ring.finish(limits.window);
    let told = ring.take_told().into_iter().filter_map(|told| match told {
        RingTold::Story(story) => Some((story.id, story.pattern.to_string())),
        RingTold::Evidence(_) | RingTold::Dead { .. } => None,
    });
    told.collect::<BTreeMap<_, _>>().into_values().collect()
}

#[test]
fn a_snapshot_fits_the_engine() {
    assert_eq!(stories(&read_text(KILLED).0), ["container_oom"]);
    let well = "$ kubectl get pods -n shop\n\
        NAME                   READY   STATUS      RESTARTS        AGE\n\
        web-7f6b8d9c4-aaaaa    1/1     Running     3 (19d ago)     20d\n\
        new-7f6b8d9c4-aaaaa    0/1     Running     0               7s\n\
        import-x2z4q           0/1     Completed   0               2d\n";
    assert_eq!(read_text(well).0, []);
}

#[test]
fn a_container_that_runs_again_is_well_and_its_old_warnings_stay_old() {
    let text = "$ kubectl describe pod web-0 -n shop\nName:  web-0\nNamespace:  shop\nNode:  n1/1\n\
        Start Time:  Fri, 02 Jan 2026 04:00:00 +0100\nStatus:  Running\nContainers:\n  web:\n    \
        Image:  web\n    State:  Running\n      Started:  Fri, 02 Jan 2026 05:00:00 +0100\n    \
        Last State:  Terminated\n      Reason:  Unknown\n      Exit Code:  255\n      \
        Finished:  Fri, 02 Jan 2026 04:59:30 +0100\n    Ready:  True\n    Restart Count:  1\n\
        Events:\n  Type     Reason        Age   From             Message\n  \
        ----     ------        ----  ----             -------\n  \
        Normal   Started       60m   kubelet          Started container web\n  \
        Warning  NodeNotReady  54m   node-controller  Node is not ready\n";
    let (events, _) = read_text(text);
    assert_eq!(kinds(&events), [Kind::ObjectEvent, Kind::ObjectEvent]);
    let [started, unready] = events.as_slice() else { panic!() };
    assert_eq!(Some(started.time), clock::parse("2026-01-02T04:00:00Z"));
    assert_eq!(unready.time.since(started.time).as_secs(), 360);
    assert_eq!(started.place.container.as_deref(), Some("web"));
}

#[test]
fn a_failed_job_takes_the_logs_of_its_pods_with_it() {
    let text = "$ kubectl describe job import -n shop\nName:  import\nNamespace:  shop\n\
        Start Time:  Fri, 02 Jan 2026 04:00:00 +0100\nBackoff Limit:  1\n\
        Pods Statuses:  0 Active (0 Ready) / 0 Succeeded / 2 Failed\nEvents:\n  \
        Type     Reason                Age   From            Message\n  \
        ----     ------                ----  ----            -------\n  \
        Warning  BackoffLimitExceeded  13m   job-controller  Job has reached the specified backoff limit\n\
        $ kubectl get pods -n shop --show-labels\n\
        NAME           READY   STATUS   RESTARTS   AGE   LABELS\n\
        import-x2z4q   0/1     Error    0          16m   job-name=import\n\
        $ kubectl logs import-x2z4q -n shop\ncannot reach the shop\n";
    let (events, _) = read_text(text);
    assert_eq!(kinds(&events), [Kind::Log, Kind::JobFailed, Kind::JobFailed]);
    let [line, .., failed] = events.as_slice() else { panic!() };
    assert_eq!((line.trace, &line.place.workload), (failed.trace, &failed.place.workload));
    assert_eq!(failed.attributes.int(keys::COUNT), Some(2));
}

#[test]
fn tables_tell_what_is_wrong_now() {
    let text = "$ kubectl get pods -A -o wide\n\
NAMESPACE   NAME                  READY   STATUS                       RESTARTS        AGE   IP       NODE     NOMINATED NODE   READINESS GATES\n\
shop        img-7f6b8d9c4-x2z4q   0/1     ImagePullBackOff             0               22h   1.2.3.4  n1       <none>           <none>\n\
shop        init-0                0/1     Init:CrashLoopBackOff        62 (2m6s ago)   2d    1.2.3.4  n1       <none>           <none>\n\
shop        cfg                   0/1     CreateContainerConfigError   0               1m    1.2.3.4  n1       <none>           <none>\n\
shop        gone                  0/1     Evicted                      0               3d    <none>   n1       <none>           <none>\n\
shop        wait                  0/1     Pending                      0               3d    <none>   <none>   <none>           <none>\n\
shop        lame                  1/2     Running                      0               3d    1.2.3.4  n1       <none>           <none>\n\
$ kubectl get nodes\nNAME   STATUS     ROLES    AGE   VERSION\nn1     Ready      <none>   9d    v1.34.0\n\
n2     NotReady   <none>   9d    v1.34.0\n\
$ kubectl get pvc -n shop\nNAME   STATUS   VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   AGE\n\
data   Lost     pv1      1Gi        RWO            standard       9d\n\
$ kubectl get events -n shop\n\
LAST SEEN   TYPE      REASON        OBJECT                          MESSAGE\n\
5m          Warning   FailedMount   pod/db-0                        MountVolume.SetUp failed: secret \"db\" not found\n\
4s          Warning   Failed        pod/img-7f6b8d9c4-x2z4q         Failed to pull image \"shop/img:9\": not found\n";
    let (events, account) = read_text(text);
    let mut told: Vec<_> =
        events.iter().map(|event| (event.place.label(), event.kind.name())).collect();
    told.sort();
    let want = [
        ("n2", Kind::NodeCondition),
        ("shop/cfg", Kind::ContainerCreateFailed),
        ("shop/db-0", Kind::MountFailed),
        ("shop/gone", Kind::PodEvicted),
        ("shop/img-7f6b8d9c4-x2z4q", Kind::ImagePullFailed),
        ("shop/img-7f6b8d9c4-x2z4q", Kind::ImagePullFailed),
        ("shop/init-0", Kind::ContainerWaiting),
        ("shop/lame", Kind::PodReadiness),
        ("shop/wait", Kind::ObjectEvent),
        ("unknown place", Kind::VolumeUnbound),
    ];
    let want: Vec<_> = want.map(|(place, kind)| (place.to_owned(), kind.name())).into();
    assert_eq!(told, want);
    assert!(account.balances());
    // Nothing states a time.
    assert_eq!(events.last().map(|event| event.time), Some(UNDATED));
}

#[test]
fn descriptions_of_other_kinds_tell_their_conditions_and_events() {
    let events = "Events:\n  Type     Reason  Age                From  Message\n  \
        ----     ------  ----               ----  -------\n  Warning  ";
    let node = "Name:  n2\nRoles:  <none>\nConditions:\n  \
        Type             Status   LastHeartbeatTime                 LastTransitionTime                Reason              Message\n  \
        ----             ------   -----------------                 ------------------                ------              -------\n  \
        MemoryPressure   Unknown  Fri, 02 Jan 2026 04:00:00 +0100   Fri, 02 Jan 2026 04:01:00 +0100   NodeStatusUnknown   Kubelet stopped posting node status.\n  \
        Ready            Unknown  Fri, 02 Jan 2026 04:00:00 +0100   Fri, 02 Jan 2026 04:01:00 +0100   NodeStatusUnknown   Kubelet stopped posting node status.\n\
        Capacity:\n  cpu:  2\nAllocatable:\n  cpu:  2\n";
    let claim = format!(
        "Name:  data\nNamespace:  shop\nStorageClass:  fast\nStatus:  Pending\nVolume:\n\
        Access Modes:\nVolumeMode:  Filesystem\nUsed By:  db-0\n{events}ProvisioningFailed  3s (x9 over 2m)  \
        persistentvolume-controller  storageclass.storage.k8s.io \"fast\" not found\n"
    );
    let deployment = "Name:  cart\nNamespace:  shop\n\
        Replicas:  3 desired | 1 updated | 4 total | 3 available | 1 unavailable\n\
        StrategyType:  RollingUpdate\nPod Template:\n  Containers:\n   cart:\n    Image:  shop/cart:8\n\
        Conditions:\n  Type           Status  Reason\n  ----           ------  ------\n  \
        Available      True    MinimumReplicasAvailable\n  \
        Progressing    False   ProgressDeadlineExceeded\nEvents:  <none>\n";
    let scaler = "Name:  cart\nNamespace:  shop\nReference:  Deployment/cart\nMin replicas:  1\n\
        Max replicas:  5\nConditions:\n  Type            Status  Reason            Message\n  \
        ----            ------  ------            -------\n  \
        ScalingLimited  True    TooManyReplicas   the desired replica count is more than the maximum\n";
    let entry = format!(
        "Name:  web\nNamespace:  shop\nDefault backend:  <default>\nRules:\n  Host  Path  Backends\n\
        {events}Sync  10s  nginx  no such class\n"
    );
    let text = [node, &claim, deployment, scaler, &entry].join("\n\n");
    let (told, account) = read_text(&text);
    let mut told: Vec<_> = told
        .iter()
        .map(|event| {
            let owner = event.place.workload.as_ref().map(|owner| owner.name.to_string());
            let place = owner.or_else(|| event.place.node.as_ref().map(ToString::to_string));
            let reason = event.attributes.text(keys::REASON).unwrap_or_default().to_owned();
            (event.kind.name(), place.unwrap_or_default(), reason)
        })
        .collect();
    told.sort();
    // What stands and is alone is told twice.
    let want = [
        (Kind::NodeCondition, "n2", "NodeStatusUnknown"),
        (Kind::NodeCondition, "n2", "NodeStatusUnknown"),
        (Kind::ObjectEvent, "", "Sync"),
        (Kind::RolloutStalled, "cart", "ProgressDeadlineExceeded"),
        (Kind::ScalingLimited, "cart", "TooManyReplicas"),
        (Kind::VolumeUnbound, "", "ProvisioningFailed"),
        (Kind::VolumeUnbound, "", "ProvisioningFailed"),
    ];
    let want = want.map(|(kind, place, reason)| (kind.name(), place.to_owned(), reason.to_owned()));
    assert_eq!(told, want);
    assert!(account.balances() && account.rejected.is_empty());
}

#[test]
fn a_pod_that_is_not_ready_brings_the_warnings_of_its_probe_along() {
    let text = "$ kubectl describe pod web-0 -n shop\nName:  web-0\nNamespace:  shop\nNode:  n1/1\n\
        Start Time:  Fri, 02 Jan 2026 04:00:00 +0100\nStatus:  Running\nContainers:\n  web:\n    \
        Image:  web\n    State:  Running\n      Started:  Fri, 02 Jan 2026 04:00:01 +0100\n    \
        Ready:  False\n    Restart Count:  0\nConditions:\n  Type   Status\n  Ready  False\n  \
        PodScheduled  True\nEvents:\n  Type     Reason     Age                   From     Message\n  \
        ----     ------     ----                  ----     -------\n  \
        Warning  Unhealthy  32m (x400 over 65m)   kubelet  Readiness probe failed: HTTP probe failed with statuscode: 503\n";
    let (events, _) = read_text(text);
    assert_eq!(kinds(&events), [Kind::PodScheduled, Kind::ProbeFailed, Kind::PodReadiness]);
    let [_, probe, unready] = events.as_slice() else { panic!() };
    assert!(unready.time.since(probe.time) < Limits::default().window);
    assert_eq!(probe.attributes.int(keys::COUNT), Some(400));
    assert_eq!(probe.attributes.text(keys::PROBE), Some("readiness"));
    assert_eq!(probe.place.container.as_deref(), Some("web"));
}

#[test]
fn rows_without_a_header_and_trees_are_read_too() {
    let found = "$ kubectl get -A --show-labels -o wide pod | grep cart\n\
        shop   cart-7f6b8d9c4-x2z4q   0/1   CrashLoopBackOff   9 (104s ago)   23m   10.0.0.7   n1   <none>   <none>   app=cart,pod-template-hash=7f6b8d9c4\n";
    let (events, _) = read_text(found);
    let [waits] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((waits.kind, waits.place.node.as_deref()), (Kind::ContainerWaiting, Some("n1")));
    assert_eq!(waits.attributes.int(keys::RESTART_COUNT), Some(9));
    assert_eq!(waits.place.container, None);

    let tree = "$ kubectl lineage deployment cart -n shop\n\
        NAME                                      READY   STATUS                                   AGE\n\
        Deployment/cart                           0/1                                              19s\n\
        ├── NetworkPolicy/closed                  -                                                38m\n\
        └── ReplicaSet/cart-7f6b8d9c4             0/1                                              19s\n    \
            └── Pod/cart-7f6b8d9c4-x2z4q          0/1     ErrImagePull                             19s\n        \
                └── Event/cart-7f6b8d9c4-x2z4q.18   -       Failed: Failed to pull image \"a\": no   9s\n";
    let (events, _) = read_text(tree);
    let want = [Kind::PolicyChanged, Kind::ImagePullFailed, Kind::ImagePullFailed];
    assert_eq!(kinds(&events), want);
    for event in events.iter().skip(1) {
        assert_eq!(event.place.pod.as_deref(), Some("cart-7f6b8d9c4-x2z4q"));
        assert_eq!(event.place.workload.as_ref().map(|owner| &*owner.name), Some("cart"));
    }
}

#[test]
fn of_several_looks_the_best_counts_and_labels_are_never_opened() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    let pod = |extra: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: cart-1\n  namespace: shop\n  uid: p1\n{extra}\
            status:\n  phase: Pending\n  containerStatuses:\n  - name: cart\n    restartCount: 0\n    state:\n      \
            waiting:\n        reason: InvalidImageName\n        message: no such name\n"
        )
    };
    let header =
        "{\"tool_name\": \"kubectl_get_yaml\", \"match_params\": {}}\n{\"status\": \"success\"}\n";
    write("kubectl_get_yaml.txt", &format!("{header}{}", pod("")));
    write(
        "get.txt",
        "NAMESPACE  NAME    READY  STATUS         RESTARTS  AGE\nshop       cart-1  0/1    ErrImagePull   0         5m\n",
    );
    write("torn.txt", &format!("{header}{}", pod("  creationTimestamp: \"2026-01-0203:04\"\n")));
    write("search.txt", "{\"tool_name\": \"search_web\"}\n{}\nNAME\n");
    write("test_case.yaml", &pod("").replace("cart-1", "answer"));
    write("manifest.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: wanted\n");
    write("notes.md", "kind: Pod");
    assert!(Format.detects(root.path()));
    let (events, account) = read(Input::Path(root.path().to_path_buf())).unwrap();
    let [_, failed] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(failed.place.pod_uid.as_deref(), Some("p1"));
    assert_eq!(failed.attributes.text(keys::REASON), Some("InvalidImageName"));
    let reasons: Vec<_> =
        account.rejected.iter().map(|(reason, count)| (*reason, *count)).collect();
    assert_eq!(reasons, [("format", 1), ("manifest", 1), ("object", 1)]);
    assert!(account.balances());
}

#[test]
fn a_log_that_was_asked_for_twice_is_read_once() {
    let text = "$ kubectl logs cart-1 -n shop\none\ntwo\nthree\n\
        $ kubectl logs cart-1 -n shop | grep t\ntwo\nthree\n\
        $ kubectl logs cart-1 -n shop --previous\none\ntwo\nthree\n\
        $ kubectl logs web-1 -n shop --all-containers --prefix\n[pod/web-1/a] hello\n[pod/web-1/b] hello\n";
    let (events, _) = read_text(text);
    let mut lines: Vec<_> =
        events.iter().map(|event| (event.place.label(), event.message().to_owned())).collect();
    lines.sort();
    let want = [
        ("shop/cart-1", "one"),
        ("shop/cart-1", "three"),
        ("shop/cart-1", "two"),
        ("shop/web-1/a", "hello"),
        ("shop/web-1/b", "hello"),
    ];
    assert_eq!(lines, want.map(|(place, line)| (place.to_owned(), line.to_owned())));
}

#[test]
fn a_log_may_be_asked_for_by_workload_or_label() {
    for (asked, owner) in [
        ("deployment/cart", Some("Deployment cart")),
        ("job/cart", Some("Job cart")),
        ("-l app=cart", None),
    ] {
        let (events, _) = read_text(&format!("$ kubectl logs {asked} -n shop\nhello\n"));
        let [line] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(line.place.pod.as_deref(), Some("cart"), "{asked}");
        let workload = line.place.workload.as_ref();
        let workload = workload.map(|owner| format!("{} {}", owner.kind, owner.name));
        assert_eq!(workload.as_deref(), owner, "{asked}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(
        parts in proptest::collection::vec(prop_oneof![
            any::<String>(), Just(KILLED.to_owned()), Just("Name:  x\n".to_owned()),
            Just("NAME  READY  STATUS  RESTARTS  AGE\n".to_owned()), Just("$ kubectl logs a\n".to_owned()),
            Just("Events:\n  Type  Reason  Age  From  Message\n".to_owned()), Just("kind: Pod\n".to_owned()),
            Just("  a:\n    State:  Terminated\n".to_owned()), Just("├── Pod/é  0/1".to_owned()),
        ], 0..6),
        at in 0_usize..3_000,
    ) {
        let text = parts.concat();
        let cut = text.get(..text.floor_char_boundary(at)).unwrap_or_default();
        prop_assert!(read_text(cut).1.balances());
    }
}

/// Finds the folders of an unpacked archive that hold files of kubectl.
fn cases(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut below: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    below.sort();
    if Format.detects(folder) {
        found.push(folder.to_path_buf());
    }
    below.iter().filter(|path| path.is_dir()).for_each(|path| cases(path, found));
}

/// Recordings in which all is well, whatever was asked.
const WELL: &[&str] = &[
    "05_image_version",
    "20_long_log_file_search",
    "34_memory_graph",
    "57_wrong_namespace",
    "63_fetch_error_logs_no_errors",
    "64_keda_vs_hpa_confusion",
    "65_health_check_followup",
];

/// Recordings of a trouble that has a pattern.
const SICK: &[(&str, &str)] = &[
    ("02_what_is_wrong_with_pod", "container_oom"),
    ("02_crashloop_backoff", "cannot_start"),
    ("04_image_pull_backoff", "image_pull"),
    ("06_job_failure", "connection_failed"),
    ("07_high_latency", "slow_call"),
    ("07_job_syntax_error", "job_failed"),
    ("09_high_latency", "slow_call"),
    ("10_KubeDeploymentReplicasMismatch", "unschedulable"),
    ("12_job_crashing", "connection_failed"),
    ("13a_pending_node_selector_basic", "unschedulable"),
    ("13b_pending_node_selector_detailed", "unschedulable"),
    ("15_dns_resolution", "network_policy"),
    ("46_job_crashing_no_longer_exists", "connection_failed"),
    ("51_logs_summarize_errors", "certificate_expired"),
    ("53_logs_find_term", "application_errors"),
    ("54_not_truncated_when_getting_pods", "image_pull"),
    ("62_fetch_error_logs_with_errors", "application_errors"),
    ("158_slack_chat_correct_date", "cannot_start"),
];

#[test]
fn recordings_of_real_clusters_are_told() {
    let root = match published("kubectl-recordings.tar.zst") {
        Ok(root) => root,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut found = Vec::new();
    cases(root.path(), &mut found);
    let mut right = 0;
    for case in &found {
        let (events, account) = read(Input::Path(case.clone())).unwrap();
        let name = case.file_name().unwrap().to_string_lossy();
        assert!(account.balances() && events.is_sorted_by_key(|event| event.order()), "{name}");
        let told = stories(&events);
        let alarms = events.iter().filter(|event| event.severity >= Severity::Warn).count();
        println!("{name}: {} events, {alarms} alarms, stories: {told:?}", events.len());
        if WELL.contains(&&*name) {
            assert_eq!(told, Vec::<String>::new(), "{name}");
            right += 1;
        }
        if let Some((_, want)) = SICK.iter().find(|(sick, _)| *sick == name) {
            assert_eq!(told, [*want], "{name}");
            right += 1;
        }
    }
    assert_eq!((found.len() > 25, right), (true, WELL.len() + SICK.len()), "{found:?}");
}
