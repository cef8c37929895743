//! Rules of who may do what: network policies, roles and bindings, webhooks, quotas.

use k8s_openapi::{
    Metadata,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::ResourceQuota,
        networking::v1::{NetworkPolicy, NetworkPolicySpec},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Severity, Workload, keys};

use super::{Context, Labels, Translate, seen::Seen, selector};

/// Lists the rules: type, the fields that are the rule, and whom it concerns. Status and metadata
/// are no rule.
macro_rules! policies {
    ($($name:ident: $($field:ident),+ => $concerned:expr;)+) => {
        $(impl Translate for $name {
            fn changes(
                before: Option<&Self>,
                after: Option<&Self>,
                context: &Context<'_>,
            ) -> Vec<Unbound> {
                let differ = |was: &Self, now: &Self| {
                    let fields = [$((stringify!($field), was.$field != now.$field)),+];
                    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
                };
                changes(stringify!($name), (before, after), differ, $concerned, context)
            }
        })+
    };
}

policies! {
    ClusterRole: rules => nobody;
    ClusterRoleBinding: role_ref, subjects => nobody;
    MutatingWebhookConfiguration: webhooks => nobody;
    NetworkPolicy: spec => concerned;
    ResourceQuota: spec => nobody;
    Role: rules => nobody;
    RoleBinding: role_ref, subjects => nobody;
    ValidatingWebhookConfiguration: webhooks => nobody;
}

const fn nobody<K>(_: &Seen<'_, K>) -> Vec<Workload> {
    Vec::new()
}

/// Returns whom a network policy concerns: the workloads that it selects, or selected; after them,
/// if it rules who may call those, the others of the namespace. Which of them call is not known;
/// that of a caller in another namespace is not told.
fn concerned(seen: &Seen<'_, NetworkPolicy>) -> Vec<Workload> {
    let policies = [Some(seen.last), seen.before].into_iter().flatten();
    let specs: Vec<_> = policies.filter_map(|policy| policy.spec.as_ref()).collect();
    let is_selected = |labels: &Labels| {
        // An empty selector takes all.
        let takes = |spec: &&NetworkPolicySpec| {
            spec.pod_selector.as_ref().is_none_or(|selector| selector::takes(selector, labels))
        };
        specs.iter().any(takes)
    };
    let mut concerned = seen.context.owners.tenants(seen.namespace(), &is_selected);
    if !concerned.is_empty() && specs.iter().any(|spec| rules_ingress(spec)) {
        let mut others = seen.context.owners.tenants(seen.namespace(), &|_| true);
        others.retain(|other| !concerned.contains(other));
        concerned.append(&mut others);
    }
    concerned
}

/// Says whether a policy rules who may call those that it selects; one that does not say does.
fn rules_ingress(spec: &NetworkPolicySpec) -> bool {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    types.is_empty() || types.iter().any(|one| one == "Ingress")
}

fn changes<K: Metadata<Ty = ObjectMeta>>(
    kind: &str,
    (before, after): (Option<&K>, Option<&K>),
    differ: impl Fn(&K, &K) -> Vec<&'static str>,
    concerned: impl Fn(&Seen<'_, K>) -> Vec<Workload>,
    context: &Context<'_>,
) -> Vec<Unbound> {
    let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_found()) else {
        return Vec::new();
    };
    // One deleted and made anew between two looks is compared with its namesake.
    let (change, what, changed) = match (before, after) {
        (None, _) => ("added", vec!["rule", seen.version()], Vec::new()),
        (Some(_), None) => ("deleted", vec!["deleted"], Vec::new()),
        (Some(was), Some(now)) => ("modified", vec!["rule", seen.version()], differ(was, now)),
    };
    if change == "modified" && changed.is_empty() {
        return Vec::new();
    }
    let event = seen
        .event(Kind::PolicyChanged, seen.time(None), &what)
        .at(seen.place())
        .rated(Severity::Info, 0.2, Class::Configuration)
        .with(keys::CHANGE, change)
        .with_some(keys::CHANGED, (!changed.is_empty()).then(|| changed.join(", ")))
        .with(keys::RESOURCE_VERSION, seen.version())
        .message(format!("{kind} {} {change}", seen.name()));
    seen.to_workloads(seen.named(event, kind), concerned(&seen), &what)
}
