//! What a proxy does to what passes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What happens to one direction of every connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Everything arrives later by a time between `min` and `max`, in order.
    Delay {
        /// The least delay.
        min: Duration,
        /// The greatest delay.
        max: Duration,
        /// What the delays are drawn from; the same seed draws the same for the same connection.
        seed: u64,
    },
    /// No more than this passes in a second, over each connection.
    Throttle {
        /// Bytes a second; nought passes one byte a second.
        bytes_per_s: u64,
    },
    /// Connections are taken and nothing passes; what was sent arrives after the fault.
    ///
    /// As with a partition, neither side is told, and TCP delivers late rather than never.
    Blackhole,
    /// Open connections are reset and new ones are reset at once.
    Reset,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// The faults of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) to_server: Fault,
    pub(crate) to_client: Fault,
}

impl Faults {
    pub(crate) const fn of(self, direction: Direction) -> Fault {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }

    pub(crate) fn any(self, fault: Fault) -> bool {
        self.to_server == fault || self.to_client == fault
    }
}

/// Draws the delays of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Delays {
    connection: u64,
    drawn_from: Option<(u64, StdRng)>,
}

impl Delays {
    pub(crate) const fn new(connection: u64) -> Self {
        Self { connection, drawn_from: None }
    }

    pub(crate) fn draw(&mut self, fault: Fault) -> Duration {
        let Fault::Delay { min, max, seed } = fault else { return Duration::ZERO };
        let rng = match &mut self.drawn_from {
            Some((known, rng)) if *known == seed => rng,
            stale => {
                let rng = StdRng::seed_from_u64(seed.wrapping_add(self.connection));
                &mut stale.insert((seed, rng)).1
            }
        };
        if max > min { rng.random_range(min..=max) } else { min }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_repeat_with_their_seed_and_stay_within_bounds() {
        let (min, max) = (Duration::from_millis(5), Duration::from_millis(50));
        let draws = |connection, seed| -> Vec<_> {
            let mut delays = Delays::new(connection);
            (0..50).map(|_| delays.draw(Fault::Delay { min, max, seed })).collect()
        };
        assert_eq!(draws(1, 7), draws(1, 7));
        assert_ne!(draws(1, 7), draws(1, 8));
        assert_ne!(draws(1, 7), draws(2, 7));
        assert!(draws(1, 7).iter().all(|delay| (min..=max).contains(delay)));
    }

    #[test]
    fn bounds_the_wrong_way_round_are_the_least_delay() {
        let (min, max) = (Duration::from_millis(5), Duration::ZERO);
        assert_eq!(Delays::new(0).draw(Fault::Delay { min, max, seed: 0 }), min);
    }
}
