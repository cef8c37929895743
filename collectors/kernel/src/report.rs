//! Which probes run, how, and why the others do not.

use std::fmt;

use crate::tier::{Tier, TierReport};

/// Which probes run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// What this machine allows.
    pub tier: TierReport,
    /// Every probe that was asked for.
    pub probes: Vec<ProbeState>,
}

/// How one probe fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeState {
    /// Its name: its files', its label.
    pub slug: &'static str,
    /// Where it is attached, and by which tier.
    pub attached: Vec<(&'static str, Tier)>,
    /// Programs that were refused, by the verifier or the kernel. A worse one may run instead.
    pub refused: Vec<Refusal>,
    /// Places where no program of it runs.
    pub missing: Vec<&'static str>,
}

/// A program that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The program.
    pub program: &'static str,
    /// What was said.
    pub reason: String,
}

impl ProbeState {
    /// Says whether the probe tells anything.
    #[must_use]
    pub const fn runs(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Says whether it tells everything that it could.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.runs() && self.missing.is_empty()
    }

    /// Returns the worst tier among its attachments.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.attached.iter().map(|(_, tier)| *tier).max().unwrap_or(Tier::None)
    }
}

impl ProbeReport {
    /// Says whether the probe with this name tells anything.
    #[must_use]
    pub fn runs(&self, slug: &str) -> bool {
        self.probes.iter().any(|probe| probe.slug == slug && probe.runs())
    }
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel tier {}", self.tier.tier)?;
        for probe in &self.probes {
            write!(f, "\n  {}: {}", probe.slug, probe.tier())?;
            for event in &probe.missing {
                write!(f, "; not at {event}")?;
            }
            for refusal in &probe.refused {
                write!(f, "; {} refused: {}", refusal.program, refusal.reason)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::{Facts, Rights, Types};

    #[test]
    fn says_what_runs_and_why_the_rest_does_not() {
        let facts = Facts {
            kernel: (6, 1),
            types: Types::Tracepoints,
            rights: Rights::Enough,
            has_tracefs: true,
            is_locked_down: false,
            refusal: None,
        };
        let refusal = Refusal { program: "signal_btf", reason: "EACCES".into() };
        let state = |slug, attached: &[(&'static str, Tier)]| ProbeState {
            slug,
            attached: attached.to_vec(),
            refused: Vec::new(),
            missing: Vec::new(),
        };
        let report = ProbeReport {
            tier: TierReport::decide(facts),
            probes: vec![
                state("oom_kill", &[("mark_victim", Tier::TpBtf)]),
                ProbeState {
                    refused: vec![refusal],
                    missing: vec!["signal_generate"],
                    ..state("signal", &[])
                },
            ],
        };
        let want = "kernel tier tp_btf\n  oom_kill: tp_btf\n  \
                    signal: none; not at signal_generate; signal_btf refused: EACCES";
        assert_eq!(report.to_string(), want);
        assert!(report.runs("oom_kill") && !report.runs("signal") && !report.runs("nobody"));
        let [whole, not] = &report.probes[..] else { panic!("two probes") };
        assert!(whole.is_whole() && !not.is_whole());
    }
}
