//! The resources that are watched: an explicit list.

use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::{CronJob, Job},
    core::v1::{
        ConfigMap, Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota,
        Secret, Service,
    },
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::Resource as _;
use serde_json::Value as Json;
use tapio_collect::{CollectorError, Unbound};
use tokio::task::JoinHandle;

use crate::{
    WatchCache,
    translate::{Context, Translate as _},
    trim::{Watched, trim_meta},
    watch::{Scope, Senses, watch},
};

macro_rules! resources {
    ($($(#[doc = $doc:literal])+ $name:ident: $object:ty, $namespaced:literal;)+) => {
        /// A resource that is watched.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(clippy::enum_variant_names, reason = "`ResourceQuota` is its kind's name")]
        pub enum Resource {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Resource {
            /// Every resource; what others speak of comes before them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the plural name, as in a URL and in a rule.
            #[must_use]
            pub fn name(self) -> String {
                match self { $(Self::$name => <$object>::plural(&()).into_owned(),)+ }
            }

            /// Returns the API group; empty for the core.
            #[must_use]
            pub fn group(self) -> String {
                match self { $(Self::$name => <$object>::group(&()).into_owned(),)+ }
            }

            /// Says whether its objects are in namespaces.
            #[must_use]
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$name => $namespaced,)+ }
            }

            /// Returns the kind, as its objects bear it.
            #[must_use]
            pub fn kind(self) -> String {
                match self { $(Self::$name => <$object>::kind(&()).into_owned(),)+ }
            }

            /// Teaches the cache what an object says.
            pub(crate) fn learn(self, object: &Json, cache: &WatchCache) -> Result<(), serde_json::Error> {
                match self { $(Self::$name => read::<$object>(object).map(|it| it.learn(cache)),)+ }
            }

            /// Tells what an object says that nobody looked at before.
            pub(crate) fn tell(self, object: &Json, context: &Context<'_>) -> Result<Vec<Unbound>, serde_json::Error> {
                match self {
                    $(Self::$name => {
                        read::<$object>(object).map(|it| <$object>::changes(None, Some(&it), context))
                    })+
                }
            }

            /// Starts to watch it.
            pub(crate) fn start(self, scope: Scope, senses: Senses) -> JoinHandle<Result<(), CollectorError>> {
                match self { $(Self::$name => watch::<$object>(scope, senses),)+ }
            }
        }
    };
}

resources! {
    /// Workloads without identity.
    Deployments: Deployment, true;
    /// Their versions.
    ReplicaSets: ReplicaSet, true;
    /// Workloads with identity.
    StatefulSets: StatefulSet, true;
    /// Workloads of every node.
    DaemonSets: DaemonSet, true;
    /// Schedules.
    CronJobs: CronJob, true;
    /// What runs to an end.
    Jobs: Job, true;
    /// What runs.
    Pods: Pod, true;
    /// What the components say.
    Events: Event, true;
    /// Machines.
    Nodes: Node, false;
    /// Configuration: keys only.
    ConfigMaps: ConfigMap, true;
    /// Secrets: keys only.
    Secrets: Secret, true;
    /// Names and ports.
    Services: Service, true;
    /// Who is behind them.
    EndpointSlices: EndpointSlice, true;
    /// Claims of volumes.
    PersistentVolumeClaims: PersistentVolumeClaim, true;
    /// Volumes.
    PersistentVolumes: PersistentVolume, false;
    /// Autoscalers.
    HorizontalPodAutoscalers: HorizontalPodAutoscaler, true;
    /// How much a namespace may have.
    ResourceQuotas: ResourceQuota, true;
    /// Who may talk to whom.
    NetworkPolicies: NetworkPolicy, true;
    /// Who may change what is asked for.
    MutatingWebhooks: MutatingWebhookConfiguration, false;
    /// Who may refuse what is asked for.
    ValidatingWebhooks: ValidatingWebhookConfiguration, false;
    /// What may be done in a namespace.
    Roles: Role, true;
    /// What may be done anywhere.
    ClusterRoles: ClusterRole, false;
    /// By whom, in a namespace.
    RoleBindings: RoleBinding, true;
    /// By whom, anywhere.
    ClusterRoleBindings: ClusterRoleBinding, false;
}

impl Resource {
    /// Reads a plural name, with its group if it is not of the core: `pods`, `jobs.batch`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plural = name.split('.').next().unwrap_or(name);
        Self::ALL.iter().copied().find(|resource| resource.name() == plural)
    }

    /// Reads a kind, as an object bears it: `Pod`.
    #[must_use]
    pub fn from_kind(kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|resource| resource.kind() == kind)
    }

    /// Returns what is best listed before it: its objects' places are complete then.
    pub(crate) const fn after(self) -> &'static [Self] {
        match self {
            Self::Events => &[Self::ReplicaSets, Self::Pods, Self::HorizontalPodAutoscalers],
            Self::Services => &[Self::EndpointSlices],
            Self::ConfigMaps
            | Self::Secrets
            | Self::EndpointSlices
            | Self::PersistentVolumeClaims
            | Self::NetworkPolicies => &[Self::Pods],
            Self::Deployments
            | Self::ReplicaSets
            | Self::StatefulSets
            | Self::DaemonSets
            | Self::CronJobs
            | Self::Jobs
            | Self::Pods
            | Self::Nodes
            | Self::PersistentVolumes
            | Self::HorizontalPodAutoscalers
            | Self::ResourceQuotas
            | Self::MutatingWebhooks
            | Self::ValidatingWebhooks
            | Self::Roles
            | Self::ClusterRoles
            | Self::RoleBindings
            | Self::ClusterRoleBindings => &[],
        }
    }
}

/// Reads an object as a watch would: without what nobody may keep.
fn read<K: Watched>(object: &Json) -> Result<K, serde_json::Error> {
    let mut object = K::deserialize(object)?;
    object.trim();
    trim_meta(object.meta_mut());
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for resource in Resource::ALL {
            assert_eq!(Resource::from_name(&resource.name()), Some(*resource));
            assert_eq!(Resource::from_kind(&resource.kind()), Some(*resource));
        }
        assert_eq!(Resource::from_name("jobs.batch"), Some(Resource::Jobs));
        assert_eq!(Resource::from_name("unicorns"), None);
    }
}
