//! Who is behind an address, as far as any event of a trace says.

use std::{collections::BTreeMap, net::IpAddr};

use tapio_engine::View;
use tapio_model::{Entity, Event, Kind, Text, keys};

use super::caller;
use crate::wording::names;

/// The services behind addresses: a probe may know of a service a moment after it knows its address,
/// and an application's line may say neither in so many words.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    known: BTreeMap<&'a str, Known<'a>>,
}

/// What is known of an address.
#[derive(Debug)]
struct Known<'a> {
    service: Option<&'a str>,
    /// The first attempt to reach it, which bears its port.
    first: &'a Event,
}

impl<'a> Names<'a> {
    /// Collects what attempts to connect say of their peers.
    pub(super) fn of(view: &View<'a>, kinds: &[Kind]) -> Self {
        let mut known = Self::default();
        for event in view.events().filter(|event| kinds.contains(&event.kind)) {
            let Some(host) = event.attributes.text(keys::PEER_ADDRESS) else { continue };
            // What an application calls it by is its name already.
            if host.parse::<IpAddr>().is_err() {
                continue;
            }
            let service = event.attributes.text(keys::PEER_SERVICE);
            let known = known.known.entry(host).or_insert(Known { service, first: event });
            known.service = known.service.or(service);
        }
        known
    }

    /// Returns the address of the peer: the attribute, else the known one that the line bears.
    fn host(&self, event: &'a Event) -> Option<&'a str> {
        let in_line = || {
            let line = event.message();
            self.known.keys().copied().find(|host| names(line, host))
        };
        let is_unnamed = event.attributes.text(keys::DNS_NAME).is_none();
        event.attributes.text(keys::PEER_ADDRESS).or_else(|| in_line().filter(|_| is_unnamed))
    }

    /// Returns the service at the other end, by whatever event knows it.
    pub(super) fn service(&self, event: &'a Event) -> Option<&'a str> {
        let said = event.attributes.text(keys::PEER_SERVICE);
        said.or_else(|| self.known.get(self.host(event)?)?.service)
    }

    /// Returns the service at the other end as a thing.
    pub(super) fn entity(&self, event: &'a Event) -> Option<Entity> {
        peer_service(event).or_else(|| Some(service(self.service(event)?, event)))
    }

    /// Returns what a failed attempt is about: the edge to the service, or else what the event says.
    pub(super) fn subject(&self, event: &'a Event) -> Option<Entity> {
        let from = caller(&event.place);
        if let Some(to) = self.service(event) {
            return Some(Entity::Edge { from, to: to.into() });
        }
        // An application's line has no port; the probe that saw the same attempt has.
        let first = self.host(event).and_then(|host| self.known.get(host)).map(|known| known.first);
        match first.filter(|_| address(event).is_none()).and_then(address) {
            Some(to) => Some(Entity::Edge { from, to }),
            None => subject(event),
        }
    }

    /// Names the other end: `db (10.0.0.7:5432)`.
    pub(super) fn peer(&self, event: &'a Event) -> String {
        let is_named = event.attributes.text(keys::PEER_SERVICE).is_some();
        match (self.service(event).filter(|_| !is_named), address(event)) {
            (Some(service), Some(address)) => format!("{service} ({address})"),
            (Some(service), None) => service.to_owned(),
            (None, _) => peer(event),
        }
    }
}

/// Returns the edge between both ends, or the place if the other end is unknown.
pub(in super::super) fn subject(event: &Event) -> Option<Entity> {
    let to = event.attributes.text(keys::PEER_SERVICE).map(Text::from).or_else(|| address(event));
    match to {
        Some(to) => Some(Entity::Edge { from: caller(&event.place), to }),
        None => Entity::narrowest(&event.place),
    }
}

fn address(event: &Event) -> Option<Text> {
    let text = |key| event.attributes.text(key).map(Text::from);
    let host = text(keys::PEER_ADDRESS).or_else(|| text(keys::DNS_NAME))?;
    let port = event.attributes.int(keys::PEER_PORT);
    Some(port.map_or(host.clone(), |port| format!("{host}:{port}").into()))
}

/// Names the other end: `db (10.0.0.7:5432)`.
pub(in super::super) fn peer(event: &Event) -> String {
    match (event.attributes.text(keys::PEER_SERVICE), address(event)) {
        (Some(service), Some(address)) => format!("{service} ({address})"),
        (Some(service), None) => service.to_owned(),
        (None, Some(address)) => address.to_string(),
        (None, None) => "an unknown peer".to_owned(),
    }
}

/// Returns the service at the other end; a cluster name says its namespace itself. A line names it
/// as the application calls it, which is a service's name unless it is an address.
pub(in super::super) fn peer_service(event: &Event) -> Option<Entity> {
    let is_name = |host: &&str| *host != "localhost" && host.parse::<IpAddr>().is_err();
    let called = || event.attributes.text(keys::PEER_ADDRESS).filter(is_name);
    let name = event.attributes.text(keys::PEER_SERVICE).or_else(called)?;
    Some(service(name, event))
}

/// Returns the service of a name; a cluster name says its namespace itself.
pub(super) fn service(name: &str, event: &Event) -> Entity {
    let mut labels = name.split('.');
    let (name, namespace) = match (labels.next(), labels.next(), labels.next()) {
        (Some(name), Some(namespace), None | Some("svc")) => (name, Some(namespace.into())),
        _ => (name, event.place.namespace.clone()),
    };
    Entity::Service { namespace: namespace.unwrap_or_default(), name: name.into() }
}

#[cfg(test)]
mod tests {
    use tapio_model::Entity;

    use super::super::Detector;

    #[test]
    fn a_peer_is_named_as_soon_as_any_attempt_knows_its_name() {
        let story = "0s shop/cart-1/cart%cart ConnectRefused addr=10.0.0.7 port=5432
            1s shop/cart-1/cart%cart ConnectRefused src=app msg=\"(10.0.0.7): Connection refused\"
            4s shop/cart-1/cart%cart ConnectRefused peer=db addr=10.0.0.7 port=5432";
        let lines: Vec<_> = story.lines().collect();
        let draft = one!(Detector, &lines[..2].join("\n")).unwrap();
        assert_eq!(draft.subject().to_string(), "cart -> 10.0.0.7:5432");
        let draft = one!(Detector, story).unwrap();
        assert_eq!(draft.headline(), "cart is refused by db (10.0.0.7:5432): nobody listens there");
        assert_eq!(draft.subject().to_string(), "cart -> db");
        assert_eq!(draft.evidence().len(), 3);
        let address = Entity::Edge { from: "cart".into(), to: "10.0.0.7:5432".into() };
        assert!(draft.touches().contains(&address), "what was told of the address is told anew");
    }
}
