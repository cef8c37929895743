//! A real cluster, the one that `KUBECONFIG` names; says so when there is none.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]
#![expect(clippy::print_stdout, reason = "a test that did not run says so")]

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use libtest_mimic::{Arguments, Failed, Trial};
use tapio_collect::{Account, Collector as _, Outlet, Unbound, stop_signal};
use tapio_collect_kube::{
    KubeCollector, KubeConfig, MemoryPositions, Resource, WatchState, check_rbac, connect,
    rbac_rules,
};
use tapio_model::keys;
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kubeconfig = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty());
    if kubeconfig.is_none() {
        println!("ignored: KUBECONFIG names no cluster");
    }
    let path = kubeconfig.map(PathBuf::from);
    let is_ignored = path.is_none();
    let trial = move |name: &str, test: fn(PathBuf) -> Result<(), Failed>| {
        let path = path.clone().unwrap_or_default();
        Trial::test(name, move || test(path)).with_ignored_flag(is_ignored)
    };
    let trials = vec![
        trial("watches_what_the_cluster_serves", watches),
        trial("tells_each_change_of_a_config_map_once", changes),
        trial("asks_which_rules_are_there", rules),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn config(path: PathBuf) -> KubeConfig {
    KubeConfig { kubeconfig: Some(path), lead: false, ..KubeConfig::default() }
}

fn watches(path: PathBuf) -> Result<(), Failed> {
    Runtime::new()?.block_on(async {
        let collector = KubeCollector::new(
            config(path),
            Arc::new(SystemClock),
            Arc::<MemoryPositions>::default(),
        );
        let board = collector.status();
        let (sender, mut events) = mpsc::channel::<Unbound>(64);
        let (stopper, stop) = stop_signal();
        let outlet = Outlet::new(sender, Arc::new(Account::default()));
        let running = spawn_named("collector", Box::new(collector).run(outlet, stop));
        let drain = spawn_named("drain", async move { while events.recv().await.is_some() {} });
        let is_settled = |state: &WatchState| {
            matches!(state, WatchState::Watching | WatchState::Refused | WatchState::NotServed)
        };
        let settled = board.wait_until(|all| {
            all.resources.len() == Resource::ALL.len()
                && all.resources.values().all(|one| is_settled(&one.state))
        });
        timeout(PATIENCE, settled).await?;
        for (name, status) in board.snapshot().resources {
            println!("{name}: {:?}, {} objects", status.state, status.known);
        }
        stopper.stop();
        running.await??;
        drain.await?;
        Ok(())
    })
}

fn changes(path: PathBuf) -> Result<(), Failed> {
    Runtime::new()?.block_on(async {
        let mut config = config(path);
        config.resources = [Resource::ConfigMaps].into();
        let client = connect(&config).await?;
        let collector =
            KubeCollector::new(config, Arc::new(SystemClock), Arc::<MemoryPositions>::default());
        let board = collector.status();
        let (sender, mut events) = mpsc::channel::<Unbound>(64);
        let (stopper, stop) = stop_signal();
        let outlet = Outlet::new(sender, Arc::new(Account::default()));
        let running = spawn_named("collector", Box::new(collector).run(outlet, stop));
        let watching = board
            .wait_until(|all| all.resources.values().any(|one| one.state == WatchState::Watching));
        timeout(PATIENCE, watching).await?;
        let name = format!("tapio-test-{}", std::process::id());
        write_thrice(client, &name).await?;
        let mut told = Vec::new();
        while told.last().map(String::as_str) != Some("deleted") {
            let event = timeout(PATIENCE, events.recv()).await?.unwrap();
            let text = |key: &str| {
                let found = event.attributes.iter().find(|(known, _)| known == key);
                found.and_then(|(_, value)| value.as_str()).unwrap_or_default().to_owned()
            };
            if text(keys::OBJECT_NAME) == name {
                told.push(text(keys::CHANGE));
            }
        }
        stopper.stop();
        running.await??;
        if told == ["added", "modified", "deleted"] {
            Ok(())
        } else {
            Err(format!("{told:?}").into())
        }
    })
}

async fn write_thrice(client: Client, name: &str) -> Result<(), kube::Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await?;
    let patch = serde_json::json!({ "data": { "key": "value" } });
    maps.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    maps.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

fn rules(path: PathBuf) -> Result<(), Failed> {
    Runtime::new()?.block_on(async {
        let config = config(path);
        let client = connect(&config).await?;
        let wanted = rbac_rules(&config);
        let checked = check_rbac(&client, wanted.clone()).await?;
        for (rule, is_allowed) in &checked {
            println!("{}: {rule}", if *is_allowed { "allowed" } else { "missing" });
        }
        if checked.len() == wanted.len() { Ok(()) } else { Err("a rule was not checked".into()) }
    })
}
