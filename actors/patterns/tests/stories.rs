//! Whole stories through the whole engine, with all patterns at once.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample::SizeRange};
use tapio_engine::{Limits, Ring, Rules, Told};
use tapio_model::{Event, Story, StoryId, Timestamp, Verdict};
use tapio_patterns::{fixture, patterns};
use tapio_wire::encode_story;

/// An incident a text, with the pattern that is its root; several layers, noise, consequences.
const INCIDENTS: &[(&str, &str)] = &[
    (
        "container_oom",
        "0s shop/db-1/db@n1%db MemoryLimitReached count=4 svc=db
         1s shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres svc=db
         1200ms shop/db-1/db@n1%db OomKillCounted count=1 svc=db
         2s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137 svc=db
         3s shop/api-1/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db trace=9
         4s shop/db-1/db@n1%db ContainerStarted svc=db
         5s shop/api-1/api@n2%api Log msg=\"retrying\" sev=info trace=9",
    ),
    (
        "liveness_kill",
        "0s shop/cart-1/cart@n1%cart ProbeFailed probe=liveness msg=\"Liveness probe failed: HTTP probe failed with statuscode: 500\" count=3
         10s shop/cart-1/cart@n1%cart ContainerKilling msg=\"Container cart failed liveness probe, will be restarted\"
         12s shop/cart-1/cart@n1%cart ContainerTerminated exit=137 reason=Error
         13s shop/cart-1/cart@n1%cart ContainerStarted",
    ),
    (
        "image_pull",
        "0s shop/web-1/web@n1%web PodScheduled
         1s shop/web-1/web@n1%web ImagePullFailed msg=\"Failed to pull image registry/web:9: manifest unknown\" image=registry/web:9
         9s shop/web-1/web@n1%web ContainerWaiting reason=ImagePullBackOff msg=\"Back-off pulling image registry/web:9\"",
    ),
    (
        "cascading_dependency",
        "1s svc:shop/db Span span=4 parent=3 name=SELECT status=error span_kind=server dur=900ms trace=5 msg=\"no free connection\"
         1100ms svc:shop/pay Span span=3 parent=2 name=charge status=error span_kind=server dur=950ms trace=5
         1200ms svc:shop/web Span span=2 name=checkout status=error span_kind=server dur=990ms trace=5
         1s svc:shop/cart Span span=9 name=cart status=ok span_kind=server dur=9ms trace=6",
    ),
    (
        "bad_rollout",
        "0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 trace=1
         100ms shop/x%cart RolloutStarted hash=newer image=shop/cart:v7 trace=1
         2s shop/cart-newer-bbbbb/cart@n2%cart ContainerStarted restarts=0 hash=newer trace=1
         4s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 trace=2
         5s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2",
    ),
    (
        "scaled_away",
        "0s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg=\"Scaled down replica set cart-old from 2 to 0\" trace=1
         1s shop/cart-1/cart@n1%cart ContainerKilling sev=info reason=Killing msg=\"Stopping container cart\" trace=1
         4s svc:shop/front Span name=\"GET cart\" status=error span_kind=client peer=cart dur=80ms span=2 parent=1 msg=\"connection refused\" trace=9
         4100ms svc:shop/front Span name=\"GET /\" status=error span_kind=server dur=90ms span=1 parent=8 trace=9
         4200ms svc:shop/edge Span name=\"GET /\" status=error span_kind=server dur=95ms span=8 trace=9",
    ),
];

/// Why the pods of `cart` are gone or do not begin, as their own trace tells it.
const DEAD: &[(&str, &str)] = &[
    (
        "unschedulable",
        "0s shop/cart-2%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/2 nodes are available: 2 Insufficient cpu.\"
         1s shop/cart-2%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/2 nodes are available: 2 Insufficient cpu.\"",
    ),
    (
        "quota_refused",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods cart-2 is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2\"",
    ),
    (
        "volume_unbound",
        "0s shop/x%cart VolumeUnbound reason=ProvisioningFailed okind=PersistentVolumeClaim oname=data msg=\"storageclass.storage.k8s.io gold not found\"
         1s shop/cart-2%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"",
    ),
    (
        "volume_mount",
        "0s shop/cart-2@n2%cart VolumeUnbound reason=FailedAttachVolume count=2 msg=\"Multi-Attach error for volume pv-7 Volume is already exclusively attached to one node and can't be attached to another\"",
    ),
    (
        "cni_failure",
        "0s shop/cart-2@n2%cart ObjectEvent reason=FailedCreatePodSandBox sev=error count=3 msg=\"Failed to create pod sandbox: cni plugin not initialized\"",
    ),
    (
        "admission_webhook",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook pods.policy.example: connection refused\"",
    ),
    (
        "init_deadlock",
        "0s shop/cart-2/wait-for-db@n2%cart Log msg=\"waiting for db:5432\"
         2s shop/cart-2/wait-for-db@n2%cart ConnectRefused src=app addr=db port=5432 count=2 msg=\"still waiting for db:5432: connection refused\"",
    ),
    (
        "memory_eviction",
        "0s shop/cart-1@n1%cart PodEvicted reason=Evicted msg=\"The node was low on resource: memory.\"",
    ),
];

/// What the callers of `cart` see: its service, which has another name, is empty and refuses.
const CALLERS: &str = "4s svc:shop/basket%cart EndpointsChanged ready=0 not_ready=0
    6s shop/web-1/web@n9%web ConnectRefused peer=basket addr=10.96.0.9 port=80 trace=9
    7s shop/web-1/web@n9%web ConnectRefused peer=basket addr=10.96.0.9 port=80 trace=9";

fn tell(events: Vec<Event>, limits: &Limits) -> Vec<Story> {
    let mut ring = Ring::new(&Arc::new(Rules::new(&patterns(), limits.clone())));
    for event in events {
        let now = event.time;
        ring.observe(Arc::new(event), now);
    }
    ring.finish(limits.window);
    let told = ring.take_told().into_iter();
    told.filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    })
    .collect()
}

/// Returns the last telling of each story, oldest story first.
fn last_tellings(stories: Vec<Story>) -> Vec<Story> {
    let mut last: std::collections::BTreeMap<StoryId, Story> = std::collections::BTreeMap::new();
    for story in stories {
        last.insert(story.id, story);
    }
    last.into_values().collect()
}

/// Removes what the order of arrival may change: the id and the history of the tellings.
fn timeless(mut story: Story) -> Story {
    story.id = StoryId::from_bytes([0; 16]);
    story.telling = 0;
    story.state = tapio_model::State::Opened;
    story.opened_at = Timestamp::ZERO;
    story.told_at = Timestamp::ZERO;
    story
}

#[test]
fn each_incident_is_one_story_with_its_root() {
    for (pattern, text) in INCIDENTS {
        let told = last_tellings(tell(fixture::events(text).unwrap(), &Limits::default()));
        let found: Vec<_> = told.iter().map(|it| (&*it.pattern, &*it.title)).collect();
        assert_eq!(found.len(), 1, "{pattern}: {found:#?}");
        assert_eq!(found[0].0, *pattern, "{found:#?}");
    }
}

#[test]
fn who_calls_a_dead_workload_is_told_with_it() {
    for (pattern, text) in DEAD {
        let events = fixture::events(&format!("{text}\n{CALLERS}")).unwrap();
        let told = last_tellings(tell(events, &Limits::default()));
        let found: Vec<_> = told.iter().map(|it| (&*it.pattern, &*it.title)).collect();
        assert_eq!(found.len(), 1, "{pattern}: {found:#?}");
        assert_eq!(found[0].0, *pattern, "{found:#?}");
    }
}

#[test]
fn a_plain_kill_is_no_story() {
    let text = "0s cgroup:/user.slice@laptop ProcessExit signal=9 pid=77 proc=sleep sev=warn
                1s cgroup:/user.slice@laptop ProcessExit exit=137 pid=78 proc=sh sev=warn
                2s cgroup:/user.slice@laptop Log msg=\"killed\" sev=warn";
    assert_eq!(tell(fixture::events(text).unwrap(), &Limits::default()), []);
}

#[test]
fn exit_137_without_the_kernels_word_is_unknown() {
    let text = "0s shop/db-1/db@n1%db ContainerTerminated exit=137 reason=Error
                1s shop/db-1/db@n1%db ContainerStarted";
    let told = last_tellings(tell(fixture::events(text).unwrap(), &Limits::default()));
    let [story] = told.as_slice() else { panic!("{told:#?}") };
    let Verdict::Unknown { hypotheses, check } = &story.verdict else { panic!("{story:#?}") };
    assert!(hypotheses.len() >= 2 && !check.is_empty(), "{hypotheses:#?}");
    assert!(story.confidence.get() <= 0.5, "{}", story.confidence);
}

#[test]
fn every_sentence_cites_events_that_the_story_holds() {
    for (_, text) in INCIDENTS {
        for story in tell(fixture::events(text).unwrap(), &Limits::default()) {
            let sentences = story.summary.iter().chain([&story.root_cause]);
            for sentence in sentences.chain(&story.recommendation) {
                assert!(!sentence.text.is_empty(), "{story:#?}");
                assert!(!sentence.events.is_empty(), "{sentence:?}");
                assert!(sentence.events.iter().all(|it| story.event_ids.contains(it)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Within a window the order of arrival does not change what is told in the end.
    #[test]
    fn the_order_of_arrival_does_not_change_the_story(
        (incident, order) in (0..INCIDENTS.len()).prop_flat_map(|incident| {
            let events = fixture::events(INCIDENTS[incident].1).unwrap().len();
            (Just(incident), Just((0..events).collect::<Vec<_>>()).prop_shuffle())
        }),
    ) {
        let events = fixture::events(INCIDENTS[incident].1).unwrap();
        let expected: Vec<_> = last_tellings(tell(events.clone(), &Limits::default()))
            .into_iter().map(timeless).collect();
        let shuffled = order.into_iter().map(|at| events[at].clone()).collect();
        let told: Vec<_> = last_tellings(tell(shuffled, &Limits::default()))
            .into_iter().map(timeless).collect();
        prop_assert_eq!(told, expected);
    }

    /// The same events at the same times give the same bytes.
    #[test]
    fn a_replay_gives_the_same_bytes(
        picks in proptest::collection::vec((0..INCIDENTS.len(), 0_u64..120), SizeRange::new(1..=4)),
    ) {
        let mut events = Vec::new();
        for (number, (incident, after)) in (0_u8..).zip(&picks) {
            for mut event in fixture::events(INCIDENTS[*incident].1).unwrap() {
                // Incidents of one run differ in what makes an event that event.
                let mut id = *event.id.as_bytes();
                id[0] = number;
                event.id = tapio_model::EventId::from_bytes(id);
                event.time = event.time.after(Duration::from_secs(*after));
                events.push(event);
            }
        }
        events.sort_by_key(Event::order);
        let bytes = |events: &[Event]| {
            let stories = tell(events.to_vec(), &Limits::default());
            stories.iter().map(encode_story).collect::<Vec<_>>()
        };
        prop_assert_eq!(bytes(&events), bytes(&events));
    }
}
