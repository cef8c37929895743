//! The event that says what the spool lost, so that stories can say it.

use std::sync::Arc;

use tapio_bus::Batch;
use tapio_collect::{Binder, Home, Unbound, event_id};
use tapio_model::{Class, Clock, Kind, Level, Place, Severity, Source, keys};
use tapio_shard::ShardCount;

use crate::{Loss, Teller};

/// The reason on the event.
pub const SPOOL_DROPPED: &str = "TapioSpoolDropped";

/// Makes what tells of losses: one event, bound to this node, as grave as what was lost.
#[must_use]
pub fn loss_teller(
    binder: Arc<Binder>,
    home: Home,
    shards: ShardCount,
    clock: Arc<dyn Clock>,
) -> Teller {
    Arc::new(move |loss| {
        let unbound = loss_event(&loss, &home, clock.as_ref());
        let event = binder.bind(unbound);
        let (shard, level) = (shards.shard_of(event.trace.trace_id), event.level());
        Batch { shard, level, time: clock.now(), events: vec![Arc::new(event)] }
    })
}

fn loss_event(loss: &Loss, home: &Home, clock: &dyn Clock) -> Unbound {
    // The count of all that was ever lost makes the id: told again after a crash, it is the same.
    let level = loss.level.name();
    let id = event_id(&[
        b"tapio-spool",
        &loss.spool.to_le_bytes(),
        level.as_bytes(),
        &loss.events_ever.to_le_bytes(),
    ]);
    let (severity, impact) = match loss.level {
        Level::Normal => (Severity::Warn, 0.5),
        Level::High => (Severity::Warn, 0.75),
        Level::Critical => (Severity::Error, 0.9),
    };
    let place =
        Place { cluster: home.cluster.clone(), node: home.node.clone(), ..Place::default() };
    let events = i64::try_from(loss.events).unwrap_or(i64::MAX);
    Unbound::new(id, clock.now(), Source::Metrics, Kind::ObjectEvent)
        .at(place)
        .rated(severity, impact, Class::Other)
        .with(keys::REASON, SPOOL_DROPPED)
        .with(keys::COUNT, events)
        .with(keys::OBJECT_KIND, "Spool")
        .with(keys::OBJECT_NAME, level)
        .message(format!(
            "the agent's spool lost {events} events of level {level}; what they would have shown \
             is missing"
        ))
}

#[cfg(test)]
mod tests {
    use tapio_model::Timestamp;

    use super::*;

    #[derive(Debug)]
    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(43_200)
        }
    }

    #[test]
    fn a_loss_becomes_one_event_at_this_node() {
        let home = Home { cluster: None, node: Some("node-1".into()) };
        let shards = ShardCount::DEFAULT;
        let binder = Arc::new(Binder::new(home.clone()));
        let teller = loss_teller(binder, home, shards, Arc::new(Noon));
        for level in Level::ALL {
            let batch = teller(Loss { spool: 4, level, events: 12, events_ever: 30 });
            let [event] = batch.events.as_slice() else { panic!("one event") };
            assert_eq!((batch.level, event.level()), (level, level));
            assert_eq!(batch.shard, shards.shard_of(event.trace.trace_id));
            assert_eq!(event.kind, Kind::ObjectEvent);
            assert_eq!(event.attributes.text(keys::REASON), Some(SPOOL_DROPPED));
            assert_eq!(event.attributes.int(keys::COUNT), Some(12));
            assert_eq!(event.attributes.text(keys::OBJECT_NAME), Some(level.name()));
            assert_eq!(event.place.node.as_deref(), Some("node-1"));
            let again = teller(Loss { spool: 4, level, events: 12, events_ever: 30 });
            assert_eq!(again.events[0].id, event.id, "told twice, it is one event");
            let more = teller(Loss { spool: 4, level, events: 1, events_ever: 31 });
            assert_ne!(more.events[0].id, event.id);
        }
    }
}
