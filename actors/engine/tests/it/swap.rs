//! What a swap of the patterns promises to traces that live.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tapio_engine::{Draft, Limits, Output, Pattern, Patterns, Rules, Shard, Spec, View};
use tapio_model::Kind;

use crate::support::{Echo, Sketch, TOY, Toy, at, event, secs};

fn only(pattern: impl Pattern + 'static) -> Patterns {
    let pattern: Arc<dyn Pattern> = Arc::new(pattern);
    Arc::from([pattern])
}

fn found(shard: &mut Shard) -> Vec<String> {
    let outputs = shard.take_outputs().into_iter();
    let found = outputs.filter_map(|output| match output {
        Output::Found(found) => Some(found.finding.id.pattern.to_string()),
        Output::Retracted(..) | Output::Dead { .. } => None,
    });
    found.collect()
}

/// A probe fails and the container is killed for it; both urgent.
fn failure() -> [Sketch; 2] {
    let probe = Sketch { number: 1, impact: 0.8, ..Sketch::default() };
    [Sketch { number: 2, kind: Kind::ContainerKilling, ..probe.clone() }, probe]
}

#[test]
fn a_swap_between_two_thoughts_takes_effect_and_loses_no_trace() {
    let rules = Arc::new(Rules::new(&only(Echo), Limits::default()));
    let mut shard = Shard::new(Arc::clone(&rules));
    for sketch in failure() {
        shard.observe(event(&sketch), at(secs(0)));
    }
    shard.advance(at(secs(1)));
    assert_eq!(found(&mut shard), Vec::<String>::new(), "nobody there knows a toy");
    rules.swap(&only(Toy));
    assert_eq!((shard.live_traces(), shard.ledger().open), (1, 2), "it is still in flight");
    let again = Sketch { number: 3, at: secs(2), impact: 0.8, ..Sketch::default() };
    shard.observe(event(&again), at(secs(2)));
    shard.advance(at(secs(3)));
    assert_eq!(found(&mut shard), ["toy"], "what came before the swap is evidence");
    rules.swap(&only(Echo));
    let more = Sketch { number: 4, at: secs(4), ..again };
    shard.observe(event(&more), at(secs(4)));
    shard.advance(at(secs(5)));
    assert_eq!(found(&mut shard), Vec::<String>::new(), "told is told, and not again");
    assert_eq!(shard.ledger().story, 2);
    shard.advance(at(secs(200)));
    assert!(shard.live_traces() == 0 && shard.ledger().balances(), "{:?}", shard.ledger());
}

#[test]
fn a_swap_under_which_nothing_wakes_lets_traces_expire_in_their_time() {
    let rules = Arc::new(Rules::new(&only(Toy), Limits::default()));
    let mut shard = Shard::new(Arc::clone(&rules));
    for sketch in failure() {
        shard.observe(event(&sketch), at(secs(0)));
    }
    rules.swap(&Patterns::from([]));
    shard.advance(at(secs(200)));
    assert_eq!((found(&mut shard).len(), shard.ledger().expired), (0, 2));
}

/// Swaps itself away while it looks, as a reload on another thread may.
#[derive(Debug, Clone, Default)]
struct Usurped {
    rules: Arc<OnceLock<Weak<Rules>>>,
    has_swapped: Arc<AtomicBool>,
}

impl Pattern for Usurped {
    fn spec(&self) -> &'static Spec {
        &TOY
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        if let Some(rules) = self.rules.get().and_then(Weak::upgrade) {
            rules.swap(&only(Echo));
            self.has_swapped.store(true, Ordering::Relaxed);
        }
        Toy.detect(view)
    }
}

#[test]
fn a_thought_ends_under_the_patterns_it_began_with_and_holds_no_lock() {
    let usurped = Usurped::default();
    let rules = Arc::new(Rules::new(&only(usurped.clone()), Limits::default()));
    usurped.rules.set(Arc::downgrade(&rules)).unwrap();
    let mut shard = Shard::new(rules);
    for sketch in failure() {
        shard.observe(event(&sketch), at(secs(0)));
    }
    shard.advance(at(Duration::from_millis(600)));
    assert!(usurped.has_swapped.load(Ordering::Relaxed));
    assert_eq!(found(&mut shard), ["toy"]);
}
