//! Volumes that are lost. A claim that merely waits is told by the provisioner's Events: most wait
//! for their first pod, as they should.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, keys};

use super::{
    Context, Translate,
    seen::{Seen, message},
};

impl Translate for PersistentVolumeClaim {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let phase = |object: &'_ Self| object.status.as_ref()?.phase.clone();
        let was = seen.before.and_then(phase);
        let Some(now) = phase(seen.last).filter(|now| was.as_ref() != Some(now)) else {
            return Vec::new();
        };
        let is_torn = was.as_deref() == Some("Bound") && now == "Pending";
        if now != "Lost" && !is_torn {
            return Vec::new();
        }
        let volume = seen.last.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let volume = volume.filter(|volume| !volume.is_empty()).unwrap_or("none");
        let what = ["phase", now.as_str()];
        let event = seen
            .event(Kind::VolumeUnbound, seen.time(None), &what)
            .at(seen.place())
            .rated(Severity::Error, 0.7, Class::Storage)
            .with(keys::REASON, now.as_str())
            .message(format!("claim {} is {now}, its volume {volume}", seen.name()));
        let kind = "PersistentVolumeClaim";
        seen.to_users(seen.named(event, kind), kind, &what)
    }
}

impl Translate for PersistentVolume {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let is_failed = |object: &'_ Self| {
            object.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed")
        };
        if !is_failed(seen.last) || seen.before.is_some_and(is_failed) {
            return Vec::new();
        }
        let status = seen.last.status.as_ref();
        let claim = seen.last.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let namespace = claim.and_then(|claim| claim.namespace.as_deref());
        let since = status.and_then(|status| status.last_phase_transition_time.as_ref());
        let event = seen
            .event(Kind::VolumeUnbound, seen.time(since), &["phase", "Failed"])
            .at(Place { namespace: namespace.map(Into::into), ..seen.place() })
            .rated(Severity::Warn, 0.5, Class::Storage)
            .with(
                keys::REASON,
                status.and_then(|status| status.reason.as_deref()).unwrap_or("Failed"),
            )
            .with_some(keys::MESSAGE, message(status.and_then(|s| s.message.as_deref())));
        vec![seen.named(event, "PersistentVolume")]
    }
}
