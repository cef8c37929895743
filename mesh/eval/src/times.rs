//! Which time of a recording belongs to which fault.

use std::time::Duration;

use tapio_model::Timestamp;

use crate::{
    Labels,
    heard::Heard,
    score::{Count, FalseStories},
};

/// How long before its label a fault may show: whoever makes faults notes the time when he has
/// done so, and a fault that was never undone shows from the recording's first line.
const EARLY: Duration = Duration::from_secs(60);

/// How long after the recording of a fault its story may come: a window, and the engine's own time
/// to think.
const LATE: Duration = Duration::from_secs(90);

/// Where a time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the recording of this fault.
    Fault(usize),
    FaultFree,
    BeforeFirstFault,
    Elsewhere,
    MetricsOnly,
}

impl Place {
    /// Returns what it is called in scores.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fault(_) => "fault",
            Self::FaultFree => "fault_free",
            Self::BeforeFirstFault => "before_first_fault",
            Self::Elsewhere => "elsewhere",
            Self::MetricsOnly => "metrics_only",
        }
    }
}

/// The course of a recording.
#[derive(Debug)]
pub(crate) struct Course {
    faults: Vec<(Timestamp, Timestamp)>,
    fault_free: Vec<(Timestamp, Timestamp)>,
    stretches: Vec<(Timestamp, Timestamp)>,
    first_fault: Timestamp,
    span: (Timestamp, Timestamp),
}

impl Course {
    pub(crate) fn of(labels: &Labels, heard: &Heard) -> Self {
        let faults = labels.faults.iter().enumerate().map(|(at, fault)| {
            // A fault lasts until it is undone, else to the end of its recording, or until the next
            // one of the same one.
            let next = labels.faults.get(at + 1).map_or(Timestamp::MAX, |next| next.at);
            let holds = |(from, to): &&(Timestamp, Timestamp)| *from <= fault.at && fault.at <= *to;
            let stretch = || heard.stretches.iter().find(holds).map_or(fault.at, |(_, end)| *end);
            let end = fault.until.unwrap_or_else(stretch);
            (fault.at.before(EARLY), end.after(LATE).min(next.before(EARLY)))
        });
        Self {
            faults: faults.collect(),
            fault_free: labels.fault_free.clone(),
            stretches: heard.stretches.clone(),
            first_fault: labels.faults.first().map_or(Timestamp::MAX, |fault| fault.at),
            span: heard.span.unwrap_or((Timestamp::ZERO, Timestamp::ZERO)),
        }
    }

    /// Returns when the recording of a fault ends.
    pub(crate) fn end_of(&self, fault: usize) -> Timestamp {
        self.faults.get(fault).map_or(Timestamp::MIN, |(_, end)| *end)
    }

    pub(crate) fn place(&self, at: Timestamp) -> Place {
        let is_in = |(from, to): &(Timestamp, Timestamp)| *from <= at && at <= *to;
        if self.fault_free.iter().any(is_in) {
            return Place::FaultFree;
        }
        if let Some(fault) = self.faults.iter().position(is_in) {
            return Place::Fault(fault);
        }
        // What is told a moment after it was told of it.
        if self.fault_free.iter().any(|(from, to)| *from <= at && at <= to.after(LATE)) {
            return Place::FaultFree;
        }
        if at < self.first_fault {
            return Place::BeforeFirstFault;
        }
        let is_heard = |(from, to): &(Timestamp, Timestamp)| *from <= at && at <= to.after(LATE);
        if self.stretches.iter().any(is_heard) { Place::Elsewhere } else { Place::MetricsOnly }
    }

    /// Counts stories by where they were told, and the minutes of each place.
    pub(crate) fn false_stories(&self, told: impl Iterator<Item = Place>) -> FalseStories {
        let mut stories = self.minutes();
        for place in told {
            if let Some(count) = of(&mut stories, place) {
                count.stories += 1;
            }
        }
        stories
    }

    fn minutes(&self) -> FalseStories {
        const LOOK: Duration = Duration::from_secs(1);
        let mut minutes = FalseStories::default();
        let mut at = self.span.0;
        while at < self.span.1 {
            if let Some(count) = of(&mut minutes, self.place(at)) {
                count.minutes += 1.0 / 60.0;
            }
            at = at.after(LOOK);
        }
        minutes
    }
}

fn of(stories: &mut FalseStories, place: Place) -> Option<&mut Count> {
    match place {
        Place::Fault(_) => None,
        Place::FaultFree => Some(&mut stories.fault_free),
        Place::BeforeFirstFault => Some(&mut stories.before_first_fault),
        Place::Elsewhere => Some(&mut stories.elsewhere),
        Place::MetricsOnly => Some(&mut stories.metrics_only),
    }
}
