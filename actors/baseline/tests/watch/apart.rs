//! Two services that are unlike at once: whether they have to do with each other.

use super::*;

/// What is wrong with a span.
#[derive(Debug, Clone, Copy)]
enum Ill {
    /// It writes what it never wrote.
    Says(&'static str),
    /// It takes a second, and so do those that called it.
    Slow,
}

/// Requests in which a span is ill: of which tree, which span, how, and how often: of every so many
/// requests, one.
type Fault = (usize, usize, Ill, (i64, i64));

/// A request: who is called, and by which of those before.
type Tree = &'static [(&'static str, Option<usize>)];

const BUY: Tree = &[("web", None), ("pay", Some(0)), ("bank", Some(1))];
const LOOK: Tree = &[("shelf", None), ("stock", Some(0))];
const REFUND: Tree = &[("desk", None), ("bank", Some(0))];
const SHOW: Tree = &[("web", None), ("pay", Some(0)), ("ads", Some(0))];

/// What it is called, who is asked for what, what is wrong, and who is told of, each with those that
/// it has nothing to do with.
type Case =
    (&'static str, &'static [Tree], &'static [Fault], &'static [(&'static str, &'static str)]);

/// Always, and in turns.
const ALL: (i64, i64) = (1, 0);
const EVEN: (i64, i64) = (2, 0);
const ODD: (i64, i64) = (2, 1);

fn ask(shop: &mut Shop, tree: Tree, at: i64, ill: &[(usize, Ill)]) {
    shop.requests += 1;
    let slow = ill.iter().find(|(_, ill)| matches!(ill, Ill::Slow)).map(|(span, _)| *span);
    for (number, (service, parent)) in (0..).zip(tree) {
        let offset = i64::try_from(number).unwrap() * 10;
        let more = if slow.is_some_and(|slow| number <= slow) { 1_000 } else { 0 };
        let id = |number: usize| u64::try_from(number + 1).unwrap();
        shop.line((service, id(number)), at + offset + 1, Severity::Info, "at work");
        for (_, ill) in ill.iter().filter(|(span, _)| *span == number) {
            if let Ill::Says(text) = ill {
                shop.line((service, id(number)), at + offset + 2, Severity::Error, text);
            }
        }
        let times = (at + offset, at + 100 - offset + more);
        shop.span(service, "do", (id(number), parent.map(id)), times);
    }
}

/// Returns who is told of, and from whom each is told apart, after three good minutes and two bad.
fn told_apart(trees: &[Tree], faults: &[Fault]) -> BTreeMap<String, String> {
    let mut shop = Shop::default();
    for second in 0..300_i64 {
        for (number, tree) in (0..).zip(trees) {
            let is_now = |(of, _, _, (every, rest)): &&Fault| {
                second >= 180 && *of == number && second % every == *rest
            };
            let ill = faults.iter().filter(is_now).map(|(_, span, ill, _)| (*span, *ill));
            let at = second * 1_000 + i64::try_from(number).unwrap() * 300;
            ask(&mut shop, tree, at, &ill.collect::<Vec<_>>());
        }
    }
    let mut told = BTreeMap::new();
    for event in shop.told(BaselineLimits::default()) {
        let service = event.place.service.as_deref().unwrap().to_owned();
        let apart = event.attributes.text(keys::ANOMALY_APART).unwrap_or_default();
        told.insert(service, apart.to_owned());
    }
    told
}

#[test]
fn two_are_apart_if_neither_has_to_do_with_the_other() {
    let cases: [Case; 7] = [
        (
            "they share nothing",
            &[BUY, LOOK],
            &[(0, 1, Ill::Says("no money"), ALL), (1, 1, Ill::Says("no goods"), ALL)],
            &[("pay", "stock"), ("stock", "pay")],
        ),
        (
            "one is slow, the other is not",
            &[BUY, LOOK],
            &[(0, 1, Ill::Says("no money"), ALL), (1, 1, Ill::Slow, ALL)],
            &[("pay", "stock"), ("stock", "pay")],
        ),
        (
            "both are slow, as they are on a busy node",
            &[BUY, LOOK],
            &[(0, 1, Ill::Slow, ALL), (1, 1, Ill::Slow, ALL)],
            &[("pay", ""), ("stock", "")],
        ),
        (
            "one calls the other, if not in vain in each trace",
            &[BUY, LOOK],
            &[(0, 0, Ill::Says("no basket"), EVEN), (0, 1, Ill::Says("no money"), ODD)],
            &[("pay", ""), ("web", "")],
        ),
        (
            "both need a third, which says nothing",
            &[BUY, REFUND],
            &[(0, 1, Ill::Says("no money"), ALL), (1, 0, Ill::Says("no form"), ALL)],
            &[("desk", ""), ("pay", "")],
        ),
        (
            "both say the same",
            &[BUY, LOOK],
            &[
                (0, 1, Ill::Says("no room on the disk"), ALL),
                (1, 1, Ill::Says("no room on the disk"), ALL),
            ],
            &[("pay", ""), ("stock", "")],
        ),
        (
            "both are unlike in the same requests",
            &[SHOW],
            &[(0, 1, Ill::Says("no money"), ALL), (0, 2, Ill::Says("no pictures"), ALL)],
            &[("ads", ""), ("pay", "")],
        ),
    ];
    for (name, trees, faults, want) in cases {
        let told = told_apart(trees, faults);
        let told: Vec<_> = told.iter().map(|(one, from)| (one.as_str(), from.as_str())).collect();
        assert_eq!(told, want, "{name}");
    }
}

#[test]
fn in_turns_two_that_one_request_calls_are_apart() {
    let faults = [(0, 1, Ill::Says("no money"), EVEN), (0, 2, Ill::Says("no pictures"), ODD)];
    let told = told_apart(&[SHOW], &faults);
    assert_eq!(told.get("pay").map(String::as_str), Some("ads"), "{told:?}");
}

#[test]
fn whoever_suffers_from_one_of_two_has_nothing_to_do_with_the_other() {
    // The shelf complains of the stock, and now and then without.
    let faults = [
        (0, 1, Ill::Says("no money"), ALL),
        (1, 1, Ill::Says("no goods"), EVEN),
        (1, 0, Ill::Says("nothing to show"), (5, 1)),
    ];
    let told = told_apart(&[BUY, LOOK], &faults);
    let of = |service: &str| told.get(service).map(String::as_str);
    assert_eq!(of("pay"), Some("shelf, stock"), "{told:?}");
    assert_eq!((of("stock"), of("shelf")), (Some("pay"), Some("pay")), "{told:?}");
}

#[test]
fn whoever_suffers_from_kin_is_kin() {
    let full = Ill::Says("no room on the disk");
    let shelf = (1, 0, Ill::Says("nothing to show"), ODD);
    let told = told_apart(&[BUY, LOOK], &[(0, 1, full, ALL), (1, 1, full, EVEN), shelf]);
    assert!(told.len() == 3 && told.values().all(String::is_empty), "{told:?}");
}
