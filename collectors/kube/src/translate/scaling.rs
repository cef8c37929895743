//! Autoscalers that are at their limit, or blind.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, Workload, keys};

use super::{
    Context, Translate,
    seen::{Condition, Seen, message, turned},
};

impl Translate for HorizontalPodAutoscaler {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let conditions = |object: &'_ Self| object.status.as_ref()?.conditions.clone();
        let (before, now) = (seen.before.and_then(conditions), conditions(seen.last));
        let was_bad = |name: &str| {
            turned(None, before.as_deref()).iter().any(|(_, was)| was.name == name && is_bad(was))
        };
        turned(None, now.as_deref())
            .into_iter()
            .map(|(_, condition)| condition)
            // From at the minimum to at the maximum the status stays: the reason turns.
            .filter(|condition| was_bad(condition.name) != is_bad(condition))
            .map(|condition| limit(&seen, &condition))
            .collect()
    }
}

/// Says whether a condition keeps the workload from the replicas it needs. At the minimum, and
/// switched off by a scale of zero, all is well.
fn is_bad(condition: &Condition<'_>) -> bool {
    match condition.name {
        "ScalingLimited" => condition.is_true() && condition.reason != Some("TooFewReplicas"),
        "ScalingActive" => {
            condition.status == "False" && condition.reason != Some("ScalingDisabled")
        }
        "AbleToScale" => condition.status == "False",
        _ => false,
    }
}

/// Returns the workload that an autoscaler scales.
pub(crate) fn target(scaler: &HorizontalPodAutoscaler) -> Workload {
    let target = &scaler.spec.scale_target_ref;
    Workload { kind: target.kind.as_str().into(), name: target.name.as_str().into() }
}

fn limit(seen: &Seen<'_, HorizontalPodAutoscaler>, condition: &Condition<'_>) -> Unbound {
    let is_bad = is_bad(condition);
    let place = Place { workload: Some(target(seen.last)), ..seen.place() };
    let (severity, impact) = if is_bad { (Severity::Warn, 0.4) } else { (Severity::Info, 0.0) };
    let reason = condition.reason.unwrap_or_default();
    let event = seen
        .event(
            Kind::ScalingLimited,
            seen.time(condition.since),
            &["condition", &condition.turn(), reason],
        )
        .at(place)
        .rated(severity, impact, Class::Health)
        .with_some(keys::DESIRED, seen.last.status.as_ref().map(|status| status.desired_replicas))
        .with(keys::CONDITION, condition.name)
        // The condition's own status may mean good or bad; the event's says that there is a limit.
        .with(keys::STATUS, is_bad)
        .with_some(keys::REASON, condition.reason)
        .with_some(keys::MESSAGE, message(condition.message));
    seen.named(event, "HorizontalPodAutoscaler")
}
