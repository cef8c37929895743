//! What objects of a recording are to each other: what a watch knows of them over time, and a look
//! at one moment has to put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, Timestamp, Value, keys};

use super::{
    doors::Doors,
    name::{Name, Uids},
    scale::Empty,
};
use crate::importers::k8s_objects::{
    clock::squeeze,
    moment::{Moment, Told, before, denies},
};

/// Pods that a policy is told of; more say nothing new.
const PODS_MAX: usize = 20;

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// A pod, as far as others speak of it.
#[derive(Debug)]
struct Pod {
    name: Name,
    labels: Labels,
    claims: Vec<String>,
    /// The ports that its containers say they listen on.
    ports: Vec<Json>,
}

/// A Service that leads nowhere: its selector takes none of the pods, or they do not listen where it
/// sends to.
#[derive(Debug)]
struct Astray {
    name: Name,
    reason: &'static str,
    /// `the selector app=cart-v2 of service cart takes no pod`.
    said: String,
    /// The pod that it may have meant.
    meant: Option<usize>,
}

/// What ties the objects of a recording.
#[derive(Debug)]
pub(super) struct Ties {
    pods: Vec<Pod>,
    astray: Vec<Astray>,
    /// Services whose workload is to have no pod.
    vacant: Vec<(Name, Name)>,
    /// Workloads that are to have no pod.
    empty: Vec<Name>,
    /// Devices that the pods of a workload ask for, by namespace and name.
    devices: BTreeMap<(String, String), String>,
    /// Policies that let nothing out of their pods, by namespace and name.
    closed: Vec<(String, String)>,
    /// How many times what it is to keep is used, by the namespace and name of an autoscaler.
    uses: BTreeMap<(String, String), f64>,
}

impl Ties {
    pub(super) fn of(moment: &Moment, doors: &Doors) -> Self {
        let pods: Vec<Pod> = moment.of_kind("Pod").map(pod).collect();
        let (mut vacant, mut lost) = (Vec::new(), Vec::new());
        let empty = Empty::all(moment);
        for service in moment.of_kind("Service") {
            let name = Name::of("Service", service);
            let selector = labels(service, "/spec/selector");
            match empty.iter().find(|empty| empty.is_behind(&name, &selector)) {
                // That it takes no pod is what was wanted.
                Some(empty) => vacant.push((name, empty.name.clone())),
                None => lost.extend(astray(service, &pods, doors)),
            }
        }
        let devices = moment.objects().filter_map(|object| {
            let name = Name::of(&object.kind, &object.json);
            Some(((name.namespace, name.name), device(&object.json)?))
        });
        let policies = moment.of_kind("NetworkPolicy").filter(|policy| is_closed(policy));
        let closed = policies.map(|policy| {
            let name = Name::of("NetworkPolicy", policy);
            (name.namespace, name.name)
        });
        let scalers = moment.of_kind("HorizontalPodAutoscaler").filter_map(|scaler| {
            let name = Name::of("HorizontalPodAutoscaler", scaler);
            Some(((name.namespace, name.name), scaler.get("ratio")?.as_f64()?))
        });
        let uses = scalers.collect();
        let (devices, closed) = (devices.collect(), closed.collect());
        let empty = empty.into_iter().map(|empty| empty.name).collect();
        Self { vacant, empty, devices, closed, uses, astray: lost, pods }
    }

    /// Completes what is told.
    pub(super) fn complete(&self, told: &mut Told, uids: &Uids, end: Timestamp) {
        let place = |pod: &Pod| told.snapshot.pod(&uids.get(&pod.name)).map(Arc::unwrap_or_clone);
        let places: Vec<Option<Place>> = self.pods.iter().map(place).collect();
        let mut more = Vec::new();
        for event in &mut told.events {
            if matches!(event.kind, Kind::VolumeUnbound | Kind::ObjectEvent) {
                self.complete_claim(event, &places);
                self.complete_refusal(event);
            }
            self.complete_webhook(event);
            if event.kind == Kind::ScalingLimited {
                let name = event.text(keys::OBJECT_NAME).unwrap_or_default().to_owned();
                let namespace = event.place.namespace.as_deref().unwrap_or_default().to_owned();
                let ratio = self.uses.get(&(namespace, name)).map(|ratio| Value::from(*ratio));
                event.attributes.extend(ratio.map(|ratio| (keys::RATIO.into(), ratio)));
            }
            if event.kind == Kind::PolicyChanged {
                more.extend(self.concerned(event, &places));
            }
        }
        for astray in &self.astray {
            let place = astray.meant.and_then(|at| places.get(at)?.as_ref());
            let event = astray.event(place, end);
            more.extend([before(&event), event]);
        }
        more.extend(self.vacant.iter().filter_map(|(service, owner)| {
            let emptied = told.events.iter().find(|event| is_emptied(event, owner))?;
            Some(vacant(service, emptied))
        }));
        told.events.extend(more);
    }

    /// Says of a claim's Event which pod waits for it.
    fn complete_claim(&self, event: &mut Unbound, places: &[Option<Place>]) {
        let is_claim = event.text(keys::OBJECT_KIND) == Some("PersistentVolumeClaim");
        if !is_claim || event.place.pod.is_some() || event.place.workload.is_some() {
            return;
        }
        let Some(claim) = event.text(keys::OBJECT_NAME).map(str::to_owned) else { return };
        let namespace = event.place.namespace.clone().unwrap_or_default();
        let user = self.pods.iter().zip(places).find_map(|(pod, place)| {
            (*pod.name.namespace == *namespace && pod.claims.contains(&claim)).then_some(place)
        });
        if let Some(Some(place)) = user {
            event.place = Place { container: None, container_id: None, ..place.clone() };
        }
    }

    /// Says of a pod without a node, whose scheduler was not heard, which device it asks for: few
    /// nodes have one.
    fn complete_refusal(&self, event: &mut Unbound) {
        let is_refusal = event.text(keys::REASON) == Some("Unschedulable");
        if !is_refusal || event.text(keys::MESSAGE).is_some() {
            return;
        }
        let Place { namespace, workload, pod, .. } = &event.place;
        let owner = workload.as_ref().map(|owner| &owner.name).or(pod.as_ref());
        let key =
            |name: &str| (namespace.as_deref().unwrap_or_default().to_owned(), name.to_owned());
        if let Some(device) = owner.and_then(|owner| self.devices.get(&key(owner))) {
            event.attributes.push((keys::RESOURCE.into(), Value::from(device.as_str())));
        }
    }

    /// Says of a webhook that has no endpoint which workload of its namespace is to have no pod, if it is
    /// the only one: `https://NAME.NAMESPACE.svc:443/...`.
    fn complete_webhook(&self, event: &mut Unbound) {
        let said = event.text(keys::MESSAGE).unwrap_or_default();
        let is_vacant = said.contains("calling webhook") && said.contains("no endpoints available");
        let host = said.split_once("https://").and_then(|(_, rest)| rest.split_once(".svc"));
        let namespace = host.and_then(|(host, _)| host.split_once('.')).map(|(_, of)| of);
        let Some(namespace) = namespace.filter(|_| is_vacant) else { return };
        let mut empty = self.empty.iter().filter(|name| name.namespace == namespace);
        if let (Some(Name { kind, name, .. }), None) = (empty.next(), empty.next()) {
            let changed = format!("{kind} {namespace}/{name} is scaled to 0 replicas");
            event.attributes.push((keys::CHANGED.into(), changed.into()));
        }
    }

    /// Tells a policy once more in the trace of each pod of its namespace that no workload owns: the
    /// watch knows workloads only. Says as well if it lets nothing out.
    fn concerned(&self, policy: &mut Unbound, places: &[Option<Place>]) -> Vec<Unbound> {
        let namespace = policy.place.namespace.clone().unwrap_or_default();
        let name = policy.text(keys::OBJECT_NAME).unwrap_or_default();
        if self.closed.iter().any(|(of, closed)| **of == *namespace && closed == name) {
            policy.attributes.push((keys::REASON.into(), Value::from("DeniesEgress")));
        }
        if policy.place.workload.is_some() || policy.place.pod.is_some() {
            return Vec::new();
        }
        let bare = places.iter().flatten().filter(|place| {
            place.workload.is_none() && place.namespace.as_deref() == Some(&*namespace)
        });
        let again = bare.take(PODS_MAX).map(|place| {
            let pod = place.pod.as_deref().unwrap_or_default();
            let id = event_id(&[b"concerns", policy.id.as_bytes(), pod.as_bytes()]);
            let place = Place { container: None, container_id: None, ..place.clone() };
            Unbound { id, place, ..policy.clone() }
        });
        again.collect()
    }
}

pub(super) fn labels(json: &Json, at: &str) -> Labels {
    let fields = json.pointer(at).and_then(Json::as_object);
    let pairs = fields.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn pod(json: &Json) -> Pod {
    let volumes = json.pointer("/spec/volumes").and_then(Json::as_array);
    let claim = |volume: &Json| {
        let name = volume.pointer("/persistentVolumeClaim/claimName")?;
        name.as_str().map(str::to_owned)
    };
    Pod {
        name: Name::of("Pod", json),
        labels: labels(json, "/metadata/labels"),
        claims: volumes.into_iter().flatten().filter_map(claim).collect(),
        ports: ports(json),
    }
}

fn ports(json: &Json) -> Vec<Json> {
    let containers = json.pointer("/spec/containers").and_then(Json::as_array);
    let lists = containers.into_iter().flatten().filter_map(|one| one.get("ports")?.as_array());
    let ports = lists.flatten().flat_map(|port| [port.get("containerPort"), port.get("name")]);
    ports.flatten().cloned().collect()
}

/// Reads a Service at whose endpoints somebody was refused, and whose pods say in their logs that they
/// listen elsewhere, whatever ports they declare.
fn deaf(name: &Name, json: &Json, taken: &[(usize, &Pod)], doors: &Doors) -> Option<Astray> {
    let endpoints = json.pointer("/endpoints").and_then(Json::as_str)?;
    let target = json.pointer("/spec/ports/0/targetPort").and_then(Json::as_u64)?;
    let open: BTreeSet<u16> = taken.iter().flat_map(|(_, pod)| doors.open(&pod.name)).collect();
    let is_open = open.iter().any(|port| u64::from(*port) == target);
    if is_open || open.is_empty() || !doors.refuse(endpoints) {
        return None;
    }
    let open: Vec<_> = open.iter().map(u16::to_string).collect();
    Some(unserved(name.clone(), &target.to_string(), &open, taken))
}

fn unserved(name: Name, target: &str, open: &[String], taken: &[(usize, &Pod)]) -> Astray {
    let said = format!(
        "service {} sends to port {target}, and its pods listen on {}",
        name.name,
        open.join(", ")
    );
    let meant = taken.first().map(|(at, _)| *at);
    Astray { name, reason: "PortNotServed", said, meant }
}

/// Reads a Service that sends to a port on which none of its pods says it listens.
fn misled(name: Name, json: &Json, taken: &[(usize, &Pod)]) -> Option<Astray> {
    // The names of ports are not printed by `describe`, and what listens need not say so.
    let known = || taken.iter().flat_map(|(_, pod)| &pod.ports);
    let is_known = |port: &&Json| port.is_number() || known().any(Json::is_string);
    let ports = json.pointer("/spec/ports").and_then(Json::as_array);
    let mut targets = ports.into_iter().flatten().filter_map(|port| port.get("targetPort"));
    let target = targets.find(|port| is_known(port) && !known().any(|one| one == *port))?;
    let listens: Vec<_> = known().filter(|port| port.is_number()).map(Json::to_string).collect();
    if listens.is_empty() {
        return None;
    }
    let target = target.as_str().map_or_else(|| target.to_string(), str::to_owned);
    Some(unserved(name, &target, &listens, taken))
}

/// Reads a Service whose selector takes no pod, though there are pods of which the labels are known;
/// one that has endpoints, or may have been given them by hand, is none.
fn astray(json: &Json, pods: &[Pod], doors: &Doors) -> Option<Astray> {
    let name = Name::of("Service", json);
    let selector = labels(json, "/spec/selector");
    let has_endpoints = json.pointer("/endpoints").and_then(Json::as_str).is_some();
    if selector.is_empty() {
        return None;
    }
    // What a name alone tells of a pod is the hash of its template.
    let is_labelled = |pod: &Pod| pod.labels.keys().any(|key| key != "pod-template-hash");
    let own: Vec<(usize, &Pod)> = pods
        .iter()
        .enumerate()
        .filter(|(_, pod)| pod.name.namespace == name.namespace && is_labelled(pod))
        .collect();
    let takes = |pod: &Pod| selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value));
    let taken: Vec<_> = own.iter().filter(|(_, pod)| takes(pod)).copied().collect();
    if !taken.is_empty() {
        let deaf = deaf(&name, json, &taken, doors);
        return deaf.or_else(|| misled(name, json, &taken));
    }
    if own.is_empty() || has_endpoints {
        return None;
    }
    let stem = format!("{}-", name.name);
    let is_named = |pod: &Pod| pod.name.name.starts_with(&stem);
    let shares = |pod: &Pod| selector.keys().any(|key| pod.labels.contains_key(key));
    let named = own.iter().find(|(_, pod)| is_named(pod));
    // A row tells of many Services, and a list need not have all their pods.
    if named.is_none() && json.get("isRow").is_some() {
        return None;
    }
    let meant = named.or_else(|| own.iter().find(|(_, pod)| shares(pod))).map(|(at, _)| *at);
    let selector: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let said = format!("the selector {} of service {} takes no pod", selector.join(","), name.name);
    Some(Astray { name, reason: "SelectorTakesNoPod", said, meant })
}

/// Tells that a Service has no endpoint, as its slices would, when its workload is said to want no
/// pod.
fn vacant(service: &Name, emptied: &Unbound) -> Unbound {
    let Name { namespace, name, .. } = service;
    let id = event_id(&[b"service vacant", namespace.as_bytes(), name.as_bytes()]);
    let place = Place { service: Some(name.as_str().into()), ..emptied.place.clone() };
    Unbound::new(id, emptied.time, Source::Kubernetes, Kind::EndpointsChanged)
        .at(place)
        .rated(Severity::Info, 0.0, Class::Configuration)
        .with(keys::ENDPOINTS_READY, 0)
        .with(keys::ENDPOINTS_NOT_READY, 0)
}

/// Says whether an event says that this workload wants no pod.
fn is_emptied(event: &Unbound, workload: &Name) -> bool {
    let owner = event.place.workload.as_ref();
    event.text(keys::REASON) == Some("ScaledToZero")
        && event.place.namespace.as_deref() == Some(&*workload.namespace)
        && owner
            .is_some_and(|owner| (&*owner.kind, &*owner.name) == (&*workload.kind, &*workload.name))
}

impl Astray {
    /// Tells that the Service has no endpoint, as its slices would.
    fn event(&self, meant: Option<&Place>, end: Timestamp) -> Unbound {
        let Name { namespace, name, .. } = &self.name;
        let id = event_id(&[b"service astray", namespace.as_bytes(), name.as_bytes()]);
        let workload = meant.and_then(|place| place.workload.clone());
        let place = Place {
            namespace: Some(namespace.as_str().into()),
            service: Some(name.as_str().into()),
            workload,
            ..Place::default()
        };
        let is_empty = self.reason == "SelectorTakesNoPod";
        let none = is_empty.then_some(0);
        Unbound::new(id, squeeze(end, end), Source::Kubernetes, Kind::EndpointsChanged)
            .at(place)
            .rated(Severity::Warn, 0.7, Class::Configuration)
            .with_some(keys::ENDPOINTS_READY, none)
            .with_some(keys::ENDPOINTS_NOT_READY, none)
            .with(keys::REASON, self.reason)
            .message(self.said.as_str())
    }
}

/// Returns the device that the pods of a workload ask for: a resource with a domain, which plugins
/// of a node offer.
fn device(json: &Json) -> Option<String> {
    let containers = ["/spec/template/spec/containers", "/spec/containers"];
    let all = containers.iter().filter_map(|at| json.pointer(at)?.as_array()).flatten();
    let resources = all.flat_map(|one| {
        ["/resources/limits", "/resources/requests"]
            .map(|at| one.pointer(at).and_then(Json::as_object))
    });
    let mut names = resources.flatten().flat_map(|fields| fields.keys());
    names.find(|name| name.contains('/') && !name.starts_with("hugepages")).cloned()
}

/// Says whether a policy lets nothing out. Where its rules were not printed its name is believed.
fn is_closed(policy: &Json) -> bool {
    if policy.pointer("/spec/policyTypes").is_none() {
        let name = policy.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default();
        return name.contains("deny") && (name.contains("egress") || name.contains("all"));
    }
    let egress = policy.pointer("/spec/egress").and_then(Json::as_array);
    denies(policy)
        && egress.is_none_or(Vec::is_empty)
        && policy
            .pointer("/spec/policyTypes")
            .and_then(Json::as_array)
            .is_some_and(|types| types.iter().any(|one| one.as_str() == Some("Egress")))
}
