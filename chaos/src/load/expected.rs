//! The right answer.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::EventId;

use super::{LoadOptions, Shape, identity, incident, plan};

/// What must come of a load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// The incidents, by number: each is one story.
    pub incidents: BTreeMap<u32, ExpectedIncident>,
    /// Events sent in all, repeats aside.
    pub events_total: u64,
}

/// What must come of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedIncident {
    /// How it shows.
    pub shape: Shape,
    /// Every event in its traces.
    pub events: BTreeSet<EventId>,
    /// Of those, the ones that its story cites. A story may cite no other event.
    pub citable: BTreeSet<EventId>,
}

impl Expected {
    pub(super) fn of(options: &LoadOptions) -> Self {
        let incident = |number| {
            let shape = Shape::of(options, number);
            let evidence = |part| incident::evidence(options, number, part);
            let evidence = (0..shape.parts()).flat_map(evidence);
            let citable: BTreeSet<_> = evidence.map(|event| event.id).collect();
            let mut events = citable.clone();
            let hum = (0..options.hum_per_incident).map(|index| {
                let (part, index) = plan::hum_place(shape, index);
                incident::hum(options, number, part, index).id
            });
            events.extend(hum);
            (number, ExpectedIncident { shape, events, citable })
        };
        let incidents: BTreeMap<_, _> = (0..options.incidents).map(incident).collect();
        let healthy = u64::from(options.healthy_traces) * u64::from(options.spans_per_trace);
        let evident: usize = incidents.values().map(|incident| incident.events.len()).sum();
        let events_total = healthy + u64::try_from(evident).unwrap_or_default();
        Self { incidents, events_total }
    }

    /// Returns the incident that an event belongs to.
    #[must_use]
    pub fn incident_of(&self, id: EventId) -> Option<u32> {
        identity::incident_of(id).filter(|number| self.incidents.contains_key(number))
    }
}
