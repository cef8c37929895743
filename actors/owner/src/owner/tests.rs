use tapio_engine::{Limits, Patterns};
use tapio_model::{Address, Finding, Findings, Sent};
use tapio_wire::{decode_telling, encode_findings};

use super::*;
use crate::{
    AskNobody, LocalBrain,
    fixture::{Middle, at, change, refused},
};

const SHARD: ShardId = ShardId::new(0);

fn parts(name: &str, middle: &Arc<Middle>, order: watch::Receiver<Order>) -> OwnerParts {
    let fabric: SharedFabric = Arc::<Middle>::clone(middle);
    OwnerParts {
        fabric,
        shard: SHARD,
        shards: ShardCount::new(1),
        me: NodeId { name: name.into(), boot: 1 },
        rules: Arc::new(Rules::new(&Patterns::from([]), Limits::default())),
        limits: OwnerLimits::default(),
        is_dead: Arc::new(|_| true),
        care: Arc::default(),
        ask: Arc::new(AskNobody),
        order,
        status: watch::Sender::default(),
        figures: Arc::default(),
        telemetry: Telemetry::off(),
    }
}

/// Has a node own the shard, and kills it as soon as this is so.
async fn live(name: &str, middle: &Arc<Middle>, is_so: impl Fn(&Middle) -> bool) {
    let (_order, ordered) = watch::channel(Order::Own);
    let watched = async {
        while !is_so(middle) {
            middle.changed.notified().await;
        }
    };
    let owning = Box::pin(own(parts(name, middle, ordered), LocalBrain::default()));
    tokio::select! {
        ended = owning => panic!("{ended:?}"),
        () = watched => {}
    }
}

/// An entry of the findings log.
fn said(sequence: u64, finding: Finding) -> LogEntry {
    let sent = vec![Sent::Found { finding: Box::new(finding), events: Vec::new() }];
    let findings = Findings { from: ShardId::new(1), commit: sequence, now: at(1), sent };
    let body = encode_findings(&findings).into();
    LogEntry { sequence, time: at(1), waiting: 0, body, traceparent: None }
}

/// Returns the patterns that the tellings name as the cause.
fn told(middle: &Middle) -> Vec<String> {
    let store = middle.store();
    let tellings = store.places.iter().filter(|(it, _)| matches!(it, Address::Telling { .. }));
    let stories = tellings.map(|(_, body)| decode_telling(body).unwrap().story);
    stories.map(|story| story.pattern.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_outlives_the_node_at_which_it_waited() {
    // Written into the root, and into a chunk.
    for title in ["it was changed", &"it was changed ".repeat(100)] {
        let middle = Middle::new();
        middle.store().log_time = Some(at(2));
        middle.store().findings = vec![said(1, change(1, title))];
        live("tapio-0", &middle, |it| it.root().findings_read == 1).await;
        middle.store().findings.push(said(2, refused(2)));
        live("tapio-1", &middle, |it| !told(it).is_empty()).await;
        assert_eq!(told(&middle), ["rollout"], "and not the client that failed");
    }
}
