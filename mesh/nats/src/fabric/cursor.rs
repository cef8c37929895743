//! Where a reader is, and what each message from its consumer means. Decides; never waits.

use async_nats::HeaderMap;
use tapio_model::Timestamp;

use super::figures::Cause;

/// Messages asked for at once, and again when half of them have come. What lies here unread is at
/// most one and a half times as many: 96 envelopes, a megabyte or so for each reader. One round
/// trip per 32 envelopes is some 30,000 a second over a network.
pub(super) const PULL: usize = 64;

/// How a message of a consumer is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Its place in the stream.
    pub(super) stream: u64,
    /// Its place among what this consumer has sent, from 1.
    pub(super) consumer: u64,
    /// When the stream took it.
    pub(super) time: Timestamp,
    /// Messages that wait behind it.
    pub(super) waiting: u64,
}

impl Delivery {
    /// Reads the subject for acknowledgements, where the server writes the numbers.
    ///
    /// # Source
    /// NATS ADR-15: `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream
    /// sequence>.<consumer sequence>.<nanoseconds>.<pending>[.<token>]`.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let before = match rest.split('.').count() {
            7 => 3,
            9.. => 5,
            _ => return None,
        };
        let mut tokens = rest.split('.').skip(before);
        Some(Self {
            stream: tokens.next()?.parse().ok()?,
            consumer: tokens.next()?.parse().ok()?,
            time: Timestamp::from_nanos(tokens.next()?.parse().ok()?),
            waiting: tokens.next()?.parse().ok()?,
        })
    }
}

/// What a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next entry.
    Take,
    /// An entry that was read already.
    Repeat,
    /// A sign of life, or the end of a request.
    Alive,
    /// The consumer is of no use any more.
    Reopen(Cause),
}

/// Where a reader is in the stream, and in what its present consumer sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    next: u64,
    received: u64,
    asked: usize,
}

impl Cursor {
    /// Makes the cursor of a new consumer that begins at `next`.
    pub(super) const fn new(next: u64) -> Self {
        Self { next, received: 0, asked: 0 }
    }

    /// Returns the first sequence not read yet.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Says whether it is time to ask for more.
    pub(super) const fn wants_more(&self) -> bool {
        self.asked <= PULL / 2
    }

    /// Notes that [`PULL`] more were asked for.
    pub(super) const fn asked(&mut self) {
        self.asked = self.asked.saturating_add(PULL);
    }

    /// Takes a delivery.
    pub(super) const fn deliver(&mut self, delivery: &Delivery) -> Step {
        self.asked = self.asked.saturating_sub(1);
        // Nothing of a consumer without acknowledgements comes twice, so its own count has no
        // gaps unless something was lost on the way; the stream's has, between two shards.
        if delivery.consumer != self.received.saturating_add(1) {
            return Step::Reopen(Cause::Gap);
        }
        self.received = delivery.consumer;
        if delivery.stream < self.next {
            return Step::Repeat;
        }
        self.next = delivery.stream.saturating_add(1);
        Step::Take
    }

    /// Takes a status message.
    pub(super) fn status(
        &mut self,
        code: u16,
        description: &str,
        headers: Option<&HeaderMap>,
    ) -> Step {
        match code {
            // A heartbeat says what was sent last: so the loss of the very last one shows, too.
            100 => match number(headers, "Nats-Last-Consumer") {
                Some(sent) if sent > self.received => Step::Reopen(Cause::Gap),
                Some(_) | None => Step::Alive,
            },
            // The request ended before it was filled.
            404 | 408 => {
                let unfilled = number(headers, "Nats-Pending-Messages");
                let unfilled = unfilled.and_then(|count| usize::try_from(count).ok());
                self.asked = self.asked.saturating_sub(unfilled.unwrap_or(usize::MAX));
                Step::Alive
            }
            // Whatever else ends a request would end the next one at once: a new consumer comes
            // with a back-off, a new request would not.
            409 if !description.contains("Deleted") => Step::Reopen(Cause::Moved),
            _ => Step::Reopen(Cause::Gone),
        }
    }
}

fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivery(consumer: u64, stream: u64) -> Delivery {
        Delivery { stream, consumer, time: Timestamp::ZERO, waiting: 0 }
    }

    #[test]
    fn both_forms_of_numbers_are_read() {
        let wanted = Delivery {
            stream: 42,
            consumer: 7,
            time: Timestamp::from_nanos(1_700_000_000_000_000_001),
            waiting: 3,
        };
        let table = [
            "$JS.ACK.EVENTS.c.1.42.7.1700000000000000001.3",
            "$JS.ACK._.hash.EVENTS.c.1.42.7.1700000000000000001.3",
            "$JS.ACK.hub.hash.EVENTS.c.1.42.7.1700000000000000001.3.token.more",
        ];
        for reply in table {
            assert_eq!(Delivery::parse(reply), Some(wanted), "{reply}");
        }
        for bad in ["", "$JS.ACK.", "$JS.ACK.E.c.1.42.7.1", "$JS.ACK.E.c.1.x.7.1.3", "_INBOX.a"] {
            assert_eq!(Delivery::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_gap_in_what_the_consumer_sent_wants_a_new_one_from_the_same_place() {
        let mut cursor = Cursor::new(10);
        assert_eq!(cursor.deliver(&delivery(1, 12)), Step::Take);
        assert_eq!(cursor.deliver(&delivery(2, 20)), Step::Take, "gaps in the stream are usual");
        assert_eq!(cursor.deliver(&delivery(4, 22)), Step::Reopen(Cause::Gap));
        assert_eq!(cursor.next(), 21);
    }

    #[test]
    fn what_was_read_is_passed_over() {
        let mut cursor = Cursor::new(10);
        assert_eq!(cursor.deliver(&delivery(1, 9)), Step::Repeat);
        assert_eq!(cursor.deliver(&delivery(2, 10)), Step::Take);
    }

    #[test]
    fn a_heartbeat_shows_the_loss_of_the_last_delivery() {
        let mut cursor = Cursor::new(1);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Last-Consumer", "0");
        assert_eq!(cursor.status(100, "Idle Heartbeat", Some(&headers)), Step::Alive);
        headers.insert("Nats-Last-Consumer", "1");
        let step = cursor.status(100, "Idle Heartbeat", Some(&headers));
        assert_eq!(step, Step::Reopen(Cause::Gap));
    }

    #[test]
    fn every_status_has_its_meaning() {
        let table = [
            (100, "Idle Heartbeat", Step::Alive),
            (404, "No Messages", Step::Alive),
            (408, "Request Timeout", Step::Alive),
            (409, "Consumer Deleted", Step::Reopen(Cause::Gone)),
            (409, "Leadership Change", Step::Reopen(Cause::Moved)),
            (409, "Server Shutdown", Step::Reopen(Cause::Moved)),
            (503, "No Responders", Step::Reopen(Cause::Gone)),
            (400, "Bad Request", Step::Reopen(Cause::Gone)),
        ];
        for (code, description, wanted) in table {
            assert_eq!(Cursor::new(1).status(code, description, None), wanted, "{description}");
        }
    }

    #[test]
    fn asks_again_before_it_runs_dry() {
        let mut cursor = Cursor::new(1);
        assert!(cursor.wants_more());
        cursor.asked();
        let half = u64::try_from(PULL / 2).unwrap_or_default();
        for n in 1..=half {
            assert!(!cursor.wants_more());
            cursor.deliver(&delivery(n, n));
        }
        assert!(cursor.wants_more());
        cursor.asked();
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Pending-Messages", PULL.to_string());
        cursor.status(408, "Request Timeout", Some(&headers));
        assert!(cursor.wants_more(), "a request that ended counts no more");
    }

    proptest! {
        #[test]
        fn no_reply_subject_panics(reply in ".{0,80}") {
            let with_prefix = format!("$JS.ACK.{reply}");
            prop_assert!(Delivery::parse(&reply).is_none() || reply.starts_with("$JS.ACK."));
            let _: Option<Delivery> = Delivery::parse(&with_prefix);
        }
    }
}
