//! A new version that runs, and of which nothing is seen to fail: it may still not listen, which only
//! those who call it notice.

use std::time::Duration;

use tapio_engine::{Draft, View};
use tapio_model::{Entity, Event, Kind, keys};

use super::{Age, Seen, has_new_image, name};
use crate::witness::{spot, touch_namesake, truth};

/// How long after its pods began a new version may be blamed by those who call it.
const LATELY: Duration = Duration::from_secs(120);

/// How long before a rollout a change of configuration is what it rolls out.
const ROLLED_OUT_WITHIN: Duration = Duration::from_secs(60);

/// What was seen of a new version beside its failures.
#[derive(Debug, Default)]
pub(super) struct Life<'a> {
    /// The first sign that a pod of it runs.
    began: Option<&'a Event>,
    /// Whether there was a version before it.
    replaces: bool,
    /// Whether a pod of it was ended, or waits: then that is the story.
    is_hurt: bool,
}

impl<'a> Life<'a> {
    pub(super) fn note(&mut self, event: &'a Event, age: Age) {
        let generation = event.attributes.int(keys::GENERATION);
        self.replaces |= age == Age::Old
            || (event.kind == Kind::RolloutStarted && generation.is_some_and(|it| it > 1));
        if age != Age::New {
            return;
        }
        self.is_hurt |= matches!(
            event.kind,
            Kind::ContainerTerminated
                | Kind::ContainerWaiting
                | Kind::ContainerKilling
                | Kind::ContainerCreateFailed
                | Kind::OomKill
                | Kind::PodEvicted
        );
        let is_ready = event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(true);
        if is_ready || matches!(event.kind, Kind::ContainerStarted | Kind::Log) {
            self.began = self.began.or(Some(event));
        }
    }
}

/// Returns the rollout as a change that waits for callers who are refused.
pub(super) fn candidate(
    view: &View<'_>,
    draft: Draft,
    (workload, version): (&Entity, &str),
    rollout: &Event,
    seen: &Seen<'_>,
) -> Option<Draft> {
    let life = &seen.life;
    let began = life.began.filter(|_| life.replaces && !life.is_hurt && seen.stalls.is_empty())?;
    if view.now().since(began.time) > LATELY || is_of_config(view, rollout) {
        return None;
    }
    let draft = touch_namesake(draft.touching(&began.place), &rollout.place)
        .title(format!("{workload}: {version} runs, and nobody listens where it is called"))
        .because("its callers are refused since the rollout, and its new pods run: they listen elsewhere or not at all")
        .step(began, format!("{} runs", spot(&began.place)))
        .advise(format!("roll back: kubectl rollout undo {}", name(rollout)))
        .advise("compare the port that the new version listens on with the targetPort of its Service")
        .rule_out("cannot_start", "its new pods run", &[began])
        .rule_out("container_oom", "none of its new pods was ended", &[began]);
    Some(draft.candidate(&["connection_failed"]))
}

/// Says whether the rollout only brings a change of configuration to the pods.
fn is_of_config(view: &View<'_>, rollout: &Event) -> bool {
    let mut changes = view.of(Kind::ConfigChanged);
    changes.any(|change| {
        change.place.namespace == rollout.place.namespace
            && rollout.time.since(change.time) <= ROLLED_OUT_WITHIN
    }) && !has_new_image(view, rollout)
}

#[cfg(test)]
mod tests {

    use super::super::Detector;

    const ROLLOUT: &str = "1s shop/x%cart RolloutStarted hash=newer generation=7 image=cart:v7\n";
    const RUNS: &str = "3s shop/cart-newer-bbbbb/cart%cart ContainerStarted hash=newer\n";

    #[test]
    fn a_new_version_that_runs_waits_for_whoever_is_refused() {
        let draft = one!(Detector, &[ROLLOUT, RUNS].concat()).unwrap();
        assert!(draft.is_candidate());
        assert!(draft.headline().contains("generation 7 runs"), "{}", draft.headline());
        assert_eq!(draft.evidence().len(), 2);
        assert!(draft.touches().iter().any(|it| it.to_string() == "service cart"));
        let known = "2s svc:shop/basket%cart EndpointsChanged ready=1\n";
        let draft = one!(Detector, &[ROLLOUT, known, RUNS].concat()).unwrap();
        assert!(draft.touches().iter().all(|it| it.to_string() != "service cart"));
    }

    #[test]
    fn what_failed_or_never_ran_or_replaced_nothing_does_not_wait() {
        let first = ROLLOUT.replace("generation=7 ", "");
        let config = "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified\n";
        for story in [
            ROLLOUT.to_owned(),
            [&first, RUNS].concat(),
            [config, ROLLOUT, RUNS].concat(),
            [ROLLOUT, RUNS, "9s shop/cart-newer-bbbbb/cart%cart OomKill constraint=memcg"].concat(),
            [ROLLOUT, RUNS, "9s shop/cart-newer-bbbbb/cart%cart ContainerKilling"].concat(),
            [ROLLOUT, RUNS, "300s shop/cart-newer-bbbbb/cart%cart Log msg=served"].concat(),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
