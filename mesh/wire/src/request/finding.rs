//! A finding as people read it.

use serde::{Deserialize, Serialize};
use tapio_model::{Evidence, Finding, Verdict};

use crate::json::time_to_text;

/// A pattern that held inside one trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingJson {
    /// The pattern.
    pub pattern: String,
    /// The trace.
    pub trace: String,
    /// Which life of the trace.
    pub incarnation: u32,
    /// What it is about.
    pub subject: String,
    /// What happened, in one line.
    pub title: String,
    /// Why, in one sentence.
    pub why: String,
    /// `cause` if the evidence decides, else `unknown`.
    pub verdict: String,
    /// How sure the trace is, 0 to 1.
    pub confidence: f64,
    /// The class of the strongest evidence.
    pub evidence_class: String,
    /// The event it began with.
    pub root: String,
    /// The events it rests on, in order of time.
    pub evidence: Vec<EvidenceJson>,
}

/// An event that a pattern used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceJson {
    /// When it happened, RFC 3339 with nanoseconds, UTC.
    pub time: String,
    /// The event.
    pub event: String,
    /// What it is to the finding: `root`, `step` or `symptom`.
    pub role: String,
    /// What it shows.
    pub text: String,
}

impl From<&Finding> for FindingJson {
    fn from(finding: &Finding) -> Self {
        let verdict = match finding.verdict {
            Verdict::Cause => "cause",
            Verdict::Unknown { .. } => "unknown",
        };
        Self {
            pattern: finding.id.pattern.to_string(),
            trace: finding.id.trace.to_string(),
            incarnation: finding.id.incarnation.0,
            subject: finding.id.subject.to_string(),
            title: finding.title.to_string(),
            why: finding.root_cause.to_string(),
            verdict: verdict.into(),
            confidence: (finding.confidence.get() * 1e4).round() / 1e4,
            evidence_class: finding.class.name().into(),
            root: finding.root.to_string(),
            evidence: finding.evidence.iter().map(EvidenceJson::from).collect(),
        }
    }
}

impl From<&Evidence> for EvidenceJson {
    fn from(evidence: &Evidence) -> Self {
        Self {
            time: time_to_text(evidence.time),
            event: evidence.event.to_string(),
            role: evidence.role.name().into(),
            text: evidence.text.to_string(),
        }
    }
}
