//! Findings, and the parts they share with stories.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tapio_model::{
    Confidence, Entity, EventId, Evidence, EvidenceClass, Finding, FindingId, Hypothesis,
    Incarnation, Kind, Role, RuledOut, Source, Text, Timestamp, Verdict,
};

use super::{
    code::Coded,
    leaf::{Capped, Id16, TextV1, event_id, share, trace_id},
    place::EntityV1,
};
use crate::DecodeError;

/// A finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FindingV1 {
    id: FindingIdV1,
    /// Without one it is the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<EntityV1>,
    root: Id16,
    evidence: Capped<EvidenceV1>,
    class: u32,
    #[serde(default)]
    touches: Capped<EntityV1>,
    #[serde(default)]
    leads_to: Capped<TextV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<UnknownV1>,
    confidence: f64,
    title: TextV1,
    root_cause: TextV1,
    #[serde(default)]
    recommendation: Capped<TextV1>,
    #[serde(default)]
    ruled_out: Capped<RuledOutV1>,
    #[serde(default)]
    missing: Capped<TextV1>,
    #[serde(default)]
    lost: u64,
    #[serde(default)]
    late: u64,
    #[serde(default)]
    trace_events: u64,
}

/// Which finding it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FindingIdV1 {
    trace: Id16,
    #[serde(default)]
    incarnation: u32,
    pattern: TextV1,
    subject: EntityV1,
}

impl From<&Finding> for FindingV1 {
    fn from(finding: &Finding) -> Self {
        Self {
            id: FindingIdV1::from(&finding.id),
            anchor: (finding.anchor != finding.id.subject).then(|| EntityV1::from(&finding.anchor)),
            root: ByteArray::new(*finding.root.as_bytes()),
            evidence: finding.evidence.iter().map(EvidenceV1::from).collect(),
            class: finding.class.code(),
            touches: finding.touches.iter().map(EntityV1::from).collect(),
            leads_to: finding.leads_to.iter().map(TextV1::from).collect(),
            unknown: write_verdict(&finding.verdict),
            confidence: finding.confidence.get(),
            title: TextV1::from(&finding.title),
            root_cause: TextV1::from(&finding.root_cause),
            recommendation: finding.recommendation.iter().map(TextV1::from).collect(),
            ruled_out: finding.ruled_out.iter().map(RuledOutV1::from).collect(),
            missing: finding.missing.iter().map(TextV1::from).collect(),
            lost: finding.lost,
            late: finding.late,
            trace_events: finding.trace_events,
        }
    }
}

impl TryFrom<FindingV1> for Finding {
    type Error = DecodeError;

    fn try_from(finding: FindingV1) -> Result<Self, DecodeError> {
        let root = event_id(finding.root);
        let id = FindingId::try_from(finding.id)?;
        let anchor = finding.anchor.map_or_else(|| Ok(id.subject.clone()), Entity::try_from)?;
        Ok(Self {
            id,
            anchor,
            root,
            evidence: read_evidence(finding.evidence, root)?,
            class: EvidenceClass::from_code(finding.class)?,
            touches: finding.touches.into_model("entities", Entity::try_from)?,
            leads_to: read_texts(finding.leads_to, "patterns that follow")?,
            verdict: read_verdict(finding.unknown)?,
            confidence: Confidence::new(share("confidence", finding.confidence)?),
            title: finding.title.into(),
            root_cause: finding.root_cause.into(),
            recommendation: read_texts(finding.recommendation, "recommendations")?,
            ruled_out: finding.ruled_out.into_model("ruled out patterns", RuledOut::try_from)?,
            missing: read_texts(finding.missing, "missing pieces of evidence")?,
            lost: finding.lost,
            late: finding.late,
            trace_events: finding.trace_events,
        })
    }
}

impl From<&FindingId> for FindingIdV1 {
    fn from(id: &FindingId) -> Self {
        Self {
            trace: ByteArray::new(*id.trace.as_bytes()),
            incarnation: id.incarnation.0,
            pattern: TextV1::from(&id.pattern),
            subject: EntityV1::from(&id.subject),
        }
    }
}

impl TryFrom<FindingIdV1> for FindingId {
    type Error = DecodeError;

    fn try_from(id: FindingIdV1) -> Result<Self, DecodeError> {
        Ok(Self {
            trace: trace_id(id.trace),
            incarnation: Incarnation(id.incarnation),
            pattern: id.pattern.into(),
            subject: id.subject.try_into()?,
        })
    }
}

/// Reads the evidence of a finding and holds it to the finding's invariant.
fn read_evidence(list: Capped<EvidenceV1>, root: EventId) -> Result<Vec<Evidence>, DecodeError> {
    let evidence = list.into_model("pieces of evidence", Evidence::try_from)?;
    let mut roots = evidence.iter().filter(|evidence| evidence.role == Role::Root);
    if roots.next().is_none_or(|first| first.event != root) || roots.next().is_some() {
        return Err(DecodeError::malformed("the evidence does not have exactly the root as root"));
    }
    if !evidence.is_sorted() {
        return Err(DecodeError::malformed("the evidence is not in order of time"));
    }
    Ok(evidence)
}

/// An event that a pattern used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EvidenceV1 {
    time: i64,
    event: Id16,
    role: u32,
    source: u32,
    kind: u32,
    place: TextV1,
    text: TextV1,
}

impl From<&Evidence> for EvidenceV1 {
    fn from(evidence: &Evidence) -> Self {
        Self {
            time: evidence.time.as_nanos(),
            event: ByteArray::new(*evidence.event.as_bytes()),
            role: evidence.role.code(),
            source: evidence.source.code(),
            kind: evidence.kind.code(),
            place: TextV1::from(&evidence.place),
            text: TextV1::from(&evidence.text),
        }
    }
}

impl TryFrom<EvidenceV1> for Evidence {
    type Error = DecodeError;

    fn try_from(evidence: EvidenceV1) -> Result<Self, DecodeError> {
        Ok(Self {
            time: Timestamp::from_nanos(evidence.time),
            event: event_id(evidence.event),
            role: Role::from_code(evidence.role)?,
            source: Source::from_code(evidence.source)?,
            kind: Kind::from_code(evidence.kind)?,
            place: evidence.place.into(),
            text: evidence.text.into(),
        })
    }
}

/// A verdict that is not known; that it is missing means that the cause is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct UnknownV1 {
    hypotheses: Capped<HypothesisV1>,
    check: TextV1,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct HypothesisV1 {
    pattern: TextV1,
    text: TextV1,
    confidence: f64,
}

pub(super) fn write_verdict(verdict: &Verdict) -> Option<UnknownV1> {
    let hypothesis = |hypothesis: &Hypothesis| HypothesisV1 {
        pattern: TextV1::from(&hypothesis.pattern),
        text: TextV1::from(&hypothesis.text),
        confidence: hypothesis.confidence.get(),
    };
    match verdict {
        Verdict::Cause => None,
        Verdict::Unknown { hypotheses, check } => Some(UnknownV1 {
            hypotheses: hypotheses.iter().map(hypothesis).collect(),
            check: TextV1::from(check),
        }),
    }
}

pub(super) fn read_verdict(unknown: Option<UnknownV1>) -> Result<Verdict, DecodeError> {
    let Some(unknown) = unknown else { return Ok(Verdict::Cause) };
    let hypotheses = unknown.hypotheses.into_model("hypotheses", |hypothesis| {
        Ok(Hypothesis {
            pattern: hypothesis.pattern.into(),
            text: hypothesis.text.into(),
            confidence: Confidence::new(share("confidence", hypothesis.confidence)?),
        })
    })?;
    Ok(Verdict::Unknown { hypotheses, check: unknown.check.into() })
}

/// An alternative that was dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RuledOutV1 {
    pattern: TextV1,
    because: TextV1,
    #[serde(default)]
    events: Capped<Id16>,
}

impl From<&RuledOut> for RuledOutV1 {
    fn from(ruled_out: &RuledOut) -> Self {
        Self {
            pattern: TextV1::from(&ruled_out.pattern),
            because: TextV1::from(&ruled_out.because),
            events: write_events(&ruled_out.events),
        }
    }
}

impl TryFrom<RuledOutV1> for RuledOut {
    type Error = DecodeError;

    fn try_from(ruled_out: RuledOutV1) -> Result<Self, DecodeError> {
        Ok(Self {
            pattern: ruled_out.pattern.into(),
            because: ruled_out.because.into(),
            events: read_events(ruled_out.events)?,
        })
    }
}

pub(super) fn write_events<const MAX: usize>(events: &[EventId]) -> Capped<Id16, MAX> {
    events.iter().map(|event| ByteArray::new(*event.as_bytes())).collect()
}

pub(super) fn read_events<const MAX: usize>(
    events: Capped<Id16, MAX>,
) -> Result<Vec<EventId>, DecodeError> {
    events.into_model("event ids", |id| Ok(event_id(id)))
}

pub(super) fn read_texts(
    list: Capped<TextV1>,
    what: &'static str,
) -> Result<Vec<Text>, DecodeError> {
    list.into_model(what, |text| Ok(text.into()))
}
