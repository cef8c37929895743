//! Who the calls in logs are to: of the Services and network policies that were printed beside.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, Text, Timestamp, Value, keys};

use super::{
    doors::addresses,
    focus::{is_named, owner_of},
    name::Name,
    ties::{Labels, labels},
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
    /// Its namespace; `None` if it is the policy's own.
    namespace: Option<Spaces>,
    pod: Labels,
}

/// Which namespaces a selector takes.
#[derive(Debug)]
enum Spaces {
    /// By what alone is known of a namespace.
    Named(Vec<String>),
    /// By labels that nobody printed.
    Unknown,
}

impl Spaces {
    fn of(selector: &Json) -> Self {
        const NAME: &str = "kubernetes.io/metadata.name";
        let own = labels(selector, "/matchLabels").remove(NAME);
        let rules = selector.get("matchExpressions").and_then(Json::as_array);
        let rules = rules.into_iter().flatten().filter(|rule| {
            let text = |field: &str| rule.get(field).and_then(Json::as_str);
            (text("key"), text("operator")) == (Some(NAME), Some("In"))
        });
        let values = rules.filter_map(|rule| rule.get("values")?.as_array()).flatten();
        let named: Vec<_> =
            values.filter_map(|name| Some(name.as_str()?.to_owned())).chain(own).collect();
        if named.is_empty() { Self::Unknown } else { Self::Named(named) }
    }

    /// Says whether a namespace may be one of them.
    fn may_take(&self, namespace: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == namespace),
            Self::Unknown => true,
        }
    }
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
            let endpoints = service.pointer("/endpoints").and_then(Json::as_str);
            for at in endpoints.into_iter().flat_map(addresses) {
                calls.addresses.insert(at.ip().to_string(), name.clone());
            }
            calls.selectors.insert(name, labels(service, "/spec/selector"));
        }
        for object in moment.objects().filter(|object| object.kind != "Pod") {
            let known = addressees(&object.json, "/spec/template/spec/containers");
            if !known.is_empty() {
                let Name { namespace, name, .. } = Name::of(&object.kind, &object.json);
                calls.variables.insert((namespace, name), known);
            }
        }
        for pod in moment.of_kind("Pod") {
            let name = Name::of("Pod", pod);
            let name = (name.namespace, name.name);
            calls.variables.insert(name.clone(), addressees(pod, "/spec/containers"));
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
        self.name_alike(lines);
        let mut told = BTreeMap::new();
        for line in lines.iter_mut() {
            let Some(called) = self.called(line) else { continue };
            let is_named = line.text(keys::PEER_SERVICE).is_some();
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

    /// Gives calls whose address nobody knows the known one of a line that says the same: what is told
    /// in brief is told with the address of one of many.
    fn name_alike(&self, lines: &mut [Unbound]) {
        // Calls alike to another port are to somebody else.
        let words = |line: &Unbound| -> Option<(String, Option<i64>)> {
            let is_attempt = matches!(line.kind, Kind::ConnectRefused | Kind::ConnectTimeout);
            let said = line.text(keys::MESSAGE).filter(|_| is_attempt)?;
            let port = line.attributes.iter().find_map(|(key, value)| {
                let Value::Int(port) = value else { return None };
                (key == keys::PEER_PORT).then_some(*port)
            });
            let said = said.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            Some((said, port))
        };
        let address = |line: &Unbound| line.text(keys::PEER_ADDRESS).map(str::to_owned);
        let is_known = |address: &String| self.addresses.contains_key(address);
        let mut known: BTreeMap<(String, Option<i64>), BTreeSet<String>> = BTreeMap::new();
        for (words, address) in lines.iter().filter_map(|line| words(line).zip(address(line))) {
            if is_known(&address) {
                known.entry(words).or_default().insert(address);
            }
        }
        for line in lines.iter_mut() {
            let is_other = address(line)
                .is_some_and(|address| !is_known(&address) && address.parse::<Ipv4Addr>().is_ok());
            let alike = words(line).filter(|_| is_other).and_then(|words| known.get(&words));
            let alike = alike.filter(|alike| alike.len() == 1).and_then(BTreeSet::first);
            let attribute = line.attributes.iter_mut().find(|(key, _)| key == keys::PEER_ADDRESS);
            if let Some(((_, value), alike)) = attribute.zip(alike) {
                *value = alike.as_str().into();
            }
        }
    }

    /// Says of complaints about a connection that name nobody whom their log speaks of, of those that
    /// the recording shows.
    fn name_peer(&self, lines: &mut [Unbound]) {
        let is_open = |line: &Unbound| {
            let said = line.text(keys::MESSAGE).unwrap_or_default().to_ascii_lowercase();
            let is_told = line.attributes.iter().any(|(key, _)| key == keys::SAMPLED);
            let is_attempt = matches!(line.kind, Kind::ConnectRefused | Kind::ConnectTimeout);
            let is_about = is_attempt || said.contains("connect") || is_timeout(line);
            is_told && line.text(keys::PEER_ADDRESS).is_none() && is_about
        };
        let Some(place) = lines.iter().find(|line| is_open(line)).map(|line| line.place.clone())
        else {
            return;
        };
        let own = place.workload.as_ref().map(|owner| &*owner.name).or(place.pod.as_deref());
        let is_spoken_of = |name: &str| {
            lines.iter().any(|line| {
                let texts = [line.text(keys::MESSAGE), line.text(keys::STACKTRACE)];
                texts.into_iter().flatten().any(|text| is_named(text, name))
            })
        };
        let mut others = self.names.iter().filter(|(namespace, name)| {
            Some(&**namespace) == place.namespace.as_deref() && Some(&**name) != own
        });
        let of_log = others.find(|(_, name)| is_spoken_of(name));
        // Else the only one that it was told of.
        let text_of = |text: &Option<Text>| text.as_deref().unwrap_or_default().to_owned();
        let variables = |name: String| self.variables.get(&(text_of(&place.namespace), name));
        let told_of = variables(text_of(&place.pod)).filter(|known| !known.is_empty());
        let told_of = told_of.or_else(|| variables(place.workload.as_ref()?.name.to_string()));
        let only = told_of.filter(|known| known.len() == 1).and_then(BTreeSet::first);
        for line in lines.iter_mut().filter(|line| is_open(line)) {
            // Who says no more than that a connection took too long now says to whom.
            let is_silence = of_log.is_none() && only.is_some() && is_timeout(line);
            if is_silence {
                line.kind = Kind::ConnectTimeout;
            }
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
        let address = line.text(keys::PEER_ADDRESS)?;
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
        // Of a Service that nobody printed its pods bear the name.
        let of_name = || {
            let stem = format!("{}-", called.name);
            let named =
                |(of, pod): &(String, String)| *of == called.namespace && pod.starts_with(&stem);
            self.pods.iter().any(|(name, labels)| named(name) && is_of(labels))
        };
        let is_selected = policy.selector.is_empty()
            || of_service.map_or_else(of_name, is_of)
            || policy.selector.values().any(|value| *value == called.name);
        let namespace = caller.namespace.as_deref().unwrap_or_default();
        let pod = caller.pod.as_deref().unwrap_or_default();
        let own = self.pods.get(&(namespace.to_owned(), pod.to_owned()));
        let own = own.filter(|labels| !labels.is_empty());
        let is_let_in = policy.peers.iter().any(|peer| {
            let of_namespace = peer.namespace.as_ref().map_or_else(
                || namespace == policy.name.namespace,
                |spaces| spaces.may_take(namespace),
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

/// Says whether an error says that a connection was not made in time.
fn is_timeout(line: &Unbound) -> bool {
    const WORDS: &[&str] = &[
        "timeout connecting",
        "connect timeout",
        "timed out connecting",
        "connection timed out",
        "connect timed out",
        "connection timeout",
    ];
    let said = [line.text(keys::MESSAGE), line.text(keys::STACKTRACE)];
    said.into_iter().flatten().any(|said| {
        let said = said.to_ascii_lowercase();
        // A connection that stood, and was given up, is no attempt.
        let is_idle = ["idle", "keepalive", "keep-alive"].iter().any(|word| said.contains(word));
        !is_idle && WORDS.iter().any(|words| said.contains(words))
    })
}

/// Reads whom the variables of containers name with a port: `jdbc:mysql://db.internal:3306/shop`, or a
/// host in one and its port in another, `DB_HOST` and `DB_PORT`.
fn addressees(json: &Json, at: &str) -> Addressees {
    let containers = json.pointer(at).and_then(Json::as_array);
    let lists = containers.into_iter().flatten().filter_map(|one| one.get("env")?.as_array());
    lists.flat_map(|list| of_container(list)).collect()
}

fn of_container(variables: &[Json]) -> Addressees {
    let text = |one: &'_ Json, field: &str| Some(one.get(field)?.as_str()?.to_owned());
    let all: Vec<(String, String)> = variables
        .iter()
        .filter_map(|one| Some((text(one, "name")?, text(one, "value")?)))
        .collect();
    let is_host = |host: &str| {
        host.contains(char::is_alphabetic) && host != "localhost" && !host.contains([' ', '<'])
    };
    let value = |name: &str| {
        let mut values = all.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        // A description joins what containers of one pod are told.
        values.next().filter(|_| values.next().is_none())
    };
    let pairs = all.iter().filter_map(|(name, host)| {
        let port = value(&format!("{}_PORT", name.strip_suffix("_HOST")?))?;
        Some((host.clone(), port.parse().ok()?)).filter(|(host, _)| is_host(host))
    });
    let named = all.iter().filter_map(|(_, value)| {
        let rest = value.split_once("://")?.1.split(['/', '?', ',']).next()?;
        let (host, port) = rest.rsplit('@').next()?.split_once(':')?;
        Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| is_host(host))
    });
    named.chain(pairs).collect()
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
            namespace: peer.get("namespaceSelector").map(Spaces::of),
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
mod tests;
