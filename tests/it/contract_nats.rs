//! Does the JetStream bus keep the contract, and does the connection say what is wrong?
//!
//! Every case has a server of its own; those that pretend to be a server need none.

mod bus;
mod identity;
mod refusal;

use std::{future::Future, time::Duration};

use tapio_chaos::real::{NatsBinary, NatsServer, NatsServerOptions};
use tapio_nats::{Connection, NatsConfig, Storage, StreamPlan};
use tapio_tests::Need;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    let server = NatsBinary::find_or_install();
    let server = server.map(drop).map_err(|why| Need::NotInstalled(why.to_string()));
    let openssl = server.clone().and_then(|()| identity::has_openssl());
    let with_server = |name, test| Case::with_need(name, server.clone(), test);
    vec![
        with_server("nats_bus_keeps_the_contract", bus::keeps_the_contract),
        with_server("nats_bus_loses_and_repeats_nothing_over_a_restart", bus::survives_a_restart),
        with_server("nats_bus_waits_or_sheds_when_the_stream_is_full", bus::meets_a_full_stream),
        with_server("nats_bus_splits_what_a_server_would_not_take", bus::splits),
        with_server("nats_bus_says_what_is_gone", bus::gone),
        with_server("nats_bus_carries_the_trace_and_stores_content_once", bus::carries_the_trace),
        with_server("nats_bus_over_three_servers", bus::over_three_servers),
        with_server("nats_high_stream_has_what_is_high_and_no_more", bus::high_stream),
        with_server("nats_stream_that_differs_is_explained_and_left_alone", refusal::differs),
        with_server("nats_replicas_without_a_cluster_are_explained", refusal::replicas),
        with_server("nats_without_jetstream_is_explained", refusal::no_jetstream),
        Case::new("nats_server_that_is_too_old_is_refused", refusal::too_old),
        Case::new("nats_server_that_is_not_there_is_named", refusal::nobody_there),
        with_server("nats_identity_by_nkey_password_and_token", identity::secrets),
        with_server("nats_identity_by_credentials_file", identity::credentials),
        Case::with_need("nats_identity_by_client_certificate", openssl, identity::certificate),
    ]
}

/// Why a case failed.
type Outcome<T = ()> = Result<T, String>;

/// Runs an asynchronous case within a minute.
fn run(case: impl Future<Output = Outcome>) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().map_err(|why| why.to_string())?;
    let case = async { tokio::time::timeout(Duration::from_secs(60), case).await };
    let outcome = runtime.block_on(case);
    outcome.map_err(|_elapsed| "it takes for ever".to_owned())?
}

async fn start(options: NatsServerOptions) -> Outcome<NatsServer> {
    NatsServer::start(options).await.map_err(|why| why.to_string())
}

/// How a case connects: it wants its answer soon.
fn config(url: String) -> NatsConfig {
    NatsConfig { startup: Duration::from_secs(5), ..NatsConfig::to(url) }
}

/// What a case plans: small, and gone with the server.
fn plan() -> StreamPlan {
    StreamPlan {
        storage: Storage::Memory,
        events_max_bytes: 32 << 20,
        kept_max_bytes: 1 << 20,
        ..StreamPlan::default()
    }
}

/// Connects and sets up.
async fn connect(config: &NatsConfig, plan: &StreamPlan) -> Outcome<Connection> {
    let connection = Connection::open(config).await.map_err(|why| why.to_string())?;
    connection.set_up(plan).await.map_err(|why| why.to_string())?;
    Ok(connection)
}

/// Fails unless `holds`.
fn check(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}
