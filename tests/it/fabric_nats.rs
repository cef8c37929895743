//! Does the mesh's durable middle keep its promises over a real JetStream, whatever happens to it?

mod cluster;
mod single;
mod world;

use std::time::Duration;

use tapio_chaos::real::NatsBinary;
use tapio_tests::Need;
use tokio::{runtime::Builder, time::timeout};

use crate::Case;

/// No test here takes a tenth of it; a hang shall not be waited for.
const TEST_MAX: Duration = Duration::from_secs(120);

pub(crate) fn cases() -> Vec<Case> {
    let need = NatsBinary::find_or_install().map(drop);
    let need = need.map_err(|need| Need::NotInstalled(need.to_string()));
    let case = |name, test| Case::with_need(name, need.clone(), test);
    vec![
        case("fabric_nats::a_race_for_a_root_has_one_winner", || run(single::race())),
        case("fabric_nats::a_deleted_root_can_be_written_again", || run(single::deleted_root())),
        case("fabric_nats::chunks_come_and_go", || run(single::chunks())),
        case("fabric_nats::a_parcel_lies_there_once", || run(single::parcels())),
        case("fabric_nats::a_full_stream_says_so", || run(single::full())),
        case("fabric_nats::a_shard_reads_its_own_events", || run(single::events())),
        case("fabric_nats::a_reader_outlives_its_server", || run(single::reader_over_restart())),
        case("fabric_nats::beats_outlive_their_server", || run(single::beats_over_restart())),
        case("fabric_nats::no_call_outlasts_its_patience", || run(single::patience())),
        case("fabric_nats::a_reader_outlives_its_leader", || run(cluster::reader_over_election())),
        case("fabric_nats::no_root_has_two_winners", || run(cluster::roots_over_election())),
    ]
}

fn run(test: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        timeout(TEST_MAX, test).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
    })
}
