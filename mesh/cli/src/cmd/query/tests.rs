//! What is asked for by which words, and what is said of an answer.

use clap::Parser as _;
use tapio_model::{Coverage, Epoch, Item, Owner};

use super::*;
use crate::out::{Color, Shape};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    query: QueryArgs,
}

fn asked(line: &str) -> Result<Op, String> {
    let line = Line::try_parse_from(["query"].into_iter().chain(line.split(' ')));
    op(&line.map_err(|error| error.to_string())?.query.what).map_err(|error| error.to_string())
}

#[test]
fn words_name_a_thing() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let id: TraceId = trace.parse().expect("32 digits");
    let cart =
        Entity::Workload { scope: "shop".into(), kind: "Deployment".into(), name: "cart".into() };
    for (line, want) in [
        (format!("trace {trace}"), Op::Trace(id)),
        (format!("owner {trace}"), Op::WhoOwns(Owned::Trace(id))),
        ("owner 7".into(), Op::WhoOwns(Owned::Shard(ShardId::new(7)))),
        ("entity node n1".into(), Op::Entity(Entity::Node { name: "n1".into() })),
        (
            "entity service cart".into(),
            Op::Entity(Entity::Service { namespace: "".into(), name: "cart".into() }),
        ),
        (
            "related workload shop Deployment cart".into(),
            Op::Related { entities: vec![cart], at: None },
        ),
        ("list --limit 3 --deadline-ms 20".into(), Op::List { limit: 3 }),
    ] {
        assert_eq!(asked(&line), Ok(want), "{line}");
    }
}

#[test]
fn words_that_name_nothing_are_refused() {
    for (line, cure) in [
        ("trace 4bf9", "32 hexadecimal digits"),
        ("story x", "26 letters"),
        ("owner 65536", "neither a shard's number"),
        ("entity planet mars", "write container ID"),
        ("entity pod a b", "write container ID"),
        ("entity pod", "required"),
        ("list --deadline-ms 0", "1..=10000"),
    ] {
        let error = asked(line).expect_err(line);
        assert!(error.contains(cure), "{line}: {error}");
    }
}

#[test]
fn an_answer_says_how_much_of_the_mesh_it_knows() {
    let shards = |numbers: &[u16]| numbers.iter().copied().map(ShardId::new).collect::<Vec<_>>();
    let owner = Some(Owner { node: "tapio-1".into(), epoch: Epoch(4) });
    let answer = Answer {
        shards: Coverage { answered: shards(&[0, 3]), stale: shards(&[1]), missing: shards(&[2]) },
        results: vec![Item::Owner { shard: ShardId::new(3), owner }],
        omitted: 5,
        took: Duration::from_micros(1_250),
        coordinator: "tapio-0".into(),
    };
    let page = page::render(&answer, Out::new(Shape::Table, Color::Never, true));
    assert_eq!(page, "shard 3: tapio-1, epoch 4\n2 of 4 shards · 1.2 ms · tapio-0\n");
    assert_eq!(
        gaps(&answer),
        "the answer is not complete: no answer for shards 2; only the last commit of shards 1; 5 \
         results or events left out"
    );
}
