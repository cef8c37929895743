use proptest::prelude::*;

use super::*;

const TTL: Duration = Duration::from_secs(15);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn view(version: &str, holder: &str) -> Option<View> {
    Some(View { version: version.into(), holder: holder.into() })
}

#[test]
fn a_silent_leader_is_waited_for_and_a_gone_one_is_not() {
    let mut candidate = Candidate::new("b".into(), TTL);
    assert!(!candidate.see(view("1", "a"), secs(0)));
    assert!(!candidate.see(view("2", "a"), secs(14)), "it renewed");
    assert!(!candidate.see(view("2", "a"), secs(28)));
    assert!(candidate.see(view("2", "a"), secs(29)));
    assert!(candidate.see(view("3", ""), secs(30)), "it let go");
    assert!(candidate.see(None, secs(31)));
}

#[test]
fn leading_ends_without_a_renewal_and_at_once_when_another_holds_it() {
    let mut candidate = Candidate::new("a".into(), TTL);
    candidate.see(None, secs(0));
    candidate.hold(secs(0));
    assert_eq!(candidate.leads_for(secs(9)), Some(secs(1)));
    assert_eq!(candidate.leads_for(secs(10)), None);
    candidate.hold(secs(10));
    candidate.see(view("9", "b"), secs(11));
    assert_eq!(candidate.leads_for(secs(11)), None);
}

/// A Lease kept by a server that compares versions, and three candidates with slow lines.
struct World {
    now: Duration,
    stored: Option<View>,
    writes: u64,
    candidates: [Candidate; 3],
    /// Per candidate: the version that the write on its way expects, and when it was sent.
    flights: [Option<(Option<String>, Duration)>; 3],
    /// Per candidate: what an answer on its way says of the write sent then.
    answers: [Option<(bool, Duration)>; 3],
}

impl World {
    fn new() -> Self {
        let candidates = ["a", "b", "c"].map(|name| Candidate::new(name.into(), TTL));
        Self {
            now: secs(1),
            stored: None,
            writes: 0,
            candidates,
            flights: [const { None }; 3],
            answers: [const { None }; 3],
        }
    }

    /// Does one thing to candidate `who`.
    fn act(&mut self, who: usize, what: u8) {
        match what {
            0 => self.now += Duration::from_millis(700),
            1 => self.now += secs(4),
            2 if self.flights[who].is_none()
                && self.answers[who].is_none()
                && self.candidates[who].see(self.stored.clone(), self.now) =>
            {
                let expected = self.stored.as_ref().map(|view| view.version.clone());
                self.flights[who] = Some((expected, self.now));
            }
            3 => {
                if let Some((expected, sent)) = self.flights[who].take() {
                    let current = self.stored.as_ref().map(|view| view.version.clone());
                    let is_accepted = expected == current;
                    if is_accepted {
                        self.writes += 1;
                        let holder = self.candidates[who].me.clone();
                        self.stored = Some(View { version: self.writes.to_string(), holder });
                    }
                    self.answers[who] = Some((is_accepted, sent));
                }
            }
            4 => {
                if let Some((true, sent)) = self.answers[who].take() {
                    self.candidates[who].hold(sent);
                }
            }
            5 => self.answers[who] = None,
            _ => {}
        }
    }

    fn leaders(&self) -> usize {
        self.candidates.iter().filter(|one| one.leads_for(self.now).is_some()).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn never_do_two_lead(acts in prop::collection::vec((0..3_usize, 0..6_u8), 0..200)) {
        let mut world = World::new();
        for (who, what) in acts {
            world.act(who, what);
            prop_assert!(world.leaders() <= 1);
        }
    }
}

#[test]
fn the_simulation_does_elect() {
    let mut world = World::new();
    for what in [2, 3, 4] {
        world.act(0, what);
    }
    assert_eq!(world.leaders(), 1);
    for _ in 0..4 {
        world.act(1, 2);
        world.act(1, 1);
    }
    for what in [2, 3, 4] {
        world.act(1, what);
    }
    assert!(world.candidates[1].leads_for(world.now).is_some());
}
