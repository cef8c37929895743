//! What may go wrong in a run. Each run draws some of it, so that rare company is met too.

macro_rules! troubles {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $percent:literal;)+) => {
        /// Something that goes wrong in a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trouble {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Trouble {
            /// Every trouble.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name used in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns in how many runs of a hundred it is met.
            #[must_use]
            pub const fn percent(self) -> u32 {
                match self { $(Self::$name => $percent,)+ }
            }
        }
    };
}

troubles! {
    /// A node is killed.
    Kill = "kill", 60;
    /// A node dies at a step of its own.
    Fuse = "fuse", 85;
    /// A node is stopped, often for longer than its lease, and goes on.
    Pause = "pause", 60;
    /// A node is cut off from the middle.
    CutOff = "cut_off", 60;
    /// A node is told to leave.
    Leave = "leave", 60;
    /// All nodes are told to leave, one after the other, and come back.
    Roll = "roll", 30;
    /// A node is told to let a shard go once.
    HandOff = "hand_off", 50;
    /// Calls, answers and reads go wrong now and then.
    Foul = "foul", 70;
    /// Nobody gets an answer for a while.
    Outage = "outage", 50;
    /// The log's leader changes: nobody gets an answer, and its clock steps back a little.
    LeaderChange = "leader_change", 50;
    /// Chunks are slow, and replicas of them lag behind.
    SlowChunks = "slow_chunks", 50;
    /// All nodes are killed at once.
    KillAll = "kill_all", 30;
    /// All nodes are dead for so long that the log ages out before it is read.
    AgeOut = "age_out", 10;
    /// The event log is short of room.
    ShortLog = "short_log", 30;
    /// Events are sent again long after.
    Repeat = "repeat", 70;
    /// Batches come that cannot be read.
    Garbage = "garbage", 50;
    /// A trace comes on which a pattern panics.
    Panic = "panic", 40;
    /// An entry comes that ends every process that takes it in.
    Deadly = "deadly", 15;
    /// Shards may hold few traces.
    Scarce = "scarce", 12;
}

impl Trouble {
    /// Says whether it is done to the mesh at a moment; else it is there all along, or comes with
    /// the load.
    #[must_use]
    pub const fn is_act(self) -> bool {
        !matches!(
            self,
            Self::ShortLog
                | Self::Repeat
                | Self::Garbage
                | Self::Panic
                | Self::Deadly
                | Self::Scarce
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_odds_are_odds() {
        let names: BTreeSet<_> = Trouble::ALL.iter().map(|trouble| trouble.name()).collect();
        assert_eq!(names.len(), Trouble::ALL.len());
        assert!(Trouble::ALL.iter().all(|trouble| (1..=100).contains(&trouble.percent())));
    }
}
