//! Rules of who may do what: network policies, roles and bindings, webhooks, quotas.

use k8s_openapi::{
    Metadata,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::ResourceQuota,
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Severity, keys};

use super::{Context, Translate, seen::Seen};

/// Lists the rules: type, and the fields that are the rule. Status and metadata are not.
macro_rules! policies {
    ($($name:ident: $($field:ident),+;)+) => {
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
                changes(stringify!($name), (before, after), differ, context)
            }
        })+
    };
}

policies! {
    ClusterRole: rules;
    ClusterRoleBinding: role_ref, subjects;
    MutatingWebhookConfiguration: webhooks;
    NetworkPolicy: spec;
    ResourceQuota: spec;
    Role: rules;
    RoleBinding: role_ref, subjects;
    ValidatingWebhookConfiguration: webhooks;
}

fn changes<K: Metadata<Ty = ObjectMeta>>(
    kind: &str,
    (before, after): (Option<&K>, Option<&K>),
    differ: impl Fn(&K, &K) -> Vec<&'static str>,
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
    vec![seen.named(event, kind)]
}
