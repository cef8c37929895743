//! A node cannot pull a container's image: a missing tag, no access, a rate limit, another
//! architecture, a certificate, a registry that cannot be reached, or a node without space.
//!
//! Evidence: the kubelet's failed pulls, and the registry's answer quoted in their message.
//! Root: the first failed pull whose message names the cause, else the first failed pull.
//! Not this: `disk_full` (what else is written to the node's disk is refused too); `cni_failure`
//! (the sandbox fails before any pull); `cannot_start` (the image is there and its process ends);
//! `dns_failure` and `network_policy` (every image of that registry fails: they are below a
//! registry that cannot be reached); `stale_credentials` (the registry refuses a pull secret that
//! worked).
//! First look: `kubectl describe pod POD`, then `crictl pull IMAGE` on the node.

use std::time::Duration;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use crate::{
    Scene,
    last_words::{quote, rollout_before},
    witness::{by_owner, count, same_container, touch_services},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "image_pull",
        "a tag that is not there",
        r#"0s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodScheduled
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ObjectEvent reason=Pulling msg="Pulling image \"shop/cart:v9\""
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=shop/cart:v9 msg="Failed to pull image \"shop/cart:v9\": rpc error: code = NotFound desc = failed to resolve reference \"docker.io/shop/cart:v9\": docker.io/shop/cart:v9: not found"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed msg="Error: ErrImagePull"
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=BackOff image=shop/cart:v9 msg="Back-off pulling image \"shop/cart:v9\""
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=ImagePullBackOff image=shop/cart:v9 msg="Back-off pulling image \"shop/cart:v9\""
         3s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1
         5s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2
         7s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2"#,
    ),
    Scene::cause(
        "image_pull",
        "a repository that the registry does not show",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=shop/cart:v9 msg="Failed to pull image \"shop/cart:v9\": pull access denied, repository does not exist or may require authorization: insufficient_scope: authorization failed"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=ErrImagePull image=shop/cart:v9 msg="pull access denied""#,
    ),
    Scene::cause(
        "image_pull",
        "a registry that two workloads cannot reach",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=reg.example/cart:v9 msg="Failed to pull image \"reg.example/cart:v9\": dial tcp 192.0.2.9:443: i/o timeout"
         15s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=reg.example/cart:v9 msg="Failed to pull image \"reg.example/cart:v9\": dial tcp 192.0.2.9:443: i/o timeout"
         2s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ImagePullFailed reason=Failed image=reg.example/pay:v3 msg="Failed to pull image \"reg.example/pay:v3\": dial tcp 192.0.2.9:443: i/o timeout" trace=2
         17s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ImagePullFailed reason=Failed image=reg.example/pay:v3 msg="Failed to pull image \"reg.example/pay:v3\": dial tcp 192.0.2.9:443: i/o timeout" trace=2"#,
    ),
    Scene::cause(
        "cannot_start",
        "the image is there, and its process does not stay",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ObjectEvent reason=Pulled msg="Successfully pulled image \"shop/cart:v9\" in 2s"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart Log sev=error msg="Error: Cannot find module '/srv/index.js'"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=1 reason=Error
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff"#,
    ),
    Scene::cause(
        "missing_config",
        "the image is there, and a Secret is not",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ObjectEvent reason=Pulled msg="Container image \"shop/cart:v9\" already present on machine"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=Failed msg="Error: secret \"regcred\" not found"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=CreateContainerConfigError msg="secret \"regcred\" not found""#,
    ),
    Scene::cause(
        "disk_full",
        "the disk of the node is full, so no image can be unpacked on it",
        r#"0s unit:containerd.service@n2 StorageFull src=journal path=/var/lib/containerd error=ENOSPC msg="failed to extract layer: write /var/lib/containerd/io/x: no space left on device"
         3s unit:containerd.service@n2 StorageFull src=journal path=/var/lib/containerd error=ENOSPC msg="failed to extract layer: write /var/lib/containerd/io/y: no space left on device"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=shop/cart:v9 msg="Failed to pull image \"shop/cart:v9\": failed to extract layer: write /var/lib/containerd/io/x: no space left on device" trace=2
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=ErrImagePull image=shop/cart:v9 msg="failed to extract layer: write /var/lib/containerd/io/x: no space left on device" trace=2"#,
    ),
    Scene::unknown(
        "image_pull",
        "it backs off, and the answer of the registry was not seen",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=BackOff image=shop/cart:v9 count=7 msg="Back-off pulling image \"shop/cart:v9\""
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=ImagePullBackOff image=shop/cart:v9 msg="Back-off pulling image \"shop/cart:v9\"""#,
    ),
    Scene::healthy(
        "the second attempt gets the image",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=shop/cart:v9 msg="Failed to pull image \"shop/cart:v9\": net/http: TLS handshake timeout"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=ErrImagePull image=shop/cart:v9 msg="net/http: TLS handshake timeout"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=BackOff count=2 image=shop/cart:v9 msg="Back-off pulling image \"shop/cart:v9\""
         12s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ObjectEvent reason=Pulled msg="Successfully pulled image \"shop/cart:v9\" in 3s"
         13s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "image_pull",
    title: "Image cannot be pulled",
    wakes_on: &[Kind::ImagePullFailed, Kind::ContainerWaiting],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "admission_webhook",
        "init_deadlock",
        "job_failed",
        "service_abnormal",
    ],
};

/// The kubelet says at once that it backs off, and tries again ten seconds after the first failure.
const RETRY: Duration = Duration::from_secs(8);

/// A cause that the registry's or runtime's answer names.
#[derive(Debug)]
struct Cause {
    /// Any of these, in lower case, names it.
    marks: &'static [&'static str],
    what: &'static str,
    cure: &'static str,
    /// What is at fault.
    at: At,
}

/// What is at fault if an image cannot be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The image, or who asks for it.
    Image,
    /// The registry: every image of it fails.
    Registry,
    /// The node: every image fails on it.
    Node,
}

/// The first that fits decides: the general words come last.
const CAUSES: &[Cause] = &[
    Cause {
        marks: &["no space left on device"],
        what: "the node's disk is full",
        cure: "free the node's disk: crictl rmi --prune, and rotate logs; raise the disk or lower \
               the kubelet's image thresholds",
        at: At::Node,
    },
    Cause {
        marks: &["errimageneverpull", "pull policy of never"],
        what: "the image is not on the node, and it is never to be pulled",
        cure: "load the image onto the node, or set imagePullPolicy: IfNotPresent",
        at: At::Image,
    },
    Cause {
        marks: &["toomanyrequests", "too many requests", "rate limit", "code 429"],
        what: "the registry limits the rate of pulls",
        cure: "pull with credentials, or through a mirror or pull-through cache",
        at: At::Registry,
    },
    Cause {
        marks: &["x509", "certificate"],
        what: "the registry's certificate is not trusted",
        cure: "renew the registry's certificate, or give its authority to the node's runtime",
        at: At::Registry,
    },
    Cause {
        marks: &["no match for platform", "no matching manifest"],
        what: "the image has no variant for the node's architecture",
        cure: "build the image for the node's architecture, or select nodes by kubernetes.io/arch",
        at: At::Image,
    },
    Cause {
        marks: &[
            "insufficient_scope",
            "pull access denied",
            "unauthorized",
            "authentication required",
            "forbidden",
            "denied",
        ],
        what: "the registry denies access, or has no such repository",
        cure: "check the repository's name and the pod's imagePullSecrets",
        at: At::Image,
    },
    Cause {
        marks: &[
            "dial tcp",
            "no such host",
            "i/o timeout",
            "connection refused",
            "tls handshake timeout",
            "deadline exceeded",
            "server misbehaving",
            "no route to host",
        ],
        what: "the registry cannot be reached from the node",
        cure: "check name resolution and egress from the node to the registry: curl -v https://REGISTRY/v2/",
        at: At::Registry,
    },
    Cause {
        marks: &["manifest unknown", "not found"],
        what: "the tag does not exist",
        cure: "correct the tag, or push the image; kubectl rollout undo brings the last one back",
        at: At::Image,
    },
    Cause {
        marks: &["invalidimagename", "invalid reference format", "couldn't parse image"],
        what: "the name is not an image reference",
        cure: "correct the image of the container",
        at: At::Image,
    },
];

/// Finds workloads whose image cannot be pulled.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let failed = |event: &&Event| is_failed_pull(event) && !is_pulled_after(view, event);
        // The pods of one workload share their images.
        let owners = by_owner(view.events().filter(failed));
        owners.into_iter().filter_map(|(owner, pulls)| draft(view, owner, &pulls)).collect()
    }
}

fn draft(view: &View<'_>, owner: Entity, pulls: &[&Event]) -> Option<Draft> {
    let told = pulls.iter().find_map(|pull| Some((*pull, cause(pull)?)));
    let root = told.map(|(pull, _)| pull).or_else(|| pulls.first().copied())?;
    // The next attempt meets the same certificate.
    let is_lasting = root.message().contains("x509:");
    let is_of_registry = told.is_some_and(|(_, cause)| cause.at == At::Registry);
    if is_of_registry && !is_lasting && !goes_on(pulls) {
        return None;
    }
    let image = image(root).or_else(|| pulls.iter().find_map(|pull| image(pull)));
    let name = image.unwrap_or("of unknown name");
    let label = root.place.label();
    let mut draft = Draft::new(owner, EvidenceClass::EventText, root, quote(root));
    draft = touch_services(view, draft, &root.place);
    if let Some(rollout) = rollout_before(view, root) {
        draft = draft.step(rollout, "a rollout asked for the image");
    }
    for pull in pulls {
        let is_wait = pull.kind == Kind::ContainerWaiting;
        let text = quote(pull);
        draft = draft.touching(&pull.place);
        draft = if is_wait { draft.symptom(pull, text) } else { draft.step(pull, text) };
    }
    draft =
        draft.rule_out("cni_failure", "the sandbox was there: the kubelet came to pull", &[root]);
    if image.is_none() {
        draft = draft.missing("the name of the image");
    }
    let Some((_, cause)) = told else {
        return Some(undecided(draft, &label, name));
    };
    let shared = match cause.at {
        At::Image => None,
        // Every workload that pulls from there suffers alike, and belongs to one incident.
        At::Registry => Some(Entity::Service { namespace: Text::default(), name: registry(name) }),
        At::Node => Entity::node(&root.place),
    };
    draft = shared.into_iter().fold(draft, Draft::touch);
    let draft = draft
        .title(format!("image {name} cannot be pulled: {}", cause.what))
        .because(format!("{label} waits for its image: {}", cause.what))
        .advise(cause.cure);
    Some(draft)
}

fn undecided(draft: Draft, label: &str, image: &str) -> Draft {
    draft
        .title(format!("image {image} cannot be pulled: perhaps the tag is missing"))
        .because(format!("{label} waits for its image; the registry's answer was not seen"))
        .missing("the registry's answer")
        .advise("read the events of the pod: kubectl describe pod")
        .or(
            "stale_credentials",
            format!("the registry refuses the credentials for {image}"),
            "kubectl describe pod: \"not found\" is the tag, \"denied\" or 401 the pull secret",
        )
}

fn is_failed_pull(event: &Event) -> bool {
    let reason = event.attributes.text(keys::REASON).unwrap_or_default();
    event.kind == Kind::ImagePullFailed
        || (event.kind == Kind::ContainerWaiting
            && matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName"))
}

/// Says whether the pod got its image after all.
fn is_pulled_after(view: &View<'_>, failed: &Event) -> bool {
    view.events().any(|event| {
        let pulled = event.kind == Kind::ObjectEvent
            && event.attributes.text(keys::REASON) == Some("Pulled");
        (pulled || event.kind == Kind::ContainerStarted)
            && event.order() > failed.order()
            && (same_container(event, failed)
                || (event.place.container.is_none() && event.place.is_same_pod(&failed.place)))
    })
}

/// Says whether a registry failed more than one attempt: the next one often succeeds.
fn goes_on(pulls: &[&Event]) -> bool {
    let (Some(first), Some(last)) = (pulls.first(), pulls.last()) else { return false };
    // A back-off is repeated while nobody tries.
    let is_attempt = |pull: &&&Event| {
        let reason = pull.attributes.text(keys::REASON).unwrap_or_default();
        pull.kind == Kind::ImagePullFailed && !matches!(reason, "BackOff" | "ImagePullBackOff")
    };
    let mut attempts = pulls.iter().filter(is_attempt);
    last.time.since(first.time) >= RETRY || attempts.any(|pull| count(pull) > 1)
}

fn cause(pull: &Event) -> Option<&'static Cause> {
    let reason = pull.attributes.text(keys::REASON).unwrap_or_default();
    // The image's own name may hold a mark: `docker.io/shop/access-denied:429`.
    let said = format!("{reason} {}", pull.message().replace(image(pull).unwrap_or("\n"), ""));
    let said = said.to_ascii_lowercase();
    CAUSES.iter().find(|cause| cause.marks.iter().any(|mark| said.contains(mark)))
}

fn image(pull: &Event) -> Option<&str> {
    pull.attributes.text(keys::IMAGE).or_else(|| {
        let (_, rest) = pull.message().split_once("image \"")?;
        rest.split('"').next().filter(|image| !image.is_empty())
    })
}

/// Reads the registry of an image: the part before the first slash if it can be a host.
fn registry(image: &str) -> Text {
    let host = image.split_once('/').map(|(host, _)| host);
    let is_host = |host: &&str| host.contains(['.', ':']) || *host == "localhost";
    host.filter(is_host).unwrap_or("docker.io").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_answer_names_the_cause() {
        let cases = [
            ("docker.io/shop/cart:v9: not found", "tag does not exist"),
            ("manifest unknown", "tag does not exist"),
            ("failed to extract layer: write /x: no space left on device", "disk is full"),
            ("image is not present with pull policy of Never", "never to be pulled"),
            ("pull access denied, insufficient_scope: authorization failed", "denies access"),
            ("unexpected status: 429 Too Many Requests - toomanyrequests", "limits the rate"),
            ("no match for platform in manifest: not found", "architecture"),
            ("tls: failed to verify certificate: x509: unknown authority", "certificate"),
            ("dial tcp: lookup registry-1.docker.io: no such host", "cannot be reached"),
            ("dial tcp 10.0.0.1:443: i/o timeout", "cannot be reached"),
        ];
        for (answer, what) in cases {
            let story = format!(
                "0s shop/cart-1/cart%cart ImagePullFailed reason=Failed \
                 msg=\"Failed to pull image \\\"shop/cart:v9\\\": {answer}\"
                 9s shop/cart-1/cart%cart ContainerWaiting reason=ImagePullBackOff"
            );
            let drafts = told!(Detector, &story);
            let [draft] = drafts.as_slice() else { panic!("{answer}: {drafts:?}") };
            assert!(draft.headline().contains(what), "{answer}: {}", draft.headline());
            assert!(draft.headline().contains("shop/cart:v9"), "{}", draft.headline());
            assert!(draft.doubt().is_none() && draft.evidence().len() == 2);
        }
    }

    #[test]
    fn a_registry_out_of_reach_is_shared_by_all_who_pull_from_it() {
        let story = "0s a/x-1/x%x ImagePullFailed count=2 image=reg.io:5000/x:1 msg=\"dial tcp: timeout\"
                     1s b/y-1/y%y ImagePullFailed count=2 image=reg.io:5000/y:1 msg=\"dial tcp: timeout\"";
        let drafts = told!(Detector, story);
        let registry = Entity::Service { namespace: "".into(), name: "reg.io:5000".into() };
        assert_eq!(drafts.len(), 2);
        assert!(drafts.iter().all(|draft| draft.touches().contains(&registry)));
    }

    #[test]
    fn the_images_own_name_is_no_cause() {
        let story =
            "0s a/x-1/x ImagePullFailed image=a/denied:429 msg=\"Back-off pulling a/denied:429\"";
        assert!(told!(Detector, story)[0].doubt().is_some());
    }

    #[test]
    fn without_the_answer_tag_and_access_stay_open() {
        let story = "0s shop/cart-1/cart%cart ContainerWaiting reason=ImagePullBackOff \
                     msg=\"Back-off pulling image \\\"shop/cart:v9\\\"\"";
        let drafts = told!(Detector, story);
        assert_eq!(drafts[0].doubt().unwrap().alternative, "stale_credentials");
        assert!(drafts[0].doubt().unwrap().text.contains("shop/cart:v9"));
    }

    #[test]
    fn look_alikes_and_health_are_not_this() {
        for event in [
            "ContainerWaiting reason=CrashLoopBackOff",
            "ContainerWaiting reason=ContainerCreating",
            "ObjectEvent reason=FailedCreatePodSandBox msg=\"failed to assign an IP\"",
            "ObjectEvent reason=Pulled msg=\"Successfully pulled image\"",
            "ContainerStarted",
        ] {
            assert!(told!(Detector, &format!("0s a/x-1/x {event}")).is_empty(), "{event}");
        }
    }

    #[test]
    fn an_attempt_that_the_next_one_makes_good_is_not_this() {
        let failed = "0s a/x-1/x ImagePullFailed image=a/x:1 msg=\"dial tcp: i/o timeout\"";
        let waits = "1s a/x-1/x ContainerWaiting reason=ImagePullBackOff";
        assert_eq!(told!(Detector, &format!("{failed}; {waits}")), []);
        let again = format!("{failed} count=2; {waits}");
        assert_eq!(told!(Detector, &again).len(), 1);
        for good in ["ContainerStarted", "ObjectEvent reason=Pulled"] {
            assert_eq!(told!(Detector, &format!("{again}; 9s a/x-1/x {good}")), [], "{good}");
            assert_eq!(told!(Detector, &format!("{again}; 9s a/y-1/y {good}")).len(), 1, "{good}");
        }
    }
}
