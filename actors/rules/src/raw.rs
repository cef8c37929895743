//! A rule's file as it is written, before anything in it is believed.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

/// A rule's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRule {
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) what: String,
    pub(crate) evidence: String,
    pub(crate) root: String,
    pub(crate) not_this: String,
    pub(crate) first_look: String,
    #[serde(default)]
    pub(crate) leads_to: Vec<String>,
    pub(crate) class: String,
    pub(crate) about: Option<String>,
    #[serde(rename = "match")]
    pub(crate) steps: Vec<RawStep>,
    pub(crate) tell: RawTell,
    #[serde(default)]
    pub(crate) rule_out: Vec<RawRuledOut>,
    #[serde(rename = "or")]
    pub(crate) doubt: Option<RawDoubt>,
    #[serde(default)]
    pub(crate) scenes: Vec<RawScene>,
}

/// One step of `match`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStep {
    pub(crate) name: String,
    pub(crate) kind: Kinds,
    pub(crate) when: Option<String>,
    pub(crate) at_least: Option<u32>,
    pub(crate) within: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) same: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) says: Option<String>,
    #[serde(default)]
    pub(crate) optional: bool,
    pub(crate) missing: Option<String>,
    #[serde(default)]
    pub(crate) absent: bool,
}

/// What the story says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTell {
    pub(crate) title: String,
    pub(crate) because: String,
    pub(crate) advise: Vec<String>,
}

/// An alternative that the rule dismisses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRuledOut {
    pub(crate) pattern: String,
    pub(crate) because: String,
    pub(crate) step: Option<String>,
}

/// An alternative that the rule cannot dismiss.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDoubt {
    pub(crate) pattern: String,
    pub(crate) because: String,
    pub(crate) check: String,
    pub(crate) unless: Option<String>,
}

/// A short story whose cause is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawScene {
    pub(crate) name: String,
    pub(crate) truth: String,
    pub(crate) story: String,
}

/// One kind, or a list of them.
#[derive(Debug)]
pub(crate) struct Kinds(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Kinds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kind of event or a list of kinds")
    }

    fn visit_str<E>(self, kind: &str) -> Result<Kinds, E> {
        Ok(Kinds(vec![kind.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kinds, A::Error> {
        let mut kinds = Vec::new();
        while let Some(kind) = seq.next_element()? {
            kinds.push(kind);
        }
        Ok(Kinds(kinds))
    }
}
