//! The steps between which a node may die, and how often one did.

use std::collections::BTreeMap;

use serde::Serialize;

macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Something a node does of which nobody may notice whether it was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Step {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name used in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

steps! {
    /// A sign of life is given.
    Beat = "beat",
    /// A root is read.
    Look = "look",
    /// A root is written that claims the shard.
    Claim = "claim",
    /// A chunk of the last owner's state is read.
    Load = "load",
    /// The log is read again; after: the shard is as it was.
    Replay = "replay",
    /// An entry of the log is taken in.
    TakeIn = "take_in",
    /// Findings of a shard are taken in.
    Hear = "hear",
    /// A root is written that says which entry is tried next.
    Announce = "announce",
    /// What the shard became is written down.
    Cut = "cut",
    /// A chunk is put.
    Chunk = "chunk",
    /// A root is written, and the one before it has nothing in its outbox.
    Commit = "commit",
    /// A root is written, and loses what was delivered since the last one.
    Clear = "clear",
    /// A telling is delivered.
    Tell = "tell",
    /// Findings are handed over.
    HandOver = "hand_over",
    /// A dead letter is delivered.
    DeadLetter = "dead_letter",
    /// An audit is delivered.
    Audit = "audit",
    /// A log that is short of room is trimmed.
    Trim = "trim",
    /// A chunk that no root names is removed.
    Sweep = "sweep",
    /// A root is written that lets the shard go.
    Release = "release",
}

/// On which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// It was not done.
    Before,
    /// It was done, and whoever did it never heard.
    After,
}

/// How often nodes died at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Deaths {
    /// Before it was done.
    pub before: u64,
    /// After it was done.
    pub after: u64,
}

/// How often nodes died at which step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    deaths: BTreeMap<Step, Deaths>,
}

impl Coverage {
    pub(super) fn note(&mut self, step: Step, moment: Moment) {
        let deaths = self.deaths.entry(step).or_default();
        match moment {
            Moment::Before => deaths.before += 1,
            Moment::After => deaths.after += 1,
        }
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (step, theirs) in &other.deaths {
            let mine = self.deaths.entry(*step).or_default();
            mine.before += theirs.before;
            mine.after += theirs.after;
        }
    }

    /// Returns how often nodes died at a step.
    #[must_use]
    pub fn at(&self, step: Step) -> Deaths {
        self.deaths.get(&step).copied().unwrap_or_default()
    }
}
