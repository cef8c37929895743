use proptest::{collection::vec, prelude::*};

use super::*;

/// A mesh: a capacity for each of `tapio-0`, `tapio-1`, ...
fn mesh(capacities: &[u32]) -> Vec<Candidate> {
    capacities.iter().zip(0..).map(|(capacity, number)| candidate(number, *capacity)).collect()
}

fn candidate(number: u64, capacity: u32) -> Candidate {
    let name = Text::from(format!("tapio-{number}"));
    Candidate { node: NodeId { name, boot: number }, capacity }
}

fn place_anew(count: ShardCount, members: &[Candidate]) -> BTreeMap<ShardId, NodeId> {
    place(count, members, &BTreeMap::new(), &PlacementLimits::default())
}

fn place_next(
    count: ShardCount,
    members: &[Candidate],
    current: &BTreeMap<ShardId, NodeId>,
) -> BTreeMap<ShardId, NodeId> {
    place(count, members, current, &PlacementLimits::default())
}

fn load(placement: &BTreeMap<ShardId, NodeId>, node: &NodeId) -> u64 {
    placement.values().filter(|owner| *owner == node).map(|_| 1).sum()
}

/// Lists the shards that have another owner after than before.
fn moved(
    before: &BTreeMap<ShardId, NodeId>,
    after: &BTreeMap<ShardId, NodeId>,
) -> Vec<(NodeId, NodeId)> {
    let pairs = before.iter().filter_map(|(shard, old)| Some((old, after.get(shard)?)));
    pairs.filter(|(old, new)| old != new).map(|(old, new)| (old.clone(), new.clone())).collect()
}

fn total(members: &[Candidate]) -> u64 {
    members.iter().map(|member| u64::from(member.capacity)).sum()
}

fn share_floor(count: ShardCount, members: &[Candidate], member: &Candidate) -> u64 {
    u64::from(count.get()) * u64::from(member.capacity) / total(members)
}

fn bound(count: ShardCount, members: &[Candidate], member: &Candidate, slack_percent: u32) -> u64 {
    let slack = 100 + u64::from(slack_percent);
    (u64::from(count.get()) * u64::from(member.capacity) * slack)
        .div_ceil(total(members).max(1) * 100)
}

#[test]
fn golden_vectors() {
    let placement = place_anew(ShardCount::DEFAULT, &mesh(&[1, 1, 1]));
    let owners: Vec<_> = placement.values().map(|node| node.boot).collect();
    assert_eq!(owners, [0, 2, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 2, 1]);
}

#[test]
fn nobody_who_takes_is_no_placement() {
    let held = place_anew(ShardCount::DEFAULT, &mesh(&[1, 1]));
    for members in [mesh(&[]), mesh(&[0]), mesh(&[0, 0])] {
        assert!(place_next(ShardCount::DEFAULT, &members, &held).is_empty());
    }
}

#[test]
fn only_ready_nodes_take() {
    let states = [(NodeState::Joining, 0), (NodeState::Ready, 7), (NodeState::Leaving, 0)];
    for (state, capacity) in states {
        let node = NodeId { name: "tapio-0".into(), boot: 1 };
        let version = Text::default();
        let sign = SignOfLife { node, capacity: 7, state, held: Vec::new(), version };
        assert_eq!(Candidate::from(&sign).capacity, capacity, "{state:?}");
    }
}

#[test]
fn the_larger_boot_of_a_name_counts_in_any_order() {
    let young = Candidate { node: NodeId { name: "tapio-0".into(), boot: 9 }, capacity: 1 };
    let old = candidate(0, 5);
    let placement = place_anew(ShardCount::DEFAULT, &[young.clone(), old.clone()]);
    assert!(placement.values().all(|owner| *owner == young.node) && placement.len() == 16);
    assert_eq!(placement, place_anew(ShardCount::DEFAULT, &[old, young]));
}

#[test]
fn a_restarted_node_keeps_its_shards() {
    let before = mesh(&[1, 1, 1]);
    let held = place_anew(ShardCount::DEFAULT, &before);
    let mut after = before;
    for member in &mut after {
        member.node.boot += 100;
    }
    let placement = place_next(ShardCount::DEFAULT, &after, &held);
    let names = |placement: &BTreeMap<ShardId, NodeId>| -> Vec<Text> {
        placement.values().map(|node| node.name.clone()).collect()
    };
    assert_eq!(names(&held), names(&placement));
    assert!(placement.values().all(|node| node.boot >= 100));
}

#[test]
fn a_node_that_comes_back_gets_shards_that_it_had() {
    for nodes in 2..=6 {
        let whole = mesh(&vec![1; nodes]);
        let held = place_anew(ShardCount::new(64), &whole);
        for away in &whole {
            let rest: Vec<_> = whole.iter().filter(|other| *other != away).cloned().collect();
            let without = place_next(ShardCount::new(64), &rest, &held);
            let back = place_next(ShardCount::new(64), &whole, &without);
            let kept = held.iter().filter(|(shard, owner)| {
                **owner == away.node && back.get(shard) == Some(&away.node)
            });
            let share = 2 * kept.count() as u64;
            assert!(share >= load(&held, &away.node), "{nodes} {away:?} {share}");
        }
    }
}

#[test]
fn within_the_bound_a_shard_moves_only_for_a_gain() {
    let (count, members) = (ShardCount::new(64), mesh(&[1, 1]));
    let held = place_anew(count, &mesh(&[1]));
    for (gain_percent, moves) in [(0, 27..=32), (20, 15..=32), (u32::MAX, 0..=0)] {
        let limits = PlacementLimits { slack_percent: 100, gain_percent };
        let moved = moved(&held, &place(count, &members, &held, &limits)).len();
        assert!(moves.contains(&moved), "{gain_percent} {moved}");
    }
}

#[test]
fn capacities_are_respected_over_many_shards() {
    let count = ShardCount::new(4096);
    for capacities in [&[1, 1, 1][..], &[1, 2, 4], &[3, 5], &[1, 100], &[u32::MAX, u32::MAX, 1]] {
        let members = mesh(capacities);
        let placement = place_anew(count, &members);
        for member in &members {
            let exact = share_floor(count, &members, member);
            let held = load(&placement, &member.node);
            assert!((exact..=exact + 1).contains(&held), "{capacities:?} {member:?} {held}");
        }
    }
}

#[test]
fn shards_go_where_rendezvous_sends_them_if_there_is_room() {
    let members = mesh(&[1, 1, 1, 1]);
    let count = ShardCount::new(1024);
    let placement = place_anew(count, &members);
    let best = |shard: ShardId| {
        members.iter().max_by_key(|m| Affinity::of(&m.node.name, m.capacity, shard))
    };
    let first_choice = placement
        .iter()
        .filter(|(shard, owner)| best(**shard).is_some_and(|member| member.node == **owner));
    let first_choice = first_choice.count();
    assert!(first_choice >= 950, "{first_choice}");
}

#[test]
fn equal_nodes_leave_without_moving_the_others() {
    for (shards, nodes) in [(16, 2), (16, 3), (16, 5), (59, 30), (100, 30), (256, 7)] {
        let whole = mesh(&vec![1; nodes]);
        let held = place_anew(ShardCount::new(shards), &whole);
        for leaver in &whole {
            let rest: Vec<_> = whole.iter().filter(|other| *other != leaver).cloned().collect();
            let after = place_next(ShardCount::new(shards), &rest, &held);
            let movers = moved(&held, &after);
            assert!(movers.iter().all(|(from, _)| *from == leaver.node), "{shards} {nodes}");
        }
    }
}

fn capacities() -> impl Strategy<Value = Vec<u32>> {
    vec(prop_oneof![4 => 1..=8_u32, 1 => Just(0), 1 => any::<u32>()], 1..7)
}

/// A mesh whose nodes come and go: each step is what every node has to give.
fn walks() -> impl Strategy<Value = Vec<Vec<u32>>> {
    (1..7_usize).prop_flat_map(|nodes| vec(vec(0..=4_u32, nodes), 1..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_shard_has_an_owner_within_its_bound_whatever_came_before(
        shards in 1..96_u16,
        walk in walks(),
        (slack_percent, gain_percent) in (0..150_u32, 0..150_u32),
    ) {
        let count = ShardCount::new(shards);
        let limits = PlacementLimits { slack_percent, gain_percent };
        let mut held = BTreeMap::new();
        for capacities in walk {
            let members = mesh(&capacities);
            held = place(count, &members, &held, &limits);
            let expected = if total(&members) == 0 { 0 } else { usize::from(shards) };
            prop_assert_eq!(held.len(), expected);
            for member in &members {
                let held = load(&held, &member.node);
                prop_assert!(held <= bound(count, &members, member, slack_percent));
            }
            prop_assert_eq!(&place(count, &members, &held, &limits), &held);
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter(
        capacities in capacities(),
        before in capacities(),
        (members, shuffled) in capacities().prop_flat_map(|capacities| {
            let members = mesh(&capacities);
            (Just(members.clone()), Just(members).prop_shuffle())
        }),
    ) {
        let held = place_anew(ShardCount::DEFAULT, &mesh(&before));
        let held = place_next(ShardCount::DEFAULT, &mesh(&capacities), &held);
        let one = place_next(ShardCount::DEFAULT, &members, &held);
        prop_assert_eq!(one, place_next(ShardCount::DEFAULT, &shuffled, &held));
    }

    #[test]
    fn owners_that_never_were_change_nothing(capacities in capacities(), strangers: [u16; 8]) {
        let stranger = |shard: &u16| (ShardId::new(*shard), candidate(99, 1).node);
        let current = strangers.iter().map(stranger).collect();
        let members = mesh(&capacities);
        let placement = place_next(ShardCount::DEFAULT, &members, &current);
        prop_assert_eq!(placement, place_anew(ShardCount::DEFAULT, &members));
    }

    #[test]
    fn a_newcomer_moves_no_more_than_its_share(
        shards in 1..96_u16,
        capacities in vec(1..=8_u32, 1..7),
        newcomer in 1..=8_u32,
    ) {
        let count = ShardCount::new(shards);
        let mut members = mesh(&capacities);
        let before = place_anew(count, &members);
        let newcomer = candidate(members.len() as u64, newcomer);
        members.push(newcomer.clone());
        let after = place_next(count, &members, &before);
        let movers = moved(&before, &after);
        // What rounding lets the others hold may add one shard each.
        let most = bound(count, &members, &newcomer, PlacementLimits::SLACK_PERCENT) + capacities.len() as u64;
        prop_assert!(movers.len() as u64 <= most, "{} {most}", movers.len());
        if load(&after, &newcomer.node) < share_floor(count, &members, &newcomer) {
            prop_assert!(movers.iter().all(|(_, to)| *to == newcomer.node), "{movers:?}");
        }
    }

    #[test]
    fn who_stays_loses_a_shard_only_to_a_node_below_its_share(
        shards in 1..96_u16,
        capacities in vec(1..=8_u32, 2..7),
    ) {
        let count = ShardCount::new(shards);
        let mut members = mesh(&capacities);
        let before = place_anew(count, &members);
        let leaver = members.pop().expect("two or more");
        let after = place_next(count, &members, &before);
        let others = moved(&before, &after).into_iter().filter(|(from, _)| *from != leaver.node);
        for (from, to) in others {
            for (node, is_below) in [(&from, false), (&to, true)] {
                let member = members.iter().find(|m| m.node == *node).expect("a member");
                let (held, share) =
                    (load(&after, node), share_floor(count, &members, member));
                let holds = if is_below { held <= share } else { held >= share };
                prop_assert!(holds, "{node} {held} {share}");
            }
        }
    }
}
