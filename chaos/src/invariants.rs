//! What must hold of every run, whatever was done to the mesh: one file each.

#[cfg(test)]
pub(crate) mod sample;

use crate::record::Record;

/// Something that must not be, and was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant that does not hold: its file.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// Something that must hold of every run.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// The name of its file without the ending.
    pub slug: &'static str,
    check: fn(&Record) -> Vec<String>,
}

impl Invariant {
    /// Returns where it does not hold.
    #[must_use]
    pub fn check(&self, record: &Record) -> Vec<Violation> {
        let seen = (self.check)(record);
        seen.into_iter().map(|what| Violation { invariant: self.slug, what }).collect()
    }
}

macro_rules! invariants {
    ($($slug:ident),+ $(,)?) => {
        $(mod $slug;)+

        /// Every invariant, in the order of the list.
        pub const ALL: &[Invariant] =
            &[$(Invariant { slug: stringify!($slug), check: $slug::check },)+];
    };
}

invariants! {
    nothing_lost,
    one_outcome,
    stories_disjoint,
    never_told_twice,
    tellings_in_order,
    every_incident_told,
    one_owner,
    progress_grows,
    takeover_bounded,
    drain_bounded,
    recovery_bounded,
    never_crashes,
    never_late,
    answers_honest,
    memory_bounded,
}

/// Returns everything that does not hold of a run.
#[must_use]
pub fn check(record: &Record) -> Vec<Violation> {
    ALL.iter().flat_map(|invariant| invariant.check(record)).collect()
}

/// Returns how many incidents were told in more than one story, and rightly so: a fault had torn
/// them apart.
#[must_use]
pub fn continued(record: &Record) -> usize {
    never_told_twice::continued(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hold_of_a_good_run() {
        assert_eq!(check(&sample::good()), []);
    }

    #[test]
    fn all_hold_of_an_empty_run() {
        assert_eq!(check(&Record::default()), []);
    }
}
