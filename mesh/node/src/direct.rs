//! Takes envelopes straight from agents, and acknowledges them once the bus has.

use std::{net::SocketAddr, sync::Arc};

use tapio_bus::Bus;
use tapio_direct::{BusSink, DirectError, DirectServer, ServeConfig};
use tapio_shard::ShardCount;

/// Takes envelopes on `address` and publishes them on `bus`, which has `shards`. A client hears
/// that an envelope is kept once the bus says so: with JetStream behind it, once that has it.
///
/// [`DirectServer::stop`] takes nothing new, ends what is on its way, and then returns.
///
/// # Errors
/// [`DirectError`] if the address cannot be listened on, or a certificate cannot be used.
pub async fn serve_direct(
    address: SocketAddr,
    bus: Arc<dyn Bus>,
    shards: ShardCount,
    config: ServeConfig,
) -> Result<DirectServer, DirectError> {
    DirectServer::start(address, Arc::new(BusSink::new(bus, shards)), config).await
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tapio_bus::{Batch, MemoryBus, MemoryBusLimits, Start};
    use tapio_direct::{DirectBus, DirectConfig};

    use super::*;
    use crate::fixture;

    #[tokio::test]
    async fn what_an_agent_publishes_comes_out_of_the_bus() {
        let shards = ShardCount::new(4);
        let limits = MemoryBusLimits { shards, ..MemoryBusLimits::default() };
        let bus = Arc::new(MemoryBus::new(limits));
        let events: Arc<dyn Bus> = Arc::<MemoryBus>::clone(&bus);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = serve_direct(any, events, shards, ServeConfig::default()).await;
        let server = server.expect("an address");
        let event = fixture::event(1);
        let shard = shards.shard_of(event.trace.trace_id);
        let mut reader = bus.subscribe(&[shard], Start::Earliest).await.expect("a shard");
        let agent = DirectBus::start(DirectConfig::to([server.address().to_string()]));
        let agent = agent.expect("an address");
        let batch = Batch { shard, level: event.level(), time: event.time, events: vec![event] };
        agent.publish(batch.clone()).await.expect("it is kept");
        let read = reader.next().await.expect("it is there");
        assert_eq!(*read.batch, batch);
        agent.close().await;
        assert_eq!(server.stop().await.kept, 1);
    }
}
