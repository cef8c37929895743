//! A real cluster, the one that `KUBECONFIG` names; says so when there is none.
//!
//! Wants an administrator's credentials: it makes what it needs, all named `tapio-test-…`, and
//! takes it away. `../real_apiserver.sh` brings a server of its own, whose failures are ours to
//! make too.
#![expect(clippy::print_stdout, reason = "a test that did not run says so")]

mod election;
mod outage;
mod restart;
mod rights;
mod run;
mod watching;

use std::{path::PathBuf, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use run::Cluster;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let variable = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let (kubeconfig, server) = (variable("KUBECONFIG"), variable("TAPIO_REAL_APISERVER"));
    if kubeconfig.is_none() {
        println!("ignored: KUBECONFIG names no cluster");
    } else if server.is_none() {
        println!("ignored in part: the server is not ours to kill (see tests/real_apiserver.sh)");
    }
    let (has_cluster, has_server) =
        (kubeconfig.is_some(), kubeconfig.is_some() && server.is_some());
    let trial = |name: &str, is_possible: bool, test: fn(&Cluster) -> Result<(), Failed>| {
        let (kubeconfig, server) = (kubeconfig.clone(), server.clone());
        Trial::test(name, move || {
            test(&Cluster::new(kubeconfig.unwrap_or_default(), server.unwrap_or_default())?)
        })
        .with_ignored_flag(!is_possible)
    };
    let trials = vec![
        trial("watches_what_the_cluster_serves", has_cluster, watching::watches),
        trial("tells_each_change_of_a_config_map_once", has_cluster, watching::changes),
        trial("asks_which_rules_are_there", has_cluster, rights::rules),
        trial("a_right_that_is_missing_costs_its_resource_only", has_cluster, rights::no_secrets),
        trial("a_restart_tells_nothing_twice_and_misses_nothing", has_cluster, restart::restart),
        trial("the_next_leader_continues_after_the_last", has_cluster, election::succession),
        trial("a_killed_api_server_costs_no_change", has_server, outage::api_server),
        trial("a_killed_store_costs_no_change", has_server, outage::store),
        trial("a_store_that_begins_anew_is_noticed", has_server, outage::new_store),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
