use std::{sync::Arc, time::Duration};

use tapio_model::{
    Attributes, Binding, Class, DeadLetter, DeadReason, Event, EventId, Findings, Impact, Kind,
    Level, Place, Rule, Sent, Severity, ShardId, Source, StoryId, Timestamp, TraceContext, TraceId,
    Value, keys,
};
use tapio_nats::DeadLetterEntry;
use tapio_shard::ShardCount;
use tapio_wire::{EventBatch, encode_batch, encode_findings};

use super::{
    give_back::{Fate, Gift, What, notes, read, wrap},
    page::{LetterLine, LetterPage, render, render_fate, render_list},
};
use crate::out::{Color, Out, Shape};

const SHARDS: ShardCount = ShardCount::DEFAULT;
const AT: Timestamp = Timestamp::from_secs(1_795_233_600);

fn trace() -> TraceId {
    TraceId::from_bytes([0xab; 16])
}

fn event(id: u8) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::from_bytes([id; 16]),
        time: AT,
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: trace(),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Inferred(Rule::Pod),
        },
        place: Arc::new(Place { node: Some("n1".into()), ..Place::default() }),
        severity: Severity::Error,
        impact: Impact::new(0.8),
        class: Class::Memory,
        attributes: Attributes::new(vec![(keys::MESSAGE.into(), Value::Text("killed".into()))]),
    })
}

fn entry(reason: DeadReason, events: Vec<Arc<Event>>, original: Vec<u8>) -> DeadLetterEntry {
    let letter = DeadLetter {
        shard: SHARDS.shard_of(trace()),
        sequence: 41,
        at: AT,
        reason,
        detail: "why it was given up".into(),
        trace: (reason == DeadReason::Poison).then(trace),
        events,
        original,
    };
    let time = AT.after(Duration::from_millis(250));
    DeadLetterEntry { sequence: 7, time, generation: "1".into(), traceparent: None, letter }
}

fn batch(events: Vec<Arc<Event>>) -> Vec<u8> {
    let shard = SHARDS.shard_of(trace());
    encode_batch(&EventBatch { shard, level: Level::High, time: AT, events })
}

/// A batch whose second event is of a kind that no build knows.
fn batch_from_the_future() -> Vec<u8> {
    let mut bytes = batch(vec![event(1), event(2)]);
    let kind = b"kind";
    let mut starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(kind));
    let second = starts.next_back().expect("two events have two kinds") + kind.len();
    bytes[second] = 0x7f;
    bytes
}

fn findings() -> Vec<u8> {
    let (story, into) = (StoryId::new(AT, [1; 10]), StoryId::new(Timestamp::ZERO, [0; 10]));
    let sent = vec![Sent::Join { story, into, shard: ShardId::new(1) }];
    encode_findings(&Findings { from: ShardId::new(9), commit: 5, now: AT, sent })
}

fn out(shape: Shape) -> Out {
    Out::new(shape, Color::Never, true)
}

#[test]
fn a_list_of_dead_letters() {
    let entries = [
        entry(DeadReason::Poison, vec![event(1), event(2)], Vec::new()),
        entry(DeadReason::BadBatch, Vec::new(), vec![0xc1, 0, 1]),
        entry(DeadReason::BadEvent, Vec::new(), batch_from_the_future()),
    ];
    let lines = entries.each_ref().map(LetterLine::from);
    insta::assert_snapshot!(render_list(&lines, out(Shape::Wide)));
    insta::assert_json_snapshot!(lines);
}

#[test]
fn a_dead_letter_whole() {
    let entry = entry(DeadReason::BadEvent, Vec::new(), batch_from_the_future());
    let page = LetterPage::from(&entry);
    insta::assert_snapshot!(render(&page, &entry.letter.original, out(Shape::Table)));
    insta::assert_json_snapshot!(page);
}

#[test]
fn a_long_original_is_cut_for_people_and_says_so() {
    let entry = entry(DeadReason::BadBatch, Vec::new(), vec![0; 600]);
    let page = LetterPage::from(&entry);
    let table = render(&page, &entry.letter.original, out(Shape::Table));
    assert!(table.contains("88 bytes more; `-o wide` shows them"), "{table}");
    let wide = render(&page, &entry.letter.original, out(Shape::Wide));
    assert!(wide.contains("00000250") && !wide.contains("more"), "{wide}");
}

#[test]
fn only_what_can_be_read_is_given_back() {
    let poison = entry(DeadReason::Poison, vec![event(1), event(2)], Vec::new());
    let crash = entry(DeadReason::Crash, Vec::new(), batch(vec![event(1)]));
    for (entry, events) in [(poison, 2), (crash, 1)] {
        let gift = wrap(&entry, &read(&entry.letter), SHARDS, "1");
        let Ok(Gift::Events(batches)) = gift else { panic!("{gift:?}") };
        let key = (SHARDS.shard_of(trace()), Level::High);
        assert_eq!(batches.keys().collect::<Vec<_>>(), [&key]);
        assert_eq!(batches[&key].len(), events);
    }
    let table = [
        (entry(DeadReason::BadBatch, Vec::new(), vec![9]), "it still cannot be read: version 9"),
        (
            entry(DeadReason::BadEvent, Vec::new(), batch_from_the_future()),
            "event 1 of it still cannot be read: unknown kind number 127",
        ),
        (entry(DeadReason::BadFindings, Vec::new(), vec![1]), "it still cannot be read"),
        (entry(DeadReason::Poison, Vec::new(), Vec::new()), "there are no events in it"),
    ];
    for (entry, wanted) in table {
        let refusal = wrap(&entry, &read(&entry.letter), SHARDS, "1").expect_err("not readable");
        assert!(refusal.starts_with(wanted), "{refusal}");
    }
}

#[test]
fn another_number_of_shards_is_noticed() {
    let entry = entry(DeadReason::Poison, vec![event(1)], Vec::new());
    let other = (1..16).map(ShardCount::new);
    let mut other = other.filter(|count| count.shard_of(trace()) != entry.letter.shard);
    let other = other.next_back().expect("some count places it elsewhere");
    let read = read(&entry.letter);
    let refusal = wrap(&entry, &read, other, "1").expect_err("the wrong shard");
    assert!(refusal.contains("set --shards (TAPIO_SHARDS)"), "{refusal}");
    assert!(wrap(&entry, &read, other, "2").is_ok(), "another generation has its own shards");
}

#[test]
fn findings_go_where_they_were_going() {
    let entry = entry(DeadReason::BadFindings, Vec::new(), findings());
    let read = read(&entry.letter);
    let Ok(Gift::Findings(parcel)) = wrap(&entry, &read, SHARDS, "1") else { panic!("findings") };
    let (from, to) = (ShardId::new(9), entry.letter.shard);
    assert_eq!(parcel.address, tapio_model::Address::Findings { from, to, commit: 5 });
    let refusal = wrap(&entry, &read, SHARDS, "2").expect_err("of no use");
    assert_eq!(refusal, "findings of generation 1 are of no use to 2");
}

#[test]
fn fates_as_people_read_them() {
    let cases = [
        (entry(DeadReason::Poison, vec![event(1)], Vec::new()), 60, What::WouldBeGivenBack),
        (entry(DeadReason::Poison, vec![event(1), event(2)], Vec::new()), 601, What::GivenBack),
        (entry(DeadReason::Crash, Vec::new(), batch(vec![event(1)])), 60, What::AlreadyThere),
        (entry(DeadReason::BadFindings, Vec::new(), findings()), 60, What::GivenBack),
    ];
    let said = cases.map(|(entry, secs, what)| {
        let read = read(&entry.letter);
        let fate = Fate {
            sequence: entry.sequence,
            reason: entry.letter.reason.name(),
            what,
            events: read.events.len(),
            notes: notes(&entry, &read, AT.after(Duration::from_secs(secs))),
        };
        render_fate(&fate, out(Shape::Table))
    });
    insta::assert_snapshot!(said.join(""));
}
