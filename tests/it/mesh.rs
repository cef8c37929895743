//! Does a mesh of real nodes tell the right story, to whoever asks, whatever happens to a node or
//! to NATS?
#![expect(
    clippy::indexing_slicing,
    reason = "JSON that lacks what is asked for gives null, and the test fails"
)]

mod demo;
mod failover;
mod health;
mod learns;
mod poison;
mod refusals;
mod seen;
mod story;
mod world;

use std::time::Duration;

use tapio_chaos::real::NatsBinary;
use tapio_tests::{Need, python_with_opentelemetry, tapio_binary};
use tokio::{runtime::Builder, time::timeout};

use crate::Case;

/// No test here takes half of it; a hang shall not be waited for.
const TEST_MAX: Duration = Duration::from_secs(120);

pub(crate) fn cases() -> Vec<Case> {
    let need = NatsBinary::find_or_install().map(drop);
    let need = need.map_err(|need| Need::NotInstalled(need.to_string()));
    let receiver = need.clone().and_then(|()| python_with_opentelemetry().map(drop));
    let case = |name, test| Case::with_need(name, need.clone(), test);
    vec![
        case("mesh::three_nodes_tell_one_story_to_whoever_asks", || run(story::one_story())),
        case("mesh::a_killed_node_is_replaced_and_one_that_leaves_is_not_missed", || {
            run(failover::kill_and_leave())
        }),
        case("mesh::a_node_that_comes_back_takes_up_its_own", || run(failover::comes_back())),
        case("mesh::a_node_says_when_it_is_ready_and_outlives_its_nats", || {
            run(health::outlives_nats())
        }),
        case("mesh::what_cannot_work_is_refused_with_its_cure", || run(refusals::refused())),
        case("mesh::two_generations_live_side_by_side", || run(refusals::generations())),
        case("mesh::a_node_learns_from_what_comes_in", || run(learns::from_what_comes_in())),
        case("mesh::what_cannot_be_read_is_one_dead_letter", || run(poison::one_letter())),
        Case::with_need("mesh::its_own_trace_goes_from_publisher_to_story", receiver, || {
            run(seen::one_trace())
        }),
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
