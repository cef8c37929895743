//! Letting go of events that every shard has done with.

use async_nats::jetstream::stream::{PurgeErrorKind, RawMessageErrorKind};
use tapio_model::ShardId;

use super::{
    calls::{Area, Calls},
    failure::Failure,
};
use crate::Stream;

impl Calls {
    /// Lets go of the events that nobody needs if their stream is more than half full. What is done
    /// with stays that long for whoever looks into it; the rest of the room is for new events.
    pub(super) async fn trim(&self, needs: &[(ShardId, u64)]) -> Result<bool, Failure> {
        let name = self.connection.subjects().stream(Stream::Events);
        self.bounded(Area::Logs, self.trim_unbounded(&name, needs)).await
    }

    async fn trim_unbounded(&self, name: &str, needs: &[(ShardId, u64)]) -> Result<bool, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| Failure::Unreachable(error.to_string());
        let stream = self.connection.jetstream().get_stream(name).await;
        let stream = stream.map_err(|error| unreachable(&error))?;
        let info = stream.cached_info();
        let room = u64::try_from(info.config.max_bytes).unwrap_or_default();
        if room == 0 || info.state.bytes <= room / 2 {
            return Ok(false);
        }
        // A quiet shard's mark is old, and it needs only what is there of its own after that.
        let mut before = info.state.last_sequence;
        for (shard, from) in needs {
            let subject = self.connection.subjects().events_of(*shard);
            match stream.get_first_raw_message_by_subject(&subject, *from).await {
                Ok(message) => before = before.min(message.sequence),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(unreachable(&error)),
            }
        }
        if before <= info.state.first_sequence {
            return Ok(false);
        }
        match stream.purge().sequence(before).await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                PurgeErrorKind::JetStream(error) => Err(error.into()),
                PurgeErrorKind::Request | PurgeErrorKind::TimedOut => Err(unreachable(&error)),
            },
        }
    }
}
