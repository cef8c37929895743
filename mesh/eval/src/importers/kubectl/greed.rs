//! What the kubelet says of the pods that it evicted, told of their node: it tells both of one story,
//! and in a recording an Event names the pod alone.

use std::sync::Arc;

use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, keys};

use crate::importers::k8s_objects::moment::Told;

/// By what the kubelet says who used how much.
const USED: &str = " was using ";

/// Nodes evict many; some of the words are enough.
const WORDS_MAX: usize = 16;

/// Tells of nodes what was said of the pods that they evicted.
pub(super) fn complete(told: &mut Told) {
    let words: Vec<_> = told.events.iter().filter_map(|event| of_node(told, event)).collect();
    told.events.extend(words.into_iter().take(WORDS_MAX));
}

fn of_node(told: &Told, event: &Unbound) -> Option<Unbound> {
    let said = event.text(keys::MESSAGE).filter(|said| said.contains(USED))?;
    let pod = event.place.pod.as_deref().filter(|_| event.kind == Kind::PodEvicted)?;
    let known = || told.snapshot.pod(event.place.pod_uid.as_deref()?).map(Arc::unwrap_or_clone);
    let node = event.place.node.clone().or_else(|| known()?.node)?;
    let id = event_id(&[b"of the node", event.id.as_bytes()]);
    let place =
        Place { node: Some(node), cluster: event.place.cluster.clone(), ..Place::default() };
    let of = Unbound::new(id, event.time, Source::Kubernetes, Kind::ObjectEvent)
        .at(place)
        .rated(Severity::Info, 0.0, Class::Health)
        .with(keys::REASON, "Evicted")
        .with(keys::OBJECT_KIND, "Pod")
        .with(keys::OBJECT_NAME, pod)
        .with_some(keys::OBJECT_NAMESPACE, event.place.namespace.as_deref())
        .message(said.to_owned());
    Some(of)
}

#[cfg(test)]
mod tests {
    use tapio_collect_kube::Snapshot;
    use tapio_model::Timestamp;

    use super::*;

    #[test]
    fn a_node_hears_what_was_said_of_the_pod_that_it_evicted() {
        let time = Timestamp::from_secs(9);
        let pod = |node: Option<&str>, said: &str| {
            let place = Place {
                namespace: Some("shop".into()),
                pod: Some("cart-1".into()),
                node: node.map(Into::into),
                ..Place::default()
            };
            Unbound::new(event_id(&[said.as_bytes()]), time, Source::Kubernetes, Kind::PodEvicted)
                .at(place)
                .message(said.to_owned())
        };
        for (node, said, want) in [
            (Some("n1"), "low on resource. Container a was using 9Gi, request is 0.", 1),
            (None, "low on resource. Container a was using 9Gi, request is 0.", 0),
            (Some("n1"), "low on resource", 0),
        ] {
            let events = vec![pod(node, said)];
            let mut told = Told { snapshot: Snapshot::new(None, time), events };
            complete(&mut told);
            let of_node = told.events.iter().filter(|event| event.place.pod.is_none());
            assert_eq!(of_node.count(), want, "{said}");
        }
    }
}
