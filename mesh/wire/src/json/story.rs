//! A story as the JSON object that the HTTP interface, the sinks and the files carry.

use std::time::Duration;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use tapio_model::{
    Confidence, Entity, EventId, Hypothesis, Link, RuledOut, Sentence, State, Story, Text, Verdict,
};

use super::time_to_text;

/// What a person reads of an incident.
///
/// No other JSON shape has both `root_cause` and `confidence`: a reader knows a story by the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Story")]
pub struct StoryJson {
    /// Identity (a ULID); stable over amendments.
    pub id: String,
    /// The n-th telling: 0 opens the story.
    pub telling: u32,
    /// Where it stands: `opened`, `amended`, `resolved` or `merged`.
    #[schemars(extend("enum" = ["opened", "amended", "resolved", "merged"]))]
    pub state: String,
    /// The story that goes on, if this one was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// When it was opened, RFC 3339 with nanoseconds, UTC.
    pub opened_at: String,
    /// When this telling was made, RFC 3339 with nanoseconds, UTC.
    pub told_at: String,
    /// What happened, in one line.
    pub title: String,
    /// The pattern of the root finding.
    pub pattern: String,
    /// `cause` if the evidence decides, else `unknown`.
    #[schemars(extend("enum" = ["cause", "unknown"]))]
    pub verdict: String,
    /// The candidates, best first; only if the cause is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypotheses: Option<Vec<HypothesisJson>>,
    /// What to look at to tell the candidates apart; only if the cause is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// What happened and what followed.
    pub summary: String,
    /// Why.
    pub root_cause: String,
    /// The event it began with.
    pub root_cause_event: String,
    /// How sure we are, 0 to 1, four decimals.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
    /// The class of the strongest evidence for the root.
    pub evidence_class: String,
    /// From root to symptom, in order of time.
    pub chain: Vec<LinkJson>,
    /// What to do, first things first.
    pub recommendation: Vec<String>,
    /// What was considered and dropped.
    pub ruled_out: Vec<RuledOutJson>,
    /// Evidence that was expected and not seen.
    pub missing: Vec<String>,
    /// Events lost on the way that might have belonged here.
    pub lost: u64,
    /// Events that came late and were let in.
    pub late: u64,
    /// Things it touches.
    pub entities: Vec<EntityJson>,
    /// Traces it was found in.
    pub trace_ids: Vec<String>,
    /// Events it cites.
    pub event_ids: Vec<String>,
    /// Of those, events that another story told first: cited by reference, counted there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The resolved story that this one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// Every sentence told, and the events it rests on.
    pub citations: Vec<CitationJson>,
}

/// What may have happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Hypothesis")]
pub struct HypothesisJson {
    /// The pattern that would explain it.
    pub pattern: String,
    /// In words.
    pub text: String,
    /// How sure we are of this one, 0 to 1, four decimals.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
}

/// One step of the chain from root to symptom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Link")]
pub struct LinkJson {
    /// When it happened, RFC 3339 with nanoseconds, UTC.
    pub time: String,
    /// The event.
    pub event: String,
    /// Who saw it.
    pub source: String,
    /// What happened.
    pub kind: String,
    /// Where.
    pub place: String,
    /// What it shows.
    pub text: String,
    /// What it is to the story: `root`, `step` or `symptom`.
    #[schemars(extend("enum" = ["root", "step", "symptom"]))]
    pub role: String,
    /// The pattern that used it.
    pub pattern: String,
    /// Milliseconds after the step before it.
    pub lag_ms: f64,
}

/// An alternative that was considered, and the evidence against it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RuledOut")]
pub struct RuledOutJson {
    /// The pattern that would have explained it.
    pub pattern: String,
    /// Why it does not.
    pub because: String,
    /// The events that say so; empty if it is their absence that does.
    pub events: Vec<String>,
}

/// A thing in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Entity")]
pub struct EntityJson {
    /// `container`, `cgroup`, `pod`, `workload`, `node`, `service`, `edge`, `process` or `object`.
    pub kind: String,
    /// Its name, for people.
    pub name: String,
}

/// A sentence and the events it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Citation")]
pub struct CitationJson {
    /// Where the sentence stands: `summary`, `root_cause` or `recommendation`.
    #[schemars(extend("enum" = ["summary", "root_cause", "recommendation"]))]
    pub section: String,
    /// The sentence.
    pub sentence: String,
    /// The events it cites.
    pub events: Vec<String>,
}

impl From<&Story> for StoryJson {
    fn from(story: &Story) -> Self {
        let merged_into = match story.state {
            State::Merged { into } => Some(into.to_string()),
            State::Opened | State::Amended | State::Resolved => None,
        };
        let (verdict, hypotheses, check) = match &story.verdict {
            Verdict::Cause => ("cause", None, None),
            Verdict::Unknown { hypotheses, check } => {
                let hypotheses = hypotheses.iter().map(HypothesisJson::from).collect();
                ("unknown", Some(hypotheses), Some(check.to_string()))
            }
        };
        Self {
            id: story.id.to_string(),
            telling: story.telling,
            state: story.state.name().into(),
            merged_into,
            opened_at: time_to_text(story.opened_at),
            told_at: time_to_text(story.told_at),
            title: story.title.to_string(),
            pattern: story.pattern.to_string(),
            verdict: verdict.into(),
            hypotheses,
            check,
            summary: join(&story.summary),
            root_cause: story.root_cause.text.to_string(),
            root_cause_event: story.root_cause_event.to_string(),
            confidence: four_decimals(story.confidence),
            evidence_class: story.class.name().into(),
            chain: story.chain.iter().map(LinkJson::from).collect(),
            recommendation: story.recommendation.iter().map(|s| s.text.to_string()).collect(),
            ruled_out: story.ruled_out.iter().map(RuledOutJson::from).collect(),
            missing: story.missing.iter().map(Text::to_string).collect(),
            lost: story.lost,
            late: story.late,
            entities: story.entities.iter().map(EntityJson::from).collect(),
            trace_ids: story.trace_ids.iter().map(ToString::to_string).collect(),
            event_ids: ids(&story.event_ids),
            references: ids(&story.references),
            predecessor: story.predecessor.map(|id| id.to_string()),
            citations: citations(story),
        }
    }
}

impl From<&Hypothesis> for HypothesisJson {
    fn from(hypothesis: &Hypothesis) -> Self {
        Self {
            pattern: hypothesis.pattern.to_string(),
            text: hypothesis.text.to_string(),
            confidence: four_decimals(hypothesis.confidence),
        }
    }
}

impl From<&Link> for LinkJson {
    fn from(link: &Link) -> Self {
        let evidence = &link.evidence;
        Self {
            time: time_to_text(evidence.time),
            event: evidence.event.to_string(),
            source: evidence.source.name().into(),
            kind: evidence.kind.name().into(),
            place: evidence.place.to_string(),
            text: evidence.text.to_string(),
            role: evidence.role.name().into(),
            pattern: link.pattern.to_string(),
            lag_ms: link.lag.div_duration_f64(Duration::from_millis(1)),
        }
    }
}

impl From<&RuledOut> for RuledOutJson {
    fn from(ruled_out: &RuledOut) -> Self {
        Self {
            pattern: ruled_out.pattern.to_string(),
            because: ruled_out.because.to_string(),
            events: ids(&ruled_out.events),
        }
    }
}

impl From<&Entity> for EntityJson {
    fn from(entity: &Entity) -> Self {
        Self { kind: entity.kind().into(), name: entity.to_string() }
    }
}

/// Returns the JSON Schema of a story as it is written.
#[must_use]
pub fn story_schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<StoryJson>().to_value()
}

fn citations(story: &Story) -> Vec<CitationJson> {
    let root_cause = std::slice::from_ref(&story.root_cause);
    let sections: [(&str, &[Sentence]); 3] = [
        ("summary", &story.summary),
        ("root_cause", root_cause),
        ("recommendation", &story.recommendation),
    ];
    let cite = |(section, sentences): (&str, &[Sentence])| {
        let cite = |sentence: &Sentence| CitationJson {
            section: section.into(),
            sentence: sentence.text.to_string(),
            events: ids(&sentence.events),
        };
        sentences.iter().map(cite).collect::<Vec<_>>()
    };
    sections.into_iter().flat_map(cite).collect()
}

fn join(sentences: &[Sentence]) -> String {
    sentences.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn ids(events: &[EventId]) -> Vec<String> {
    events.iter().map(ToString::to_string).collect()
}

/// Rounds for people: more digits would claim a precision that no confidence has.
fn four_decimals(confidence: Confidence) -> f64 {
    (confidence.get() * 1e4).round() / 1e4
}
