//! The story language: events as people would jot them down, for tests.
//!
//! ```text
//! # what the node saw
//! 0s    shop/db-1/db@n1%db  OomKill  constraint=memcg pid=4242 proc=postgres
//! 1m30s svc:cart  Span  name="GET /cart" status=error dur=250ms trace=7 span=2 parent=1
//! ```
//!
//! Statements end at a line end or `;`; `#` begins a comment. Each is `<time> <place> <Kind>
//! [key=value ...]`.
//!
//! | part | forms |
//! |---|---|
//! | time | `0s`, `250ms`, `1m30s`, after the Unix epoch |
//! | place | `namespace/pod[/container]`, `node:NAME`, `svc:[namespace/]NAME`, `cgroup:/path`, `unit:NAME`; then `@node` and `%[Kind/]workload` (a Deployment unless said) |
//! | kind | `OomKill` or `oom_kill` |
//! | value | whole number, number with a point, `true`, `false`, text; `"quoted text"` is always text |
//!
//! Pod UIDs and container ids are made of the names, event ids of the position in the story.
//! Events share one inferred trace unless `trace=` gives another. Source, severity, impact and
//! class come from a table by kind.
//!
//! | key | sets |
//! |---|---|
//! | `sev=error` `impact=0.9` `src=kernel` `class=memory` | the field |
//! | `trace=1` `span=2` `parent=1` | explicit trace context, small numbers |
//! | `node=` `svc=` `cgroup=` `cid=` `uid=` | node, service, cgroup, container id, pod UID of the place |
//! | an alias of [`ALIASES`], or a full attribute key | the attribute |
//! | `dur=250ms` | [`keys::DURATION`], in nanoseconds |
//! | `status=true`, `status=error` | [`keys::STATUS`] if true or false, else [`keys::SPAN_STATUS`] |

mod defaults;
mod place;
mod syntax;

use std::sync::Arc;

use tapio_engine::{Draft, Pattern, View};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Rule, Severity, Source,
    SpanId, Text, Timestamp, TraceContext, TraceId, Value, keys,
};

use syntax::Word;

/// Why a text is not a story.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoryError {
    /// A quote was opened and never closed.
    #[error("a quote is never closed")]
    OpenQuote,
    /// A statement has no time, place or kind.
    #[error("statement {statement} has no {part}")]
    Missing {
        /// Which statement, from 1.
        statement: u64,
        /// What it lacks.
        part: &'static str,
    },
    /// A part of a statement cannot be read.
    #[error("statement {statement}: {text:?} is not a {part}")]
    Unreadable {
        /// Which statement, from 1.
        statement: u64,
        /// What it should have been.
        part: &'static str,
        /// The text.
        text: String,
    },
}

/// Short names of attribute keys.
pub const ALIASES: &[(&str, &str)] = &[
    ("msg", keys::MESSAGE),
    ("message", keys::MESSAGE),
    ("reason", keys::REASON),
    ("count", keys::COUNT),
    ("pid", keys::PROCESS_PID),
    ("proc", keys::PROCESS_NAME),
    ("exit", keys::EXIT_CODE),
    ("signal", keys::EXIT_SIGNAL),
    ("init", keys::PROCESS_IS_INIT),
    ("rss", keys::OOM_ANON_RSS_KIB),
    ("constraint", keys::OOM_CONSTRAINT),
    ("memcg", keys::OOM_CGROUP),
    ("limit", keys::MEMORY_LIMIT),
    ("restarts", keys::RESTART_COUNT),
    ("probe", keys::PROBE),
    ("image", keys::IMAGE),
    ("okind", keys::OBJECT_KIND),
    ("oname", keys::OBJECT_NAME),
    ("change", keys::CHANGE),
    ("hash", keys::TEMPLATE_HASH),
    ("generation", keys::GENERATION),
    ("condition", keys::CONDITION),
    ("ready", keys::ENDPOINTS_READY),
    ("not_ready", keys::ENDPOINTS_NOT_READY),
    ("addr", keys::PEER_ADDRESS),
    ("port", keys::PEER_PORT),
    ("peer", keys::PEER_SERVICE),
    ("dns", keys::DNS_NAME),
    ("rcode", keys::DNS_RCODE),
    ("error", keys::ERROR_TYPE),
    ("device", keys::DEVICE),
    ("path", keys::PATH),
    ("name", keys::SPAN_NAME),
    ("span_kind", keys::SPAN_KIND),
    ("http", keys::HTTP_STATUS),
    ("logger", keys::LOGGER),
    ("stack", keys::STACKTRACE),
    ("unit", keys::UNIT),
    ("result", keys::UNIT_RESULT),
    ("ratio", keys::RATIO),
    ("resource", keys::RESOURCE),
    ("cpu", keys::POD_CPU),
    ("cpu_share", keys::POD_CPU_SHARE),
    ("memory", keys::POD_MEMORY),
    ("memory_share", keys::POD_MEMORY_SHARE),
    ("container_cpu", keys::CONTAINER_CPU),
    ("container_cpu_share", keys::CONTAINER_CPU_SHARE),
    ("container_memory", keys::CONTAINER_MEMORY),
    ("container_memory_share", keys::CONTAINER_MEMORY_SHARE),
    ("node_cpu_share", keys::NODE_CPU_SHARE),
    ("node_memory_share", keys::NODE_MEMORY_SHARE),
    ("init_container", keys::CONTAINER_IS_INIT),
    ("anomaly", keys::ANOMALY_SIGNAL),
    ("how", keys::ANOMALY_CHANGE),
    ("score", keys::ANOMALY_SCORE),
    ("was", keys::ANOMALY_BEFORE),
    ("is", keys::ANOMALY_AFTER),
];

/// Reads the events of a story, in the order of its statements.
///
/// # Errors
/// [`StoryError`] names the first statement that cannot be read.
pub fn events(story: &str) -> Result<Vec<Event>, StoryError> {
    let statements = syntax::statements(story)?;
    (1..).zip(statements).map(|(number, words)| Statement { number }.event(words)).collect()
}

/// Shows a story to a pattern, its events in order of time, and returns what the pattern found.
///
/// # Errors
/// [`StoryError`] names the first statement that cannot be read.
pub fn detect(pattern: &dyn Pattern, story: &str) -> Result<Vec<Draft>, StoryError> {
    let mut events: Vec<_> = events(story)?.into_iter().map(Arc::new).collect();
    events.sort_by_key(|event| event.order());
    let now = events.last().map_or(Timestamp::ZERO, |event| event.time);
    Ok(pattern.detect(&View::new(&events, now)))
}

/// Tells a story to a pattern inside a test: `told!(Detector, "0s ...")`.
#[cfg(test)]
macro_rules! told {
    ($pattern:expr, $story:expr $(,)?) => {
        $crate::fixture::detect(&$pattern, $story).expect("the story can be read")
    };
}

/// Tells a story to a pattern inside a test that drafts one finding of it, or none:
/// `one!(Detector, "0s ...")`.
#[cfg(test)]
macro_rules! one {
    ($pattern:expr, $story:expr $(,)?) => {{
        let mut drafts = told!($pattern, $story);
        assert!(drafts.len() < 2, "{drafts:?}");
        drafts.pop()
    }};
}

/// One statement on its way to an event.
#[derive(Clone, Copy)]
struct Statement {
    number: u64,
}

impl Statement {
    fn event(self, words: Vec<Word>) -> Result<Event, StoryError> {
        let mut words = words.into_iter();
        let mut part = |part| {
            let missing = StoryError::Missing { statement: self.number, part };
            words.next().map(|word| word.text).ok_or(missing)
        };
        let (time, place, kind) = (part("time")?, part("place")?, part("kind")?);
        let nanos = self.read("time", &time, syntax::nanos)?;
        let place = self.read("place", &place, place::parse)?;
        let kind = self.read("kind", &kind, syntax::kind)?;
        let mut draft = Unfinished::new(kind, place);
        for word in words {
            self.read("key=value", &word, |word| draft.set(word))?;
        }
        Ok(draft.finish(EventId::from_bytes(number(self.number)), Timestamp::from_nanos(nanos)))
    }

    fn read<W: AsRef<str> + ?Sized, T>(
        self,
        part: &'static str,
        word: &W,
        read: impl FnOnce(&W) -> Option<T>,
    ) -> Result<T, StoryError> {
        let text = || word.as_ref().to_owned();
        read(word).ok_or_else(|| StoryError::Unreadable {
            statement: self.number,
            part,
            text: text(),
        })
    }
}

/// An event whose attributes are still being read.
struct Unfinished {
    kind: Kind,
    place: Place,
    source: Source,
    severity: Severity,
    impact: Impact,
    class: Class,
    trace: Option<TraceId>,
    span: Option<SpanId>,
    parent: Option<SpanId>,
    attributes: Vec<(Text, Value)>,
}

impl Unfinished {
    fn new(kind: Kind, place: Place) -> Self {
        let (source, severity, impact, class) = defaults::of(kind);
        let impact = Impact::new(impact);
        let (trace, span, parent, attributes) = (None, None, None, Vec::new());
        Self { kind, place, source, severity, impact, class, trace, span, parent, attributes }
    }

    fn set(&mut self, word: &Word) -> Option<()> {
        let (key, text) = word.text.split_once('=')?;
        let place = &mut self.place;
        match key {
            "sev" => self.severity = Severity::from_name(text)?,
            "impact" => self.impact = Impact::new(text.parse().ok()?),
            "src" => self.source = Source::from_name(text)?,
            "class" => self.class = Class::from_name(text)?,
            "trace" => self.trace = Some(TraceId::from_bytes(number(text.parse().ok()?))),
            "span" => self.span = Some(span(text)?),
            "parent" => self.parent = Some(span(text)?),
            "node" => place.node = Some(text.into()),
            "svc" => place.service = Some(text.into()),
            "cgroup" => place.cgroup = Some(text.into()),
            "cid" => place.container_id = Some(text.into()),
            "uid" => place.pod_uid = Some(text.into()),
            "dur" => self.attribute(keys::DURATION, Value::Int(syntax::nanos(text)?)),
            "status" => self.set_status(word.value(text)),
            _ => {
                let alias = ALIASES.iter().find(|(alias, _)| *alias == key);
                // Conventional keys have a point; anything else is a slip of the pen.
                let full = key.contains('.').then_some(key);
                self.attribute(alias.map(|(_, full)| *full).or(full)?, word.value(text));
            }
        }
        Some(())
    }

    fn attribute(&mut self, key: &str, value: Value) {
        self.attributes.push((key.into(), value));
    }

    fn set_status(&mut self, value: Value) {
        if matches!(value, Value::Bool(_)) {
            self.attribute(keys::STATUS, value);
            return;
        }
        if value.as_str() == Some("error") && self.severity < Severity::Error {
            (self.severity, self.impact) = (Severity::Error, Impact::new(0.5));
        }
        self.attribute(keys::SPAN_STATUS, value);
    }

    fn finish(self, id: EventId, time: Timestamp) -> Event {
        let binding = match self.trace {
            Some(_) => Binding::Explicit,
            None => Binding::Inferred(rule(&self.place)),
        };
        let trace_id = self.trace.unwrap_or(TraceId::from_bytes([0x7a; 16]));
        let (span_id, parent_span_id) = (self.span, self.parent);
        Event {
            id,
            time,
            source: self.source,
            kind: self.kind,
            trace: TraceContext { trace_id, span_id, parent_span_id, binding },
            place: Arc::new(self.place),
            severity: self.severity,
            impact: self.impact,
            class: self.class,
            attributes: Attributes::new(self.attributes),
        }
    }
}

fn number(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn span(text: &str) -> Option<SpanId> {
    Some(SpanId::from_bytes(text.parse::<u64>().ok()?.to_be_bytes()))
}

fn rule(place: &Place) -> Rule {
    let known = [
        (place.workload.is_some(), Rule::Workload),
        (place.pod.is_some(), Rule::Pod),
        (place.cgroup.is_some(), Rule::Cgroup),
        (place.service.is_some(), Rule::Service),
    ];
    known.into_iter().find_map(|(known, rule)| known.then_some(rule)).unwrap_or(Rule::Node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_says_when_where_and_what() {
        let story = "1m30s shop/db-1/db@n1%StatefulSet/db OomKill constraint=memcg pid=4242 \
                     msg=\"Killed; process 4242\" # the end";
        let told = events(story).unwrap();
        let [event] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(event.time, Timestamp::from_secs(90));
        assert_eq!(event.place.label(), "shop/db-1/db");
        assert_eq!(event.place.node.as_deref(), Some("n1"));
        assert_eq!(event.place.workload.as_ref().map(|owner| &*owner.kind), Some("StatefulSet"));
        assert_eq!((event.kind, event.source), (Kind::OomKill, Source::Kernel));
        assert_eq!(event.attributes.int(keys::PROCESS_PID), Some(4242));
        assert_eq!(event.attributes.text(keys::OOM_CONSTRAINT), Some("memcg"));
        assert_eq!(event.message(), "Killed; process 4242");
        assert!(event.trace.binding.is_inferred());
    }

    #[test]
    fn pseudo_keys_set_fields() {
        let story = "0s svc:shop/api Span trace=7 span=2 parent=1 status=error dur=250ms; \
                     0s a/b Log src=journal sev=warn impact=0.25 class=naming hash=\"42\" cid=x";
        let told = events(story).unwrap();
        let [span, log] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(span.trace.binding, Binding::Explicit);
        assert_eq!(span.trace.trace_id.to_string(), format!("{:032x}", 7));
        assert_eq!(span.trace.parent_span_id.map(|id| id.to_string()), Some(format!("{:016x}", 1)));
        assert_eq!(span.severity, Severity::Error);
        assert_eq!(span.attributes.int(keys::DURATION), Some(250_000_000));
        assert_eq!(span.place.namespace.as_deref(), Some("shop"));
        assert_eq!((log.source, log.severity), (Source::Journal, Severity::Warn));
        assert_eq!((log.impact, log.class), (Impact::new(0.25), Class::Naming));
        assert_eq!(log.attributes.text(keys::TEMPLATE_HASH), Some("42"));
        assert_eq!(log.place.container_id.as_deref(), Some("x"));
        assert_ne!(log.id, span.id);
    }

    #[test]
    fn names_make_the_same_ids_again() {
        let told = events("0s a/b/c Log\n0s a/b/d Log; 0s a/b Log").unwrap();
        let [c, d, pod] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(c.place.pod_uid, d.place.pod_uid);
        assert_eq!(c.place.pod_uid, pod.place.pod_uid);
        assert_ne!(c.place.container_id, d.place.container_id);
        assert_eq!(pod.place.container_id, None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let unreadable =
            |part, text: &str| StoryError::Unreadable { statement: 1, part, text: text.to_owned() };
        let cases = [
            ("0s a/b", StoryError::Missing { statement: 1, part: "kind" }),
            ("0s a/b Log; 1s", StoryError::Missing { statement: 2, part: "place" }),
            ("0s a/b Log msg=\"x", StoryError::OpenQuote),
            ("soon a/b Log", unreadable("time", "soon")),
            ("0s here Log", unreadable("place", "here")),
            ("0s a/b Quake", unreadable("kind", "Quake")),
            ("0s a/b Log pidd=3", unreadable("key=value", "pidd=3")),
            ("0s a/b Log sev=loud", unreadable("key=value", "sev=loud")),
            ("0s a/b Log word", unreadable("key=value", "word")),
        ];
        for (story, error) in cases {
            assert_eq!(events(story), Err(error), "{story}");
        }
    }
}
