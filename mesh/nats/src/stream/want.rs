//! What each stream and bucket shall be like, and where one that is there differs.

use std::{collections::BTreeSet, fmt, time::Duration};

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, Source, StorageType, SubjectTransform,
};
use tapio_model::Level;

use super::StreamPlan;
use crate::{Bucket, Stream, Subjects};

/// How long the sign of life of a node that is gone is remembered: nodes of development machines
/// have new names every day.
const NODES_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The share of the events stream's bytes that the high stream has: what is high is rare.
const HIGH_SHARE: u64 = 4;

/// What JetStream writes where there is no limit.
const UNLIMITED: i64 = -1;

/// One thing about a stream that is there and not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The stream.
    pub stream: String,
    /// What about it.
    pub field: &'static str,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub wanted: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, field, found, wanted, cure } = self;
        write!(f, "stream {stream} has {field} {found} instead of {wanted}: {cure}")
    }
}

/// Returns every stream and bucket that a plan wants, in the order in which they are made: a
/// source before what draws from it.
pub(super) fn wanted(plan: &StreamPlan, subjects: &Subjects) -> Vec<Config> {
    let streams = Stream::ALL.into_iter().filter(|which| match which {
        Stream::Audit => plan.audit,
        Stream::Events
        | Stream::High
        | Stream::Findings
        | Stream::Stories
        | Stream::DeadLetters => true,
    });
    let streams = streams.map(|which| stream(which, plan, subjects));
    streams.chain(Bucket::ALL.map(|which| bucket(which, plan, subjects))).collect()
}

fn stream(which: Stream, plan: &StreamPlan, subjects: &Subjects) -> Config {
    let kept = bytes(plan.kept_max_bytes);
    let (what, max_bytes, max_age) = match which {
        Stream::Events => ("every event", bytes(plan.events_max_bytes), plan.events_max_age),
        Stream::High => {
            let max_bytes = bytes(plan.events_max_bytes / HIGH_SHARE);
            ("high and critical events", max_bytes, plan.events_max_age)
        }
        Stream::Findings => ("findings between shards", kept, plan.findings_max_age),
        Stream::Stories => ("stories", kept, plan.stories_max_age),
        Stream::DeadLetters => ("dead letters", kept, plan.dead_letters_max_age),
        Stream::Audit => ("what became of each event", UNLIMITED, plan.stories_max_age),
    };
    let sources = match which {
        Stream::High => Some(vec![high(subjects)]),
        Stream::Events
        | Stream::Findings
        | Stream::Stories
        | Stream::DeadLetters
        | Stream::Audit => None,
    };
    // A server refuses a window that outlives the messages in it.
    let age = if max_age.is_zero() { Duration::MAX } else { max_age };
    Config {
        name: subjects.stream(which),
        description: Some(format!("Tapio: {what}")),
        subjects: subjects.taken_by(which),
        max_bytes,
        max_age,
        discard: discard(which),
        duplicate_window: plan.duplicate_window.min(age),
        sources,
        ..common(plan)
    }
}

/// Says what a full stream does.
fn discard(which: Stream) -> DiscardPolicy {
    match which {
        // It only repeats what the events stream holds, and nobody waits for its acknowledgement.
        Stream::High => DiscardPolicy::Old,
        // Whoever publishes keeps what is refused, and comes again.
        Stream::Events
        | Stream::Findings
        | Stream::Stories
        | Stream::DeadLetters
        | Stream::Audit => DiscardPolicy::New,
    }
}

/// Draws the high and the critical events from the events stream, under their own subjects.
fn high(subjects: &Subjects) -> Source {
    let filter = |level| SubjectTransform {
        source: subjects.events_at(level),
        // Without a destination it is a filter.
        destination: String::new(),
    };
    Source {
        name: subjects.stream(Stream::Events),
        subject_transforms: vec![filter(Level::High), filter(Level::Critical)],
        ..Source::default()
    }
}

/// A bucket is a stream by another name; its settings are those of every NATS client.
fn bucket(which: Bucket, plan: &StreamPlan, subjects: &Subjects) -> Config {
    let name = subjects.bucket(which);
    let (what, max_age) = match which {
        Bucket::Roots => ("the root of each shard", Duration::ZERO),
        Bucket::Chunks => ("state of shards", Duration::ZERO),
        Bucket::Nodes => ("signs of life", NODES_MAX_AGE),
    };
    Config {
        name: format!("KV_{name}"),
        description: Some(format!("Tapio: {what}")),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age,
        discard: DiscardPolicy::New,
        duplicate_window: plan.duplicate_window,
        allow_rollup: true,
        deny_delete: true,
        ..common(plan)
    }
}

fn common(plan: &StreamPlan) -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::from(plan.storage),
        num_replicas: plan.replicas,
        max_bytes: UNLIMITED,
        max_messages: UNLIMITED,
        max_messages_per_subject: UNLIMITED,
        allow_direct: true,
        ..Config::default()
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns where a stream that is there differs from what is wanted.
pub(super) fn differences(found: &Config, wanted: &Config) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut compare = |field: &'static str, flag: Option<&str>, is: String, should_be: String| {
        if is == should_be {
            return;
        }
        let stream = &wanted.name;
        let cure = flag.map_or_else(
            || format!("that cannot be changed in place; let it drain and `nats stream rm {stream}`, or use another generation or NATS_SUBJECT_PREFIX"),
            |flag| {
                let value = if should_be == "unlimited" { "-1" } else { &should_be };
                format!("`nats stream edit {stream} {flag}={value}`, or change Tapio's configuration")
            },
        );
        differences.push(Difference {
            stream: stream.clone(),
            field,
            found: is,
            wanted: should_be,
            cure,
        });
    };
    for (field, flag, show) in FIELDS {
        compare(field, flag, show(found), show(wanted));
    }
    differences
}

/// A field: its name, the flag of `nats stream edit` for it, and how it is shown.
type Field = (&'static str, Option<&'static str>, fn(&Config) -> String);

/// What is compared. What JetStream fills in by itself, and what does not matter, is not here.
const FIELDS: [Field; 14] = [
    ("retention", None, |config| format!("{:?}", config.retention).to_lowercase()),
    ("storage", None, |config| format!("{:?}", config.storage).to_lowercase()),
    ("replicas", Some("--replicas"), |config| config.num_replicas.max(1).to_string()),
    ("subjects", Some("--subjects"), |config| {
        let subjects: BTreeSet<_> = config.subjects.iter().map(String::as_str).collect();
        list(subjects)
    }),
    ("sources", None, |config| sources(config.sources.as_deref().unwrap_or_default())),
    ("discard policy", Some("--discard"), |config| format!("{:?}", config.discard).to_lowercase()),
    ("age limit", Some("--max-age"), |config| age(config.max_age)),
    ("size limit", Some("--max-bytes"), |config| limit(config.max_bytes)),
    ("message limit", Some("--max-msgs"), |config| limit(config.max_messages)),
    ("limit per subject", Some("--max-msgs-per-subject"), |config| {
        limit(config.max_messages_per_subject)
    }),
    ("duplicate window", Some("--dupe-window"), |config| age(config.duplicate_window)),
    ("direct access", Some("--allow-direct"), |config| config.allow_direct.to_string()),
    ("no acknowledgements", None, |config| config.no_ack.to_string()),
    ("seal", None, |config| config.sealed.to_string()),
];

fn limit(limit: i64) -> String {
    // Zero and any negative number are JetStream's "none".
    if limit <= 0 { "unlimited".to_owned() } else { limit.to_string() }
}

fn age(age: Duration) -> String {
    if age.is_zero() {
        return "unlimited".to_owned();
    }
    let millis = age.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

fn sources(sources: &[Source]) -> String {
    let sources = sources.iter().map(|source| {
        let filters = source.subject_transforms.iter().map(|filter| filter.source.as_str());
        let filters = filters.chain(source.filter_subject.as_deref());
        format!("{}({})", source.name, list(filters.collect::<BTreeSet<_>>()))
    });
    let sources: BTreeSet<_> = sources.collect();
    if sources.is_empty() { "none".to_owned() } else { list(sources) }
}

fn list(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(item.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn events(plan: &StreamPlan) -> Config {
        stream(Stream::Events, plan, &Subjects::default())
    }

    #[test]
    fn each_difference_is_named_with_its_cure() {
        type Change = fn(&mut Config);
        let table: [(Change, &str); 9] = [
            (
                |found| found.num_replicas = 1,
                "stream TAPIO_EVENTS_1 has replicas 1 instead of 3: `nats stream edit \
                 TAPIO_EVENTS_1 --replicas=3`, or change Tapio's configuration",
            ),
            (
                |found| found.storage = StorageType::Memory,
                "stream TAPIO_EVENTS_1 has storage memory instead of file: that cannot be changed \
                 in place",
            ),
            (
                |found| found.retention = RetentionPolicy::WorkQueue,
                "stream TAPIO_EVENTS_1 has retention workqueue instead of limits: that cannot",
            ),
            (
                |found| found.subjects.push("other.>".to_owned()),
                "stream TAPIO_EVENTS_1 has subjects other.>,tapio.events.1.> instead of \
                 tapio.events.1.>: `nats stream edit TAPIO_EVENTS_1 --subjects=tapio.events.1.>`",
            ),
            (
                |found| found.discard = DiscardPolicy::Old,
                "stream TAPIO_EVENTS_1 has discard policy old instead of new: `nats stream edit \
                 TAPIO_EVENTS_1 --discard=new`",
            ),
            (
                |found| found.max_age = Duration::ZERO,
                "stream TAPIO_EVENTS_1 has age limit unlimited instead of 3600s: `nats stream \
                 edit TAPIO_EVENTS_1 --max-age=3600s`",
            ),
            (
                |found| found.max_messages = 5,
                "stream TAPIO_EVENTS_1 has message limit 5 instead of unlimited: `nats stream \
                 edit TAPIO_EVENTS_1 --max-msgs=-1`",
            ),
            (
                |found| found.duplicate_window = Duration::from_millis(1_500),
                "stream TAPIO_EVENTS_1 has duplicate window 1500ms instead of 120s: ",
            ),
            (
                |found| found.sources = Some(vec![high(&Subjects::default())]),
                "stream TAPIO_EVENTS_1 has sources TAPIO_EVENTS_1(tapio.events.1.*.critical.*,\
                 tapio.events.1.*.high.*) instead of none: ",
            ),
        ];
        let wanted = events(&StreamPlan { replicas: 3, ..StreamPlan::default() });
        for (change, should_say) in table {
            let mut found = wanted.clone();
            change(&mut found);
            let said: Vec<_> =
                differences(&found, &wanted).iter().map(ToString::to_string).collect();
            let [said] = &said[..] else { panic!("one difference: {said:?}") };
            assert!(said.starts_with(should_say), "{said}");
        }
    }

    #[test]
    fn what_a_server_fills_in_is_no_difference() {
        let wanted = events(&StreamPlan::default());
        let mut found = wanted.clone();
        found.max_messages = 0;
        found.max_messages_per_subject = -7;
        found.description = Some("somebody's words".to_owned());
        found.num_replicas = 0;
        assert_eq!(differences(&found, &wanted), []);
    }

    #[test]
    fn a_plan_wants_what_is_in_it() {
        let plan = StreamPlan {
            storage: Storage::Memory,
            stories_max_age: Duration::from_secs(30),
            ..StreamPlan::default()
        };
        let names = |plan| -> Vec<String> {
            let wanted = wanted(plan, &Subjects::default());
            wanted.into_iter().map(|config| config.name).collect()
        };
        assert_eq!(
            names(&plan),
            [
                "TAPIO_EVENTS_1",
                "TAPIO_HIGH_1",
                "TAPIO_FINDINGS_1",
                "TAPIO_STORIES",
                "TAPIO_DLQ",
                "KV_TAPIO_ROOTS_1",
                "KV_TAPIO_CHUNKS_1",
                "KV_TAPIO_NODES_1"
            ]
        );
        let audited = StreamPlan { audit: true, ..plan };
        assert!(names(&audited).contains(&"TAPIO_AUDIT_1".to_owned()));
        for config in wanted(&plan, &Subjects::default()) {
            assert_eq!(config.storage, StorageType::Memory, "{}", config.name);
            // A server refuses it otherwise.
            assert!(config.max_age.is_zero() || config.duplicate_window <= config.max_age);
        }
    }
}
