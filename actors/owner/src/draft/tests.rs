use tapio_engine::{IncidentsCut, Output};
use tapio_model::{Address, TraceState, WaitingState};
use tapio_model::{DeadReason, Ending, Findings, Incarnation, IncidentState, Sent, StoryId};
use tapio_wire::{
    decode_audit, decode_dead_letter, decode_findings, decode_graves, decode_waiting, encode_root,
};

use super::*;
use crate::{
    IncidentCut,
    fixture::{at, big_text, change, finding, incident},
};

const SHARD: ShardId = ShardId::new(0);

fn setting(is_audited: bool) -> Setting {
    Setting { shard: SHARD, shards: ShardCount::new(1), is_audited }
}

fn draft(root: Root, cut: BrainCut, intake: Intake) -> Draft {
    Draft::new(root, cut, intake, (&setting(true), &Trails::default()))
}

fn trace(number: u64) -> TraceId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    TraceId::from_bytes(bytes)
}

fn grave(number: u64, until: u64) -> Grave {
    Grave {
        trace: trace(number),
        incarnation: Incarnation::default(),
        newest: at(0),
        ending: Ending::Closed,
        upto: number,
        until: at(until),
    }
}

fn buried(graves: Vec<Grave>, now: u64) -> BrainCut {
    let traces = Cut { graves, now: at(now), ..Cut::default() };
    BrainCut { traces, ..BrainCut::default() }
}

fn sent(outgoing: Vec<Sent>) -> BrainCut {
    let outgoing = outgoing.into_iter().map(|sent| (SHARD, sent)).collect();
    BrainCut {
        incidents: IncidentCut { outgoing, ..IncidentCut::default() },
        ..BrainCut::default()
    }
}

/// Returns the bytes of a content, whose chunks are in the draft.
fn bytes_of(draft: &Draft, content: &Content) -> Vec<u8> {
    match content {
        Content::Inline(bytes) => bytes.clone(),
        Content::Chunks { names, .. } => {
            let chunk = |name| draft.chunks.iter().find(|(it, _)| it == name).map(|(_, it)| it);
            names.iter().filter_map(chunk).flat_map(|bytes| bytes.to_vec()).collect()
        }
    }
}

fn posted_findings(draft: &Draft) -> Vec<Findings> {
    let is_findings = |it: &&tapio_shard::Posted| matches!(it.address, Address::Findings { .. });
    let posted = draft.root.outbox.iter().filter(is_findings);
    posted.map(|it| decode_findings(&bytes_of(draft, &it.content)).unwrap()).collect()
}

fn known_graves(draft: &Draft) -> Vec<u64> {
    let pieces = draft.root.pieces.keys().filter_map(|key| match key {
        PieceKey::Graves(number) => Some(*number),
        PieceKey::Trace(_) | PieceKey::Incident(_) | PieceKey::Resolved | PieceKey::Waiting(_) => {
            None
        }
    });
    pieces.collect()
}

#[test]
fn graves_roll_into_a_new_piece_and_none_is_forgotten_in_time() {
    let mut root = Root::default();
    let mut chunks = Vec::new();
    for round in 0..8 {
        let graves = (0..200).map(|it| grave(round * 200 + it, 600)).collect();
        let draft = draft(root, buried(graves, round), Intake::default());
        chunks.extend(draft.chunks.iter().cloned());
        root = draft.root;
    }
    let last = Draft { root, chunks };
    let pieces = last.root.pieces.values();
    let known: usize =
        pieces.map(|content| decode_graves(&bytes_of(&last, content)).unwrap().len()).sum();
    assert_eq!(known, 1_600, "a trace that is over would live again when the log is read again");
    assert_eq!(known_graves(&last).first(), Some(&0));
    assert!(known_graves(&last).len() > 2, "a piece that is full is written once");
}

#[test]
fn graves_are_forgotten_past_their_time_and_beyond_their_number() {
    let full: Vec<_> = (0..1_000).map(|it| grave(it, 10)).collect();
    let draft = draft(Root::default(), buried(full, 1), Intake::default());
    assert_eq!(known_graves(&draft), [0]);
    let low = Mark { sequence: 1, now: at(60) };
    let later = Cut { now: at(60), low, ..Cut::default() };
    let cut = BrainCut { traces: later, ..BrainCut::default() };
    let late = self::draft(draft.root, cut, Intake::default());
    assert_eq!(known_graves(&late), [0; 0]);

    let many = (0..GRAVE_PIECES_MAX + 3).map(|number| {
        let chunk = Content::Chunks { names: vec![ChunkName([0; 16])], until: at(600) };
        (PieceKey::Graves(number), chunk)
    });
    let root = Root { pieces: many.collect(), ..Root::default() };
    let draft = self::draft(root, buried(Vec::new(), 1), Intake::default());
    let known = known_graves(&draft);
    assert_eq!((known.first(), known.len() as u64), (Some(&3), GRAVE_PIECES_MAX));
}

#[test]
fn a_large_part_is_a_chunk_named_by_its_content() {
    let small = incident(1, vec![finding(1, "it broke")]);
    let large = incident(2, vec![finding(2, &big_text(INLINE_BYTES_MAX))]);
    let changed = vec![small.clone(), large.clone()];
    let state = IncidentsCut { changed, ..IncidentsCut::default() };
    let incidents = IncidentCut { state, ..IncidentCut::default() };
    let cut = BrainCut { incidents, ..BrainCut::default() };
    let draft = draft(Root::default(), cut, Intake::default());
    let content = |state: &IncidentState| &draft.root.pieces[&PieceKey::Incident(state.id)];
    assert!(content(&small).chunks().is_empty());
    let [(name, bytes)] = &draft.chunks[..] else { panic!("one chunk: {:?}", draft.chunks.len()) };
    assert_eq!((content(&large).chunks(), *name), (&[*name][..], chunk_name(bytes)));
}

#[test]
fn a_root_of_many_parts_stays_small_enough_to_be_written() {
    let written = (0..2_500).map(|number| TraceState { id: trace(number), ..small_trace() });
    let changed = (0..1_024).map(|it| incident(it, vec![finding(1, &big_text(1_000))]));
    let waiting = (0..1_024).map(|number| waiting(number, 1_000));
    let (changed, waiting) = (changed.collect(), waiting.collect());
    let state = IncidentsCut { changed, waiting, ..IncidentsCut::default() };
    let incidents = IncidentCut { state, ..IncidentCut::default() };
    let traces = Cut { written: written.collect(), live_traces: 2_500, ..Cut::default() };
    let draft = draft(Root::default(), BrainCut { traces, incidents }, Intake::default());
    assert_eq!(draft.root.pieces.len(), 4_548);
    let bytes = encode_root(&draft.root).len();
    assert!(bytes < 900 << 10, "{bytes} bytes");
    for content in draft.root.pieces.values() {
        assert!(!bytes_of(&draft, content).is_empty(), "moved, not lost");
    }
}

fn waiting(number: u64, bytes: usize) -> WaitingState {
    let finding = change(1, &format!("{number}{}", big_text(bytes)));
    WaitingState { number, finding, events: Vec::new(), until: at(120) }
}

#[test]
fn a_change_that_waits_is_written_once_until_it_waits_no_more() {
    let cut = |waiting: &[WaitingState], waited: &[u64]| {
        let (waiting, waited) = (waiting.to_vec(), waited.to_vec());
        let state = IncidentsCut { waiting, waited, ..IncidentsCut::default() };
        let incidents = IncidentCut { state, ..IncidentCut::default() };
        BrainCut { incidents, ..BrainCut::default() }
    };
    let (first, second) = (waiting(1, 1_000), waiting(2, 1_000));
    let one = draft(Root::default(), cut(std::slice::from_ref(&first), &[]), Intake::default());
    let written = one.root.pieces[&PieceKey::Waiting(1)].clone();
    assert_eq!(decode_waiting(&bytes_of(&one, &written)), Ok(first));
    let two = draft(one.root, cut(std::slice::from_ref(&second), &[]), Intake::default());
    assert_eq!(two.root.pieces[&PieceKey::Waiting(1)], written);
    let content = &two.root.pieces[&PieceKey::Waiting(2)];
    assert_eq!(two.chunks.len(), 1, "the other one lies there");
    assert_eq!(decode_waiting(&bytes_of(&two, content)), Ok(second));
    let over = draft(two.root, cut(&[], &[1, 2, 3]), Intake::default());
    assert_eq!((over.root.pieces.len(), over.chunks.len()), (0, 0));
}

fn small_trace() -> TraceState {
    tapio_engine::Trace::open(trace(0), Incarnation::default(), at(0)).to_state(0, 0)
}

#[test]
fn what_is_too_much_for_one_message_goes_in_several_in_order() {
    let one = big_text(250 << 10);
    let items =
        (0..7).map(|it| Sent::Found { finding: Box::new(finding(it, &one)), events: Vec::new() });
    let items: Vec<_> = items.collect();
    let root = Root { commit: 41, ..Root::default() };
    let draft = draft(root, sent(items.clone()), Intake::default());
    let messages = posted_findings(&draft);
    assert!(messages.len() > 1);
    let numbers: Vec<_> = messages.iter().map(|it| it.commit).collect();
    let expected: Vec<_> = (42 * 4_096..).take(messages.len()).collect();
    assert_eq!(numbers, expected);
    let said: Vec<_> = messages.into_iter().flat_map(|it| it.sent).collect();
    assert_eq!(said, items);
}

#[test]
fn an_incident_too_large_for_a_message_is_handed_over_in_parts() {
    let one = big_text(200 << 10);
    let whole = incident(1, (0..9).map(|it| finding(it, &one)).collect());
    let into = StoryId::new(at(0), [0; 10]);
    let handed = Sent::Handed { incident: Box::new(whole.clone()), into };
    let draft = draft(Root::default(), sent(vec![handed]), Intake::default());
    let mut findings = Vec::new();
    let mut owned = 0;
    for posted in &draft.root.outbox {
        let bytes = bytes_of(&draft, &posted.content);
        assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
        for sent in decode_findings(&bytes).unwrap().sent {
            let Sent::Handed { incident, into: to } = sent else { panic!("{sent:?}") };
            assert_eq!(to, into);
            owned += incident.owned.len();
            findings.extend(incident.findings);
        }
    }
    assert_eq!((findings, owned), (whole.findings, whole.owned.len()));
}

#[test]
fn letters_of_one_entry_have_places_of_their_own() {
    let letter = |reason| DeadLetter {
        shard: SHARD,
        sequence: 7,
        at: at(1),
        reason,
        detail: "".into(),
        trace: None,
        events: Vec::new(),
        original: vec![1],
    };
    let letters = vec![letter(DeadReason::BadBatch), letter(DeadReason::BadFindings)];
    let outputs = (1..4).map(|it| Output::Dead { trace: trace(it), events: Vec::new() });
    let traces = Cut { outputs: outputs.collect(), processed: 7, ..Cut::default() };
    let cut = BrainCut { traces, ..BrainCut::default() };
    let draft = draft(Root::default(), cut, Intake { letters, ..Intake::default() });
    let addresses: std::collections::BTreeSet<_> =
        draft.root.outbox.iter().map(|posted| posted.address).collect();
    assert_eq!(addresses.len(), 5);
    for posted in &draft.root.outbox {
        assert!(decode_dead_letter(&bytes_of(&draft, &posted.content)).is_ok());
    }
}

#[test]
fn more_outcomes_than_a_message_holds_are_several_audits() {
    let event = |it| EventId::from_bytes(*trace(it).as_bytes());
    let outcomes: Vec<_> = (0..70_000).map(|it| (event(it), Outcome::Expired)).collect();
    let traces = Cut { outcomes: outcomes.clone(), ..Cut::default() };
    let cut = BrainCut { traces, ..BrainCut::default() };
    let draft = draft(Root::default(), cut, Intake::default());
    let mut told = Vec::new();
    for posted in &draft.root.outbox {
        let audit = decode_audit(&bytes_of(&draft, &posted.content)).unwrap();
        assert_eq!(posted.address, Address::Audit { shard: SHARD, commit: audit.commit });
        told.extend(audit.outcomes);
    }
    assert_eq!((draft.root.outbox.len(), told), (3, outcomes));
}

#[test]
fn what_was_given_up_is_remembered_as_long_as_it_may_be_read_again() {
    let live = |low, processed| {
        let low = Mark { sequence: low, now: at(1) };
        let traces = Cut { low, processed, live_traces: 1, ..Cut::default() };
        BrainCut { traces, ..BrainCut::default() }
    };
    let root = Root { claims: 7, trying: Some(5), ..Root::default() };
    let intake = Intake { given_up: vec![5], processed: 5, ..Intake::default() };
    let given_up = draft(root, live(3, 4), intake).root;
    assert_eq!((given_up.claims, given_up.trying, given_up.hearing), (0, None, None));
    assert_eq!(given_up.given_up, [5]);
    assert_eq!(draft(given_up, live(6, 8), Intake::default()).root.given_up, [0; 0]);
}
