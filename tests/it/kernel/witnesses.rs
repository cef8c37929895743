//! Is one kill one story, however many saw it, in whatever order they say so?

use serde_json::Value;
use tapio_tests::{Tapio, text};

use super::{
    cluster::{CONTAINER, Cluster, NODE, Pod},
    witnesses as need,
    world::{Cgroup, PATIENCE},
};
use crate::Case;

/// Who sees a kill.
const PROBE: &str = "probe";
const KMSG: &str = "kmsg";
const CGROUP: &str = "cgroup";
const KUBERNETES: &str = "kubernetes";

pub(super) fn cases() -> Vec<Case> {
    let need = need();
    let case = |name, test| Case::with_need(name, need.clone(), test);
    vec![
        case("kernel::four_witnesses_at_once_are_one_story", at_once),
        case("kernel::a_status_after_the_story_amends_it", status_last),
        case("kernel::a_pod_that_is_known_late_joins_the_story", pod_last),
        case("kernel::a_status_before_the_kill_is_the_same_story", status_first),
        case("kernel::three_witnesses_without_probes", without_probes),
        case("kernel::three_witnesses_without_the_kernels_log", without_kmsg),
        case("kernel::three_witnesses_without_counters", without_counters),
        case("kernel::three_witnesses_without_kubernetes", without_kubernetes),
    ]
}

/// A running `tapio up`, a pod of a cluster that it watches, and the pod's group in the kernel.
struct Scene {
    tapio: Tapio,
    cluster: Cluster,
    pod: Pod,
    cgroup: Cgroup,
    /// Who can see a kill, in order of names.
    seeing: Vec<&'static str>,
}

impl Scene {
    /// Starts everything but the sense behind `off`, and waits until all of it watches.
    fn set(number: u32, off: Option<(&str, &'static str)>) -> Result<Self, String> {
        let pod = Pod::new(number);
        let cluster = Cluster::start(&pod)?;
        let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
        let mut arguments = vec!["--no-journal", "--no-otlp", "--node", NODE];
        arguments.extend(["--kubeconfig", &kubeconfig]);
        arguments.extend(off.map(|(flag, _)| flag));
        let tapio = Tapio::up(&arguments)?;
        let mut seeing = vec![CGROUP, KMSG, KUBERNETES, PROBE];
        seeing.retain(|name| off.is_none_or(|(_, off)| *name != off));
        tapio.notice("watching", PATIENCE)?;
        if seeing.contains(&PROBE) {
            let probes = tapio.notice("kernel tier", PATIENCE)?;
            if !probes.contains("oom_kill") {
                return Err(format!("no probe for the kill: {probes}"));
            }
        }
        if seeing.contains(&KUBERNETES) {
            cluster.watched()?;
        }
        let cgroup = Cgroup::below(&pod.cgroup())?;
        Ok(Self { tapio, cluster, pod, cgroup, seeing })
    }

    /// Waits until our story is told with exactly these witnesses.
    fn told(&self, witnesses: &[&str]) -> Result<Value, String> {
        let wanted = |story: &Value| self.is_ours(story) && seen_by(story) == witnesses;
        self.tapio.line(PATIENCE, wanted)
    }

    fn is_ours(&self, story: &Value) -> bool {
        let story = story.to_string();
        story.contains(&self.pod.uid) || story.contains(&self.pod.container_id)
    }

    /// Waits for the whole story; nothing else may be told of our pod until the end.
    fn ends(self, first: Option<&Value>, is_known: bool) -> Result<(), String> {
        let story = self.told(&self.seeing)?;
        let id = text(&story, "id");
        if let Some(first) = first.filter(|first| text(first, "id") != id) {
            return Err(format!("two stories of one kill: {first}\n{story}"));
        }
        judge(&story, &self.cgroup.inside())?;
        // Where a witness's pod is known by then, the kill is that pod's.
        let of_kill = places(&story);
        if is_known && of_kill.iter().any(|place| place != CONTAINER) {
            return Err(format!("not all of it in {CONTAINER}: {of_kill:?}"));
        }
        let Self { tapio, pod, seeing, .. } = self;
        for other in tapio.stop()? {
            let all = other.to_string();
            if !all.contains(&pod.uid) && !all.contains(&pod.container_id) {
                continue;
            }
            if text(&other, "id") != id || seen_by(&other) != seeing {
                return Err(format!("told otherwise: {story}\n{other}"));
            }
        }
        Ok(())
    }
}

fn chain(story: &Value) -> impl Iterator<Item = &Value> {
    story.get("chain").and_then(Value::as_array).into_iter().flatten()
}

/// Says who saw a kill by what evidence says: its source, its kind, and of the two that are both
/// the kernel's, the words that only its log has.
fn witness(link: &Value) -> Option<&'static str> {
    match (text(link, "source"), text(link, "kind")) {
        ("kernel", "oom_kill") if text(link, "text").contains("total-vm:") => Some(KMSG),
        ("kernel", "oom_kill") => Some(PROBE),
        ("cgroup", "oom_kill_counted") => Some(CGROUP),
        ("kubernetes", "container_terminated") => Some(KUBERNETES),
        _ => None,
    }
}

/// Returns the witnesses of a story, each as often as it is cited.
fn seen_by(story: &Value) -> Vec<&'static str> {
    let mut seen: Vec<_> = chain(story).filter_map(witness).collect();
    seen.sort_unstable();
    seen
}

fn places(story: &Value) -> Vec<String> {
    let links = chain(story).filter(|link| witness(link).is_some());
    links.map(|link| text(link, "place").to_owned()).collect()
}

fn judge(story: &Value, cgroup: &str) -> Result<(), String> {
    if (text(story, "pattern"), text(story, "verdict")) != ("container_oom", "cause") {
        return Err(format!("not an OOM kill: {story}"));
    }
    for part in ["tail", cgroup] {
        if !text(story, "root_cause").contains(part) {
            return Err(format!("the cause does not name {part}: {story}"));
        }
    }
    if text(story, "title").contains("times") {
        return Err(format!("one kill was counted more than once: {story}"));
    }
    if text(story, "evidence_class") != "kernel_proof" {
        return Err(format!("the kernel's word is not its proof: {story}"));
    }
    Ok(())
}

fn at_once() -> Result<(), String> {
    let scene = Scene::set(1, None)?;
    scene.cluster.run(&scene.pod);
    scene.cgroup.kill()?;
    scene.cluster.end(&scene.pod);
    scene.ends(None, false)
}

fn status_last() -> Result<(), String> {
    let scene = Scene::set(2, None)?;
    scene.cluster.run(&scene.pod);
    scene.cgroup.kill()?;
    let first = scene.told(&[CGROUP, KMSG, PROBE])?;
    scene.cluster.end(&scene.pod);
    scene.ends(Some(&first), false)
}

fn pod_last() -> Result<(), String> {
    let scene = Scene::set(3, None)?;
    scene.cgroup.kill()?;
    let first = scene.told(&[CGROUP, KMSG, PROBE])?;
    // The kernel's witnesses knew no names: their trace is the pod's, the status is its workload's.
    scene.cluster.run(&scene.pod);
    scene.cluster.end(&scene.pod);
    scene.ends(Some(&first), false)
}

fn status_first() -> Result<(), String> {
    let scene = Scene::set(4, None)?;
    scene.cluster.run(&scene.pod);
    scene.cluster.end(&scene.pod);
    let first = scene.told(&[KUBERNETES])?;
    scene.cgroup.kill()?;
    // The cluster told of the pod first: by now everybody knows whose group it is.
    scene.ends(Some(&first), true)
}

fn without(number: u32, flag: &str, name: &'static str) -> Result<(), String> {
    let scene = Scene::set(number, Some((flag, name)))?;
    scene.cluster.run(&scene.pod);
    scene.cgroup.kill()?;
    scene.cluster.end(&scene.pod);
    scene.ends(None, false)
}

fn without_probes() -> Result<(), String> {
    without(5, "--no-probes", PROBE)
}

fn without_kmsg() -> Result<(), String> {
    without(6, "--no-kmsg", KMSG)
}

fn without_counters() -> Result<(), String> {
    without(7, "--no-cgroup", CGROUP)
}

fn without_kubernetes() -> Result<(), String> {
    without(8, "--no-kubernetes", KUBERNETES)
}
