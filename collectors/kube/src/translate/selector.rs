//! Which labels a selector takes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::Labels;

/// Says whether a selector takes an object of these labels; one that asks for nothing takes all.
pub(super) fn takes(selector: &LabelSelector, labels: &Labels) -> bool {
    let mut wanted = selector.match_labels.iter().flatten();
    let mut rules = selector.match_expressions.iter().flatten();
    wanted.all(|(key, value)| labels.get(key) == Some(value))
        && rules.all(|rule| holds(rule, labels))
}

/// Says whether a rule holds; one that nobody knows does not.
fn holds(rule: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&rule.key);
    let is_listed = value.is_some_and(|value| rule.values.iter().flatten().any(|one| one == value));
    match rule.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_is_asked_for_must_hold() {
        let labels: Labels =
            [("app", "cart"), ("tier", "web")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let rule = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
        let cases = [
            (json!({}), true),
            (json!({ "matchLabels": { "app": "cart" } }), true),
            (json!({ "matchLabels": { "app": "cart", "tier": "db" } }), false),
            (rule("app", "In", &["kart", "cart"]), true),
            (rule("app", "In", &[]), false),
            (rule("zone", "In", &["a"]), false),
            (rule("app", "NotIn", &["cart"]), false),
            (rule("zone", "NotIn", &["a"]), true),
            (rule("app", "Exists", &[]), true),
            (rule("zone", "Exists", &[]), false),
            (rule("zone", "DoesNotExist", &[]), true),
            (rule("app", "DoesNotExist", &[]), false),
            (rule("app", "Near", &["cart"]), false),
            (
                json!({ "matchLabels": { "app": "cart" },
                    "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["web"] }] }),
                false,
            ),
        ];
        for (selector, want) in cases {
            let read: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(takes(&read, &labels), want, "{selector}");
        }
    }
}
