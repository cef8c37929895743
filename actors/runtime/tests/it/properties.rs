//! Whatever comes, whenever and however often, poison included: the seven outcomes add up.

use proptest::prelude::*;
use tapio_engine::Limits;
use tapio_model::Kind;

use crate::support::{House, Plan, Sketch, at, dead, hush, secs};

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_balances(
        inputs in proptest::collection::vec(
            (0_u64..60, 1_u8..9, 0_u64..120, 0_u64..90, any::<bool>(), 0_usize..4, any::<bool>()),
            0..200,
        ),
        size in 1_usize..20,
    ) {
        hush();
        let kinds = [Kind::ProbeFailed, Kind::ContainerKilling, Kind::EndpointsChanged, Kind::Log];
        let limits = Limits {
            trace_events_max: 12,
            node_traces_max: 2,
            node_closed_max: 2,
            mailbox_events_max: 6,
            late_horizon: secs(60),
            ..Limits::default()
        };
        let sketches: Vec<_> = inputs
            .iter()
            .map(|&(number, trace, now, age, inferred, kind, poison)| Sketch {
                number,
                trace,
                at: secs(now.saturating_sub(age)),
                kind: kinds[kind],
                impact: 0.8,
                inferred,
                pod: trace,
                poison: poison && trace == 5,
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let (stats, told) = runtime.expect("threads").block_on(async {
            let mut house = House::open(&Plan { limits, ..Plan::default() }).await.expect("actors");
            for (chunk, inputs) in sketches.chunks(size).zip(inputs.chunks(size)) {
                house.publish(secs(inputs[0].2), chunk).await.expect("a bus");
                let stats = house.system.stats().await;
                assert!(stats.ledger.balances(), "{:?}", stats.ledger);
            }
            // Far, and further for each try that a panic is given.
            for minute in 1..=5 {
                house.system.advance(at(secs(10_000 + minute * 60))).await;
            }
            house.finish().await
        });
        prop_assert_eq!(stats.ledger.open, 0);
        prop_assert_eq!((stats.live_traces, stats.live_actors, stats.waiting_events), (0, 0, 0));
        prop_assert!(stats.quarantined <= dead(&told).len() as u64);
        prop_assert!(dead(&told).iter().all(|(trace, _)| *trace == crate::support::trace_id(5)));
    }
}
