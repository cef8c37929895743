//! Containers, as `kubectl describe pod` prints them.

use serde_json::{Map, Value as Json, json};

use super::{
    age::date,
    events::merge,
    outline::{indent, pair, told},
};
use crate::importers::k8s_objects::clock;

/// Fields of a container; what else looks like one is a line of an argument or a message.
const FIELDS: &[&str] = &[
    "Args",
    "Command",
    "Container ID",
    "Environment",
    "Environment Variables from",
    "Host Port",
    "Host Ports",
    "Image",
    "Image ID",
    "Last State",
    "Limits",
    "Liveness",
    "Mounts",
    "Port",
    "Ports",
    "Readiness",
    "Ready",
    "Requests",
    "Restart Count",
    "SeccompProfile",
    "Startup",
    "State",
];

/// How far the name of a container is indented.
const NAME_INDENT: usize = 2;

/// The spec and the status of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) spec: Json,
    pub(super) status: Json,
}

/// What is read of a container.
#[derive(Debug, Default)]
struct Reading<'a> {
    name: &'a str,
    image: Option<&'a str>,
    id: Option<&'a str>,
    is_ready: bool,
    restarts: i32,
    limits: Map<String, Json>,
    ports: Vec<Json>,
    variables: Vec<Json>,
    state: State<'a>,
    last: State<'a>,
    /// The field that the lines below belong to.
    within: &'a str,
}

/// A state: what it is, and its details.
#[derive(Debug, Default)]
struct State<'a> {
    is: Option<&'a str>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    started: Option<&'a str>,
    finished: Option<&'a str>,
}

/// Reads the lines below `Containers:`.
pub(super) fn read(lines: &[&str]) -> Vec<Container> {
    let mut containers = Vec::<Reading<'_>>::new();
    for line in lines.iter().copied() {
        let name = line.trim().strip_suffix(':').filter(|_| indent(line) == NAME_INDENT);
        if let Some(name) = name.filter(|name| is_name(name)) {
            containers.push(Reading { name, ..Reading::default() });
        } else if let Some((last, (field, value))) = containers.last_mut().zip(pair(line)) {
            last.take(field, value, indent(line));
        }
    }
    containers.into_iter().map(Reading::finish).collect()
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(is_letter)
}

impl<'a> Reading<'a> {
    fn take(&mut self, field: &'a str, value: &'a str, indent: usize) {
        if indent == NAME_INDENT + 2 && FIELDS.contains(&field) {
            self.within = field;
            match field {
                "Image" => self.image = told(value),
                "Port" | "Ports" => self.ports = ports(value),
                "Container ID" => self.id = told(value),
                "Ready" => self.is_ready = value == "True",
                "Restart Count" => self.restarts = value.parse().unwrap_or_default(),
                "State" => self.state.is = told(value),
                "Last State" => self.last.is = told(value),
                _ => {}
            }
            return;
        }
        match self.within {
            "State" => self.state.take(field, value),
            "Last State" => self.last.take(field, value),
            "Environment" => self.variables.push(json!({ "name": field, "value": value })),
            "Limits" => {
                self.limits.insert(field.to_owned(), value.into());
            }
            _ => {}
        }
    }

    fn finish(self) -> Container {
        // The id is that of the container which ended, until the next one is made.
        let id = |state: &State<'_>, other: &State<'_>| {
            let is_last = state.is == Some("Terminated") && other.is != Some("Running");
            self.id.filter(|_| is_last)
        };
        let current = self.state.json(id(&self.state, &State::default()));
        let of_last =
            if self.state.is == Some("Terminated") { None } else { id(&self.last, &self.state) };
        let last = self.last.json(of_last);
        Container {
            name: self.name.to_owned(),
            spec: json!({
                "name": self.name,
                "image": self.image,
                "resources": { "limits": self.limits },
                "ports": self.ports,
                "env": self.variables,
            }),
            status: json!({
                "name": self.name,
                "image": self.image.unwrap_or_default(),
                "imageID": "",
                "containerID": self.id,
                "ready": self.is_ready,
                "restartCount": self.restarts,
                "state": current,
                "lastState": last,
            }),
        }
    }
}

/// Reads `8080/TCP, 9090/TCP`.
fn ports(value: &str) -> Vec<Json> {
    let numbers = value.split(',').filter_map(|port| port.split('/').next());
    let numbers = numbers.filter_map(|port| port.trim().parse::<u16>().ok());
    numbers.map(|port| json!({ "containerPort": port })).collect()
}

impl<'a> State<'a> {
    fn take(&mut self, field: &str, value: &'a str) {
        // The first counts: what follows a message may be more of it.
        let value = told(value);
        match field {
            "Reason" => self.reason = self.reason.or(value),
            "Message" => self.message = self.message.or(value),
            "Exit Code" => self.exit_code = self.exit_code.or_else(|| value?.parse().ok()),
            "Signal" => self.signal = self.signal.or_else(|| value?.parse().ok()),
            "Started" => self.started = self.started.or(value),
            "Finished" => self.finished = self.finished.or(value),
            _ => {}
        }
    }

    fn json(&self, id: Option<&str>) -> Json {
        let time = |text: Option<&str>| text.and_then(date).map(clock::write);
        let mut fields = json!({});
        let mut set = |field: &str, value: Option<Json>| {
            if let Some(value) = value {
                merge(&mut fields, field, value);
            }
        };
        set("reason", self.reason.map(Json::from));
        set("message", self.message.map(Json::from));
        match self.is {
            Some("Waiting") => json!({ "waiting": fields }),
            Some("Running") => {
                set("startedAt", time(self.started).map(Json::from));
                json!({ "running": fields })
            }
            Some("Terminated") => {
                set("exitCode", Some(self.exit_code.unwrap_or_default().into()));
                set("signal", self.signal.map(Json::from));
                set("startedAt", time(self.started).map(Json::from));
                set("finishedAt", time(self.finished).map(Json::from));
                set("containerID", id.map(Json::from));
                json!({ "terminated": fields })
            }
            Some(_) | None => json!({}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_in_back_off_ended_with_the_id_it_bears() {
        let text = "  cart:\n    Container ID:   containerd://4a\n    Image:          shop/cart:1\n    \
            Args:\n      -c\n      echo \"State: fine\"\n    State:          Waiting\n      Reason:       CrashLoopBackOff\n    \
            Last State:     Terminated\n      Reason:       Error\n      Message:      cannot: bind\n\
            Error: more\n      Exit Code:    137\n      Finished:     Tue, 12 Aug 2025 06:42:07 +0200\n    \
            Ready:          False\n    Restart Count:  16\n    Limits:\n      memory:  50Mi\n    Requests:\n      memory:  1Mi";
        let lines: Vec<_> = text.lines().collect();
        let containers = read(&lines);
        let [cart] = containers.as_slice() else { panic!("{containers:?}") };
        assert_eq!(cart.spec["resources"]["limits"], json!({ "memory": "50Mi" }));
        assert_eq!(cart.status["state"], json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
        assert_eq!(
            cart.status["lastState"]["terminated"],
            json!({ "reason": "Error", "message": "cannot: bind", "exitCode": 137,
                "finishedAt": "2025-08-12T04:42:07Z", "containerID": "containerd://4a" })
        );
        assert_eq!(
            (&cart.status["restartCount"], &cart.status["ready"]),
            (&json!(16), &json!(false))
        );
    }
}
