//! What one look at a source brought.

use tapio_collect::{CollectorError, DropReason, Outlet, Unbound};

/// Events that were read, with the figures that explain them.
///
/// Readers fill it without awaiting; passing it on is the only thing that waits.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) events: Vec<Unbound>,
    pub(crate) read: u64,
    pub(crate) emitted: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Harvest {
    /// Counts records dropped.
    pub(crate) fn drop_records(&mut self, reason: DropReason, records: u64) {
        let known = DropReason::ALL.iter().zip(&mut self.dropped);
        if let Some((_, count)) = known.into_iter().find(|(known, _)| **known == reason) {
            *count += records;
        }
    }

    /// Counts records that were read and dropped in one.
    pub(crate) fn lose(&mut self, reason: DropReason, records: u64) {
        self.read += records;
        self.drop_records(reason, records);
    }

    /// Adds an event made of `records` records.
    pub(crate) fn emit(&mut self, event: Unbound, records: u64) {
        self.events.push(event);
        self.emitted += records;
    }

    /// Takes back what was told: the next run reads it again.
    pub(crate) fn defer(&mut self) {
        self.events.clear();
        let records = std::mem::take(&mut self.emitted);
        self.drop_records(DropReason::Ignored, records);
    }

    /// Adds what another harvest holds.
    #[cfg(test)]
    pub(crate) fn absorb(&mut self, other: Self) {
        self.events.extend(other.events);
        self.read += other.read;
        self.emitted += other.emitted;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
    }

    /// Passes the events on, then enters the figures into the account.
    ///
    /// # Cancel safety
    /// Dropping the future loses the events that were not passed on yet; they are read, and
    /// neither emitted nor dropped.
    pub(crate) async fn pass_on(self, outlet: &Outlet) -> Result<(), CollectorError> {
        outlet.account().read(self.read);
        for event in self.events {
            outlet.emit(event).await?;
        }
        settle(outlet, self.emitted, self.dropped);
        Ok(())
    }

    /// As [`Harvest::pass_on`], for a thread that may block.
    pub(crate) fn pass_on_blocking(self, outlet: &Outlet) -> Result<(), CollectorError> {
        outlet.account().read(self.read);
        for event in self.events {
            outlet.emit_blocking(event)?;
        }
        settle(outlet, self.emitted, self.dropped);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        DropReason::ALL
            .iter()
            .zip(self.dropped)
            .find_map(|(known, count)| (*known == reason).then_some(count))
            .unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn is_balanced(&self) -> bool {
        self.read == self.emitted + self.dropped.iter().sum::<u64>()
    }
}

fn settle(outlet: &Outlet, emitted: u64, dropped: [u64; DropReason::ALL.len()]) {
    outlet.account().emitted(emitted);
    for (reason, records) in DropReason::ALL.into_iter().zip(dropped) {
        outlet.account().dropped(reason, records);
    }
}
