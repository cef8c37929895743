//! What a condition can ask of an event.

use cel::{
    common::{
        types::{CelBool, CelDouble, CelInt, CelString},
        value::CowVal,
    },
    context::VariableResolver,
};
use regex::Regex;
use tapio_model::{Event, Place, Text, Value};
use tapio_patterns::fixture::ALIASES;

use crate::problem::Fault;

/// One question to an event. In a compiled condition its name is its number.
#[derive(Debug, Clone)]
pub(super) enum Leaf {
    Kind,
    Source,
    Severity,
    Class,
    Impact,
    Time,
    Message,
    Attribute(Text),
    HasAttribute(Text),
    Place(PlaceField),
    HasPlace(PlaceField),
    /// The regular expression is compiled with the condition, and not for every event again.
    Matches(Box<Self>, Regex),
}

/// A name of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceField {
    Cluster,
    Node,
    Namespace,
    Workload,
    WorkloadKind,
    Pod,
    Container,
    Service,
    Cgroup,
}

/// The names of a place's parts.
pub(crate) const PLACE_FIELDS: [(&str, PlaceField); 9] = [
    ("namespace", PlaceField::Namespace),
    ("pod", PlaceField::Pod),
    ("container", PlaceField::Container),
    ("workload", PlaceField::Workload),
    ("workload_kind", PlaceField::WorkloadKind),
    ("service", PlaceField::Service),
    ("node", PlaceField::Node),
    ("cluster", PlaceField::Cluster),
    ("cgroup", PlaceField::Cgroup),
];

/// Returns the part of a place with this name.
pub(crate) fn place_field(name: &str) -> Option<PlaceField> {
    PLACE_FIELDS.iter().find_map(|(known, field)| (*known == name).then_some(*field))
}

impl PlaceField {
    /// Returns what a place says of it.
    pub(crate) fn of(self, place: &Place) -> Option<&Text> {
        let owner = place.workload.as_ref();
        match self {
            Self::Cluster => place.cluster.as_ref(),
            Self::Node => place.node.as_ref(),
            Self::Namespace => place.namespace.as_ref(),
            Self::Workload => owner.map(|owner| &owner.name),
            Self::WorkloadKind => owner.map(|owner| &owner.kind),
            Self::Pod => place.pod.as_ref(),
            Self::Container => place.container.as_ref(),
            Self::Service => place.service.as_ref(),
            Self::Cgroup => place.cgroup.as_ref(),
        }
    }
}

/// Returns the full key of an attribute. As in the story language: a short name, or a full one, which
/// has a point; anything else is a slip of the pen.
pub(crate) fn attribute_key(name: &str) -> Result<Text, Fault> {
    let alias = ALIASES.iter().find_map(|(alias, full)| (*alias == name).then_some(*full));
    let full = name.contains('.').then_some(name);
    let unknown = || Fault::unknown("attribute", name, ALIASES.iter().map(|(alias, _)| *alias));
    alias.or(full).map(Text::from).ok_or_else(unknown)
}

/// An event as a condition sees it.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub(super) event: &'a Event,
    pub(super) leaves: &'a [Leaf],
}

impl VariableResolver for Sight<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let number: usize = variable.strip_prefix('@')?.parse().ok()?;
        self.look(self.leaves.get(number)?)
    }
}

impl Sight<'_> {
    fn look<'b>(&'b self, leaf: &Leaf) -> Option<CowVal<'b, 'b>> {
        let event = self.event;
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        let truth = |truth: bool| Some(CowVal::owned(CelBool::from(truth)));
        let number = |number: i64| Some(CowVal::owned(CelInt::from(number)));
        match leaf {
            Leaf::Kind => text(event.kind.name()),
            Leaf::Source => text(event.source.name()),
            Leaf::Class => text(event.class.name()),
            Leaf::Severity => number(event.severity as i64),
            Leaf::Impact => Some(CowVal::owned(CelDouble::from(f64::from(event.impact.get())))),
            Leaf::Time => number(event.time.as_nanos() / 1_000_000),
            Leaf::HasAttribute(key) => truth(event.attributes.get(key).is_some()),
            Leaf::HasPlace(field) => truth(field.of(&event.place).is_some()),
            Leaf::Message | Leaf::Place(_) => text(self.text(leaf)?),
            Leaf::Attribute(key) => match event.attributes.get(key)? {
                Value::Text(said) => text(said),
                Value::Int(said) => number(*said),
                Value::Float(said) => Some(CowVal::owned(CelDouble::from(*said))),
                Value::Bool(said) => truth(*said),
            },
            Leaf::Matches(of, regex) => truth(regex.is_match(self.text(of)?)),
        }
    }

    /// Returns the text that a leaf stands for; a number has none.
    fn text(&self, leaf: &Leaf) -> Option<&str> {
        match leaf {
            Leaf::Kind => Some(self.event.kind.name()),
            Leaf::Source => Some(self.event.source.name()),
            Leaf::Class => Some(self.event.class.name()),
            Leaf::Message => Some(self.event.message()),
            Leaf::Attribute(key) => self.event.attributes.text(key),
            Leaf::Place(field) => field.of(&self.event.place).map(Text::as_str),
            Leaf::Severity
            | Leaf::Impact
            | Leaf::Time
            | Leaf::HasAttribute(_)
            | Leaf::HasPlace(_)
            | Leaf::Matches(..) => None,
        }
    }
}
