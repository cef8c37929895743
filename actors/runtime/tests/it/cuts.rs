//! Stepped alike, the actors of an owned shard write down what a shard without actors does, and so
//! do actors that took the shard over in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use tapio_actors::{ActorBrain, MeshActors};
use tapio_engine::{
    Cut, Draft, IncidentsRestored, Limits, Pattern, Patterns, Restored, Rules, Shard, Spec, View,
};
use tapio_model::{
    Event, EventId, Grave, Kind, Ledger, Mark, Outcome, ShardId, Timestamp, TraceId, TraceState,
};
use tapio_owner::{Brain, BrainGone, IncidentShard};

use crate::support::{STEP, Sketch, Toy, at, event, hush, millis, secs, trace_id};

const SHARD: ShardId = ShardId::new(0);

/// Panics for as long as what it looks at is young: tries that are put off succeed.
#[derive(Debug)]
struct Shaky;

const SHAKY: Spec =
    Spec { slug: "shaky", title: "Shaky", wakes_on: &[Kind::EndpointsChanged], leads_to: &[] };

impl Pattern for Shaky {
    fn spec(&self) -> &'static Spec {
        &SHAKY
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let youngest = view.of(Kind::EndpointsChanged).next_back();
        let is_young = youngest.is_some_and(|event| view.now() < event.time.after(millis(400)));
        assert!(!is_young, "told to panic");
        Vec::new()
    }
}

/// Short times, so that a whole life passes in few steps; small, so that limits are reached.
fn audited() -> Arc<Rules> {
    let limits = Limits {
        window: secs(3),
        settle: millis(200),
        late_horizon: secs(8),
        trace_events_max: 8,
        node_traces_max: 6,
        mailbox_events_max: 2,
        ..Limits::default()
    };
    let toy: Arc<dyn Pattern> = Arc::new(Toy::default());
    let patterns: Patterns = Arc::from([toy, Arc::new(Shaky)]);
    Arc::new(Rules::new(&patterns, limits).audited())
}

/// What a shard is given, as it would stand in its log.
#[derive(Debug, Clone)]
enum Input {
    Entry { sequence: u64, now: Timestamp, events: Vec<Arc<Event>> },
    Tick { after: u64, now: Timestamp },
    Cut { old: Timestamp },
}

/// A cut, in an order that does not depend on who thinks first.
#[derive(Debug, PartialEq)]
struct Account {
    processed: u64,
    now: Timestamp,
    low: Mark,
    ledger: Ledger,
    live_traces: u64,
    outputs: BTreeSet<String>,
    graves: BTreeMap<TraceId, Vec<Grave>>,
    written: BTreeMap<TraceId, TraceState>,
    gone: BTreeSet<TraceId>,
    outcomes: Vec<(EventId, Outcome)>,
}

fn account(cut: &Cut) -> Account {
    let mut outcomes = cut.outcomes.clone();
    outcomes.sort_unstable();
    let mut graves: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for grave in &cut.graves {
        graves.entry(grave.trace).or_default().push(*grave);
    }
    Account {
        processed: cut.processed,
        now: cut.now,
        low: cut.low,
        ledger: cut.ledger,
        live_traces: cut.live_traces,
        outputs: cut.outputs.iter().map(|output| format!("{output:?}")).collect(),
        graves,
        written: cut.written.iter().map(|state| (state.id, state.clone())).collect(),
        gone: cut.gone.iter().copied().collect(),
        outcomes,
    }
}

/// What an owner keeps of its cuts.
#[derive(Debug, Default)]
struct Root {
    last: Option<(u64, Mark, Timestamp, Ledger)>,
    graves: Vec<Grave>,
    written: BTreeMap<TraceId, TraceState>,
}

impl Root {
    fn keep(&mut self, cut: &Cut) {
        self.last = Some((cut.processed, cut.low, cut.now, cut.ledger));
        self.graves.extend(&cut.graves);
        for gone in &cut.gone {
            self.written.remove(gone);
        }
        self.written.extend(cut.written.iter().map(|state| (state.id, state.clone())));
    }

    /// Reads the shard again: what was written down, then the log up to the last cut.
    fn read(&self, rules: &Arc<Rules>, log: &[Input]) -> Shard {
        let Some((processed, low, now, ledger)) = self.last else {
            return Shard::follow(Arc::clone(rules));
        };
        let traces = self.written.values().cloned().collect();
        let restored = Restored { low, graves: self.graves.clone(), traces };
        let mut shard = Shard::restore(Arc::clone(rules), restored);
        for input in log {
            match input {
                Input::Entry { sequence, now, events }
                    if (low.sequence..=processed).contains(sequence) =>
                {
                    shard.take_in(*sequence, *now, events);
                }
                Input::Tick { after, now } if *after >= low.sequence => shard.advance(*now),
                Input::Entry { .. } | Input::Tick { .. } | Input::Cut { .. } => {}
            }
        }
        let open = shard.end_replay(now, ledger);
        assert_eq!(open, ledger.open, "as many events are open as before");
        shard
    }
}

/// Steps a brain; says at a cut what it wrote down, and else whether something was due.
async fn step(brain: &mut ActorBrain, input: &Input) -> Result<(bool, Option<Cut>), BrainGone> {
    match input {
        Input::Entry { sequence, now, events } => {
            brain.take_in(*sequence, *now, events.clone()).await?;
            Ok((true, None))
        }
        Input::Tick { now, .. } => Ok((brain.advance(*now).await?, None)),
        Input::Cut { old } => Ok((true, Some(brain.cut(*old).await?.traces))),
    }
}

fn step_without(shard: &mut Shard, input: &Input) -> Option<Cut> {
    match input {
        Input::Entry { sequence, now, events } => shard.take_in(*sequence, *now, events),
        Input::Tick { now, .. } => shard.advance(*now),
        Input::Cut { old } => return Some(shard.cut(*old)),
    }
    None
}

/// Has a shard adopted by actors and steps these along `log`. Returns their cuts, and those ticks
/// left out at which nothing was due.
async fn run(
    mesh: &MeshActors,
    rules: &Arc<Rules>,
    shard: Shard,
    log: Vec<Input>,
) -> Option<(Vec<Cut>, Vec<Input>)> {
    let none = IncidentsRestored::default();
    let incidents = IncidentShard::restore(SHARD, Arc::clone(rules), none);
    let running = mesh.run_on(SHARD, move |mut brain| async move {
        brain.adopt(shard, incidents).await?;
        let (mut cuts, mut passed) = (Vec::new(), Vec::new());
        for input in log {
            let (was_due, cut) = step(&mut brain, &input).await?;
            cuts.extend(cut);
            passed.extend(was_due.then_some(input));
        }
        Ok::<_, BrainGone>((cuts, passed))
    });
    running.await.ok()?.ok()
}

/// What a property test says of an event: number, trace, age in steps, inferred, kind, impact.
type Seed = (u64, u8, u32, bool, usize, u8);

fn sketch((number, trace, age, inferred, kind, impact): Seed, after: Duration) -> Sketch {
    let kinds = [Kind::ProbeFailed, Kind::ContainerKilling, Kind::Log, Kind::EndpointsChanged];
    Sketch {
        number: u64::from(trace) * 100 + number,
        trace,
        pod: trace,
        at: after.saturating_sub(STEP * age),
        kind: kinds.get(kind).copied().unwrap_or(Kind::Log),
        impact: match impact {
            0 => 0.1,
            1 => 0.8,
            _ => 0.95,
        },
        inferred,
        poison: trace == 8 && number % 8 == 0,
    }
}

/// How many steps later, what happens then, whether time passes before, whether a cut follows.
type Scene = (u32, Vec<Seed>, bool, bool);

fn scenes() -> impl Strategy<Value = Vec<Scene>> {
    let seed = (0_u64..40, 1_u8..9, 0_u32..20, any::<bool>(), 0_usize..4, 0_u8..3);
    let seeds = proptest::collection::vec(seed, 0..8);
    proptest::collection::vec((1_u32..40, seeds, any::<bool>(), any::<bool>()), 1..60)
}

/// Entries of a few events each, not one after the other; ticks and cuts in between.
fn history(scenes: &[Scene]) -> Vec<Input> {
    let (mut after, mut sequence, mut log) = (Duration::ZERO, 0, Vec::new());
    for (steps, seeds, ticks, cuts) in scenes {
        after += STEP * *steps;
        if *ticks {
            log.push(Input::Tick { after: sequence, now: at(after) });
        }
        sequence += u64::from(*steps);
        let events = seeds.iter().map(|seed| event(&sketch(*seed, after))).collect();
        log.push(Input::Entry { sequence, now: at(after), events });
        if *cuts {
            log.push(Input::Cut { old: at(after.saturating_sub(secs(1))) });
        }
    }
    // Far, so that every trace is over.
    log.push(Input::Tick { after: sequence, now: at(after + secs(100)) });
    log.push(Input::Cut { old: at(after) });
    log
}

/// Runs a history past actors that never stop.
fn run_through(log: Vec<Input>) -> Option<(Vec<Cut>, Vec<Input>)> {
    hush();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let rules = audited();
        let mesh = MeshActors::start(1, Arc::clone(&rules)).await.ok()?;
        let ran = run(&mesh, &rules, Shard::follow(Arc::clone(&rules)), log).await;
        mesh.shutdown(secs(10)).await.then_some(ran)?
    })
}

/// Reads the shard again after every cut, for actors that go on up to the next one.
fn run_in_pieces(log: &[Input]) -> Option<Vec<Cut>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let rules = audited();
        let mesh = MeshActors::start(1, Arc::clone(&rules)).await.ok()?;
        let (mut root, mut found) = (Root::default(), Vec::new());
        let mut passed = 0;
        for piece in log.split_inclusive(|input| matches!(input, Input::Cut { .. })) {
            let shard = root.read(&rules, log.get(..passed)?);
            let (cuts, _) = run(&mesh, &rules, shard, piece.to_vec()).await?;
            cuts.iter().for_each(|cut| root.keep(cut));
            found.extend(cuts);
            passed += piece.len();
        }
        mesh.shutdown(secs(10)).await.then_some(found)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Panicking patterns, limits, late events and next lives in the batch that ends the last
    /// included.
    #[test]
    fn actors_write_down_what_a_shard_without_them_does(scenes in scenes()) {
        let log = history(&scenes);
        let Some((found, passed)) = run_through(log) else { panic!("the brain is gone") };
        let mut shard = Shard::follow(audited());
        let expected: Vec<_> =
            passed.iter().filter_map(|input| step_without(&mut shard, input)).collect();
        prop_assert!(!found.is_empty());
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(account(found), account(expected));
        }
    }

    #[test]
    fn actors_that_take_over_go_on_as_if_nothing_had_happened(scenes in scenes()) {
        let log = history(&scenes);
        let Some((expected, passed)) = run_through(log) else { panic!("the brain is gone") };
        let Some(found) = run_in_pieces(&passed) else { panic!("the brain is gone") };
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let (mut found, mut expected) = (account(found), account(expected));
            // Who was there when a trace's last life began may take its next one for as old, and
            // writes it down early. That is no loss, and as good for whoever reads it.
            found.written.retain(|trace, _| expected.written.contains_key(trace));
            expected.written.retain(|trace, _| found.written.contains_key(trace));
            (expected.low, expected.gone) = (found.low, found.gone.clone());
            prop_assert_eq!(found, expected);
        }
    }
}

/// A history that is worth comparing has every kind of end in it.
#[test]
fn the_histories_are_worth_comparing() {
    let breaking = |trace: u8, after| {
        crate::support::breaking(trace, after).map(|sketch| event(&sketch)).to_vec()
    };
    let shaky = Sketch { kind: Kind::EndpointsChanged, trace: 3, ..Sketch::default() };
    let poison = Sketch { poison: true, trace: 2, number: 77, ..Sketch::default() };
    let mut first = breaking(1, Duration::ZERO);
    first.extend(breaking(2, Duration::ZERO));
    first.extend([poison, shaky, Sketch { number: 78, ..shaky }].iter().map(event));
    let entry = |sequence, after, events| Input::Entry { sequence, now: at(after), events };
    let log = vec![
        entry(5, Duration::ZERO, first),
        Input::Tick { after: 5, now: at(secs(2)) },
        Input::Cut { old: at(secs(1)) },
        // Nobody lets time pass: the entry that opens the next life ends the last one.
        entry(9, secs(30), breaking(1, secs(30))),
        Input::Tick { after: 9, now: at(secs(31)) },
        Input::Cut { old: at(secs(1)) },
    ];
    let (cuts, _) = run_through(log).expect("a brain");
    let [first, second] = &cuts[..] else { panic!("two cuts") };
    assert_eq!((first.processed, first.live_traces), (5, 2));
    assert_eq!(first.graves.len(), 1, "poison: {:?}", first.graves);
    assert_eq!(first.outputs.len(), 2, "a finding and a dead letter: {:?}", first.outputs);
    assert_eq!(first.written.len(), 2);
    assert_eq!(first.low, Mark { sequence: 6, now: first.now }, "nothing needs the log");
    let ends: BTreeMap<_, _> = second
        .graves
        .iter()
        .map(|grave| (grave.trace, (grave.upto, grave.incarnation.0)))
        .collect();
    assert_eq!(ends.get(&trace_id(1)), Some(&(5, 0)), "the next life's entry is not the last's");
    assert_eq!((second.live_traces, second.gone.len()), (1, 2));
    assert_eq!(second.low.sequence, 9);
    assert_eq!(
        second.ledger.received,
        second.ledger.story
            + second.ledger.dead_letter
            + second.ledger.expired
            + second.ledger.open
    );
    let counted = first.outcomes.len() + second.outcomes.len();
    assert_eq!(counted as u64 + second.ledger.open, second.ledger.received, "one outcome each");
}
