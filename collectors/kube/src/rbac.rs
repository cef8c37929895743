//! The rights that watching takes, rule by rule.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};

use crate::{KubeConfig, Resource};

/// A rule of a Role or `ClusterRole`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// API group; empty for the core.
    pub group: String,
    /// Resource, by its plural name.
    pub resource: String,
    /// What to do with it.
    pub verbs: &'static [&'static str],
    /// Namespace, where only one is meant.
    pub namespace: Option<String>,
}

impl Rule {
    pub(crate) fn to_watch(resource: Resource, namespace: Option<&str>) -> Self {
        Self {
            group: resource.group(),
            resource: resource.name(),
            verbs: &["list", "watch"],
            namespace: namespace.map(str::to_owned),
        }
    }

    pub(crate) fn to_lead(namespace: &str) -> Self {
        Self {
            group: "coordination.k8s.io".into(),
            resource: "leases".into(),
            verbs: &["create", "get", "update"],
            namespace: Some(namespace.to_owned()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verbs = self.verbs.join("\", \"");
        write!(
            f,
            "apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"{verbs}\"]",
            self.group, self.resource
        )?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// Lists the rules that a configuration takes.
#[must_use]
pub fn rbac_rules(config: &KubeConfig) -> Vec<Rule> {
    if config.only_node.is_some() {
        return vec![Rule::to_watch(Resource::Pods, None)];
    }
    let mut rules = BTreeSet::new();
    for resource in &config.resources {
        if config.namespaces.is_empty() || !resource.is_namespaced() {
            rules.insert(Rule::to_watch(*resource, None));
            continue;
        }
        for namespace in &config.namespaces {
            rules.insert(Rule::to_watch(*resource, Some(namespace)));
        }
    }
    if config.lead {
        rules.insert(Rule::to_lead(&config.leader.namespace));
    }
    rules.into_iter().collect()
}

/// Asks the server of each rule whether we have it; all verbs must be allowed.
///
/// # Errors
/// The client's, if the server cannot be asked.
pub async fn check_rbac(
    client: &Client,
    rules: Vec<Rule>,
) -> Result<Vec<(Rule, bool)>, kube::Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut checked = Vec::with_capacity(rules.len());
    for rule in rules {
        let mut is_allowed = true;
        for verb in rule.verbs {
            let review = review(&rule, verb);
            let answer = reviews.create(&PostParams::default(), &review).await?;
            is_allowed &= answer.status.is_some_and(|status| status.allowed);
        }
        checked.push((rule, is_allowed));
    }
    Ok(checked)
}

fn review(rule: &Rule, verb: &str) -> SelfSubjectAccessReview {
    let attributes = ResourceAttributes {
        group: Some(rule.group.clone()),
        resource: Some(rule.resource.clone()),
        verb: Some(verb.to_owned()),
        namespace: rule.namespace.clone(),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_the_lines_to_add() {
        let rule = Rule::to_watch(Resource::Jobs, None);
        assert_eq!(
            rule.to_string(),
            r#"apiGroups: ["batch"], resources: ["jobs"], verbs: ["list", "watch"]"#
        );
    }

    #[test]
    fn namespaces_narrow_what_has_one_and_a_node_needs_pods_only() {
        let resources = [Resource::Nodes, Resource::Pods].into();
        let namespaces = vec!["shop".into(), "bank".into()];
        let mut config = KubeConfig { resources, namespaces, ..KubeConfig::default() };
        let names = |config: &KubeConfig| -> Vec<String> {
            let named =
                |rule: Rule| format!("{} {}", rule.resource, rule.namespace.unwrap_or_default());
            rbac_rules(config).into_iter().map(named).collect()
        };
        assert_eq!(names(&config), ["nodes ", "pods bank", "pods shop", "leases tapio"]);
        config.only_node = Some("n1".into());
        assert_eq!(names(&config), ["pods "]);
    }
}
