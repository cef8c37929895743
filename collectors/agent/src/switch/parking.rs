//! Events that wait in memory while neither output nor spool takes any.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tapio_model::Level;

/// A bounded number of events.
#[derive(Debug)]
pub(super) struct Parking {
    events: Arc<AtomicUsize>,
    events_max: usize,
}

/// A place for some events, given back when dropped.
#[derive(Debug)]
pub(super) struct Parked {
    events: usize,
    all: Arc<AtomicUsize>,
}

impl Parking {
    pub(super) fn new(events_max: usize) -> Self {
        Self { events: Arc::default(), events_max }
    }

    /// Takes places for events of a level: the lower it is, the earlier it finds none.
    pub(super) fn enter(&self, level: Level, events: usize) -> Option<Parked> {
        let most = match level {
            Level::Normal => self.events_max / 2,
            Level::High => self.events_max / 4 * 3,
            Level::Critical => self.events_max,
        };
        let fits = |held: usize| held.checked_add(events).filter(|sum| *sum <= most);
        self.events.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Parked { events, all: Arc::clone(&self.events) })
    }

    /// Returns the events that wait.
    pub(super) fn events(&self) -> u64 {
        u64::try_from(self.events.load(Relaxed)).unwrap_or(u64::MAX)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.all.fetch_sub(self.events, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_level_finds_no_place_first() {
        let parking = Parking::new(8);
        let rows = [
            (Level::Normal, 4, true),
            (Level::Normal, 1, false),
            (Level::High, 2, true),
            (Level::High, 1, false),
            (Level::Critical, 2, true),
            (Level::Critical, 1, false),
        ];
        let mut parked = Vec::new();
        for (level, events, fits) in rows {
            let place = parking.enter(level, events);
            assert_eq!(place.is_some(), fits, "{level:?} {events}");
            parked.extend(place);
        }
        assert_eq!(parking.events(), 8);
        drop(parked);
        assert_eq!(parking.events(), 0);
    }
}
