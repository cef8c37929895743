//! The failure patterns: one file each, in the order of the list below.
//!
//! A pattern's file name is its slug; the slug is its metric label, its anchor in the docs and the
//! argument of `tapio explain`. A pattern sees a [`View`](tapio_engine::View) and nothing else.

mod confusion;
#[macro_use]
pub mod fixture;
mod gravity;
mod header;
mod last_words;
mod node_state;
pub mod scene;
mod shortage;
mod slowness;
mod witness;
mod wording;

use std::sync::Arc;

use tapio_engine::{Pattern, Patterns};

pub use confusion::{Confusion, Row, confusion};
pub use fixture::StoryError;
pub use gravity::{Gravity, is_failed_request};
pub use header::Header;
pub use scene::Scene;

/// A pattern of the list, with the text of its file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name of its file without the ending.
    pub slug: &'static str,
    /// The pattern.
    pub pattern: Arc<dyn Pattern>,
    /// What its file says of itself.
    pub header: Header,
    /// The text of its file.
    pub source: &'static str,
    /// The scenes its file brings.
    pub scenes: &'static [Scene],
}

macro_rules! patterns {
    ($($slug:ident),+ $(,)?) => {
        mod patterns {
            $(pub(crate) mod $slug;)+
        }

        /// Returns every pattern with its file, in the order of the list.
        #[must_use]
        pub fn all() -> Vec<Entry> {
            vec![$(Entry::new(
                stringify!($slug),
                Arc::new(patterns::$slug::Detector),
                include_str!(concat!("patterns/", stringify!($slug), ".rs")),
                patterns::$slug::SCENES,
            ),)+]
        }
    };
}

patterns! {
    container_oom,
    node_oom,
    silent_child_oom,
    child_crashes,
    bad_rollout,
    cannot_start,
    bad_config,
    missing_config,
    image_pull,
    liveness_kill,
    readiness_lost,
    selector_mismatch,
    ingress_unserved,
    scaled_away,
    connection_failed,
    cpu_throttling,
    noisy_neighbour,
    memory_eviction,
    disk_pressure,
    pid_exhaustion,
    watch_limit,
    node_not_ready,
    node_reboot,
    node_drain,
    unschedulable,
    quota_refused,
    volume_unbound,
    volume_mount,
    disk_full,
    dns_failure,
    network_policy,
    cni_failure,
    conntrack_full,
    network_loss,
    certificate_expired,
    rbac_denied,
    admission_webhook,
    api_server_overload,
    hpa_limited,
    traffic_surge,
    pool_exhaustion,
    job_failed,
    stale_credentials,
    init_deadlock,
    object_stuck,
    blind_spot,
    slow_call,
    application_errors,
    service_abnormal,
    cascading_dependency,
}

impl Entry {
    fn new(
        slug: &'static str,
        pattern: Arc<dyn Pattern>,
        source: &'static str,
        scenes: &'static [Scene],
    ) -> Self {
        Self { slug, pattern, header: Header::parse(source), source, scenes }
    }
}

/// Returns the patterns as an engine takes them.
#[must_use]
pub fn patterns() -> Patterns {
    all().into_iter().map(|entry| entry.pattern).collect()
}

/// Returns the entry of a pattern.
#[must_use]
pub fn find(slug: &str) -> Option<Entry> {
    all().into_iter().find(|entry| entry.slug == slug)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_tells_its_five_parts_and_bears_its_slug() {
        for entry in all() {
            let spec = entry.pattern.spec();
            assert_eq!(entry.slug, spec.slug);
            assert!(entry.header.is_complete(), "{}: {:?}", entry.slug, entry.header);
            assert!(!spec.wakes_on.is_empty(), "{} never wakes", entry.slug);
            assert!(entry.source.lines().count() <= 500, "{} is too long", entry.slug);
        }
    }

    #[test]
    fn every_slug_named_is_known() {
        let listed: BTreeSet<_> = all().iter().map(|entry| entry.slug).collect();
        assert_eq!(listed.len(), all().len(), "a slug is listed twice");
        for entry in all() {
            let effects = entry.pattern.spec().leads_to.iter().copied();
            for slug in effects.chain(alternatives(entry.source)) {
                assert!(listed.contains(slug), "{} names {slug}", entry.slug);
                assert_ne!(slug, entry.slug, "a pattern is not its own alternative");
            }
            for scene in entry.scenes {
                let (scene::Truth::Cause(slug) | scene::Truth::Unknown(slug)) = scene.truth else {
                    continue;
                };
                assert!(listed.contains(slug), "{} shows {slug}: {}", entry.slug, scene.name);
            }
        }
    }

    #[test]
    fn every_scene_is_told_right() {
        let patterns = patterns();
        let scenes: Vec<_> = all()
            .into_iter()
            .flat_map(|entry| entry.scenes.iter().map(move |scene| (entry.slug, scene)))
            .collect();
        let wrong: Vec<_> = scenes
            .into_iter()
            .filter_map(|(slug, scene)| {
                let answer = scene::play(scene.story, &patterns).map_err(|error| error.to_string());
                let is_right = answer.as_ref().is_ok_and(|told| told.is_right(scene.truth));
                (!is_right)
                    .then(|| format!("{slug}: {}: {:?}: {answer:?}", scene.name, scene.truth))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_pattern_brings_the_scenes_that_decide_it() {
        for entry in all() {
            let has = |wants: &dyn Fn(scene::Truth) -> bool| {
                entry.scenes.iter().any(|scene| wants(scene.truth))
            };
            let slug = entry.slug;
            assert!(has(&|truth| truth == scene::Truth::Cause(slug)), "{slug} holds nowhere");
            assert!(has(&|truth| truth == scene::Truth::Healthy), "{slug} has no healthy scene");
            let is_other = |truth| matches!(truth, scene::Truth::Cause(it) if it != slug);
            assert!(has(&is_other), "{slug} has no look-alike");
        }
    }

    #[test]
    fn alternatives_are_found_over_line_ends() {
        let source = "draft.or(\n   \"a\", x).rule_out(\"b\", y, &[]).or(variable)";
        assert_eq!(alternatives(source).collect::<Vec<_>>(), ["b", "a"]);
    }

    /// Returns the literals that a source passes to `rule_out` and `or`.
    fn alternatives(source: &str) -> impl Iterator<Item = &str> {
        [".rule_out(", ".or("]
            .into_iter()
            .flat_map(|call| source.split(call).skip(1))
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    }

    #[test]
    fn one_fault_is_one_pattern() {
        let cases: [(&str, &[&str]); 8] = [
            (
                "0s shop/db-1/db@n1%db MemoryLimitReached; \
                 1s shop/db-1/db@n1%db OomKill constraint=memcg pid=7 proc=postgres; \
                 2s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137; \
                 2s shop/db-1@n1%db PodReadiness status=false; \
                 3s shop/db-1/db@n1%db ContainerStarted cid=new; \
                 9s shop/db-1/db@n1%db ProbeFailed probe=readiness; \
                 40s shop/db-1/db@n1%db ContainerWaiting reason=CrashLoopBackOff",
                &["container_oom"],
            ),
            (
                "0s shop/db-1/db@n1%db OomKill constraint=none pid=7; \
                 1s node:n1 NodeOom pid=7; \
                 2s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137",
                &["node_oom"],
            ),
            ("0s web/api-1/api OomKill constraint=memcg init=false pid=7", &["silent_child_oom"]),
            (
                "0s a/b-1/c%b ProbeFailed probe=liveness; \
                 0s a/b-1/c%b ProbeFailed probe=readiness; 1s a/b-1%b PodReadiness status=false; \
                 2s a/b-1/c%b ContainerKilling msg=\"Container c failed liveness probe\"; \
                 9s a/b-1/c%b ContainerTerminated exit=137 reason=Error; \
                 10s a/b-1/c%b ContainerStarted cid=new",
                &["liveness_kill"],
            ),
            (
                "0s a/b-1/c%b ProbeFailed probe=readiness; 1s a/b-1%b PodReadiness status=false; \
                 2s svc:a/b EndpointsChanged ready=0",
                &["readiness_lost"],
            ),
            (
                "0s node:n1 IoError device=sdb; 1s node:n1 FilesystemReadOnly device=sdb1",
                &["disk_full"],
            ),
            (
                "0s a/b-1%b PodScheduled; 1s a/b-1/c%b ContainerStarted; 2s a/b-1 PodReadiness status=true",
                &[],
            ),
            ("0s a/b-1/c%b ProcessExit signal=9; 1s a/b-1/c%b Log sev=error msg=\"retrying\"", &[]),
        ];
        for (story, want) in cases {
            let held = |entry: Entry| {
                let drafts = fixture::detect(&*entry.pattern, story).unwrap();
                drafts.into_iter().map(move |draft| (entry.slug, draft.doubt().is_some()))
            };
            let held: Vec<_> = all().into_iter().flat_map(held).collect();
            let want: Vec<_> = want.iter().map(|slug| (*slug, false)).collect();
            assert_eq!(held, want, "{story}");
        }
    }

    #[test]
    fn a_pattern_is_found_by_its_slug() {
        assert_eq!(find("node_oom").map(|entry| entry.slug), Some("node_oom"));
        assert!(find("earthquake").is_none());
        assert_eq!(patterns().len(), all().len());
    }
}
