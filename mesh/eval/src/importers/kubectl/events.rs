//! Tables of Events: below what `kubectl describe` prints, and those of `kubectl events`.

use std::{borrow::Cow, time::Duration};

use serde_json::{Value as Json, json};
use tapio_model::Timestamp;

use super::{
    age::{Sight, age, sight},
    name::{Name, Uids},
    section::Command,
    table::{Row, Table},
};
use crate::importers::k8s_objects::{
    clock,
    moment::{Detail, Object},
};

/// What the rows of all tables share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk<'a> {
    /// The moment of the recording.
    pub(super) end: Timestamp,
    pub(super) uids: &'a Uids,
    pub(super) file: Option<&'a str>,
}

/// What an Event says.
#[derive(Debug, Clone)]
pub(super) struct Said<'a> {
    pub(super) reason: &'a str,
    pub(super) type_: Option<&'a str>,
    pub(super) message: Cow<'a, str>,
    pub(super) from: Option<&'a str>,
    pub(super) sight: Sight,
}

impl Desk<'_> {
    /// Returns the time that is so long ago.
    pub(super) fn ago(&self, age: Duration) -> Timestamp {
        self.end.before(age)
    }

    fn ago_written(&self, age: Option<Duration>) -> Option<String> {
        age.map(|age| clock::write(self.ago(age)))
    }

    /// Makes an Event about an object; `containers` are those of a pod, and `node` is where it is.
    pub(super) fn event(
        &self,
        about: &Name,
        said: &Said<'_>,
        containers: &[String],
        node: Option<&str>,
    ) -> Object {
        // Some recorders leave the marks with which they quoted.
        let message = said.message.replace("\\\"", "\"");
        let container = container(&message, containers);
        let from = said.from.and_then(|from| from.split([',', ' ']).next());
        let of_kubelet = from.is_none_or(|from| from == "kubelet") && about.kind == "Pod";
        let mut event = json!({
            "metadata": { "namespace": about.namespace },
            "involvedObject": {
                "kind": about.kind, "namespace": about.namespace, "name": about.name,
                "uid": self.uids.get(about),
            },
            "reason": said.reason,
            "message": message,
            "count": i32::try_from(said.sight.count).unwrap_or(i32::MAX),
            "source": { "component": from, "host": node.filter(|_| of_kubelet) },
        });
        if of_kubelet
            && let Some(container) = container
            && let Some(path) = event.pointer_mut("/involvedObject")
        {
            merge(path, "fieldPath", format!("spec.containers{{{container}}}"));
        }
        for (field, value) in [
            ("type", said.type_.map(str::to_owned)),
            ("firstTimestamp", self.ago_written(said.sight.first)),
            ("lastTimestamp", self.ago_written(said.sight.last)),
        ] {
            if let Some(value) = value {
                merge(&mut event, field, value);
            }
        }
        let name = Name::new("Event", Some(&about.namespace), "");
        let mut object = name.seen(event, Detail::Described, self.file.map(str::to_owned));
        // An id of the Event's own, out of what it says of whom.
        let uid = Name::new("Event", None, &object.key);
        if let Some(metadata) = object.json.pointer_mut("/metadata") {
            merge(metadata, "uid", self.uids.get(&uid));
        }
        object
    }
}

/// Returns the container that a message is about: the one it names, or the only one there is.
fn container<'a>(message: &str, containers: &'a [String]) -> Option<&'a str> {
    let is_named = |name: &&String| {
        let words =
            message.split(|letter: char| letter.is_whitespace() || ",:\"'".contains(letter));
        message.contains("ontainer") && words.into_iter().any(|word| word == name.as_str())
    };
    let named = containers.iter().find(is_named);
    named.or_else(|| containers.first().filter(|_| containers.len() == 1)).map(String::as_str)
}

/// Sets a field of an object.
pub(super) fn merge(json: &mut Json, field: &str, value: impl Into<Json>) {
    if let Some(fields) = json.as_object_mut() {
        fields.insert(field.to_owned(), value.into());
    }
}

/// Says whether a table is one of Events that name their objects.
pub(super) fn is_list(table: &Table<'_>) -> bool {
    table.has(&["LAST SEEN", "REASON", "OBJECT", "MESSAGE"])
}

/// Reads a row of `kubectl events` or `kubectl get events`.
pub(super) fn listed(desk: &Desk<'_>, row: &Row<'_, '_>, command: &Command) -> Option<Object> {
    let (kind, name) = row.get("OBJECT")?.split_once('/')?;
    let namespace = command.namespace.as_deref();
    let about = Name::new(kind, row.get("NAMESPACE").or(namespace), name);
    let mut sight = sight(row.get("LAST SEEN").unwrap_or_default());
    // The wide form has columns of their own.
    sight.first = row.get("FIRST SEEN").and_then(age).or(sight.first);
    sight.count = row.get("COUNT").and_then(|count| count.parse().ok()).unwrap_or(sight.count);
    let said = Said {
        reason: row.get("REASON")?,
        type_: row.get("TYPE"),
        message: row.get("MESSAGE").unwrap_or_default().into(),
        from: row.get("SOURCE"),
        sight,
    };
    let mut object = desk.event(&about, &said, &[], None);
    // Only the wide form of `kubectl get events` says how often.
    if command.verb == "get" && !row.has("COUNT") {
        merge(&mut object.json, "count", Json::Null);
    }
    Some(object)
}

/// Lines with which a message goes on; what follows is of something else.
const LINES_BELOW_MAX: usize = 32;

/// Reads the rows that `kubectl describe` prints below an object. A message of several lines goes on
/// below its row.
pub(super) fn described<'a>(lines: &[&'a str]) -> Vec<Said<'a>> {
    let mut lines = lines.iter().copied().filter(|line| !line.trim().is_empty());
    let Some(header) = lines.next() else { return Vec::new() };
    let table = Table::of(header);
    if !table.has(&["Type", "Reason", "Age", "Message"]) {
        return Vec::new();
    }
    let mut all: Vec<Said<'a>> = Vec::new();
    let mut below = 0;
    for line in lines.filter(|line| !is_rule(line)) {
        let row = table.row(line);
        let type_ = row.get("Type");
        let goes_on = !matches!(type_, Some("Normal" | "Warning"));
        below = if goes_on { below + 1 } else { 0 };
        match (all.last_mut(), row.get("Reason")) {
            (Some(_), _) if below > LINES_BELOW_MAX => {}
            (Some(last), _) if goes_on => {
                let message = last.message.to_mut();
                message.truncate(message.trim_end().len());
                message.extend(["; ", line.trim()]);
            }
            (_, Some(reason)) => all.push(Said {
                reason,
                type_,
                message: row.get("Message").unwrap_or_default().into(),
                from: row.get("From"),
                sight: sight(row.get("Age").unwrap_or_default()),
            }),
            (_, None) => {}
        }
    }
    all
}

/// Says whether a line only underlines a header.
pub(super) fn is_rule(line: &str) -> bool {
    line.chars().all(|letter| letter == '-' || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_on_below_its_row_and_not_for_ever() {
        let head = "  Type     Reason  Age  From  Message\n  ----  ----  ----  ----  ----\n";
        let row = "  Warning  FailedCreate  7m   rs    denied the request: \n";
        let text =
            format!("{head}{row}\nrule one:\n  no label\n  Normal   Pulled  7m   rs    fine\n");
        let lines: Vec<_> = text.lines().collect();
        let said = described(&lines);
        let messages: Vec<_> = said.iter().map(|said| &*said.message).collect();
        assert_eq!(messages, ["denied the request:; rule one:; no label", "fine"]);
        let flood = format!("{head}{row}{}", "more\n".repeat(9_999));
        let lines: Vec<_> = flood.lines().collect();
        assert!(described(&lines).iter().all(|said| said.message.len() < 400));
    }
}
