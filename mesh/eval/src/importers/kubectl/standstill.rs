//! Objects that stand still: nobody watches them, and in a recording one look says so.
//!
//! A custom resource whose controller says that it is not ready, a release that failed, a deletion
//! that waits for a finalizer, a budget that lets no pod go while a node is to be emptied, a schedule of Jobs
//! that is suspended and was asked after.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_collect_kube::Resource;
use tapio_model::{Class, Kind, Place, Severity, Source, Timestamp, Workload, keys};

use super::{
    age::{age, date},
    events,
    outline::{Outline, pair, told},
    section::Command,
    table::{Row, Table},
};
use crate::importers::k8s_objects::{clock::parse, moment::before};

/// A deletion takes its time: a pod has half a minute to end, a volume some minutes.
const DELETION_MAX: Duration = Duration::from_secs(600);

/// What an object says of its deletion is stated within so long after it.
const STATED_WITH: Duration = Duration::from_secs(15);

/// Conditions by which controllers of custom resources say that all is well.
const GOOD: &[&str] = &["Ready", "Available", "Synced", "Healthy", "Released"];

/// States of what is to become true and has not, as controllers write them.
const UNDONE: &[&str] = &["errored", "expired", "invalid", "pending"];

/// How a release says that it is not done, and will not be.
const RELEASE_STATES: &[&str] =
    &["failed", "pending-install", "pending-upgrade", "pending-rollback"];

/// What kubectl says of an eviction that a budget refuses.
const REFUSED: &str = "violate the pod's disruption budget";

/// Kind, namespace and name.
type Id = (String, String, String);

/// What was printed of objects that stand still.
#[derive(Debug, Default)]
pub(super) struct Standstills {
    /// The reason, and what is said of it.
    still: BTreeMap<Id, (&'static str, String)>,
    /// Since when objects are to be deleted, and the finalizers that they wait for.
    leaving: BTreeMap<Id, (Since, String)>,
    /// Budgets that let no pod go.
    budgets: BTreeSet<Id>,
    /// Nodes that take no pods.
    cordoned: BTreeSet<String>,
    is_refused: bool,
}

/// Since when something lasts.
#[derive(Debug, Clone, Copy)]
enum Since {
    At(Timestamp),
    For(Duration),
}

impl Standstills {
    /// Reads a text: a description, a table, or what a tool beside kubectl printed.
    pub(super) fn read(&mut self, command: &Command, text: &str) {
        let namespace = command.namespace.as_deref().unwrap_or("default");
        self.is_refused |= text.contains(REFUSED);
        self.read_application(text);
        for outline in Outline::all(text) {
            self.read_outline(command, &outline);
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let Some(table) = lines.next().map(Table::of) else { return };
        for row in lines.map(|line| table.row(line)) {
            self.read_row(command, namespace, &row);
        }
    }

    fn read_row(&mut self, command: &Command, namespace: &str, row: &Row<'_, '_>) {
        let Some(name) = row.get("NAME") else { return };
        let id = |kind: &str| {
            let namespace = row.get("NAMESPACE").unwrap_or(namespace);
            (kind.to_owned(), namespace.to_owned(), name.to_owned())
        };
        let status = row.get("STATUS").unwrap_or_default();
        if row.get("ALLOWED DISRUPTIONS") == Some("0") {
            self.budgets.insert(id("PodDisruptionBudget"));
        } else if row.has("ROLES") && status.contains("SchedulingDisabled") {
            self.cordoned.insert(name.to_owned());
        } else if row.has("CHART") && RELEASE_STATES.contains(&status) {
            let said = format!("the release is {status}");
            self.still.insert(id("Release"), ("NotReady", said));
        } else if row.get("SUSPEND") == Some("True") && command.name.as_deref() == Some(name) {
            let last = row.get("LAST SCHEDULE").and_then(age).map(|_| row.get("LAST SCHEDULE"));
            self.suspended(id("CronJob"), last.flatten().map(|ago| format!("{ago} ago")));
        } else if row.has("SECRET") && row.get("READY") == Some("False") {
            let said = "the certificate is not ready".to_owned();
            self.still.entry(id("Certificate")).or_insert(("CertificateNotReady", said));
        }
    }

    fn suspended(&mut self, id: Id, last: Option<String>) {
        let last = last.map(|last| format!(", last started {last}")).unwrap_or_default();
        let said = format!("it is suspended{last}");
        self.still.entry(id).or_insert(("Suspended", said));
    }

    fn read_outline(&mut self, command: &Command, outline: &Outline<'_>) {
        let Some(name) = outline.get("Name") else { return };
        let kind = outline.get("Kind");
        let namespace = outline.get("Namespace").or(command.namespace.as_deref());
        let namespace = namespace.unwrap_or("default");
        let id = |kind: &str| (kind.to_owned(), namespace.to_owned(), name.to_owned());
        if outline.has(&["Concurrency Policy"]) && outline.get("Suspend") == Some("True") {
            let last = outline.get("Last Schedule Time").map(|at| format!("at {at}"));
            self.suspended(id("CronJob"), last);
        }
        let said = events::described(outline.below("Events"));
        let is_waiting = said.iter().any(|said| said.reason == "JobAlreadyActive");
        if let Some(jobs) = outline.get("Active Jobs").filter(|_| is_waiting) {
            let since = outline.get("Last Schedule Time").unwrap_or("some time");
            let said = format!("{jobs} goes on since {since}, and no two may run at once");
            self.still.entry(id("CronJob")).or_insert(("JobAlreadyActive", said));
        }
        let is_budget = outline.has(&["Selector"]) && !outline.has(&["Type"]);
        let allowed = below(outline.below("Status"), "Allowed disruptions");
        if is_budget && allowed == Some("0") {
            self.budgets.insert(id("PodDisruptionBudget"));
        }
        if outline.has(&["VolumeMode"])
            && let Some(since) = outline.get("Status").and_then(lasts)
        {
            let finalizers = outline.get("Finalizers").unwrap_or_default();
            let user = outline.get("Used By").map(|user| format!(", which {user} uses"));
            let said = format!("{finalizers}{}", user.unwrap_or_default());
            self.leaving.insert(id("PersistentVolumeClaim"), (Since::For(since), said));
        }
        let Some(kind) = kind.filter(|kind| Resource::from_kind(kind).is_none()) else { return };
        let status = outline.below("Status");
        if let Some((reason, message)) = of_lines(status) {
            self.not_ready(id(kind), reason, message);
        } else if let Some(state) = below(status, "State").filter(|state| UNDONE.contains(state)) {
            let reason = below(status, "Reason").and_then(told);
            reason.into_iter().for_each(|why| self.not_ready(id(kind), Some(state), Some(why)));
        }
        let metadata = outline.below("Metadata");
        if let Some(at) = below(metadata, "Deletion Timestamp").and_then(date) {
            let finalizers = metadata.iter().skip_while(|line| line.trim() != "Finalizers:");
            let finalizers = finalizers.skip(1).take_while(|line| !line.contains(": "));
            let names: Vec<_> = finalizers.map(|line| line.trim()).collect();
            self.leaving.insert(id(kind), (Since::At(at), names.join(", ")));
        }
    }

    fn not_ready(&mut self, id: Id, reason: Option<&str>, message: Option<&str>) {
        let words: Vec<_> = [reason, message].into_iter().flatten().collect();
        let reason = if id.0 == "Certificate" { "CertificateNotReady" } else { "NotReady" };
        self.still.insert(id, (reason, words.join(": ")));
    }

    /// Reads what `argocd app get` prints of an application whose objects could not be applied.
    fn read_application(&mut self, text: &str) {
        let value = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.map(str::trim).and_then(told)
        };
        let Some((status, message)) = value("Sync Status").zip(value("Message")) else { return };
        let is_failed = matches!(value("Phase"), Some("Failed" | "Error"));
        if let Some(name) = value("Name").filter(|_| is_failed) {
            let (namespace, name) = name.split_once('/').unwrap_or(("argocd", name));
            let id = ("Application".to_owned(), namespace.to_owned(), name.to_owned());
            let status = status.split_whitespace().next().unwrap_or_default();
            self.not_ready(id, Some(status), Some(message));
        }
    }

    /// Reads an object; says whether it is of a kind that nobody watches, and was understood.
    pub(super) fn read_whole(&mut self, kind: &str, json: &Json) -> bool {
        let text = |at: &str| json.pointer(at).and_then(Json::as_str);
        let namespace = text("/metadata/namespace").unwrap_or("default");
        let name = text("/metadata/name").unwrap_or_default();
        let id = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        if let Some(at) = text("/metadata/deletionTimestamp").and_then(parse)
            && let Some(finalizers) = finalizers(json)
        {
            self.leaving.insert(id.clone(), (Since::At(at), finalizers));
        }
        if kind == "CronJob" && json.pointer("/spec/suspend") == Some(&Json::Bool(true)) {
            let last = text("/status/lastScheduleTime").map(|at| format!("at {at}"));
            self.suspended(id.clone(), last);
        }
        if Resource::from_kind(kind).is_some() || kind == "Ingress" || kind == "IngressClass" {
            return false;
        }
        let conditions = json.pointer("/status/conditions").and_then(Json::as_array);
        let bad = conditions.into_iter().flatten().find_map(|condition| {
            let text = |field: &str| condition.get(field).and_then(Json::as_str);
            let is_bad = text("status") == Some("False") && GOOD.contains(&text("type")?);
            is_bad.then(|| (text("reason"), text("message")))
        });
        if json.pointer("/status/disruptionsAllowed").and_then(Json::as_i64) == Some(0) {
            self.budgets.insert(id);
        } else if let Some((reason, message)) = bad {
            self.not_ready(id, reason, message);
        } else if let Some(state) = text("/status/state").filter(|state| UNDONE.contains(state)) {
            let reason = text("/status/reason").filter(|reason| !reason.is_empty());
            reason.into_iter().for_each(|why| self.not_ready(id.clone(), Some(state), Some(why)));
        } else if matches!(text("/status/operationState/phase"), Some("Failed" | "Error")) {
            self.not_ready(id, text("/status/sync/status"), text("/status/operationState/message"));
        }
        true
    }

    /// Tells of what stands still, each twice, as what stands is.
    pub(super) fn tell(&self, end: Timestamp) -> Vec<Unbound> {
        let mut told = Vec::new();
        for (id, (reason, said)) in &self.still {
            if self.still.keys().any(|maker| is_made_by(id, maker)) {
                continue;
            }
            let made = self.still.iter().filter(|(made, _)| is_made_by(made, id));
            // What it waits for says more than that it waits.
            let mut words: Vec<_> =
                made.map(|((kind, _, name), (_, said))| format!("{kind} {name}: {said}")).collect();
            words.push(said.clone());
            told.push(event(id, (reason, &words.join("; ")), end));
        }
        for (id, (since, said)) in &self.leaving {
            let lasts = match since {
                Since::At(at) => end.since(*at),
                Since::For(lasts) => *lasts,
            };
            // Who prints an object that goes, and nothing of what happened since, waits for it.
            let is_undated = lasts < STATED_WITH;
            if lasts >= DELETION_MAX || is_undated {
                let said = format!("it is to be deleted and has finalizers: {said}");
                told.push(event(id, ("DeletionStuck", &said), end));
            }
        }
        if self.is_refused || !self.cordoned.is_empty() {
            let nodes: Vec<_> = self.cordoned.iter().map(String::as_str).collect();
            let from = if nodes.is_empty() { "its node".to_owned() } else { nodes.join(", ") };
            for id in &self.budgets {
                let said = format!("it allows no disruption, and a pod is to leave {from}");
                told.push(event(id, ("DisruptionNotAllowed", &said), end));
            }
        }
        told.into_iter().flat_map(|event| [before(&event), event]).collect()
    }
}

/// Reads `Terminating (lasts 3h)`.
fn lasts(status: &str) -> Option<Duration> {
    age(status.strip_prefix("Terminating (lasts ")?.trim_end_matches(')'))
}

/// Returns the value beside a field of nested lines.
fn below<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    lines.iter().filter_map(|line| pair(line)).find(|(field, _)| *field == name)?.1.into()
}

/// Returns reason and message of a condition that should be true and is not, of lines in the order
/// in which kubectl prints the fields of a condition: that of the alphabet.
fn of_lines<'a>(lines: &[&'a str]) -> Option<(Option<&'a str>, Option<&'a str>)> {
    let (mut reason, mut message, mut status) = (None, None, None);
    for (field, value) in lines.iter().filter_map(|line| pair(line)) {
        match field {
            "Message" => message = told(value),
            "Reason" => reason = told(value),
            "Status" => status = told(value),
            "Type" if GOOD.contains(&value) && status == Some("False") => {
                return Some((reason, message));
            }
            "Type" => (reason, message, status) = (None, None, None),
            _ => {}
        }
    }
    None
}

/// Returns what an object that is to be deleted waits for: its finalizers, or a namespace's last
/// words on what is left.
fn finalizers(json: &Json) -> Option<String> {
    let conditions = json.pointer("/status/conditions").and_then(Json::as_array);
    let remains = conditions.into_iter().flatten().find(|condition| {
        let text = |field: &str| condition.get(field).and_then(Json::as_str);
        text("type") == Some("NamespaceFinalizersRemaining") && text("status") == Some("True")
    });
    let remains = remains.and_then(|condition| condition.get("message")?.as_str());
    let own = json.pointer("/metadata/finalizers").and_then(Json::as_array);
    let own: Vec<_> = own.into_iter().flatten().filter_map(Json::as_str).collect();
    remains.map(str::to_owned).or_else(|| (!own.is_empty()).then(|| own.join(", ")))
}

/// Says whether one object was made for another, whose name its own begins with:
/// `Challenge shop/web-tls-1-42` for `Certificate shop/web-tls`.
fn is_made_by((kind, namespace, name): &Id, (of_kind, of_namespace, maker): &Id) -> bool {
    let rest = name.strip_prefix(maker.as_str());
    kind != of_kind && namespace == of_namespace && rest.is_some_and(|rest| rest.starts_with('-'))
}

fn event((kind, namespace, name): &Id, (reason, said): (&str, &str), end: Timestamp) -> Unbound {
    let parts = [kind, namespace, name].map(|part| part.as_bytes());
    let [of_kind, of_namespace, called] = parts;
    let id = event_id(&[b"standstill", of_kind, of_namespace, called, reason.as_bytes()]);
    let is_workload = kind == "CronJob";
    let workload =
        is_workload.then(|| Workload { kind: kind.as_str().into(), name: name.as_str().into() });
    let place = Place { namespace: Some(namespace.as_str().into()), workload, ..Place::default() };
    Unbound::new(id, end, Source::Kubernetes, Kind::ObjectEvent)
        .at(place)
        .rated(Severity::Warn, 0.6, Class::Configuration)
        .with(keys::REASON, reason)
        .with(keys::OBJECT_KIND, kind.as_str())
        .with(keys::OBJECT_NAME, name.as_str())
        .message(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTHING: [&str; 0] = [];

    const END: Timestamp = Timestamp::from_secs(1_760_434_900);

    fn of(texts: &[(&str, &str)]) -> Vec<String> {
        let mut still = Standstills::default();
        for (name, text) in texts {
            let name = (!name.is_empty()).then(|| (*name).to_owned());
            still.read(&Command { name, ..Command::default() }, text);
        }
        reasons(&still)
    }

    fn reasons(still: &Standstills) -> Vec<String> {
        let told = still.tell(END);
        let text = |event: &Unbound, key: &str| event.text(key).unwrap_or_default().to_owned();
        let mut all: Vec<_> = told
            .iter()
            .map(|it| {
                format!(
                    "{} {}: {}",
                    text(it, keys::REASON),
                    text(it, keys::OBJECT_NAME),
                    text(it, keys::MESSAGE)
                )
            })
            .collect();
        all.dedup();
        all
    }

    #[test]
    fn a_budget_matters_only_while_a_pod_is_to_leave() {
        let budgets = (
            "",
            "NAME  MIN AVAILABLE  MAX UNAVAILABLE  ALLOWED DISRUPTIONS  AGE\n\
            etcd  3              N/A              0                    88d\n",
        );
        let nodes = (
            "",
            "NAME  STATUS                     ROLES   AGE  VERSION\n\
            n1    Ready,SchedulingDisabled   <none>  9d   v1\n",
        );
        assert_eq!(of(&[budgets]), NOTHING);
        let want = "DisruptionNotAllowed etcd: it allows no disruption, and a pod is to leave n1";
        assert_eq!(of(&[budgets, nodes]), [want]);
    }

    #[test]
    fn a_suspended_cronjob_is_told_if_it_was_asked_after() {
        let row = "NAME  SCHEDULE   SUSPEND  ACTIVE  LAST SCHEDULE  AGE\nrun   0 2 * * *  True     0       9d             90d\n";
        assert_eq!(of(&[("", row)]), NOTHING);
        assert_eq!(of(&[("run", row)]), ["Suspended run: it is suspended, last started 9d ago"]);
    }

    #[test]
    fn what_an_object_made_says_why_it_waits() {
        let made = "Name:  tls-1-7\nNamespace:  default\nKind:  Challenge\nStatus:\n  Reason:  wrong \
            status code '404'\n  State:  pending\n";
        let row = "NAME  READY  SECRET  AGE\ntls   False  tls     9m\n";
        let want = "CertificateNotReady tls: Challenge tls-1-7: pending: wrong status code '404'; the \
            certificate is not ready";
        assert_eq!(of(&[("", made), ("", row)]), [want]);
        assert_eq!(of(&[("", &made.replace("pending", "valid"))]), NOTHING);
    }

    #[test]
    fn a_schedule_whose_run_does_not_end_is_told() {
        let text = |jobs: &str| {
            format!(
                "Name:  run\nNamespace:  shop\nConcurrency Policy:  Forbid\nSuspend:  False\n\
            Last Schedule Time:  Fri, 30 May 2025 04:30:00 +0000\nActive Jobs:  {jobs}\nEvents:\n  Type    Reason            \
            Age  From  Message\n  ----    ------            ---  ----  -------\n  Normal  JobAlreadyActive  9m   c     no\n"
            )
        };
        let told = of(&[("", &text("run-1"))]);
        assert!(
            told.len() == 1 && told[0].starts_with("JobAlreadyActive run: run-1 goes on"),
            "{told:?}"
        );
        assert_eq!(of(&[("", &text("<none>"))]), NOTHING);
    }

    #[test]
    fn a_custom_resource_says_why_it_is_not_ready() {
        let text = "Name:  tls\nNamespace:  web\nKind:  Certificate\nStatus:\n  Conditions:\n    \
            Message:  all is fine\n    Reason:  Renewing\n    Status:  True\n    Type:  Issuing\n    \
            Message:  it expired\n    Reason:  Expired\n    Status:  False\n    Type:  Ready\n";
        assert_eq!(of(&[("", text)]), ["CertificateNotReady tls: Expired: it expired"]);
        assert_eq!(of(&[("", &text.replace("False", "True"))]), NOTHING);
        let mut still = Standstills::default();
        let object = json!({ "metadata": { "name": "db" }, "status": { "conditions": [
            { "type": "Ready", "status": "False", "reason": "SecretSyncedError", "message": "no" }] } });
        assert!(still.read_whole("ExternalSecret", &object) && !still.read_whole("Pod", &object));
        assert_eq!(reasons(&still), ["NotReady db: SecretSyncedError: no"]);
    }

    #[test]
    fn releases_and_applications_that_failed_are_told() {
        let list = "NAME\tNAMESPACE\tREVISION\tUPDATED\tSTATUS\tCHART\tAPP VERSION\nshop\tprod\t3\tnow\tfailed\tshop-1\t1\n";
        assert_eq!(of(&[("", list)]), ["NotReady shop: the release is failed"]);
        let app = "Name:               argocd/shop\nSync Status:        OutOfSync from HEAD\n\
            Phase:              Failed\nMessage:            namespaces \"a\" not found\n";
        assert_eq!(of(&[("", app)]), ["NotReady shop: OutOfSync: namespaces \"a\" not found"]);
        assert_eq!(of(&[("", &app.replace("Failed", "Succeeded"))]), NOTHING);
    }

    #[test]
    fn a_deletion_that_lasts_names_its_finalizers() {
        let object = |at: &str| {
            let mut still = Standstills::default();
            let object = json!({ "metadata": { "name": "old", "deletionTimestamp": at,
                "finalizers": ["a.io/f"] } });
            still.read_whole("Widget", &object);
            reasons(&still)
        };
        let want = "DeletionStuck old: it is to be deleted and has finalizers: a.io/f";
        assert_eq!(object("2025-10-11T14:03:21Z"), [want]);
        assert_eq!(object("2025-10-14T09:38:00Z"), NOTHING);
        let claim = "Name:  data\nNamespace:  db\nStatus:  Terminating (lasts 2h)\n\
            Finalizers:  [kubernetes.io/pvc-protection]\nVolumeMode:  Filesystem\nUsed By:  pg-0\n";
        let told = of(&[("", claim)]);
        assert!(
            told.len() == 1 && told[0].ends_with("pvc-protection], which pg-0 uses"),
            "{told:?}"
        );
    }
}
