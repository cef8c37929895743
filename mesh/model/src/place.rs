//! Where it happened.

use crate::Text;

/// The top owner of what runs: a Deployment, StatefulSet, DaemonSet, Job, systemd unit, ...
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Kubernetes kind (`Deployment`, ...) or `Unit` for a systemd unit.
    pub kind: Text,
    /// Name within its namespace.
    pub name: Text,
}

/// Where something happened, as far as its source knows.
///
/// Shared behind an `Arc` by all events of one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Cluster name.
    pub cluster: Option<Text>,
    /// Node (host) name.
    pub node: Option<Text>,
    /// Namespace.
    pub namespace: Option<Text>,
    /// Top owner.
    pub workload: Option<Workload>,
    /// Pod name.
    pub pod: Option<Text>,
    /// Pod UID.
    pub pod_uid: Option<Text>,
    /// Container name.
    pub container: Option<Text>,
    /// Container id, without the runtime's prefix.
    pub container_id: Option<Text>,
    /// Service name, as in OpenTelemetry's `service.name`.
    pub service: Option<Text>,
    /// Path of the control group below the hierarchy's mount.
    pub cgroup: Option<Text>,
}

impl Place {
    /// Names the narrowest thing known, for people: `shop/cart-7d9f/cart`, a unit, a cgroup, a node.
    #[must_use]
    pub fn label(&self) -> String {
        let thing = self.pod.as_ref().or_else(|| self.workload.as_ref().map(|w| &w.name));
        if let Some(thing) = thing {
            let parts = [self.namespace.as_ref(), Some(thing), self.container.as_ref()];
            return parts.into_iter().flatten().map(Text::as_str).collect::<Vec<_>>().join("/");
        }
        let other = [&self.service, &self.container, &self.container_id, &self.cgroup, &self.node];
        other.into_iter().flatten().next().map_or_else(|| "unknown place".into(), Text::to_string)
    }

    /// Returns the name that others call it by: the service's, or the workload's if it is none.
    #[must_use]
    pub fn service_name(&self) -> Option<&Text> {
        self.service.as_ref().or(self.workload.as_ref().map(|owner| &owner.name))
    }

    /// Says whether both are one container (or one control group), by the strongest identity that
    /// both know; without a common identity they are not.
    #[must_use]
    pub fn is_same_container(&self, other: &Self) -> bool {
        agree(&self.container_id, &other.container_id)
            .or_else(|| agree(&self.cgroup, &other.cgroup))
            .unwrap_or_else(|| {
                self.is_same_pod(other) && agree(&self.container, &other.container) != Some(false)
            })
    }

    /// Says whether both are one pod: by UID, else by name within the namespace.
    #[must_use]
    pub fn is_same_pod(&self, other: &Self) -> bool {
        agree(&self.pod_uid, &other.pod_uid).unwrap_or_else(|| {
            agree(&self.pod, &other.pod) == Some(true)
                && agree(&self.namespace, &other.namespace) != Some(false)
        })
    }

    /// Says whether both belong to one workload.
    #[must_use]
    pub fn is_same_workload(&self, other: &Self) -> bool {
        agree(&self.workload, &other.workload) == Some(true)
            && agree(&self.namespace, &other.namespace) != Some(false)
    }
}

/// Compares what both know; `None` if one of them knows nothing.
fn agree<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> Option<bool> {
    one.as_ref().zip(other.as_ref()).map(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_names_the_narrowest_thing_known() {
        let mut place = Place { node: Some("n1".into()), ..Place::default() };
        assert_eq!(place.label(), "n1");
        place.cgroup = Some("/user.slice".into());
        assert_eq!(place.label(), "/user.slice");
        place.namespace = Some("shop".into());
        place.pod = Some("cart-1".into());
        place.container = Some("cart".into());
        assert_eq!(place.label(), "shop/cart-1/cart");
    }
}
