use std::fs;

use tapio_model::{State, Timestamp};

use super::*;
use crate::fixture::{event, events, retold, story};

fn store(stories_max: u64, events_max: u64, dead_letters_max: u64) -> StoryStore {
    let limits = StoreLimits { stories_max, events_max, dead_letters_max };
    StoryStore::in_memory().unwrap().with_limits(limits)
}

fn ids(stories: &[Story]) -> Vec<StoryId> {
    stories.iter().map(|story| story.id).collect()
}

#[test]
fn stories_and_their_events_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/tapio/stories.db");
    let events = [event(3), event(1), event(2)];
    let (old, new) = (story(1, &events), story(2, &events[..1]));
    {
        let store = StoryStore::open(&path).unwrap();
        store.keep_events(&events).unwrap();
        store.keep_story(&old).unwrap();
        store.keep_story(&new).unwrap();
        store.keep_dead(events[0].trace.trace_id, &events).unwrap();
    }
    let store = StoryStore::open(&path).unwrap();
    assert_eq!(store.stories(10).unwrap(), [new.clone(), old.clone()]);
    assert_eq!(store.stories(1).unwrap(), [new]);
    let times: Vec<_> = store.events_of(&old).unwrap().iter().map(|event| event.time).collect();
    assert_eq!(times, [1, 2, 3].map(Timestamp::from_secs));
    let stats = store.stats().unwrap();
    assert_eq!((stats.stories, stats.events, stats.dead_letters), (2, 3, 3));
}

#[test]
fn only_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/stories.db");
    let _store = StoryStore::open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn the_latest_telling_stays() {
    let store = StoryStore::in_memory().unwrap();
    let first = story(1, &events(1));
    let second = retold(&first, State::Amended);
    let third = retold(&second, State::Resolved);
    for telling in [&first, &third, &second] {
        store.keep_story(telling).unwrap();
    }
    assert_eq!(store.stories(10).unwrap(), [third]);
    assert_eq!(store.open_stories(10).unwrap(), []);
    // After a restart the incident is told anew: a lower number, and later.
    let again = Story { told_at: Timestamp::from_secs(60), ..first };
    store.keep_story(&again).unwrap();
    assert_eq!(store.open_stories(10).unwrap(), [again]);
}

#[test]
fn a_story_is_found_by_either_end_of_its_id() {
    let store = StoryStore::in_memory().unwrap();
    let (one, two, far) = (story(1, &[]), story(2, &[]), story(200, &[]));
    for story in [&one, &two, &far] {
        store.keep_story(story).unwrap();
    }
    let found = |story: &Story| Lookup::Found(Box::new(story.clone()));
    let id = two.id.to_string();
    let (tail, far_id) = (id.split_at(20).1, far.id.to_string());
    let cases = [
        (id.as_str(), found(&two)),
        (&id.to_lowercase(), found(&two)),
        (tail, found(&two)),
        (&tail.to_lowercase(), found(&two)),
        (far_id.split_at(9).0, found(&far)),
        ("0000", Lookup::Ambiguous(vec![far.id, two.id, one.id])),
        ("zzz", Lookup::Unknown),
        ("", Lookup::Unknown),
        ("%", Lookup::Unknown),
        ("'; DROP TABLE stories", Lookup::Unknown),
    ];
    for (part, want) in cases {
        assert_eq!(store.story(part).unwrap(), want, "{part:?}");
    }
}

#[test]
fn the_oldest_resolved_story_goes_first_and_takes_its_own_events_along() {
    let store = store(2, 100, 100);
    let events = events(3);
    store.keep_events(&events).unwrap();
    let open = story(1, &events[..1]);
    let resolved = retold(&story(2, &events[..2]), State::Resolved);
    let newest = story(3, &events[2..]);
    for story in [&open, &resolved, &newest] {
        store.keep_story(story).unwrap();
    }
    assert_eq!(ids(&store.stories(10).unwrap()), [newest.id, open.id]);
    let stats = store.stats().unwrap();
    assert_eq!((stats.pruned_stories, stats.pruned_events, stats.events), (1, 1, 2));
    assert_eq!(store.events_of(&open).unwrap().len(), 1, "another story cites it still");

    let later = story(4, &[]);
    store.keep_story(&later).unwrap();
    assert_eq!(ids(&store.stories(10).unwrap()), [later.id, newest.id], "all open: the oldest");
}

#[test]
fn evidence_that_nobody_cites_goes_first() {
    let store = store(10, 20, 100);
    let events = events(21);
    let cited = story(1, &events[..5]);
    store.keep_events(&events[..5]).unwrap();
    store.keep_story(&cited).unwrap();
    store.keep_events(&events[5..]).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.events, stats.pruned_events), (18, 3));
    assert_eq!(store.events_of(&cited).unwrap().len(), 5);
    let young = story(2, &events[18..]);
    assert_eq!(store.events_of(&young).unwrap().len(), 3, "its story may still come");
    // Kept twice is held once.
    store.keep_events(&events[..5]).unwrap();
    assert_eq!(store.stats().unwrap().events, 18);
}

#[test]
fn dead_letters_are_bounded() {
    let store = store(10, 20, 4);
    let trace = event(1).trace.trace_id;
    for _ in 0..3 {
        store.keep_dead(trace, &events(2)).unwrap();
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.dead_letters, stats.pruned_dead_letters), (4, 2));
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_skipped() {
    let store = StoryStore::in_memory().unwrap();
    let events = events(2);
    let (good, bad) = (story(1, &events), story(2, &[]));
    store.keep_events(&events).unwrap();
    store.keep_story(&good).unwrap();
    store.keep_story(&bad).unwrap();
    let damage = "UPDATE stories SET body = x'ff00' WHERE telling = 0 AND opened_at > 1500000000;
                  UPDATE events SET body = x'' WHERE seq = 1";
    store.lock().connection.execute_batch(damage).unwrap();
    assert_eq!(ids(&store.stories(10).unwrap()), [good.id]);
    assert_eq!(store.story(&bad.id.to_string()).unwrap(), Lookup::Unknown);
    assert_eq!(store.events_of(&good).unwrap().len(), 1);
    assert_eq!(store.stats().unwrap().undecodable, 3);
}

#[test]
fn what_is_no_store_is_refused_with_its_cure_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("text"), "not a database, and longer than a header".repeat(50)).unwrap();
    let other = Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE accounts (id)").unwrap();
    drop(other);
    drop(StoryStore::open(&path("newer")).unwrap());
    let newer = Connection::open(path("newer")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("file"), "").unwrap();

    let cases = [
        ("text", "name another file"),
        ("other", "name another file"),
        ("newer", "use a newer tapio"),
        ("dir", "name a path that you may write to"),
        ("file/below", "name a path that you may write to"),
    ];
    for (name, cure) in cases {
        let before = fs::read(path(name)).ok();
        let error = StoryStore::open(&path(name)).unwrap_err().to_string();
        assert!(error.contains(cure) && error.contains(name), "{name}: {error}");
        assert_eq!(fs::read(path(name)).ok(), before, "{name}");
    }
}

#[test]
fn a_damaged_store_is_refused_with_its_cure() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stories.db");
    drop(StoryStore::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(100) {
        *byte = 0xa5;
    }
    fs::write(&path, bytes).unwrap();
    let error = StoryStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[test]
fn a_refused_write_is_counted_and_keeps_nothing() {
    let store = StoryStore::in_memory().unwrap();
    store.lock().connection.execute_batch("DROP TABLE story_events").unwrap();
    store.keep_story(&story(1, &events(1))).unwrap_err();
    assert_eq!(store.stories(10).unwrap(), []);
    assert_eq!(store.stats().unwrap().failed, 1);
}
