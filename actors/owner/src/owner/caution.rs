//! How carefully a shard is owned that was claimed over and over without getting anywhere.

use std::time::Duration;

use tapio_shard::{Root, Suspect};
use tokio::time::Instant;

/// How long an owner is careful at least: what ended the others ended them soon.
const CAREFUL_MIN: Duration = Duration::from_secs(5);

/// Every entry is announced, taken in alone and committed, until the logs are read as far as they
/// went when others died of them. One entry's care is not enough: the one that ends processes stands
/// somewhere among those that the last owner had taken in and not committed.
#[derive(Debug)]
pub(super) struct Caution {
    since: Instant,
    /// What the last owner announced, and may have died of: it is tried before anything else.
    announced: Option<Suspect>,
    /// Entries of the event log that waited when the first was tried, as far as they are left.
    events_left: u64,
    /// The same of the findings log.
    findings_left: u64,
    has_tried_event: bool,
    has_tried_findings: bool,
}

impl Caution {
    /// Returns what care a shard needs that was claimed with this root.
    pub(super) fn of(root: &Root) -> Option<Self> {
        let event = root.trying.map(Suspect::Event);
        root.is_suspect().then(|| Self {
            since: Instant::now(),
            announced: event.or(root.hearing.map(Suspect::Findings)),
            events_left: 0,
            findings_left: 0,
            has_tried_event: false,
            has_tried_findings: false,
        })
    }

    /// Says whether entries of the event log, or else of the findings log, may be tried now.
    pub(super) fn lets_in(&self, is_event: bool) -> bool {
        match self.announced {
            Some(Suspect::Event(_)) => is_event || self.is_late(),
            Some(Suspect::Findings(_)) => !is_event || self.is_late(),
            None => true,
        }
    }

    /// Notes that an entry was taken in, or given up, and that `waiting` stand behind it.
    pub(super) fn passed(&mut self, entry: Suspect, waiting: u64) {
        let (left, has_tried) = match entry {
            Suspect::Event(_) => (&mut self.events_left, &mut self.has_tried_event),
            Suspect::Findings(_) => (&mut self.findings_left, &mut self.has_tried_findings),
        };
        *left = if *has_tried { left.saturating_sub(1) } else { waiting };
        *has_tried = true;
        let is_it = |announced: &Suspect| match (announced, entry) {
            (Suspect::Event(it), Suspect::Event(passed))
            | (Suspect::Findings(it), Suspect::Findings(passed)) => *it <= passed,
            (Suspect::Event(_), Suspect::Findings(_))
            | (Suspect::Findings(_), Suspect::Event(_)) => false,
        };
        self.announced = self.announced.filter(|announced| !is_it(announced));
    }

    /// Says whether what may have ended the others is behind.
    pub(super) fn is_over(&self) -> bool {
        self.is_late() && self.events_left == 0 && self.findings_left == 0
    }

    fn is_late(&self) -> bool {
        self.since.elapsed() >= CAREFUL_MIN
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn caution(trying: Option<u64>) -> Caution {
        Caution::of(&Root { claims: u32::MAX, trying, ..Root::default() }).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn care_lasts_until_what_waited_is_behind() {
        assert!(Caution::of(&Root::default()).is_none());
        let mut caution = caution(None);
        caution.passed(Suspect::Event(5), 2);
        advance(CAREFUL_MIN).await;
        assert!(!caution.is_over());
        for (sequence, waiting) in [(6, 40), (7, 90)] {
            assert!(!caution.is_over());
            caution.passed(Suspect::Event(sequence), waiting);
        }
        assert!(caution.is_over(), "what came since was not there when others died");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_announced_is_tried_first() {
        let mut caution = caution(Some(5));
        assert!(caution.lets_in(true) && !caution.lets_in(false));
        caution.passed(Suspect::Event(5), 0);
        assert!(caution.lets_in(false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_holds_nothing_up_for_long() {
        let caution = caution(Some(5));
        assert!(!caution.lets_in(false));
        advance(CAREFUL_MIN).await;
        assert!(caution.lets_in(false));
    }
}
