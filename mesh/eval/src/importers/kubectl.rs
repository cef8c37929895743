//! What people recorded with kubectl: `describe`, `get`, `events`, `logs`, as text, JSON or YAML.
//!
//! # Shape
//! A recording is one file, or the files of one directory (not those below it): one cluster at one
//! moment. A file is an output, or a transcript of several, each below its `$ kubectl ...`; above
//! it may stand what recorders of tools write (what was called, and how it ended). Each text is
//! brought back to the objects that it was printed of, which then go the way of those that the
//! collector lists: see [`super::k8s_objects`]. Of an object that was printed several times the
//! best look counts: the whole of it, then its description, then a row. Logs go the way of log
//! files. Rows of what the recording is not about are left out (see [`focus`]).
//!
//! What a person says of the recording (`test_case.yaml`) is never opened, and a manifest is not
//! what a cluster said.
//!
//! # Times
//! The moment is the latest time that an object or a description states; a pod that began at noon
//! and has an Event 58 minutes old was looked at at 12:58. Without any it is when the logs were
//! asked for, else their last line, else the beginning of 2024. Ages count back from it. What stands is told within half a minute before
//! it (see [`super::k8s_objects::clock`]); an Event of a thing that is well stays where it was; a
//! log is moved so that it ends with its container.

mod age;
mod calls;
mod container;
mod describe;
mod digest;
mod doors;
mod duration;
mod events;
mod focus;
mod greed;
mod ingress;
mod logs;
pub(super) mod name;
mod outline;
mod rows;
mod scale;
mod section;
mod standstill;
mod table;
mod ties;
mod traces;
mod usage;
mod when;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::Value as Json;
use tapio_collect::Binder;
use tapio_collect_kube::Snapshot;
use tapio_model::{Place, Timestamp};

use self::{
    age::date,
    calls::Calls,
    digest::End,
    doors::Doors,
    events::Desk,
    focus::{Focus, is_unwell},
    ingress::Ingresses,
    logs::{Log, Logs, Whose},
    name::{Name, Uids},
    section::{Command, Section, sections},
    standstill::Standstills,
    ties::Ties,
    traces::{Traces, is_trace},
    usage::{Limits, Usage},
    when::{Ages, of_logs, stated},
};
use super::k8s_objects::{
    clock::{self, UNDATED},
    documents::{Document, Documents},
    files::{self, Budget, Found, Source},
    moment::{Detail, Moment, Object, Told},
};
use crate::{ImportAccount, ImportError, Importer, Input, Recording, Rejected};

/// Endings of the files that are read.
const ENDINGS: &[&str] = &["txt", "log", "out", "json", "yaml", "yml"];

/// What a person says of a recording.
const LABELS: &[&str] = &["test_case.yaml", "test_case.yml"];

/// Two clocks may be so far apart because of their zones.
const ZONES: Duration = Duration::from_secs(86_400);

/// Objects of a recording.
const OBJECTS_MAX: usize = 200_000;

/// The importer.
#[derive(Debug)]
pub(super) struct Format;

impl Importer for Format {
    fn name(&self) -> &'static str {
        "kubectl"
    }

    fn about(&self) -> &'static str {
        "outputs of kubectl describe, get, events and logs: a directory, or one file"
    }

    fn detects(&self, path: &Path) -> bool {
        let is_text =
            |path: &Path| is_ours(path) && !matches!(ending(path), Some("json" | "yaml" | "yml"));
        let Ok(found) = files::find_beside(path, is_text) else { return false };
        found.any_head(|head| {
            let head = String::from_utf8_lossy(head);
            let is_tool = head.starts_with("{\"toolset_name\"") && head.contains("kubectl");
            let desk = Desk { end: UNDATED, uids: &Uids::default(), file: None };
            let is_output = |section: &Section<'_>| {
                let Section { command, text, .. } = section;
                !describe::read(&desk, command, text).is_empty()
                    || rows::read(&desk, command, text).is_some_and(|rows| !rows.is_empty())
            };
            // Below a prompt stands what kubectl wrote, whatever it is.
            let is_asked = head.starts_with("$ kubectl ") || head.contains("\n$ kubectl ");
            is_tool || is_asked || sections(&head).is_some_and(|all| all.iter().any(is_output))
        })
    }

    fn open(&self, input: Input, binder: Arc<Binder>) -> Result<Box<dyn Recording>, ImportError> {
        let mut account = ImportAccount::default();
        let found = match input {
            Input::Stream(stream) => Found::of_stream(stream),
            Input::Path(path) => files::find_beside(&path, is_ours)
                .map_err(|error| ImportError::Read { path: path.clone(), error })?,
        };
        let mut texts = Vec::new();
        let mut budget = Budget::default();
        for source in found.sources() {
            match source.read(&mut budget) {
                Ok(bytes) => texts.push((source, String::from_utf8_lossy(&bytes).into_owned())),
                Err(rejected) => account.reject(rejected),
            }
        }
        let bytes = texts.iter().map(|(_, text)| files::to_u64(text.len())).sum();
        let told = tell(&texts, &mut account);
        Ok(Box::new(told.bind(&binder, account, bytes)))
    }
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    !LABELS.contains(&name) && ending(path).is_some_and(|ending| ENDINGS.contains(&ending))
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(OsStr::to_str)
}

/// What is read of a recording.
#[derive(Default)]
struct Reading<'a> {
    whole: Vec<(Document, Option<String>)>,
    texts: Vec<(&'a Source, Section<'a>)>,
    logs: Logs,
    uids: Uids,
    focus: Focus,
    ingresses: Ingresses,
    standstill: Standstills,
    usage: Usage,
    traces: Traces,
    ages: Ages,
    /// The latest time of an object, or of a description.
    stated: Option<Timestamp>,
    /// When the last of the logs was asked for.
    asked: Option<Timestamp>,
}

fn tell(texts: &[(&Source, String)], account: &mut ImportAccount) -> Told {
    let mut reading = Reading::default();
    for (source, text) in texts {
        match sections(text) {
            Some(sections) => {
                for section in sections {
                    reading.take(source, section, account);
                }
            }
            None => account.reject(source.reject(0, "format", "not an output of kubectl")),
        }
    }
    reading.tell(account)
}

impl<'a> Reading<'a> {
    fn take(&mut self, source: &'a Source, section: Section<'a>, account: &mut ImportAccount) {
        let state = |known: &mut Option<Timestamp>, time: Option<Timestamp>| {
            *known = (*known).max(time);
        };
        state(&mut self.asked, section.asked_at.and_then(date));
        if let Some(name) = &section.command.name {
            self.focus.name(name);
        }
        if section.command.verb == "logs" {
            let Some(pod) = whose_log(&section.command) else { return };
            let container = section.command.container.clone();
            let whose = Whose { container, is_previous: section.command.is_previous };
            self.logs.add(&pod, &whose, &section.text);
            self.focus.read(&section.text);
            return;
        }
        if is_trace(&section.text) {
            self.traces.read(&section.text);
            return;
        }
        if is_whole(&section.text) {
            self.focus.read(&section.text);
            for document in Documents::read_any(source, section.text.as_bytes()) {
                let mut is_ours = |it: &Document| {
                    self.ingresses.read_whole(&it.kind, &it.json)
                        || self.standstill.read_whole(&it.kind, &it.json)
                };
                if let Ok(document) = &document {
                    self.ages.read_whole(&document.kind, &document.json);
                    state(&mut self.stated, clock::latest(&document.json));
                    if is_ours(document) {
                        continue;
                    }
                }
                let document = document.and_then(|document| readable(source, document));
                match document {
                    Ok(document) => {
                        self.uids.note(&document.kind, &document.json);
                        self.whole.push((document, source.name()));
                    }
                    Err(rejected) => account.reject(rejected),
                }
            }
            return;
        }
        state(&mut self.stated, stated(&section.text));
        self.ages.read(&section.command, &section.text);
        self.ingresses.read(&section.command, &section.text);
        self.standstill.read(&section.command, &section.text);
        self.usage.read(&section.command, &section.text);
        self.texts.push((source, section));
    }

    fn tell(self, account: &mut ImportAccount) -> Told {
        let Self {
            whole,
            texts,
            logs,
            uids,
            mut focus,
            ingresses,
            standstill,
            usage,
            traces,
            ages,
            stated,
            asked,
        } = self;
        let logs = logs.take();
        let logged = of_logs(&logs);
        let stated = stated.max(ages.latest());
        // What stands for long states long ago; a clock without a zone is some hours off.
        let is_old = |stated: Timestamp| logged.is_some_and(|last| last.since(stated) > ZONES);
        let stated = stated.filter(|stated| !is_old(*stated)).or(asked);
        let end = stated.or(logged).unwrap_or(UNDATED);
        let mut moment = Moment::default();
        let add = |moment: &mut Moment, object: Object| {
            if moment.len() < OBJECTS_MAX {
                moment.add(object);
            }
        };
        for (source, section) in &texts {
            let file = source.name();
            let desk = Desk { end, uids: &uids, file: file.as_deref() };
            match printed(&desk, section, &mut focus) {
                Some(objects) => objects.into_iter().for_each(|object| add(&mut moment, object)),
                // Below a command of kubectl everything is its output, known or not.
                None if section.command.verb.is_empty() => {
                    account.reject(source.reject(0, "format", "not an output of kubectl"));
                }
                None => {}
            }
        }
        for (Document { kind, json }, file) in whole {
            add(&mut moment, Name::of(&kind, &json).seen(json, Detail::Whole, file));
        }
        let (mut containers, mut limits) = (BTreeMap::new(), Limits::default());
        for log in &logs {
            add(&mut moment, bare_pod(&log.pod, &uids));
        }
        adopt(&mut moment);
        scale::let_grow(&mut moment);
        for pod in moment.of_kind("Pod") {
            containers.insert(Name::of("Pod", pod), names(pod));
            limits.note(pod);
        }
        focus.narrow(&mut moment);
        let (ties, calls) = (Ties::of(&moment, &Doors::of(&logs)), Calls::of(&moment));
        let mut told = moment.tell(end, account);
        ties.complete(&mut told, &uids, end);
        greed::complete(&mut told);
        told.events.extend(ingresses.tell(end));
        told.events.extend(standstill.tell(end));
        told.events.extend(usage.tell(&limits, &told.snapshot, (&uids, end)));
        told.events.extend(traces.tell(&told.snapshot, &uids, end));
        for log in &logs {
            let known = containers.get(&log.pod).map(Vec::as_slice).unwrap_or_default();
            let place = place(&told, log, (&uids, known));
            let until = logs::until(&told.events, log, &place);
            let is_last = until.is_some();
            let mut lines = log.tell(&place, End { time: until.unwrap_or(end), is_last });
            lines.iter().for_each(|_| account.accept());
            calls.complete(&mut lines, end);
            told.events.extend(lines);
        }
        told
    }
}

/// Reads the objects that a text was printed of: a description, or rows; `None` if it is neither.
fn printed(desk: &Desk<'_>, section: &Section<'_>, focus: &mut Focus) -> Option<Vec<Object>> {
    let described = describe::read(desk, &section.command, &section.text);
    if described.is_empty() {
        return rows::read(desk, &section.command, &section.text);
    }
    let is_well = |object: &Object| object.kind == "Node" && !is_unwell(&object.json);
    if described.iter().any(is_well) {
        focus.read(&without_residents(&section.text));
    } else {
        focus.read(&section.text);
    }
    Some(described)
}

/// Leaves out the pods that the description of a node lists: who looks at a node that is well does
/// not ask after each of them.
fn without_residents(text: &str) -> String {
    let mut is_inside = false;
    let lines = text.lines().filter(|line| {
        let is_list = line.starts_with("Non-terminated Pods:");
        is_inside = is_list || (is_inside && line.starts_with(' '));
        !is_inside
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Refuses an object that is torn: what was printed of it as text is better then.
fn readable(source: &Source, document: Document) -> Result<Document, Rejected> {
    match Snapshot::new(None, UNDATED).learn(&document.kind, &document.json) {
        Ok(()) => Ok(document),
        Err(error) => Err(source.reject(0, "object", error.to_string())),
    }
}

/// Says whether a text is objects as the server gave them.
fn is_whole(text: &str) -> bool {
    let text = text.trim_start();
    let is_json = text.starts_with('{') || text.starts_with('[');
    is_json || ["apiVersion:", "kind:", "items:", "---\n"].iter().any(|key| text.starts_with(key))
}

/// Returns whose log was asked for: a pod's, that of some pod of a workload, or of those with a
/// label, whose value names most workloads.
fn whose_log(command: &Command) -> Option<Name> {
    let labelled = || command.selector.as_deref()?.split(',').next()?.split_once('=');
    let name = command.name.as_deref().or_else(|| Some(labelled()?.1))?;
    let kind = command.kind.as_deref().unwrap_or("Pod");
    Some(Name::new(kind, command.namespace.as_deref(), name))
}

/// Makes a pod of which nothing but a log is known.
fn bare_pod(of: &Name, uids: &Uids) -> Object {
    let mut json = name::bare_pod(&of.namespace, &of.name, &uids.get(of));
    if of.kind != "Pod"
        && let Some(metadata) = json.get_mut("metadata")
    {
        events::merge(metadata, "ownerReferences", vec![name::reference(&of.kind, &of.name)]);
    }
    let name = Name::new("Pod", Some(&of.namespace), &of.name);
    Object { detail: Detail::Named, ..name.seen(json, Detail::Row, None) }
}

/// Gives pods whose owner nobody told to the Job that they are named after.
fn adopt(moment: &mut Moment) {
    let jobs: BTreeSet<_> = moment.of_kind("Job").map(|job| Name::of("Job", job)).collect();
    moment.change("Pod", |pod| {
        let name = Name::of("Pod", pod);
        let owner = name.name.rsplit_once('-').filter(|(_, end)| name::is_random(end, 5..=5));
        let owner = owner.map(|(stem, _)| Name::new("Job", Some(&name.namespace), stem));
        let is_orphan = pod.pointer("/metadata/ownerReferences/0").is_none();
        let owner = owner.filter(|owner| is_orphan && jobs.contains(owner));
        if let Some((owner, metadata)) = owner.zip(pod.get_mut("metadata")) {
            let reference = name::reference("Job", &owner.name);
            events::merge(metadata, "ownerReferences", vec![reference]);
        }
    });
}

/// Returns the names of a pod's containers.
fn names(pod: &Json) -> Vec<String> {
    let containers = pod.pointer("/spec/containers").and_then(Json::as_array);
    let names = containers.into_iter().flatten().filter_map(|one| one.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// Returns the place of a log: its pod, and the container if there is only one.
fn place(told: &Told, log: &Log, (uids, containers): (&Uids, &[String])) -> Place {
    let pod = told.snapshot.pod(&uids.get(&log.pod));
    let place = pod.map(|place| (*place).clone()).unwrap_or_else(|| Place {
        namespace: Some(log.pod.namespace.as_str().into()),
        pod: Some(log.pod.name.as_str().into()),
        ..Place::default()
    });
    let only = containers.first().filter(|_| containers.len() == 1);
    let container = log.whose.container.as_ref().or(only);
    Place { container: container.map(|name| name.as_str().into()), ..place }
}

#[cfg(test)]
mod tests;
