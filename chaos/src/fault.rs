//! What can be done to a mesh.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $middle:literal;)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl FaultKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name used in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Says whether it hits the durable middle, or the way to it: then nobody can claim a
            /// shard for a while, however well the nodes are.
            #[must_use]
            pub const fn hits_middle(self) -> bool {
                match self { $(Self::$name => $middle,)+ }
            }
        }
    };
}

faults! {
    /// A node is killed (SIGKILL), and started again later.
    KillNode = "kill_node", false;
    /// A node is stopped in its tracks for longer than its lease, and goes on (SIGSTOP, SIGCONT).
    PauseNode = "pause_node", false;
    /// A node is told to end (SIGTERM) under load, and started again later.
    DrainNode = "drain_node", false;
    /// A node is cut off from everything.
    PartitionNode = "partition_node", false;
    /// A node is started again with a wall clock that is wrong.
    SkewClock = "skew_clock", false;
    /// A server is killed, and started again later.
    KillServer = "kill_server", true;
    /// The server that leads the stream of events is killed, and started again later.
    KillLeader = "kill_leader", true;
    /// All servers are killed at once, and started again later.
    KillAllServers = "kill_all_servers", true;
    /// What nodes and servers say to each other arrives late.
    SlowMiddle = "slow_middle", true;
    /// Connections between nodes and servers break, again and again.
    FailingMiddle = "failing_middle", true;
    /// A server's disk is full.
    FullDisk = "full_disk", true;
    /// Many times the usual comes.
    Burst = "burst", false;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
    }
}
