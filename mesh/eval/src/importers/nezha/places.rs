//! Text and places that many rows share.

use ahash::AHashMap;
use tapio_model::{Place, Text, keys};

use crate::importers::service_of_pod;

/// Different texts (operations, loggers) and places that are shared; what comes after them is
/// right as well, and costs more.
const SHARED_MAX: usize = 65_536;

/// Attribute keys, made once.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) message: Text,
    pub(super) logger: Text,
    pub(super) error_type: Text,
    pub(super) span_name: Text,
    pub(super) duration: Text,
}

/// Text and places that many rows share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) keys: Keys,
    texts: AHashMap<Box<str>, Text>,
    pods: AHashMap<Box<str>, Place>,
    /// By pod: of its containers one, the one that logs.
    containers: AHashMap<Box<str>, Place>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let keys = Keys {
            message: keys::MESSAGE.into(),
            logger: keys::LOGGER.into(),
            error_type: keys::ERROR_TYPE.into(),
            span_name: keys::SPAN_NAME.into(),
            duration: keys::DURATION.into(),
        };
        Self { keys, texts: AHashMap::new(), pods: AHashMap::new(), containers: AHashMap::new() }
    }

    pub(super) fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new = Text::from(text);
        if self.texts.len() < SHARED_MAX {
            self.texts.insert(text.into(), new.clone());
        }
        new
    }

    /// Returns the place of a pod of which nothing but the name is known.
    pub(super) fn pod(&mut self, pod: &str) -> Place {
        if let Some(known) = self.pods.get(pod) {
            return known.clone();
        }
        let new = Place {
            pod: Some(pod.into()),
            service: Some(service_of_pod(pod).into()),
            ..Place::default()
        };
        if self.pods.len() < SHARED_MAX {
            self.pods.insert(pod.into(), new.clone());
        }
        new
    }

    /// Returns the place of a container.
    pub(super) fn container(&mut self, node: &str, pod: &str, container: &str) -> Place {
        let is_it = |place: &&Place| {
            place.node.as_deref() == Some(node) && place.container.as_deref() == Some(container)
        };
        if let Some(known) = self.containers.get(pod).filter(is_it) {
            return known.clone();
        }
        let new =
            Place { node: Some(node.into()), container: Some(container.into()), ..self.pod(pod) };
        if self.containers.len() < SHARED_MAX {
            self.containers.insert(pod.into(), new.clone());
        }
        new
    }
}
