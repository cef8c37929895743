//! Who the calls in logs are to: of the Services and network policies that were printed beside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, Text, Timestamp, keys};

use super::{
    focus::{is_named, owner_of},
    name::Name,
    ties::{Labels, labels, text},
};
use crate::importers::k8s_objects::{
    clock::{parse, squeeze},
    moment::{Moment, before},
};

/// What calls may be to.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Services, by their address in the cluster.
    addresses: BTreeMap<String, Name>,
    /// What Services select.
    selectors: BTreeMap<Name, Labels>,
    /// The labels of pods, by namespace and name.
    pods: BTreeMap<(String, String), Labels>,
    policies: Vec<Policy>,
    /// Services and owners of pods, by namespace and name.
    names: BTreeSet<(String, String)>,
    /// Whom the variables of a pod name with a port, by its namespace and name.
    variables: BTreeMap<(String, String), Addressees>,
}

/// Hosts, each with a port.
type Addressees = BTreeSet<(String, u16)>;

/// A policy that lets some in, and nobody else.
#[derive(Debug)]
struct Policy {
    name: Name,
    created: Option<Timestamp>,
    selector: Labels,
    peers: Vec<Peer>,
}

/// Who is let in.
#[derive(Debug)]
struct Peer {
    /// The labels of its namespace; `None` if it is the policy's own.
    namespace: Option<Labels>,
    pod: Labels,
}

impl Calls {
    pub(super) fn of(moment: &Moment) -> Self {
        let mut calls = Self::default();
        for service in moment.of_kind("Service") {
            let name = Name::of("Service", service);
            let address = service.pointer("/spec/clusterIP").and_then(Json::as_str);
            if let Some(address) = address.filter(|address| *address != "None") {
                calls.addresses.insert(address.to_owned(), name.clone());
            }
            calls.selectors.insert(name, labels(service, "/spec/selector"));
        }
        for pod in moment.of_kind("Pod") {
            let name = Name::of("Pod", pod);
            let name = (name.namespace, name.name);
            calls.variables.insert(name.clone(), addressees(pod));
            calls.pods.insert(name, labels(pod, "/metadata/labels"));
        }
        let services = calls.selectors.keys();
        let services = services.map(|of| (of.namespace.clone(), of.name.clone()));
        calls.names = services.chain(moment.of_kind("Pod").map(owner_of)).collect();
        calls.policies = moment.of_kind("NetworkPolicy").filter_map(Policy::of).collect();
        calls
    }

    /// Says of calls which Service they are to, and tells in the callers' traces of policies that
    /// do not let them in.
    pub(super) fn complete(&self, lines: &mut Vec<Unbound>, end: Timestamp) {
        self.name_peer(lines);
        let mut told = BTreeMap::new();
        for line in lines.iter_mut() {
            let Some(called) = self.called(line) else { continue };
            let is_named = text(line, keys::PEER_SERVICE).is_some();
            if !is_named && self.selectors.contains_key(&called) {
                let is_own = line.place.namespace.as_deref() == Some(&*called.namespace);
                let name = if is_own {
                    called.name.clone()
                } else {
                    format!("{}.{}", called.name, called.namespace)
                };
                line.attributes.push((keys::PEER_SERVICE.into(), name.into()));
            }
            if line.kind == Kind::ConnectTimeout {
                let denies = |policy: &&Policy| self.denies(policy, &line.place, &called);
                for policy in self.policies.iter().filter(denies) {
                    let caller = line.place.pod.clone().unwrap_or_default();
                    let event = policy.event(&line.place, end);
                    told.entry((policy.name.clone(), caller)).or_insert(event);
                }
            }
        }
        lines.extend(told.into_values().flat_map(|event| [before(&event), event]));
    }

    /// Says of complaints about a connection that name nobody whom their log speaks of, of those that
    /// the recording shows.
    fn name_peer(&self, lines: &mut [Unbound]) {
        let is_open = |line: &Unbound| {
            let said = text(line, keys::MESSAGE).unwrap_or_default().to_ascii_lowercase();
            let is_told = line.attributes.iter().any(|(key, _)| key == keys::SAMPLED);
            let is_attempt = matches!(line.kind, Kind::ConnectRefused | Kind::ConnectTimeout);
            let is_about = is_attempt || said.contains("connect");
            is_told && text(line, keys::PEER_ADDRESS).is_none() && is_about
        };
        let Some(place) = lines.iter().find(|line| is_open(line)).map(|line| line.place.clone())
        else {
            return;
        };
        let own = place.workload.as_ref().map(|owner| &*owner.name).or(place.pod.as_deref());
        let is_spoken_of = |name: &str| {
            lines.iter().any(|line| {
                let texts = [text(line, keys::MESSAGE), text(line, keys::STACKTRACE)];
                texts.into_iter().flatten().any(|text| is_named(text, name))
            })
        };
        let mut others = self.names.iter().filter(|(namespace, name)| {
            Some(&**namespace) == place.namespace.as_deref() && Some(&**name) != own
        });
        let of_log = others.find(|(_, name)| is_spoken_of(name));
        // Else the only one that it was told of.
        let text_of = |text: &Option<Text>| text.as_deref().unwrap_or_default().to_owned();
        let told_of = self.variables.get(&(text_of(&place.namespace), text_of(&place.pod)));
        let only = told_of.filter(|known| known.len() == 1).and_then(BTreeSet::first);
        for line in lines.iter_mut().filter(|line| is_open(line)) {
            if let Some((_, peer)) = of_log {
                line.attributes.push((keys::PEER_ADDRESS.into(), peer.as_str().into()));
            } else if let Some((peer, port)) = only {
                line.attributes.push((keys::PEER_ADDRESS.into(), peer.as_str().into()));
                line.attributes.push((keys::PEER_PORT.into(), i64::from(*port).into()));
            }
        }
    }

    /// Returns the Service that a line calls: by its address, or as its name in the cluster says.
    fn called(&self, line: &Unbound) -> Option<Name> {
        let address = text(line, keys::PEER_ADDRESS)?;
        if let Some(service) = self.addresses.get(address) {
            return Some(service.clone());
        }
        let mut parts = address.split('.');
        let name = parts.next().filter(|name| name.contains(|one: char| one.is_alphabetic()))?;
        let namespace = parts.next().or(line.place.namespace.as_deref());
        let is_of_cluster = parts.next().is_none_or(|part| part == "svc");
        is_of_cluster.then(|| Name::new("Service", namespace, name))
    }

    /// Says whether a policy selects the pods of a Service and does not let the caller in.
    fn denies(&self, policy: &Policy, caller: &Place, called: &Name) -> bool {
        let of_service = self.selectors.get(called);
        let is_of = |labels: &Labels| policy.selector.iter().all(|pair| holds(labels, pair));
        let is_selected = policy.selector.is_empty()
            || of_service.is_some_and(is_of)
            || policy.selector.values().any(|value| *value == called.name);
        let namespace = caller.namespace.as_deref().unwrap_or_default();
        let pod = caller.pod.as_deref().unwrap_or_default();
        let own = self.pods.get(&(namespace.to_owned(), pod.to_owned()));
        let own = own.filter(|labels| !labels.is_empty());
        let is_let_in = policy.peers.iter().any(|peer| {
            let of_namespace = peer.namespace.as_ref().map_or_else(
                || namespace == policy.name.namespace,
                // Of a namespace its name alone is known.
                |labels| {
                    let name = labels.get("kubernetes.io/metadata.name");
                    name.is_none_or(|name| name == namespace)
                },
            );
            let of_pod = |(key, value): (&String, &String)| match own {
                Some(own) => holds(own, (key, value)),
                None => pod.starts_with(value.as_str()),
            };
            of_namespace && peer.pod.iter().all(of_pod)
        });
        called.namespace == policy.name.namespace && is_selected && !is_let_in
    }
}

/// Reads whom the variables of a pod name with a port: `jdbc:mysql://db.internal:3306/shop`.
fn addressees(pod: &Json) -> Addressees {
    let containers = pod.pointer("/spec/containers").and_then(Json::as_array);
    let lists = containers.into_iter().flatten().filter_map(|one| one.get("env")?.as_array());
    let values = lists.flatten().filter_map(|one| one.get("value")?.as_str());
    let named = values.filter_map(|value| {
        let rest = value.split_once("://")?.1.split(['/', '?', ',']).next()?;
        let (host, port) = rest.rsplit('@').next()?.split_once(':')?;
        let is_other = host.contains(char::is_alphabetic) && host != "localhost";
        Some((host.to_owned(), port.parse().ok()?)).filter(|_| is_other)
    });
    named.collect()
}

fn holds(labels: &Labels, (key, value): (&String, &String)) -> bool {
    labels.get(key) == Some(value)
}

impl Policy {
    /// Reads a policy that lets in those it names; one that lets in nobody is told by itself.
    fn of(json: &Json) -> Option<Self> {
        let rules = json.pointer("/spec/ingress").and_then(Json::as_array)?;
        let lists: Option<Vec<_>> =
            rules.iter().map(|rule| rule.get("from").and_then(Json::as_array)).collect();
        let all: Vec<&Json> = lists?.into_iter().flatten().collect();
        if all.is_empty() || all.iter().any(|peer| peer.get("ipBlock").is_some()) {
            return None;
        }
        let peer = |peer: &&Json| Peer {
            namespace: peer
                .get("namespaceSelector")
                .map(|_| labels(peer, "/namespaceSelector/matchLabels")),
            pod: labels(peer, "/podSelector/matchLabels"),
        };
        let created = json.pointer("/metadata/creationTimestamp").and_then(Json::as_str);
        Some(Self {
            name: Name::of("NetworkPolicy", json),
            created: created.and_then(parse),
            selector: labels(json, "/spec/podSelector/matchLabels"),
            peers: all.iter().map(peer).collect(),
        })
    }

    /// Tells of the policy where it keeps somebody out.
    fn event(&self, caller: &Place, end: Timestamp) -> Unbound {
        let Name { namespace, name, .. } = &self.name;
        let pod = caller.pod.as_deref().unwrap_or_default();
        let parts = [&**namespace, &**name, pod].map(str::as_bytes);
        let [of_namespace, called, pod] = parts;
        let id = event_id(&[b"keeps out", of_namespace, called, pod]);
        let place = Place { container: None, container_id: None, ..caller.clone() };
        let time = squeeze(end, self.created.unwrap_or(Timestamp::ZERO));
        Unbound::new(id, time, Source::Kubernetes, Kind::PolicyChanged)
            .at(place)
            .rated(Severity::Info, 0.3, Class::Network)
            .with(keys::OBJECT_KIND, "NetworkPolicy")
            .with(keys::OBJECT_NAME, name.as_str())
            .with(keys::OBJECT_NAMESPACE, namespace.as_str())
            .with(keys::CHANGE, "added")
            .with(keys::REASON, "DeniesIngress")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::importers::k8s_objects::moment::Detail;

    fn calls(rule: &Json) -> Calls {
        let mut moment = Moment::default();
        let service = json!({ "metadata": { "namespace": "pay", "name": "pay" },
            "spec": { "clusterIP": "10.0.0.7", "selector": { "app": "pay" } } });
        let mut add = |kind: &str, json: Json| {
            moment.add(Name::of(kind, &json).seen(json, Detail::Whole, None));
        };
        add("Service", service);
        add(
            "NetworkPolicy",
            json!({ "metadata": { "namespace": "pay", "name": "own" },
            "spec": { "podSelector": { "matchLabels": { "app": "pay" } }, "ingress": [rule] } }),
        );
        Calls::of(&moment)
    }

    fn call(address: &str) -> Unbound {
        let place = Place {
            namespace: Some("shop".into()),
            pod: Some("cart-1".into()),
            ..Place::default()
        };
        let id = event_id(&[b"call"]);
        Unbound::new(id, Timestamp::from_secs(9), Source::App, Kind::ConnectTimeout)
            .at(place)
            .with(keys::PEER_ADDRESS, address)
    }

    #[test]
    fn an_address_is_named_by_its_service() {
        let calls = calls(&json!({}));
        let mut lines = vec![call("10.0.0.7"), call("10.0.0.8")];
        calls.complete(&mut lines, Timestamp::from_secs(9));
        let named: Vec<_> = lines.iter().map(|line| text(line, keys::PEER_SERVICE)).collect();
        assert_eq!(named, [Some("pay.pay"), None]);
    }

    #[test]
    fn who_is_not_named_is_the_one_that_the_log_or_a_variable_names() {
        let mut moment = Moment::default();
        let mut add = |kind: &str, json: Json| {
            moment.add(Name::of(kind, &json).seen(json, Detail::Whole, None));
        };
        add("Service", json!({ "metadata": { "namespace": "shop", "name": "queue" } }));
        let variables = [
            json!({ "name": "A", "value": "jdbc:mysql://u:p@db.lan:3306/x" }),
            json!({ "name": "B", "value": "http://localhost:80" }),
        ];
        add(
            "Pod",
            json!({ "metadata": { "namespace": "shop", "name": "cart-1" },
            "spec": { "containers": [{ "env": variables }] } }),
        );
        let calls = Calls::of(&moment);
        let line = |said: &str| {
            let id = event_id(&[said.as_bytes()]);
            let place = call("x").place;
            Unbound::new(id, Timestamp::from_secs(9), Source::App, Kind::Log)
                .at(place)
                .with(keys::SAMPLED, 9_i64)
                .message(said.to_owned())
        };
        for (said, want) in [("broker amqp://queue:5672", "queue"), ("begin", "db.lan")] {
            let mut lines = vec![line(said), line("cannot connect")];
            calls.complete(&mut lines, Timestamp::from_secs(9));
            assert_eq!(text(&lines[1], keys::PEER_ADDRESS), Some(want), "{said}");
            assert_eq!(text(&lines[0], keys::PEER_ADDRESS), None, "{said}");
        }
    }

    #[test]
    fn who_is_not_let_in_has_the_policy_told() {
        let from = |peer: Json| json!({ "from": [peer] });
        let of = |name: &str| json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
        let pod = |app: &str| json!({ "matchLabels": { "app": app } });
        for (rule, is_told) in [
            (from(json!({ "podSelector": pod("cart") })), true),
            (from(json!({ "namespaceSelector": of("shop") })), false),
            (from(json!({ "namespaceSelector": of("shop"), "podSelector": pod("cart") })), false),
            (from(json!({ "namespaceSelector": of("shop"), "podSelector": pod("web") })), true),
            (from(json!({ "namespaceSelector": of("ops") })), true),
            (from(json!({ "ipBlock": { "cidr": "0.0.0.0/0" } })), false),
            (json!({}), false),
        ] {
            let mut lines = vec![call("pay.pay.svc.cluster.local")];
            calls(&rule).complete(&mut lines, Timestamp::from_secs(9));
            let told = lines.iter().any(|line| line.kind == Kind::PolicyChanged);
            assert_eq!(told, is_told, "{rule}");
        }
    }
}
