//! A node cannot pull a container's image: a missing tag, no access, a rate limit, another
//! architecture, a certificate, or a registry that cannot be reached.
//!
//! Evidence: the kubelet's failed pulls, and the registry's answer quoted in their message.
//! Root: the first failed pull whose message names the cause, else the first failed pull.
//! Not this: `cni_failure` (the sandbox fails before any pull); `cannot_start` (the image is there
//! and its process ends); `dns_failure` and `network_policy` (every image of that registry fails:
//! they are below a registry that cannot be reached); `stale_credentials` (the registry refuses a
//! pull secret that worked).
//! First look: `kubectl describe pod POD`, then `crictl pull IMAGE` on the node.

use std::{collections::BTreeMap, time::Duration};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use crate::{
    last_words::{quote, rollout_before},
    witness::{count, same_container},
};

const SPEC: Spec = Spec {
    slug: "image_pull",
    title: "Image cannot be pulled",
    wakes_on: &[Kind::ImagePullFailed, Kind::ContainerWaiting],
    leads_to: &["readiness_lost", "connection_failed", "cascading_dependency"],
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
    /// Says whether the registry, not the image, is at fault: every image of it fails.
    of_registry: bool,
}

/// The first that fits decides: the general words come last.
const CAUSES: &[Cause] = &[
    Cause {
        marks: &["toomanyrequests", "too many requests", "rate limit", "code 429"],
        what: "the registry limits the rate of pulls",
        cure: "pull with credentials, or through a mirror or pull-through cache",
        of_registry: true,
    },
    Cause {
        marks: &["x509", "certificate"],
        what: "the registry's certificate is not trusted",
        cure: "renew the registry's certificate, or give its authority to the node's runtime",
        of_registry: true,
    },
    Cause {
        marks: &["no match for platform", "no matching manifest"],
        what: "the image has no variant for the node's architecture",
        cure: "build the image for the node's architecture, or select nodes by kubernetes.io/arch",
        of_registry: false,
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
        of_registry: false,
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
        of_registry: true,
    },
    Cause {
        marks: &["manifest unknown", "not found"],
        what: "the tag does not exist",
        cure: "correct the tag, or push the image; kubectl rollout undo brings the last one back",
        of_registry: false,
    },
    Cause {
        marks: &["invalidimagename", "invalid reference format", "couldn't parse image"],
        what: "the name is not an image reference",
        cure: "correct the image of the container",
        of_registry: false,
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
        let mut owners: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        let failed = |event: &&Event| is_failed_pull(event) && !is_pulled_after(view, event);
        for event in view.events().filter(failed) {
            // The pods of one workload share their images.
            let owner = Entity::workload(&event.place).or_else(|| Entity::narrowest(&event.place));
            if let Some(owner) = owner {
                owners.entry(owner).or_default().push(event);
            }
        }
        owners.into_iter().filter_map(|(owner, pulls)| draft(view, owner, &pulls)).collect()
    }
}

fn draft(view: &View<'_>, owner: Entity, pulls: &[&Event]) -> Option<Draft> {
    let told = pulls.iter().find_map(|pull| Some((*pull, cause(pull)?)));
    let root = told.map(|(pull, _)| pull).or_else(|| pulls.first().copied())?;
    if told.is_some_and(|(_, cause)| cause.of_registry) && !goes_on(pulls) {
        return None;
    }
    let image = image(root).or_else(|| pulls.iter().find_map(|pull| image(pull)));
    let name = image.unwrap_or("of unknown name");
    let label = root.place.label();
    let mut draft = Draft::new(owner, EvidenceClass::EventText, root, quote(root));
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
    if cause.of_registry {
        // Every workload that pulls from there suffers alike, and belongs to one incident.
        draft = draft.touch(Entity::Service { namespace: Text::default(), name: registry(name) });
    }
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
    let attempts = pulls.iter().filter(|pull| pull.kind == Kind::ImagePullFailed);
    last.time.since(first.time) >= RETRY || attempts.into_iter().any(|pull| count(pull) > 1)
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
