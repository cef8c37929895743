//! Is what left the mesh read as it was written, and do the commands do what they say with it?

mod commands;
mod letters;
mod tellings;
mod world;

use std::time::Duration;

use tapio_chaos::real::NatsBinary;
use tapio_tests::Need;
use tokio::{runtime::Builder, time::timeout};

use crate::Case;

/// No test here takes a tenth of it, a build of the binary left aside; a hang shall not be waited
/// for.
const TEST_MAX: Duration = Duration::from_secs(120);

pub(crate) fn cases() -> Vec<Case> {
    let need = NatsBinary::find_or_install().map(drop);
    let need = need.map_err(|need| Need::NotInstalled(need.to_string()));
    let case = |name, test| Case::with_need(name, need.clone(), test);
    vec![
        case("archive_nats::letters_are_found_by_what_they_are", || run(letters::found())),
        case("archive_nats::without_streams_it_says_which", || run(letters::no_streams())),
        case("archive_nats::a_story_is_read_whole", || run(tellings::story())),
        case("archive_nats::a_feed_begins_where_it_is_asked_to", || run(tellings::starts())),
        case("archive_nats::a_feed_outlives_its_server", || run(tellings::over_restart())),
        case("archive_nats::dlq_lists_and_shows", || run(commands::lists_and_shows())),
        case("archive_nats::dlq_gives_back_once", || run(commands::gives_back_once())),
        case("archive_nats::dlq_says_what_cannot_go_back", || run(commands::refuses())),
        case("archive_nats::a_recording_is_published", || run(commands::publishes())),
        case("archive_nats::a_recording_begins_now", || run(commands::publishes_now())),
    ]
}

fn run(test: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        timeout(TEST_MAX, test).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
    })
}
