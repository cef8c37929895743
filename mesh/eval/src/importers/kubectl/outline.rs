//! The text that `kubectl describe` prints, by its outermost fields.

/// Outermost fields that are read, or that end one that is. A message of several lines is printed
/// as it is, without an indent: whatever else begins a line goes on with what is above it.
const FIELDS: &[&str] = &[
    "Access Modes",
    "Active Deadline Seconds",
    "Active Jobs",
    "Addresses",
    "Address",
    "Allocatable",
    "Allocated resources",
    "Annotations",
    "API Version",
    "Backoff Limit",
    "Capacity",
    "Completed At",
    "Completion Mode",
    "Completions",
    "Concurrency Policy",
    "Conditions",
    "Containers",
    "Controlled By",
    "Created on",
    "CreationTimestamp",
    "Data",
    "Default backend",
    "Deployment pods",
    "Desired Number of Nodes Scheduled",
    "Duration",
    "Endpoints",
    "Ephemeral Containers",
    "Events",
    "Finalizers",
    "IP",
    "IPs",
    "Ingress Class",
    "Init Containers",
    "Kind",
    "Labels",
    "Last Schedule Time",
    "Lease",
    "Max replicas",
    "Message",
    "Metadata",
    "Metrics",
    "Min replicas",
    "MinReadySeconds",
    "Name",
    "Namespace",
    "NewReplicaSet",
    "Node",
    "Node-Selectors",
    "Non-terminated Pods",
    "OldReplicaSets",
    "Parallelism",
    "Pod Template",
    "PodCIDR",
    "PodCIDRs",
    "Pods Status",
    "Pods Statuses",
    "Port",
    "Priority",
    "Priority Class Name",
    "ProviderID",
    "QoS Class",
    "Readiness Gates",
    "Reason",
    "Reference",
    "Replicas",
    "Roles",
    "RollingUpdateStrategy",
    "Rules",
    "Schedule",
    "Selector",
    "Service Account",
    "Session Affinity",
    "Spec",
    "Start Time",
    "Status",
    "StorageClass",
    "StrategyType",
    "Suspend",
    "System Info",
    "Taints",
    "TargetPort",
    "Tolerations",
    "Type",
    "Unschedulable",
    "Update Strategy",
    "Used By",
    "Volume",
    "Volume Claims",
    "VolumeMode",
    "Volumes",
];

/// An object as it was described.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outline<'a> {
    fields: Vec<Field<'a>>,
}

/// An outermost field, and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field<'a> {
    name: &'a str,
    value: &'a str,
    below: Vec<&'a str>,
}

impl<'a> Outline<'a> {
    /// Reads the objects of a text: each begins with its name.
    pub(super) fn all(text: &'a str) -> Vec<Self> {
        let mut outlines = Vec::<Self>::new();
        for line in text.lines() {
            match field(line) {
                Some(("Name", value)) => {
                    let fields = vec![Field { name: "Name", value, below: Vec::new() }];
                    outlines.push(Self { fields });
                }
                Some((name, value)) => {
                    if let Some(outline) = outlines.last_mut() {
                        outline.fields.push(Field { name, value, below: Vec::new() });
                    }
                }
                None => {
                    let last = outlines.last_mut().and_then(|outline| outline.fields.last_mut());
                    if let Some(last) = last {
                        last.below.push(line);
                    }
                }
            }
        }
        outlines
    }

    /// Says whether all of these fields are there.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.find(name).is_some())
    }

    /// Returns the value beside a field's name, if there is one.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|field| field.value).and_then(told)
    }

    /// Returns the lines below a field.
    pub(super) fn below(&self, name: &str) -> &[&'a str] {
        self.find(name).map(|field| field.below.as_slice()).unwrap_or_default()
    }

    /// Returns the pairs of a field such as `Labels`: one beside its name, one on each line below.
    pub(super) fn pairs(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let beside = self.get(name).into_iter();
        beside
            .chain(self.below(name).iter().copied())
            .filter_map(|pair| pair.trim().split_once('='))
    }

    fn find(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Reads `Name: value` of an outermost line.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    FIELDS.contains(&name).then(|| (name, value.trim()))
}

/// Reads `Name: value` of any line.
pub(super) fn pair(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().split_once(':')?;
    Some((name, value.trim()))
}

/// Returns how far a line is indented.
pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns a value that says something.
pub(super) fn told(value: &str) -> Option<&str> {
    (!matches!(value, "" | "<none>" | "<unset>" | "<unknown>" | "<nil>")).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_ends_no_field() {
        let text = "Name:  cart-1\nLabels:  a=b\n         c=d\nContainers:\n  cart:\n    State:  \
                    Terminated\n      Message:  panic: oh\n\nError: no\n    at x\n      Exit Code:  2\n\
                    Events:  <none>\nName:  cart-2\n";
        let outlines = Outline::all(text);
        let [first, second] = outlines.as_slice() else { panic!("{outlines:?}") };
        assert_eq!(first.pairs("Labels").collect::<Vec<_>>(), [("a", "b"), ("c", "d")]);
        let exit = first.below("Containers").last().copied();
        assert_eq!(exit.and_then(pair), Some(("Exit Code", "2")));
        assert!(first.has(&["Events"]) && first.get("Events").is_none());
        assert_eq!(second.get("Name"), Some("cart-2"));
        assert_eq!(Outline::all("no object"), []);
    }
}
