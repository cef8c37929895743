//! One direction of one connection through the proxy.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::real::proxy::fault::{Delays, Direction, Fault, Faults};

/// The most that is read at once.
const CHUNK_BYTES_MAX: usize = 16 << 10;

/// How much of one direction is held while it is late; more waits in the sender's kernel.
const HELD_BYTES_MAX: usize = 1 << 20;

/// What moves the bytes of one direction.
#[derive(Debug)]
pub(crate) struct Pump<'a> {
    pub(crate) direction: Direction,
    pub(crate) faults: watch::Receiver<Faults>,
    pub(crate) delays: Delays,
    pub(crate) passed: &'a AtomicU64,
}

/// Bytes on their way, and when they may arrive.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    due: Instant,
}

impl Pump<'_> {
    /// Moves bytes until the sender ends and everything it sent has arrived.
    ///
    /// Reading and writing take turns in one loop, so that bytes go on arriving from the sender,
    /// and get their times, while earlier ones wait for theirs.
    pub(crate) async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut held: VecDeque<Held> = VecDeque::new();
        let (mut held_bytes, mut has_ended) = (0, false);
        // When the throttle lets the next bytes pass.
        let mut free_at = Instant::now();
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        loop {
            let fault = self.faults.borrow_and_update().of(self.direction);
            if has_ended && held.is_empty() && fault != Fault::Blackhole {
                return to.shutdown().await;
            }
            let due = held.front().map(|first| departure(first.due, free_at, fault));
            let may_read = !has_ended && held_bytes < HELD_BYTES_MAX && fault != Fault::Blackhole;
            tokio::select! {
                // Faults first: bytes that are ready must not slip through a new one.
                biased;
                changed = self.faults.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = until(due) => {
                    if let Some(first) = held.pop_front() {
                        held_bytes -= first.bytes.len();
                        free_at = Instant::now() + transmission(fault, first.bytes.len());
                        to.write_all(&first.bytes).await?;
                        self.count(first.bytes.len());
                    }
                }
                read = read_some(&mut from, &mut buffer, fault), if may_read => {
                    let bytes = buffer.get(..read?).unwrap_or_default().to_vec();
                    has_ended = bytes.is_empty();
                    held_bytes += bytes.len();
                    if !has_ended {
                        let earliest = held.back().map_or_else(Instant::now, |last| last.due);
                        let due = earliest.max(Instant::now() + self.delays.draw(fault));
                        held.push_back(Held { bytes, due });
                    }
                }
            }
        }
    }

    fn count(&self, bytes: usize) {
        self.passed.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// When bytes that were due at `due` leave under the fault of now; never under a black hole.
fn departure(due: Instant, free_at: Instant, fault: Fault) -> Option<Instant> {
    match fault {
        // A fault that is over holds nothing back, whatever it was.
        Fault::None | Fault::Reset => Some(Instant::now()),
        Fault::Delay { .. } => Some(due),
        Fault::Throttle { .. } => Some(free_at),
        Fault::Blackhole => None,
    }
}

/// How long a throttled line is busy with `bytes`.
fn transmission(fault: Fault, bytes: usize) -> Duration {
    let Fault::Throttle { bytes_per_s } = fault else { return Duration::ZERO };
    let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000);
    Duration::from_micros(micros / bytes_per_s.max(1))
}

/// Reads what is there, little of it if it will be throttled: a twentieth of a second's worth.
async fn read_some(from: &mut ReadHalf<'_>, into: &mut [u8], fault: Fault) -> io::Result<usize> {
    let bytes_max = match fault {
        Fault::Throttle { bytes_per_s } => usize::try_from(bytes_per_s / 20).unwrap_or(usize::MAX),
        Fault::None | Fault::Delay { .. } | Fault::Blackhole | Fault::Reset => CHUNK_BYTES_MAX,
    };
    let bytes_max = bytes_max.clamp(1, into.len());
    from.read(into.get_mut(..bytes_max).unwrap_or_default()).await
}

async fn until(due: Option<Option<Instant>>) {
    match due.flatten() {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_its_own_fault_holds_bytes_back() {
        let now = Instant::now();
        let (due, free_at) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let delay = Fault::Delay { min: Duration::ZERO, max: Duration::ZERO, seed: 0 };
        let cases = [
            (Fault::None, Some(now)),
            (Fault::Reset, Some(now)),
            (delay, Some(due)),
            (Fault::Throttle { bytes_per_s: 1 }, Some(free_at)),
            (Fault::Blackhole, None),
        ];
        for (fault, expected) in cases {
            assert_eq!(departure(due, free_at, fault), expected, "{fault:?}");
        }
    }

    #[test]
    fn a_throttled_line_is_busy_for_what_it_carries() {
        let cases = [(1000, 500, 500), (1000, 1000, 1000), (0, 1, 1000)];
        for (bytes_per_s, bytes, millis) in cases {
            let busy = transmission(Fault::Throttle { bytes_per_s }, bytes);
            assert_eq!(busy, Duration::from_millis(millis), "{bytes_per_s} {bytes}");
        }
    }
}
