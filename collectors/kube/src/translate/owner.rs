//! Who owns what: from an owner reference up to the workload that people know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tapio_model::{Text, Workload};

use super::Context;

/// A chain of owners is two or three long; a longer one is a loop.
const OWNERS_MAX: usize = 5;

/// An object that owns others, or is asked for its own owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// Kind.
    pub(crate) kind: Text,
    /// Name.
    pub(crate) name: Text,
    /// UID.
    pub(crate) uid: Text,
}

/// What controls an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Controller {
    /// This object.
    By(Owner),
    /// Nothing: it is the top.
    Nobody,
    /// The object is not known (yet).
    Unknown,
}

/// What is found at the end of a chain of owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Top {
    owner: Owner,
    is_certain: bool,
}

impl Owner {
    /// Returns the controller that an object's metadata names.
    pub(crate) fn of(meta: &ObjectMeta) -> Option<Self> {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        Some(Self {
            kind: owner.kind.as_str().into(),
            name: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
        })
    }

    pub(super) fn top(self, namespace: &str, context: &Context<'_>) -> Top {
        let mut owner = self;
        for _ in 0..OWNERS_MAX {
            match context.owners.controller(namespace, &owner) {
                Controller::By(next) => owner = next,
                Controller::Nobody => return Top { owner, is_certain: true },
                // Nothing owns these, so nobody needs to know them.
                Controller::Unknown => {
                    let is_certain = !matches!(&*owner.kind, "Pod" | "ReplicaSet" | "Job");
                    return Top { owner, is_certain };
                }
            }
        }
        Top { owner, is_certain: false }
    }
}

impl Top {
    /// Returns the workload, if it is certain which it is.
    pub(super) fn certain(self) -> Option<Workload> {
        let is_known = self.is_certain;
        self.workload().filter(|_| is_known)
    }

    /// Returns the workload; the name of an unknown ReplicaSet ends in its pods' template hash if
    /// a Deployment made it, and only then is the rest the Deployment's name.
    pub(super) fn with_hash(self, hash: Option<&str>) -> Option<Workload> {
        if !self.is_certain && &*self.owner.kind == "ReplicaSet" {
            let name = hash
                .and_then(|hash| self.owner.name.strip_suffix(hash)?.strip_suffix('-'))
                .filter(|name| !name.is_empty());
            if let Some(name) = name {
                return Some(Workload { kind: "Deployment".into(), name: name.into() });
            }
        }
        self.workload()
    }

    /// A bare pod owns itself, and a mirror of a static pod is owned by its node: neither is a
    /// workload.
    fn workload(self) -> Option<Workload> {
        let Owner { kind, name, .. } = self.owner;
        (!matches!(&*kind, "Pod" | "Node")).then_some(Workload { kind, name })
    }
}
