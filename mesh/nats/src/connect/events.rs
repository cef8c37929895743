//! What the client tells of the connection while nobody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_nats::{Event, ServerError};
use tokio::sync::watch;
use tracing::{info, warn};

/// A kind of thing the client tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsyncEvent {
    /// A connection was made, the first or another.
    Connected,
    /// The connection was lost.
    Disconnected,
    /// The server is about to stop and asks to go elsewhere.
    LameDuck,
    /// Somebody here read too slowly: messages of a subscription were dropped.
    SlowConsumer,
    /// The server does not take us, or not this subject.
    Denied,
    /// The server told another error.
    ServerError,
    /// An attempt to connect failed, or the client gave up.
    ClientError,
    /// We are closing.
    Closing,
}

impl AsyncEvent {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Connected,
        Self::Disconnected,
        Self::LameDuck,
        Self::SlowConsumer,
        Self::Denied,
        Self::ServerError,
        Self::ClientError,
        Self::Closing,
    ];

    /// Returns the metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::LameDuck => "lame_duck",
            Self::SlowConsumer => "slow_consumer",
            Self::Denied => "denied",
            Self::ServerError => "server_error",
            Self::ClientError => "client_error",
            Self::Closing => "closing",
        }
    }

    fn of(event: &Event) -> Self {
        match event {
            Event::Connected => Self::Connected,
            Event::Disconnected => Self::Disconnected,
            Event::LameDuckMode => Self::LameDuck,
            Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => {
                Self::SlowConsumer
            }
            Event::ServerError(ServerError::AuthorizationViolation) => Self::Denied,
            // The server's words for a subject that is not ours to use.
            Event::ServerError(ServerError::Other(text))
                if text.to_ascii_lowercase().contains("permissions violation") =>
            {
                Self::Denied
            }
            Event::ServerError(ServerError::Other(_)) => Self::ServerError,
            Event::ClientError(_) => Self::ClientError,
            Event::Draining | Event::Closed => Self::Closing,
        }
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionFigures {
    /// What the client told, in the order of [`AsyncEvent::ALL`].
    pub events: [u64; AsyncEvent::ALL.len()],
}

impl ConnectionFigures {
    /// Returns how often the client told of `kind`.
    #[must_use]
    pub fn of(&self, kind: AsyncEvent) -> u64 {
        let by_kind = AsyncEvent::ALL.iter().zip(self.events);
        by_kind.filter(|(known, _)| **known == kind).map(|(_, count)| count).sum()
    }

    /// Returns how often a lost connection was replaced.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.of(AsyncEvent::Connected).saturating_sub(1)
    }
}

/// The running figures behind [`ConnectionFigures`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    events: [AtomicU64; AsyncEvent::ALL.len()],
    closed: watch::Sender<bool>,
}

impl Counters {
    /// Counts and logs what the client told.
    pub(super) fn note(&self, event: &Event) {
        let kind = AsyncEvent::of(event);
        let known = AsyncEvent::ALL.iter().zip(&self.events).find(|(known, _)| **known == kind);
        if let Some((_, count)) = known {
            count.fetch_add(1, Relaxed);
        }
        match kind {
            AsyncEvent::Connected | AsyncEvent::LameDuck | AsyncEvent::Closing => {
                info!(kind = kind.name(), %event, "the connection to NATS");
            }
            AsyncEvent::Disconnected
            | AsyncEvent::SlowConsumer
            | AsyncEvent::Denied
            | AsyncEvent::ServerError
            | AsyncEvent::ClientError => {
                warn!(kind = kind.name(), %event, "the connection to NATS");
            }
        }
        if matches!(event, Event::Closed) {
            self.closed.send_replace(true);
        }
    }

    /// Waits until the client has closed.
    pub(super) async fn closed(&self) {
        // The sender is ours, so waiting cannot fail.
        drop(self.closed.subscribe().wait_for(|closed| *closed).await);
    }

    pub(super) fn snapshot(&self) -> ConnectionFigures {
        ConnectionFigures { events: self.events.each_ref().map(|count| count.load(Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::ClientError;

    use super::*;

    #[test]
    fn what_the_client_tells_is_counted_by_kind() {
        let denied = r#"Permissions Violation for Publish to "tapio.events""#;
        let table = [
            (Event::Connected, AsyncEvent::Connected),
            (Event::Connected, AsyncEvent::Connected),
            (Event::Disconnected, AsyncEvent::Disconnected),
            (Event::LameDuckMode, AsyncEvent::LameDuck),
            (Event::SlowConsumer(3), AsyncEvent::SlowConsumer),
            (Event::ServerError(ServerError::AuthorizationViolation), AsyncEvent::Denied),
            (Event::ServerError(ServerError::Other(denied.to_owned())), AsyncEvent::Denied),
            (Event::ServerError(ServerError::Other("else".to_owned())), AsyncEvent::ServerError),
            (Event::ClientError(ClientError::MaxReconnects), AsyncEvent::ClientError),
            (Event::Closed, AsyncEvent::Closing),
        ];
        let counters = Counters::default();
        for (event, kind) in &table {
            let before = counters.snapshot().of(*kind);
            counters.note(event);
            assert_eq!(counters.snapshot().of(*kind), before + 1, "{event}");
        }
        let figures = counters.snapshot();
        assert_eq!(figures.events.iter().sum::<u64>(), 10);
        assert_eq!(figures.reconnects(), 1);
    }
}
