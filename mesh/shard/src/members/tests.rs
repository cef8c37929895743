use proptest::{collection::vec, prelude::*};

use super::*;

const TTL: Duration = MemberLimits::TTL;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn node(number: u64, boot: u64) -> NodeId {
    NodeId { name: Text::from(format!("tapio-{number}")), boot }
}

fn sign(node: &NodeId) -> SignOfLife {
    SignOfLife {
        node: node.clone(),
        capacity: 1,
        state: NodeState::Ready,
        held: Vec::new(),
        version: Text::default(),
    }
}

fn watch() -> Members {
    Members::new(MemberLimits::default())
}

fn hear(members: &mut Members, node: &NodeId, revision: u64, at: Duration) -> Heard {
    members.hear(&node.name, revision, Some(sign(node)), at)
}

/// Lets the observer listen to silence, as often as it is asked to.
fn attend_until(members: &mut Members, end: Duration) {
    while let Some(at) = members.next_deadline().filter(|at| *at < end) {
        members.attend(at);
    }
    members.attend(end);
}

fn live(members: &Members, at: Duration) -> Vec<NodeId> {
    members.live(at).map(|sign| sign.node.clone()).collect()
}

#[test]
fn a_stopped_node_is_dead_after_the_ttl_and_not_before() {
    let (mut members, one) = (watch(), node(0, 1));
    assert_eq!(hear(&mut members, &one, 1, ms(0)), Heard::First);
    assert_eq!(hear(&mut members, &one, 2, ms(100)), Heard::Moved);
    attend_until(&mut members, ms(1599));
    assert_eq!(members.life_of(&one, ms(1599)), Life::Alive);
    assert_eq!(live(&members, ms(1599)), std::slice::from_ref(&one));
    assert_eq!(members.life_of(&one, ms(1600)), Life::Dead);
    assert_eq!(live(&members, ms(1600)), []);
}

#[test]
fn a_retained_heartbeat_makes_nobody_alive() {
    let (mut members, one) = (watch(), node(0, 1));
    assert_eq!(hear(&mut members, &one, 7, ms(100)), Heard::First);
    assert_eq!(hear(&mut members, &one, 7, ms(200)), Heard::Stale);
    assert_eq!(members.life_of(&one, ms(300)), Life::Unknown);
    attend_until(&mut members, ms(1599));
    assert_eq!(members.life_of(&one, ms(1599)), Life::Unknown);
    assert_eq!(members.life_of(&one, ms(1600)), Life::Dead);
    assert_eq!(members.changes(ms(1600)), []);
}

#[test]
fn who_was_never_heard_is_dead_only_once_settled() {
    let mut members = watch();
    attend_until(&mut members, ms(1499));
    assert!(!members.is_settled(ms(1499)));
    assert_eq!(members.life_of(&node(0, 1), ms(1499)), Life::Unknown);
    assert!(members.is_settled(TTL));
    assert_eq!(members.life_of(&node(0, 1), TTL), Life::Dead);
}

#[test]
fn a_late_first_heartbeat_is_watched_for_a_ttl() {
    let (mut members, one) = (watch(), node(0, 1));
    attend_until(&mut members, ms(5000));
    hear(&mut members, &one, 9, ms(5000));
    assert_eq!(members.life_of(&one, ms(5100)), Life::Unknown);
    hear(&mut members, &one, 10, ms(5250));
    assert_eq!(members.life_of(&one, ms(5250)), Life::Alive);
}

#[test]
fn a_new_boot_replaces_the_old_one_for_good() {
    let (mut members, old, new) = (watch(), node(0, 1), node(0, 2));
    hear(&mut members, &old, 1, ms(0));
    hear(&mut members, &old, 2, ms(100));
    assert_eq!(members.changes(ms(100)), [Change::Came(old.clone())]);
    assert_eq!(hear(&mut members, &new, 3, ms(200)), Heard::Replaced);
    assert_eq!(members.life_of(&old, ms(200)), Life::Dead);
    assert_eq!(members.life_of(&new, ms(200)), Life::Alive);
    assert_eq!(members.changes(ms(200)), [Change::Went(old.clone()), Change::Came(new.clone())]);
    assert_eq!(hear(&mut members, &old, 4, ms(300)), Heard::Outlived);
    assert_eq!(members.life_of(&old, ms(300)), Life::Dead);
    assert_eq!(live(&members, ms(300)), [new]);
}

#[test]
fn the_last_word_of_an_old_boot_that_comes_late_shuts_nobody_out_for_good() {
    let (old, new) = (node(0, 1), node(0, 2));
    for late in [Some(sign(&old)), None] {
        let mut members = watch();
        hear(&mut members, &new, 1, ms(0));
        hear(&mut members, &new, 2, ms(100));
        members.hear(&new.name, 3, late.clone(), ms(200));
        assert_eq!(hear(&mut members, &new, 4, ms(350)), Heard::Outlived, "{late:?}");
        attend_until(&mut members, ms(200) + TTL);
        hear(&mut members, &new, 5, ms(200) + TTL);
        assert_eq!(members.life_of(&new, ms(200) + TTL), Life::Alive, "{late:?}");
        assert_eq!(live(&members, ms(200) + TTL), std::slice::from_ref(&new), "{late:?}");
    }
}

#[test]
fn only_the_last_boots_of_a_name_are_remembered() {
    let mut members = watch();
    for boot in 0..50 {
        hear(&mut members, &node(0, boot), boot, ms(boot));
    }
    let gone = members.nodes.values().map(|member| member.gone.len()).collect::<Vec<_>>();
    assert_eq!(gone, [Member::GONE_MAX]);
    assert_eq!(members.life_of(&node(0, 48), ms(50)), Life::Dead);
}

#[test]
fn who_signs_off_is_dead_at_once_and_stays_dead() {
    let (mut members, one) = (watch(), node(0, 1));
    assert_eq!(members.hear(&one.name, 1, None, ms(0)), Heard::SignedOff);
    hear(&mut members, &one, 2, ms(100));
    hear(&mut members, &one, 3, ms(200));
    assert_eq!(members.hear(&one.name, 4, None, ms(300)), Heard::SignedOff);
    assert_eq!(members.life_of(&one, ms(300)), Life::Dead);
    assert_eq!(hear(&mut members, &one, 3, ms(400)), Heard::Stale);
    assert_eq!(hear(&mut members, &one, 5, ms(500)), Heard::Outlived);
    assert_eq!(members.life_of(&one, ms(500)), Life::Dead);
    assert_eq!(hear(&mut members, &node(0, 2), 6, ms(600)), Heard::Moved);
    assert_eq!(members.life_of(&node(0, 2), ms(600)), Life::Alive);
}

#[test]
fn leaving_nodes_are_alive_and_take_nothing() {
    let (mut members, one) = (watch(), node(0, 1));
    hear(&mut members, &one, 1, ms(0));
    hear(&mut members, &one, 2, ms(1));
    members.changes(ms(1));
    let leaving = SignOfLife { state: NodeState::Leaving, ..sign(&one) };
    members.hear(&one.name, 3, Some(leaving), ms(2));
    assert_eq!(members.life_of(&one, ms(2)), Life::Alive);
    assert_eq!(members.candidates(ms(2)), [Candidate { node: one.clone(), capacity: 0 }]);
    assert_eq!(members.changes(ms(2)), [Change::Changed(one)]);
}

#[test]
fn after_a_reconnect_everyone_gets_a_fresh_ttl() {
    let (mut members, one) = (watch(), node(0, 1));
    hear(&mut members, &one, 5, ms(0));
    hear(&mut members, &one, 6, ms(100));
    members.changes(ms(100));
    attend_until(&mut members, ms(1500));
    members.reconnected(ms(1500));
    assert!(!members.is_settled(ms(1700)));
    attend_until(&mut members, ms(2999));
    assert_eq!(members.life_of(&one, ms(2999)), Life::Unknown);
    assert_eq!(members.changes(ms(2999)), []);
    assert_eq!(members.life_of(&one, ms(3000)), Life::Dead);
    assert_eq!(members.changes(ms(3000)), [Change::Went(one)]);
}

#[test]
fn a_store_made_anew_does_not_kill_the_living() {
    let (mut members, one) = (watch(), node(0, 1));
    hear(&mut members, &one, 1000, ms(0));
    members.reconnected(ms(100));
    assert_eq!(hear(&mut members, &one, 1, ms(200)), Heard::Stale);
    assert_eq!(hear(&mut members, &one, 2, ms(300)), Heard::Moved);
    assert_eq!(members.life_of(&one, ms(300)), Life::Alive);
}

#[test]
fn an_observer_that_was_stopped_takes_nobody_for_dead() {
    let (mut members, one) = (watch(), node(0, 1));
    hear(&mut members, &one, 1, ms(0));
    hear(&mut members, &one, 2, ms(100));
    assert_eq!(members.life_of(&one, ms(60_000)), Life::Unknown);
    assert!(!members.is_settled(ms(60_000)));
    members.attend(ms(60_000));
    attend_until(&mut members, ms(61_499));
    assert_eq!(members.life_of(&one, ms(61_499)), Life::Unknown);
    assert_eq!(members.life_of(&one, ms(61_500)), Life::Dead);
}

#[test]
fn names_of_others_are_refused() {
    let (mut members, one) = (watch(), node(0, 1));
    assert_eq!(members.hear(&"tapio-1".into(), 1, Some(sign(&one)), ms(0)), Heard::Misnamed);
    assert!(members.nodes.is_empty());
}

#[test]
fn one_node_too_many_is_refused_until_a_dead_one_is_forgotten() {
    let limits = MemberLimits { nodes_max: 2, ..MemberLimits::default() };
    let mut members = Members::new(limits);
    let heard = [0, 1, 2].map(|number| hear(&mut members, &node(number, 1), 1, ms(0)));
    assert_eq!(heard, [Heard::First, Heard::First, Heard::Refused]);
    let end = TTL + MemberLimits::FORGET;
    hear(&mut members, &node(1, 1), 2, ms(1));
    assert_eq!(hear(&mut members, &node(2, 1), 2, end), Heard::First);
    assert_eq!(members.nodes.len(), 2);
}

#[test]
fn silence_has_no_deadline_once_all_is_known() {
    let mut members = watch();
    assert!(members.next_deadline().is_some());
    attend_until(&mut members, ms(1500));
    assert_eq!(members.next_deadline(), None);
    hear(&mut members, &node(0, 1), 1, ms(1600));
    assert_eq!(members.next_deadline(), Some(ms(1600) + MemberLimits::ABSENCE_MAX / 2));
    attend_until(&mut members, ms(3099));
    assert_eq!(members.next_deadline(), Some(ms(3100)));
}

proptest! {
    #[test]
    fn a_moving_revision_is_never_dead(
        gaps in vec(1..1500_u64, 1..40),
        reconnects in vec(0..40_usize, 0..3),
    ) {
        let (mut members, one) = (watch(), node(0, 1));
        let mut at = ms(0);
        for (revision, gap) in gaps.iter().enumerate() {
            hear(&mut members, &one, revision as u64, at);
            if reconnects.contains(&revision) {
                members.reconnected(at);
            }
            let life = if revision == 0 { Life::Unknown } else { Life::Alive };
            prop_assert_eq!(members.life_of(&one, at), life);
            let next = at + ms(*gap);
            attend_until(&mut members, next - ms(1));
            prop_assert_ne!(members.life_of(&one, next - ms(1)), Life::Dead);
            at = next;
        }
    }

    #[test]
    fn a_stopped_node_dies_one_ttl_after_it_moved_or_the_watch_began(
        moves in 1..20_u64,
        watch_began in proptest::option::of(0..3000_u64),
    ) {
        let (mut members, one) = (watch(), node(0, 1));
        for revision in 0..=moves {
            hear(&mut members, &one, revision, ms(revision * 250));
        }
        let stopped = ms(moves * 250);
        let began = watch_began.map(|later| stopped + ms(later));
        if let Some(began) = began {
            attend_until(&mut members, began);
            members.reconnected(began);
        }
        let death = began.unwrap_or(stopped) + TTL;
        attend_until(&mut members, death - ms(1));
        prop_assert_ne!(members.life_of(&one, death - ms(1)), Life::Dead);
        members.attend(death);
        prop_assert_eq!(members.life_of(&one, death), Life::Dead);
    }

    #[test]
    fn what_changes_tells_adds_up_to_who_lives(
        steps in vec((0..3_u64, 0..3_u64, any::<bool>(), 1..700_u64), 1..60),
    ) {
        let mut members = watch();
        let mut told = std::collections::BTreeSet::new();
        let mut at = ms(0);
        for (revision, (number, boot, is_off, gap)) in steps.into_iter().enumerate() {
            at += ms(gap);
            let node = node(number, boot);
            let said = (!is_off).then(|| sign(&node));
            members.hear(&node.name, revision as u64, said, at);
            for change in members.changes(at) {
                match change {
                    Change::Came(node) => prop_assert!(told.insert(node)),
                    Change::Went(node) => prop_assert!(told.remove(&node)),
                    Change::Changed(node) => prop_assert!(told.contains(&node)),
                }
            }
            let live = live(&members, at).into_iter().collect();
            prop_assert!(told.is_superset(&live));
            for node in told.difference(&live) {
                prop_assert_eq!(members.life_of(node, at), Life::Unknown);
            }
        }
    }
}
