//! The recording that ships with Tapio is what its generator writes, and plays without a flaw.

use std::{path::Path, sync::Arc};

use tapio_collect::{Binder, Home};
use tapio_eval::{Input, open_recording};
use tapio_model::{Binding, Kind, Rule, Source};

#[expect(dead_code, reason = "the example's `main` is not called here")]
#[path = "../examples/make_demo/main.rs"]
mod make_demo;

fn recorded() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/src/cmd/demo/checkout.jsonl")
}

#[test]
fn the_demo_is_what_its_generator_writes() {
    let written = make_demo::recording().unwrap();
    let kept = std::fs::read(recorded()).unwrap();
    assert!(
        written == kept,
        "run: cargo run -p tapio-eval --example make_demo > mesh/cli/src/cmd/demo/checkout.jsonl"
    );
    assert!(kept.len() < 700_000, "{} bytes", kept.len());
}

#[test]
fn every_layer_of_the_demo_meets_in_the_workload() {
    let binder = Arc::new(Binder::new(Home::default()));
    let mut recording = open_recording(None, Input::Path(recorded()), binder).unwrap();
    let mut events = Vec::new();
    while recording.next_chunk(&mut events).unwrap() {}
    let account = recording.account();
    assert_eq!((account.rejected_total(), account.rows), (0, account.events));
    assert!(recording.header().is_some_and(|header| header.title.is_some()));

    let kill = events.iter().find(|event| event.kind == Kind::OomKill).unwrap();
    assert_eq!(kill.trace.binding, Binding::Inferred(Rule::Workload));
    let beside: std::collections::BTreeSet<_> = events
        .iter()
        .filter(|event| event.trace.trace_id == kill.trace.trace_id)
        .map(|event| event.source)
        .collect();
    let want = [Source::Kernel, Source::Cgroup, Source::Kubernetes, Source::App];
    assert!(want.into_iter().all(|source| beside.contains(&source)), "{beside:?}");

    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "ids derived from content are unique");
}
