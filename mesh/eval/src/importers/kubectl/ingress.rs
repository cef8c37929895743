//! Ingresses: nobody watches them, and in a recording one look says whether anybody serves them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, Timestamp, keys};

use super::{outline::Outline, section::Command, table::Table};
use crate::importers::k8s_objects::moment::before;

/// The class of an Ingress, where it was written before it had a field.
const ANNOTATION: &str = "/metadata/annotations/kubernetes.io~1ingress.class";

/// Where an Ingress leads to, and what its description says of each that is not found.
type Backends = BTreeMap<Backend, Option<String>>;

/// A Service, and a port of it by its number.
type Backend = (String, Option<u16>);

/// What was printed of Ingresses and their classes.
#[derive(Debug, Default)]
pub(super) struct Ingresses {
    entries: BTreeMap<(String, String), Entry>,
    classes: BTreeSet<String>,
    /// Services that an Ingress leads to, by its namespace and name, and why they are not there.
    lost: BTreeMap<(String, String), Backends>,
    /// All Services of a namespace.
    services: BTreeMap<String, BTreeSet<String>>,
    /// The ports of a Service, by its namespace and name.
    ports: BTreeMap<(String, String), BTreeSet<u16>>,
    /// Whether somebody listed the classes, of which there may be none.
    is_listed: bool,
}

/// What is known of one Ingress.
#[derive(Debug, Default)]
struct Entry {
    class: Option<String>,
    address: Option<String>,
}

impl Ingresses {
    /// Reads a text: a description, or a table.
    pub(super) fn read(&mut self, command: &Command, text: &str) {
        let namespace = command.namespace.as_deref().unwrap_or("default");
        for outline in Outline::all(text) {
            if outline.has(&["Rules", "Default backend"]) {
                let namespace = outline.get("Namespace").unwrap_or(namespace);
                let name = outline.get("Name").unwrap_or_default();
                self.add((namespace, name), outline.get("Ingress Class"), outline.get("Address"));
                let beside = outline.get("Default backend");
                let below = outline.below("Rules").iter().copied();
                let lost = self.lost.entry((namespace.to_owned(), name.to_owned())).or_default();
                lost.extend(beside.into_iter().chain(below).filter_map(lost_backend));
            }
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let Some(table) = lines.next().map(Table::of) else { return };
        let is_classes = table.has(&["NAME", "CONTROLLER", "PARAMETERS"]);
        let is_entries = table.has(&["NAME", "CLASS", "HOSTS"]);
        self.is_listed |= is_classes;
        if table.has(&["NAME", "TYPE", "CLUSTER-IP"]) {
            let is_all = command.name.is_none() && command.selector.is_none();
            for row in lines.map(|line| table.row(line)) {
                let Some(name) = row.get("NAME").map(str::to_owned) else { continue };
                let of_row = row.get("NAMESPACE").unwrap_or(namespace).to_owned();
                let ports = row.get("PORT(S)").unwrap_or_default().split(',').filter_map(port);
                self.ports.entry((of_row, name.clone())).or_default().extend(ports);
                if is_all {
                    self.services.entry(namespace.to_owned()).or_default().insert(name);
                }
            }
            return;
        }
        for row in lines.filter(|_| is_classes || is_entries).map(|line| table.row(line)) {
            let Some(name) = row.get("NAME") else { continue };
            if is_classes {
                self.classes.insert(name.to_owned());
            } else {
                let namespace = row.get("NAMESPACE").unwrap_or(namespace);
                self.add((namespace, name), row.get("CLASS"), row.get("ADDRESS"));
            }
        }
    }

    /// Reads an object; says whether it was one of these kinds.
    pub(super) fn read_whole(&mut self, kind: &str, json: &Json) -> bool {
        let text = |at: &str| json.pointer(at).and_then(Json::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        if kind == "IngressClass" {
            self.is_listed = true;
            self.classes.insert(name.to_owned());
        } else if kind == "Ingress" {
            let namespace = text("/metadata/namespace").unwrap_or("default");
            let class = text("/spec/ingressClassName").or_else(|| text(ANNOTATION));
            let has_address = json.pointer("/status/loadBalancer/ingress/0").is_some();
            self.add((namespace, name), class, has_address.then_some("some"));
            let lost = self.lost.entry((namespace.to_owned(), name.to_owned())).or_default();
            lost.extend(backends(json).into_iter().map(|backend| (backend, None)));
        } else if kind == "Service" {
            let namespace = text("/metadata/namespace").unwrap_or("default");
            let ports = json.pointer("/spec/ports").and_then(Json::as_array);
            let numbers = ports.into_iter().flatten().filter_map(|port| port.get("port")?.as_u64());
            let numbers = numbers.filter_map(|number| u16::try_from(number).ok());
            self.ports.entry((namespace.to_owned(), name.to_owned())).or_default().extend(numbers);
        }
        matches!(kind, "IngressClass" | "Ingress")
    }

    fn add(&mut self, (namespace, name): (&str, &str), class: Option<&str>, address: Option<&str>) {
        let entry = self.entries.entry((namespace.to_owned(), name.to_owned())).or_default();
        entry.class = entry.class.take().or_else(|| class.map(str::to_owned));
        entry.address = entry.address.take().or_else(|| address.map(str::to_owned));
    }

    /// Tells of those that nobody serves, each twice, as what stands is.
    pub(super) fn tell(&self, end: Timestamp) -> Vec<Unbound> {
        let unserved = self.entries.iter().filter_map(|(id, entry)| {
            let class = entry.class.as_deref()?;
            let is_unknown = self.is_listed && !self.classes.contains(class);
            let reason = match (is_unknown, &entry.address) {
                (true, _) => "IngressClassNotFound",
                (false, None) if !self.is_listed => "IngressWithoutAddress",
                (false, _) => return None,
            };
            Some(event(id, (&format!("is of class {class}"), reason), end))
        });
        let lost = self.lost.iter().filter_map(|(id, services)| {
            let said: Vec<_> = services.iter().filter_map(|it| self.why(&id.0, it)).collect();
            let said = format!("leads to {}", said.join(", "));
            (said != "leads to ").then(|| event(id, (&said, "IngressBackendNotFound"), end))
        });
        unserved.chain(lost).flat_map(|event| [before(&event), event]).collect()
    }

    /// Says why an Ingress does not reach a Service, if it does not: its description says so, all
    /// Services of its namespace were listed and there is no such one, or it has no such port.
    fn why(
        &self,
        namespace: &str,
        ((service, port), error): (&Backend, &Option<String>),
    ) -> Option<String> {
        if let Some(error) = error {
            return Some(format!("Service {service} ({error})"));
        }
        if self.services.get(namespace).is_some_and(|all| !all.contains(service)) {
            return Some(format!("Service {service} (which is not there)"));
        }
        let known = self.ports.get(&(namespace.to_owned(), service.clone()))?;
        let port = port.filter(|port| !known.is_empty() && !known.contains(port))?;
        let known: Vec<_> = known.iter().map(u16::to_string).collect();
        let known = known.join(", ");
        Some(format!("port {port} of Service {service} (which has port {known} and no such)"))
    }
}

/// Reads `/  web:80 (<error: services "web" not found>)`, `/  web:80 ()`: a Service and its port, and
/// what is said of it if it is not found. One that has endpoints is.
fn lost_backend(line: &str) -> Option<(Backend, Option<String>)> {
    let (before, said) = line.rsplit_once(" (")?;
    let (service, port) = before.split_whitespace().next_back()?.split_once(':')?;
    let backend = (service.to_owned(), port.parse().ok());
    if said == ")" {
        return Some((backend, None));
    }
    let error = line.split_once("(<error: ")?.1.split(">)").next()?;
    error.contains("not found").then(|| (backend, Some(error.to_owned())))
}

/// Reads `80/TCP`, `80:30080/TCP`.
fn port(text: &str) -> Option<u16> {
    text.split([':', '/']).next()?.parse().ok()
}

/// Returns where an Ingress leads to.
fn backends(json: &Json) -> Vec<Backend> {
    let list = |json: &Json, at: &str| {
        json.pointer(at).and_then(Json::as_array).cloned().unwrap_or_default()
    };
    let rules = list(json, "/spec/rules");
    let paths = rules.iter().flat_map(|rule| list(rule, "/http/paths"));
    let all = paths.chain(json.pointer("/spec/defaultBackend").map(json_backend));
    let backend = |path: &Json| {
        let name = path.pointer("/backend/service/name")?.as_str()?;
        let port = path.pointer("/backend/service/port/number").and_then(Json::as_u64);
        Some((name.to_owned(), port.and_then(|port| u16::try_from(port).ok())))
    };
    all.filter_map(|path| backend(&path)).collect()
}

/// Wraps a backend as a path has it.
fn json_backend(backend: &Json) -> Json {
    serde_json::json!({ "backend": backend })
}

fn event(
    (namespace, name): &(String, String),
    (said, reason): (&str, &str),
    end: Timestamp,
) -> Unbound {
    let id = event_id(&[b"ingress", namespace.as_bytes(), name.as_bytes(), reason.as_bytes()]);
    let place = Place { namespace: Some(namespace.as_str().into()), ..Place::default() };
    Unbound::new(id, end, Source::Kubernetes, Kind::ObjectEvent)
        .at(place)
        .rated(Severity::Warn, 0.6, Class::Configuration)
        .with(keys::REASON, reason)
        .with(keys::OBJECT_KIND, "Ingress")
        .with(keys::OBJECT_NAME, name.as_str())
        .message(format!("Ingress {name} {said}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENTRIES: &str = "NAME  CLASS   HOSTS  ADDRESS   PORTS  AGE\n\
        web   inside  a.io             80     9m\nold   nginx   b.io   10.0.0.4  80     9m\n";
    const CLASSES: &str =
        "NAME   CONTROLLER            PARAMETERS  AGE\nnginx  k8s.io/ingress-nginx  <none>  9d\n";

    fn reasons(texts: &[&str]) -> Vec<String> {
        let mut ingresses = Ingresses::default();
        texts.iter().for_each(|text| ingresses.read(&Command::default(), text));
        let told = ingresses.tell(Timestamp::from_secs(9));
        let reason = |event: &Unbound| format!("{:?}", event.attributes.first());
        told.iter().map(reason).collect()
    }

    #[test]
    fn a_class_that_is_not_among_those_listed_is_told_twice() {
        let told = reasons(&[ENTRIES, CLASSES]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|reason| reason.contains("IngressClassNotFound")), "{told:?}");
        assert_eq!(reasons(&[&ENTRIES.replace("inside", "nginx "), CLASSES]), Vec::<String>::new());
    }

    #[test]
    fn without_the_classes_only_the_missing_address_speaks() {
        let told = reasons(&[ENTRIES]);
        assert!(told.len() == 2 && told[0].contains("IngressWithoutAddress"), "{told:?}");
    }

    #[test]
    fn a_service_that_is_not_there_is_told_by_description_and_by_list() {
        let text = "Name:  site\nNamespace:  default\nAddress:  10.0.0.1\nIngress Class:  nginx\n\
            Default backend:  <default>\nRules:\n  Host  Path  Backends\n  ----  ----  --------\n  \
            a.io\n        /   web:80 (<error: services \"web\" not found>)\n        \
            /b  api:80 (10.0.0.2:80)\n";
        let told = reasons(&[text, CLASSES]);
        assert!(told.len() == 2 && told[0].contains("IngressBackendNotFound"), "{told:?}");
        let mut ingresses = Ingresses::default();
        let path = |name: &str| json!({ "backend": { "service": { "name": name } } });
        let entry = json!({ "metadata": { "name": "site" }, "spec": {
            "rules": [{ "http": { "paths": [path("web"), path("api")] } }] } });
        ingresses.read_whole("Ingress", &entry);
        assert_eq!(ingresses.tell(Timestamp::from_secs(9)).len(), 0);
        let services = "NAME  TYPE       CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE\n\
            api   ClusterIP  10.0.0.7    <none>       80/TCP   9d\n";
        ingresses.read(&Command::default(), services);
        let told = ingresses.tell(Timestamp::from_secs(9));
        let said = told.first().and_then(|event| event.attributes.last());
        assert!(
            told.len() == 2 && format!("{said:?}").contains("Service web (which is not"),
            "{said:?}"
        );
    }

    #[test]
    fn a_port_that_the_service_does_not_have_is_told() {
        let text = "Name:  site\nNamespace:  default\nDefault backend:  <default>\nRules:\n  Host  Path  \
            Backends\n  ----  ----  --------\n  a.io\n        /   web:8080 ()\n";
        let services = |ports: &str| {
            format!(
                "NAME  TYPE       CLUSTER-IP  PORT(S)  AGE\nweb   ClusterIP  10.0.0.7    {ports}  9d\n"
            )
        };
        for (ports, want) in [("80/TCP,443:30443/TCP", 2), ("80/TCP,8080/TCP", 0)] {
            assert_eq!(reasons(&[text, &services(ports)]).len(), want, "{ports}");
        }
        assert_eq!(reasons(&[text]).len(), 0);
        assert_eq!(reasons(&[&text.replace("()", "(10.0.0.9:80)"), &services("80/TCP")]).len(), 0);
    }

    #[test]
    fn objects_and_descriptions_are_read_as_well() {
        let mut ingresses = Ingresses::default();
        let class = json!({ "metadata": { "name": "nginx" } });
        let entry =
            json!({ "metadata": { "name": "web" }, "spec": { "ingressClassName": "inside" } });
        assert!(ingresses.read_whole("IngressClass", &class));
        assert!(ingresses.read_whole("Ingress", &entry) && !ingresses.read_whole("Pod", &entry));
        let text = "Name:  old\nNamespace:  shop\nAddress:\nIngress Class:  outside\n\
                    Default backend:  <default>\nRules:\n  Host  Path  Backends\n";
        ingresses.read(&Command::default(), text);
        assert_eq!(ingresses.tell(Timestamp::from_secs(9)).len(), 4);
    }
}
