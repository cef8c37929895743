//! What two events have in common.

use tapio_model::{Entity, Event};

/// What a step's events share with those of the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scope {
    /// The container, before or after a restart; or the unit, the control group.
    Container,
    /// The pod.
    Pod,
    /// The workload.
    Workload,
    /// The node.
    Node,
    /// The service.
    Service,
    /// The trace, which is all that a pattern sees.
    #[default]
    Trace,
}

/// Names of scopes, as rules write them.
pub(crate) const SCOPES: [(&str, Scope); 6] = [
    ("container", Scope::Container),
    ("pod", Scope::Pod),
    ("workload", Scope::Workload),
    ("node", Scope::Node),
    ("service", Scope::Service),
    ("trace", Scope::Trace),
];

impl Scope {
    /// Says whether two events share it. Names alone never bind: what one of them does not say, they
    /// do not share.
    pub(crate) fn is_shared(self, one: &Event, other: &Event) -> bool {
        let (a, b) = (&*one.place, &*other.place);
        let nodes = a.node.as_ref().zip(b.node.as_ref());
        match self {
            Self::Container => {
                // A restart changes the container's id and keeps pod and name.
                let is_restarted =
                    a.container.is_some() && a.container == b.container && a.is_same_pod(b);
                let is_unit = a.workload.as_ref().is_some_and(|owner| &*owner.kind == "Unit")
                    && a.is_same_workload(b);
                // Two nodes have the same units and the same paths of control groups.
                nodes.is_none_or(|(one, other)| one == other)
                    && (a.is_same_container(b) || is_restarted || is_unit)
            }
            Self::Pod => a.is_same_pod(b),
            Self::Workload => a.is_same_workload(b),
            Self::Node => nodes.is_some_and(|(one, other)| one == other),
            Self::Service => {
                let services = Entity::service(a).zip(Entity::service(b));
                services.is_some_and(|(one, other)| one == other)
            }
            Self::Trace => true,
        }
    }

    /// Returns the thing of this scope that an event happened to; the narrowest known for a trace.
    pub(crate) fn entity(self, event: &Event) -> Option<Entity> {
        let place = &event.place;
        match self {
            Self::Container => Entity::container(place),
            Self::Pod => Entity::pod(place),
            Self::Workload => Entity::workload(place),
            Self::Node => Entity::node(place),
            Self::Service => Entity::service(place),
            Self::Trace => Entity::narrowest(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use tapio_patterns::fixture::events;

    use super::*;

    #[test]
    fn each_scope_is_wider_than_the_one_before() {
        let first = "0s shop/a-1/app@n1%a Log svc=a";
        let cases: [(&str, &[Scope]); 6] = [
            (
                "shop/a-1/app@n1%a Log svc=a cid=restarted",
                &[Scope::Container, Scope::Pod, Scope::Workload, Scope::Node, Scope::Service],
            ),
            ("shop/a-1/proxy@n1%a Log", &[Scope::Pod, Scope::Workload, Scope::Node]),
            ("shop/a-2/app@n2%a Log svc=a", &[Scope::Workload, Scope::Service]),
            ("svc:shop/a Log", &[Scope::Service]),
            ("node:n1 Log", &[Scope::Node]),
            ("svc:pay/a Log", &[]),
        ];
        for (other, shared) in cases {
            let told = events(&format!("{first}; 0s {other}")).unwrap();
            for (name, scope) in SCOPES {
                let want = scope == Scope::Trace || shared.contains(&scope);
                assert_eq!(scope.is_shared(&told[0], &told[1]), want, "{other}: {name}");
            }
        }
    }

    #[test]
    fn the_subject_is_what_the_scope_says() {
        let told = events("0s shop/a-1/app@n1%a Log svc=a").unwrap();
        let kinds: Vec<_> = SCOPES
            .iter()
            .map(|(_, scope)| scope.entity(&told[0]).map(|entity| entity.kind()))
            .collect();
        let want = ["container", "pod", "workload", "node", "service", "container"].map(Some);
        assert_eq!(kinds, want);
    }
}
