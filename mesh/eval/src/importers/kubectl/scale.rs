//! How many replicas are wanted, and whether there are any.

use serde_json::{Value as Json, json};

use super::{
    age::age,
    events::{Desk, merge},
    name::Name,
    section::Command,
    table::{Row, Table},
    ties::{Labels, labels},
};
use crate::importers::k8s_objects::{
    clock,
    moment::{Detail, Moment, Object, is_emptied},
};

/// A workload that is to have no pod.
#[derive(Debug)]
pub(super) struct Empty {
    pub(super) name: Name,
    /// What its pods would bear, as far as it is known.
    labels: Labels,
}

impl Empty {
    /// Returns those of a recording.
    pub(super) fn all(moment: &Moment) -> Vec<Self> {
        let empty = moment.objects().filter(|object| is_emptied(&object.kind, &object.json));
        let read = |object: &Object| {
            let at = [
                "/metadata/labels",
                "/spec/selector/matchLabels",
                "/spec/template/metadata/labels",
            ];
            let labels = at.iter().flat_map(|at| labels(&object.json, at)).collect();
            Self { name: Name::of(&object.kind, &object.json), labels }
        };
        empty.map(read).collect()
    }

    /// Says whether a Service would take its pods, if it had any.
    pub(super) fn is_behind(&self, service: &Name, selector: &Labels) -> bool {
        let takes = || selector.iter().all(|(key, value)| self.labels.get(key) == Some(value));
        self.name.namespace == service.namespace
            && !selector.is_empty()
            && (self.name.name == service.name || takes())
    }
}

/// Reads a row of a Deployment or StatefulSet that is to have no pod: `cart  0/0  0  0  9d`. Of
/// others a row tells nothing.
pub(super) fn empty_row(
    desk: &Desk<'_>,
    command: &Command,
    table: &Table<'_>,
    row: &Row<'_, '_>,
) -> Option<Object> {
    let called = row.get("NAME").filter(|_| row.get("READY") == Some("0/0"))?;
    // `kubectl get all` puts the kind before the name.
    let (of_row, called) =
        called.split_once('/').map_or((None, called), |(kind, name)| (Some(kind), name));
    let of_table = table.has(&["UP-TO-DATE", "AVAILABLE"]).then_some("Deployment");
    let kind = of_row.or(of_table).or(command.kind.as_deref())?;
    let namespace = row.get("NAMESPACE").or(command.namespace.as_deref());
    let name = Name::new(kind, namespace, called);
    let pairs = row.get("SELECTOR").or_else(|| row.get("LABELS")).unwrap_or_default();
    let pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
    let selector: std::collections::BTreeMap<&str, &str> = pairs.collect();
    let mut metadata = name.metadata(desk.uids);
    if let Some(age) = row.get("AGE").and_then(age) {
        merge(&mut metadata, "creationTimestamp", clock::write(desk.ago(age)));
    }
    let json = json!({
        "metadata": metadata,
        "spec": { "replicas": 0, "selector": { "matchLabels": selector } },
    });
    is_emptied(&name.kind, &json)
        .then(|| name.seen(json, Detail::Row, desk.file.map(str::to_owned)))
}

/// Takes from autoscalers that have not got what they may have the word that their maximum keeps
/// them: something else does.
pub(super) fn let_grow(moment: &mut Moment) {
    moment.change("HorizontalPodAutoscaler", |scaler| {
        let count = |field: &str| scaler.pointer(&format!("/status/{field}"))?.as_i64();
        let counts = count("currentReplicas").zip(count("desiredReplicas"));
        if counts.is_none_or(|(is, wanted)| is >= wanted) {
            return;
        }
        let conditions = scaler.pointer_mut("/status/conditions").and_then(Json::as_array_mut);
        let is_limit =
            |one: &Json| one.get("type").and_then(Json::as_str) == Some("ScalingLimited");
        if let Some(conditions) = conditions {
            conditions.retain(|one| !is_limit(one));
        }
    });
}

#[cfg(test)]
mod tests {
    use tapio_model::Timestamp;

    use super::*;
    use crate::importers::kubectl::{name::Uids, rows};

    fn read(text: &str, words: &str) -> Vec<Object> {
        let uids = Uids::default();
        let desk = Desk { end: Timestamp::from_secs(1_767_323_045), uids: &uids, file: None };
        let command = Command {
            kind: Some(words.to_owned()),
            namespace: Some("shop".to_owned()),
            ..Command::default()
        };
        rows::read(&desk, &command, text).unwrap()
    }

    #[test]
    fn a_row_without_replicas_is_a_workload_that_wants_none() {
        let sets =
            "NAME  READY  AGE  LABELS\ncart  1/1    9d   app=cart\ndb    0/0    9d   app=sql\n";
        let all = "NAME                  READY  UP-TO-DATE  AVAILABLE  AGE\n\
                   deployment.apps/cart  0/0    0           0          9d\n";
        let jobs = "NAME  READY  AGE\nrun   0/0    9d\n";
        for (text, kind, want) in [
            (sets, "sts", Some("StatefulSet/shop/db")),
            (all, "all", Some("Deployment/shop/cart")),
            (jobs, "widgets", None),
        ] {
            let read = read(text, kind);
            assert_eq!(read.first().map(|object| &*object.key), want, "{text}");
        }
    }

    #[test]
    fn a_service_stands_before_an_empty_workload_by_its_selector_or_name() {
        let mut moment = Moment::default();
        let sets = "NAME  READY  AGE  LABELS\ndb    0/0    9d   app=sql,tier=data\n";
        read(sets, "sts").into_iter().for_each(|object| moment.add(object));
        let empty = Empty::all(&moment);
        let [db] = empty.as_slice() else { panic!("{empty:?}") };
        let pair = |value: &str| Labels::from([("app".to_owned(), value.to_owned())]);
        let service = |name: &str| Name::new("Service", Some("shop"), name);
        assert!(db.is_behind(&service("orders"), &pair("sql")));
        assert!(db.is_behind(&service("db"), &pair("odd")));
        assert!(!db.is_behind(&service("orders"), &pair("odd")));
        assert!(!db.is_behind(&service("orders"), &Labels::new()));
        assert!(!db.is_behind(&Name::new("Service", Some("pay"), "db"), &pair("sql")));
    }

    #[test]
    fn an_autoscaler_that_has_not_got_its_replicas_is_not_limited() {
        for (current, is_limited) in [(3, false), (6, true)] {
            let scaler = json!({ "metadata": { "name": "cart" }, "status": {
                "currentReplicas": current, "desiredReplicas": 6,
                "conditions": [{ "type": "AbleToScale" }, { "type": "ScalingLimited" }] } });
            let mut moment = Moment::default();
            let kind = "HorizontalPodAutoscaler";
            moment.add(Name::of(kind, &scaler).seen(scaler, Detail::Whole, None));
            let_grow(&mut moment);
            let left = moment.of_kind(kind).next().unwrap();
            let left = left.pointer("/status/conditions").and_then(Json::as_array).unwrap();
            assert_eq!(left.len(), 1 + usize::from(is_limited));
        }
    }
}
