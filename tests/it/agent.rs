//! Does the agent lose or repeat anything, whatever happens to its output, to NATS or to itself?

mod away;
mod feed;
mod killed;
mod switching;
mod world;

use std::time::Duration;

use tapio_chaos::real::NatsBinary;
use tapio_tests::{Need, tapio_binary};
use tokio::{runtime::Builder, time::timeout};

use crate::Case;

/// No test here takes half of it; a hang shall not be waited for.
const TEST_MAX: Duration = Duration::from_secs(300);

pub(crate) fn cases() -> Vec<Case> {
    let need = NatsBinary::find_or_install().map(drop);
    let need = need.map_err(|need| Need::NotInstalled(need.to_string()));
    let case = |name, test| Case::with_need(name, need.clone(), test);
    vec![
        case("agent::switching_ten_times_loses_nothing", || run(switching::ten_times())),
        case("agent::the_spool_bridges_an_absent_nats", || run(away::bridged())),
        case("agent::a_kill_loses_nothing_and_makes_no_new_ids", || run(killed::three_times())),
    ]
}

fn run(test: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    // Building takes as long as it takes, and is no part of the test.
    tapio_binary()?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        timeout(TEST_MAX, test).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
    })
}
