//! Names: subjects, streams and buckets, all of one prefix and one generation.

use std::fmt;

use tapio_model::{Level, ShardId, Source, StoryId};

/// Bytes of a name that goes into subjects. A subject beyond some 250 bytes slows a server down.
const NAME_BYTES_MAX: usize = 32;

/// The prefix unless another is configured.
pub const DEFAULT_PREFIX: &str = "tapio";

/// The generation unless another is configured.
pub const DEFAULT_GENERATION: &str = "1";

/// Where anybody asks, whatever the prefix.
const REQUEST: &str = "correlation.request";

/// The source token of an envelope whose events have several sources.
const MIXED: &str = "mixed";

/// A name that cannot be a token of a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` cannot be a {what}: 1 to {NAME_BYTES_MAX} of a-z, 0-9, `_` and `-`, for it becomes \
     one token of every subject"
)]
pub struct NameError {
    what: &'static str,
    name: String,
}

/// A stream Tapio keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Every event, in envelopes.
    Events,
    /// The high and the critical ones once more.
    High,
    /// Findings on their way to the incidents of another shard.
    Findings,
    /// What was told.
    Stories,
    /// What could not be read or handled.
    DeadLetters,
    /// What became of which event, in runs that are audited.
    Audit,
}

impl Stream {
    /// Every stream.
    pub const ALL: [Self; 6] =
        [Self::Events, Self::High, Self::Findings, Self::Stories, Self::DeadLetters, Self::Audit];
}

/// A key-value bucket Tapio keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// One root a shard.
    Roots,
    /// Immutable chunks, named by their content.
    Chunks,
    /// Signs of life.
    Nodes,
}

impl Bucket {
    /// Every bucket.
    pub const ALL: [Self; 3] = [Self::Roots, Self::Chunks, Self::Nodes];
}

/// Names of everything Tapio has in NATS.
///
/// # Invariant
/// Prefix and generation are each one token of a subject, in lower case, so that two prefixes
/// never share a stream: stream names are the same in upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
    generation: String,
}

impl Subjects {
    /// Makes the names of one prefix and one generation.
    ///
    /// # Errors
    /// [`NameError`] if one of the two is not a plain token.
    pub fn new(prefix: &str, generation: &str) -> Result<Self, NameError> {
        Ok(Self {
            prefix: token("subject prefix", prefix)?,
            generation: token("generation", generation)?,
        })
    }

    /// Returns the prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the generation.
    #[must_use]
    pub fn generation(&self) -> &str {
        &self.generation
    }

    /// Returns where envelopes of one source go.
    #[must_use]
    pub fn events(&self, source: Source, level: Level, shard: ShardId) -> String {
        self.envelopes(source.name(), level, shard)
    }

    /// Returns where envelopes of several sources go.
    #[must_use]
    pub fn events_mixed(&self, level: Level, shard: ShardId) -> String {
        self.envelopes(MIXED, level, shard)
    }

    fn envelopes(&self, source: &str, level: Level, shard: ShardId) -> String {
        let Self { prefix, generation } = self;
        format!("{prefix}.events.{generation}.{source}.{}.{shard}", level.name())
    }

    /// Returns the filter of all envelopes of a shard.
    #[must_use]
    pub fn events_of(&self, shard: ShardId) -> String {
        let Self { prefix, generation } = self;
        format!("{prefix}.events.{generation}.*.*.{shard}")
    }

    /// Returns the filter of all envelopes of a level.
    #[must_use]
    pub fn events_at(&self, level: Level) -> String {
        let Self { prefix, generation } = self;
        format!("{prefix}.events.{generation}.*.{}.*", level.name())
    }

    /// Returns where findings for the incidents of shard `to` go.
    #[must_use]
    pub fn findings(&self, to: ShardId) -> String {
        let Self { prefix, generation } = self;
        format!("{prefix}.findings.{generation}.{to}")
    }

    /// Returns where the n-th telling of a story goes. Stories outlive generations.
    #[must_use]
    pub fn telling(&self, shard: ShardId, story: StoryId, n: u32) -> String {
        let prefix = &self.prefix;
        format!("{prefix}.stories.{shard}.{story}.{n}")
    }

    /// Returns the filter of all tellings.
    #[must_use]
    pub fn tellings(&self) -> String {
        format!("{}.stories.*.*.*", self.prefix)
    }

    /// Returns the filter of all tellings of a story, whichever shards told them.
    #[must_use]
    pub fn tellings_of(&self, story: StoryId) -> String {
        format!("{}.stories.*.{story}.*", self.prefix)
    }

    /// Returns the shard that told what lies at `subject`.
    #[must_use]
    pub fn teller(&self, subject: &str) -> Option<ShardId> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".stories.")?;
        rest.split('.').next()?.parse().ok().map(ShardId::new)
    }

    /// Returns where a dead letter goes.
    #[must_use]
    pub fn dead_letter(&self, shard: ShardId, sequence: u64, part: u32) -> String {
        let Self { prefix, generation } = self;
        format!("{prefix}.dlq.{generation}.{shard}.{sequence}.{part}")
    }

    /// Returns the filter of the dead letters of a shard, or of all, whatever the generation.
    #[must_use]
    pub fn dead_letters(&self, shard: Option<ShardId>) -> String {
        let shard = shard.map_or_else(|| "*".to_owned(), |shard| shard.to_string());
        format!("{}.dlq.*.{shard}.*.*", self.prefix)
    }

    /// Returns the generation of the dead letter at `subject`.
    #[must_use]
    pub fn dead_generation<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".dlq.")?;
        rest.split('.').next()
    }

    /// Returns where one commit of a shard says what became of its events.
    #[must_use]
    pub fn audit(&self, shard: ShardId, commit: u64) -> String {
        let Self { prefix, generation } = self;
        format!("{prefix}.audit.{generation}.{shard}.{commit}")
    }

    /// Returns where anybody asks: the same for every prefix.
    #[must_use]
    pub fn request(&self) -> &'static str {
        REQUEST
    }

    /// Returns where every node of the mesh listens, for a request that the one which took it does
    /// not answer.
    #[must_use]
    pub fn request_any(&self) -> String {
        let Self { prefix, generation } = self;
        if prefix == DEFAULT_PREFIX {
            format!("{REQUEST}.{generation}.any")
        } else {
            format!("{REQUEST}.{prefix}.{generation}.any")
        }
    }

    /// Returns where the owner of a shard is asked.
    #[must_use]
    pub fn request_of(&self, shard: ShardId) -> String {
        let Self { prefix, generation } = self;
        if prefix == DEFAULT_PREFIX {
            format!("{REQUEST}.{generation}.{shard}")
        } else {
            format!("{REQUEST}.{prefix}.{generation}.{shard}")
        }
    }

    /// Returns the subjects a stream takes; none for one that only has a source.
    #[must_use]
    pub fn taken_by(&self, stream: Stream) -> Vec<String> {
        let Self { prefix, generation } = self;
        match stream {
            Stream::Events => vec![format!("{prefix}.events.{generation}.>")],
            Stream::High => Vec::new(),
            Stream::Findings => vec![format!("{prefix}.findings.{generation}.>")],
            Stream::Stories => vec![format!("{prefix}.stories.>")],
            Stream::DeadLetters => vec![format!("{prefix}.dlq.>")],
            Stream::Audit => vec![format!("{prefix}.audit.{generation}.>")],
        }
    }

    /// Returns a stream's name. What is kept for long has no generation in its name.
    #[must_use]
    pub fn stream(&self, which: Stream) -> String {
        match which {
            Stream::Events => self.of_generation("EVENTS"),
            Stream::High => self.of_generation("HIGH"),
            Stream::Findings => self.of_generation("FINDINGS"),
            Stream::Stories => self.upper("STORIES"),
            Stream::DeadLetters => self.upper("DLQ"),
            Stream::Audit => self.of_generation("AUDIT"),
        }
    }

    /// Returns a bucket's name.
    #[must_use]
    pub fn bucket(&self, which: Bucket) -> String {
        self.of_generation(match which {
            Bucket::Roots => "ROOTS",
            Bucket::Chunks => "CHUNKS",
            Bucket::Nodes => "NODES",
        })
    }

    fn of_generation(&self, noun: &str) -> String {
        let name = self.upper(noun);
        format!("{name}_{}", self.generation.to_ascii_uppercase())
    }

    fn upper(&self, noun: &str) -> String {
        format!("{}_{noun}", self.prefix.to_ascii_uppercase())
    }
}

impl Default for Subjects {
    fn default() -> Self {
        Self { prefix: DEFAULT_PREFIX.to_owned(), generation: DEFAULT_GENERATION.to_owned() }
    }
}

impl fmt::Display for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (generation {})", self.prefix, self.generation)
    }
}

fn token(what: &'static str, name: &str) -> Result<String, NameError> {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(name.to_owned())
    } else {
        // A very long name would drown the message that explains it.
        Err(NameError { what, name: name.chars().take(NAME_BYTES_MAX * 2).collect() })
    }
}

#[cfg(test)]
mod tests {
    use tapio_model::Timestamp;

    use super::*;

    const SHARD: ShardId = ShardId::new(7);

    #[test]
    fn names_are_part_of_the_protocol() {
        let ours = Subjects::default();
        let story = StoryId::new(Timestamp::from_millis(1), [0; 10]);
        let table = [
            (
                ours.events(Source::Kernel, Level::Critical, SHARD),
                "tapio.events.1.kernel.critical.7",
            ),
            (ours.events_mixed(Level::Normal, SHARD), "tapio.events.1.mixed.normal.7"),
            (ours.events_of(SHARD), "tapio.events.1.*.*.7"),
            (ours.events_at(Level::High), "tapio.events.1.*.high.*"),
            (ours.findings(SHARD), "tapio.findings.1.7"),
            (ours.telling(SHARD, story, 2), "tapio.stories.7.00000000010000000000000000.2"),
            (ours.tellings(), "tapio.stories.*.*.*"),
            (ours.tellings_of(story), "tapio.stories.*.00000000010000000000000000.*"),
            (ours.dead_letter(SHARD, 12, 0), "tapio.dlq.1.7.12.0"),
            (ours.dead_letters(None), "tapio.dlq.*.*.*.*"),
            (ours.dead_letters(Some(SHARD)), "tapio.dlq.*.7.*.*"),
            (ours.audit(SHARD, 3), "tapio.audit.1.7.3"),
            (ours.request().to_owned(), "correlation.request"),
            (ours.request_of(SHARD), "correlation.request.1.7"),
        ];
        for (is, should_be) in table {
            assert_eq!(is, should_be);
        }
        let streams = Stream::ALL.map(|which| ours.stream(which));
        assert_eq!(
            streams,
            [
                "TAPIO_EVENTS_1",
                "TAPIO_HIGH_1",
                "TAPIO_FINDINGS_1",
                "TAPIO_STORIES",
                "TAPIO_DLQ",
                "TAPIO_AUDIT_1"
            ]
        );
        let buckets = Bucket::ALL.map(|which| ours.bucket(which));
        assert_eq!(buckets, ["TAPIO_ROOTS_1", "TAPIO_CHUNKS_1", "TAPIO_NODES_1"]);
    }

    #[test]
    fn subjects_say_who_told_and_which_generation_gave_up() {
        let ours = Subjects::new("tapio", "b_3").expect("plain names");
        let story = StoryId::new(Timestamp::from_millis(1), [0; 10]);
        assert_eq!(ours.teller(&ours.telling(SHARD, story, 2)), Some(SHARD));
        assert_eq!(ours.dead_generation(&ours.dead_letter(SHARD, 1, 0)), Some("b_3"));
        for other in ["", "tapio", "tapio2.stories.7.x.0", "tapio.stories.x.y.0", "tapio.dlqs.1"] {
            assert_eq!((ours.teller(other), ours.dead_generation(other)), (None, None), "{other}");
        }
    }

    #[test]
    fn another_prefix_shares_nothing_but_the_question() {
        let theirs = Subjects::new("staging-2", "b_3").expect("plain names");
        assert_eq!(
            theirs.events(Source::Otlp, Level::High, SHARD),
            "staging-2.events.b_3.otlp.high.7"
        );
        assert_eq!(theirs.request_of(SHARD), "correlation.request.staging-2.b_3.7");
        assert_eq!(theirs.request(), Subjects::default().request());
        assert_eq!(theirs.stream(Stream::Events), "STAGING-2_EVENTS_B_3");
        assert_eq!(theirs.taken_by(Stream::DeadLetters), ["staging-2.dlq.>"]);
    }

    #[test]
    fn what_would_be_more_than_one_token_is_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "a.b", "*", ">", "a b", "a\n", "Tapio", "ä", "$JS", &long] {
            assert!(Subjects::new(bad, "1").is_err(), "{bad}");
            assert!(Subjects::new("tapio", bad).is_err(), "{bad}");
        }
        let said = Subjects::new("a.b", "1").expect_err("two tokens").to_string();
        assert!(said.starts_with("`a.b` cannot be a subject prefix: "), "{said}");
    }
}
