//! Containers: what each waits for, when it started, how it ended.

use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, Timestamp, keys};

use super::seen::{Condition, Seen, message, timestamp};

/// Every container begins with these, and they say nothing of why.
const USUAL_WAITS: &[&str] = &["ContainerCreating", "PodInitializing"];

/// Waits that are for an image.
const IMAGE_WAITS: &[&str] = &[
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Restarts that are no accident any more.
const OFTEN: i32 = 3;

/// Waits because the container could not be made or begun.
const CREATE_WAITS: &[&str] = &[
    "CreateContainerConfigError",
    "CreateContainerError",
    "PostStartHookError",
    "PreCreateHookError",
    "PreStartHookError",
    "RunContainerError",
];

/// One container's status before and after.
#[derive(Debug)]
struct Change<'a> {
    seen: &'a Seen<'a, Pod>,
    before: Option<&'a ContainerStatus>,
    now: &'a ContainerStatus,
    place: Place,
}

/// Tells what changed in the containers of a pod, init and ephemeral ones included.
pub(super) fn changes(seen: &Seen<'_, Pod>, place: &Place) -> Vec<Unbound> {
    let before = seen.before.map(statuses).unwrap_or_default();
    let mut told = Vec::new();
    for now in statuses(seen.last) {
        // A broken list may have two of a name.
        let same = before.iter().copied().find(|status| *status == now);
        let named = || before.iter().copied().find(|status| status.name == now.name);
        let before = same.or_else(named);
        let place = Place { container: Some(now.name.as_str().into()), ..place.clone() };
        let change = Change { seen, before, now, place };
        told.extend(change.ends());
        told.extend(change.start());
        told.extend(change.wait());
    }
    told
}

fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    let lists = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ];
    lists.into_iter().flatten().flatten().collect()
}

impl<'a> Change<'a> {
    /// Tells the ends that were not known: the last one, and the one before it if the container
    /// was started and ended again between two looks.
    fn ends(&self) -> Vec<Unbound> {
        let known = self.before.map(ends).unwrap_or_default();
        let is_known = |end: &&ContainerStateTerminated| {
            known.iter().any(|known| incarnation(known) == incarnation(end))
        };
        let mut news: Vec<_> = ends(self.now).into_iter().filter(|end| !is_known(end)).collect();
        // Only a failure is still news when the watch begins, and only if it keeps the container
        // down or is fresh.
        if self.seen.is_found() {
            let is_down = self.now.state.as_ref().is_none_or(|state| state.running.is_none());
            news.retain(|end| {
                let at = end.finished_at.as_ref().map(timestamp);
                let is_fresh = at.is_some_and(|at| self.seen.is_fresh(at));
                let is_news = self.is_restarted() || at.is_some_and(|at| self.seen.is_news(at));
                // Who is killed again and again is not well because it runs again.
                let is_often = is_oom(end) && self.now.restart_count >= OFTEN;
                let is_again = at.is_some_and(|at| is_often && self.seen.is_recent(at));
                end.exit_code != 0 && (is_fresh || ((is_down || is_again) && is_news))
            });
        }
        let missed = self.restarts().saturating_sub(i64::try_from(news.len()).unwrap_or(1));
        let last = news.len().saturating_sub(1);
        news.iter()
            .enumerate()
            .map(|(at, end)| {
                let count = (at == last && missed > 0).then(|| missed.saturating_add(1));
                self.end(end).with_some(keys::COUNT, count)
            })
            .collect()
    }

    /// Says whether the container is to run again: one whose pod is over is old news.
    fn is_restarted(&self) -> bool {
        let phase = self.seen.last.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    }

    /// Returns how often it was restarted since the look before.
    fn restarts(&self) -> i64 {
        let count = |status: &ContainerStatus| i64::from(status.restart_count);
        self.before.map_or(0, |before| count(self.now).saturating_sub(count(before)).max(0))
    }

    fn end(&self, end: &ContainerStateTerminated) -> Unbound {
        let is_oom = is_oom(end);
        let is_leaving = self.seen.meta().deletion_timestamp.is_some();
        let (severity, impact, class) = if is_oom {
            (Severity::Error, 0.8, Class::Memory)
        } else if end.exit_code == 0 || is_leaving {
            (Severity::Info, 0.0, Class::Lifecycle)
        } else {
            (Severity::Warn, 0.6, Class::Lifecycle)
        };
        // The container that ended, not the one that took its place: the kernel's account of the
        // kill names this id.
        let place =
            Place { container_id: container_id(end.container_id.as_deref()), ..self.place.clone() };
        let time = self.seen.time(end.finished_at.as_ref());
        let limit = is_oom.then(|| memory_limit(self.spec()?)).flatten();
        let signal = end.signal.filter(|signal| *signal != 0);
        self.event(Kind::ContainerTerminated, time, &["ended", &incarnation(end)])
            .at(place)
            .rated(severity, impact, class)
            .with_some(keys::REASON, end.reason.as_deref().filter(|reason| !reason.is_empty()))
            .with(keys::EXIT_CODE, end.exit_code)
            .with_some(keys::EXIT_SIGNAL, signal)
            .with_some(keys::MEMORY_LIMIT, limit)
            .with_some(keys::MESSAGE, message(end.message.as_deref()))
    }

    /// Tells a start. That a container found running was started once is old news.
    fn start(&self) -> Option<Unbound> {
        let running = self.now.state.as_ref()?.running.as_ref()?;
        let began = |status: &ContainerStatus| {
            let running = status.state.as_ref()?.running.clone()?;
            Some((status.container_id.clone(), running.started_at))
        };
        let is_known = self.before.and_then(began) == began(self.now);
        if is_known || self.seen.is_found() {
            return None;
        }
        let time = self.seen.time(running.started_at.as_ref());
        let started = time.as_nanos().to_string();
        let id = self.now.container_id.as_deref().unwrap_or(&started);
        let place = Place {
            container_id: container_id(self.now.container_id.as_deref()),
            ..self.place.clone()
        };
        let event = self.event(Kind::ContainerStarted, time, &["started", id]).at(place).rated(
            Severity::Info,
            0.0,
            Class::Lifecycle,
        );
        Some(event)
    }

    /// Tells what a container waits for, once a reason and restart: a back-off that alternates
    /// with its cause is one wait.
    fn wait(&self) -> Option<Unbound> {
        let waiting = self.now.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| !reason.is_empty())?;
        let known = self.before.and_then(|before| {
            let waiting = before.state.as_ref()?.waiting.as_ref()?;
            Some((waiting.reason.as_deref()?, before.restart_count))
        });
        if USUAL_WAITS.contains(&reason) || known == Some((reason, self.now.restart_count)) {
            return None;
        }
        let (kind, severity, impact, class) = if IMAGE_WAITS.contains(&reason) {
            (Kind::ImagePullFailed, Severity::Error, 0.7, Class::Image)
        } else if CREATE_WAITS.contains(&reason) {
            (Kind::ContainerCreateFailed, Severity::Error, 0.7, Class::Configuration)
        } else {
            (Kind::ContainerWaiting, Severity::Warn, 0.6, Class::Lifecycle)
        };
        let restarts = self.now.restart_count.to_string();
        // The image that is asked for: the status may name the one that ran before.
        let event = self
            .event(kind, self.waits_since(reason), &["waits", reason, &restarts])
            .at(Place {
                container_id: container_id(self.now.container_id.as_deref()),
                ..self.place.clone()
            })
            .rated(severity, impact, class)
            .with(keys::REASON, reason)
            .with_some(keys::MESSAGE, message(waiting.message.as_deref()));
        Some(event)
    }

    /// Returns since when a container waits. Waiting bears no time of its own: a back-off begins
    /// with the end that it follows; found waiting, it has waited since the pod was last ready.
    fn waits_since(&self, reason: &str) -> Timestamp {
        let ended = ends(self.now).into_iter().rev().find_map(|end| end.finished_at.as_ref());
        let of_end = ended.filter(|_| reason == "CrashLoopBackOff");
        let of_pod = || {
            let status = self.seen.last.status.as_ref().filter(|_| self.seen.is_found())?;
            let conditions = status.conditions.as_deref().unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
            ready.map(Condition::from).and_then(|ready| ready.since).or(status.start_time.as_ref())
        };
        self.seen.time(of_end.or_else(of_pod))
    }

    fn event(&self, kind: Kind, time: Timestamp, what: &[&str]) -> Unbound {
        let mut parts = vec!["container", self.now.name.as_str()];
        parts.extend(what);
        let image = self.spec().and_then(|spec| spec.image.as_deref());
        let image = image.unwrap_or(&self.now.image);
        self.seen
            .event(kind, time, &parts)
            .with_some(keys::CONTAINER_IS_INIT, self.is_init().then_some(true))
            .with(keys::RESTART_COUNT, self.now.restart_count)
            .with_some(keys::IMAGE, Some(image).filter(|image| !image.is_empty()))
    }

    /// Says whether the pod's own containers wait for it; a sidecar that is begun before them is of
    /// the same list.
    fn is_init(&self) -> bool {
        let spec = self.seen.last.spec.as_ref();
        let mut init = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
        init.any(|container| container.name == self.now.name)
    }

    fn spec(&self) -> Option<&'a Container> {
        let spec = self.seen.last.spec.as_ref()?;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.find(|container| container.name == self.now.name)
    }
}

/// Returns the ends that a status tells, the older first.
fn ends(status: &ContainerStatus) -> Vec<&ContainerStateTerminated> {
    [&status.last_state, &status.state]
        .into_iter()
        .filter_map(|state| state.as_ref()?.terminated.as_ref())
        .collect()
}

fn is_oom(end: &ContainerStateTerminated) -> bool {
    end.reason.as_deref() == Some("OOMKilled")
}

/// Returns what tells one life of a container from the next.
fn incarnation(end: &ContainerStateTerminated) -> String {
    end.container_id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| {
        let at = end.finished_at.as_ref().map(timestamp).unwrap_or_default();
        format!("{} {}", at.as_nanos(), end.exit_code)
    })
}

/// Returns the id without its runtime: `containerd://4242` is container `4242`.
fn container_id(id: Option<&str>) -> Option<tapio_model::Text> {
    let id = id?;
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    (!id.is_empty()).then(|| id.into())
}

/// Returns a container's memory limit in bytes.
fn memory_limit(container: &Container) -> Option<i64> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    bytes(&limits.get("memory")?.0)
}

/// Reads a quantity of bytes: a number and a decimal or binary unit. Fractions and exponents are
/// legal too, and nobody writes them of memory.
fn bytes(quantity: &str) -> Option<i64> {
    let digits = quantity.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match quantity.get(digits.len()..)? {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1_i64 << 40,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_or_left_out() {
        let cases = [
            ("134217728", Some(134_217_728)),
            ("128Mi", Some(134_217_728)),
            ("1G", Some(1_000_000_000)),
            ("1.5Gi", None),
            ("1e9", None),
            ("", None),
            ("99999999999Ti", None),
        ];
        for (quantity, want) in cases {
            assert_eq!(bytes(quantity), want, "{quantity}");
        }
    }

    #[test]
    fn an_id_loses_its_runtime() {
        for (id, want) in [("containerd://4a", Some("4a")), ("4a", Some("4a")), ("docker://", None)]
        {
            assert_eq!(container_id(Some(id)).as_deref(), want, "{id}");
        }
    }
}
