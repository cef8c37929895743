//! The report: a pure function of what was found out.

mod host;
mod mesh;

use std::fmt::Write as _;

use serde::Serialize;

use super::{cluster::ClusterFacts, host::HostFacts, server::MeshFacts};
use crate::out::{Out, Style};

/// What was found out.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) host: HostFacts,
    /// NATS; not looked at before installing.
    pub(super) mesh: Option<MeshFacts>,
    /// The cluster; not looked at before installing.
    pub(super) cluster: Option<ClusterFacts>,
}

/// Whether a thing will work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It will.
    Ok,
    /// Tapio works with less of it, or without.
    Degraded,
    /// It is required, and not there.
    Missing,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Ok => Style::Green,
            Self::Degraded => Style::Yellow,
            Self::Missing => Style::Red,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    name: String,
    state: State,
    why: String,
    /// What to do; nothing if all is well.
    cure: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, why: why.into(), cure: None }
    }

    fn degraded(name: impl Into<String>, why: impl Into<String>, cure: impl Into<String>) -> Self {
        let cure = Some(cure.into());
        Self { name: name.into(), state: State::Degraded, why: why.into(), cure }
    }

    fn missing(name: impl Into<String>, why: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Missing, ..Self::degraded(name, why, cure) }
    }
}

/// What will work here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    kernel_tier: &'static str,
    checks: Vec<Check>,
    /// Nothing that is required is missing.
    ok: bool,
}

impl Report {
    /// Judges what was found out.
    pub(super) fn of(facts: &Facts) -> Self {
        let mut checks = host::checks(&facts.host);
        if let Some(mesh) = &facts.mesh {
            checks.extend(mesh::checks(mesh));
        }
        if let Some(cluster) = &facts.cluster {
            checks.extend(rules(cluster));
        }
        checks.push(mesh::clock(&facts.host, facts.mesh.as_ref()));
        let ok = checks.iter().all(|check| check.state != State::Missing);
        Self { kernel_tier: facts.host.tier, checks, ok }
    }

    /// Returns what is required and not there.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.checks.iter().filter(|check| check.state == State::Missing);
        missing.map(|check| check.name.as_str())
    }
}

fn rules(cluster: &ClusterFacts) -> Vec<Check> {
    match cluster {
        ClusterFacts::None => vec![Check::degraded(
            "cluster",
            "no cluster configured: what Kubernetes says is not seen",
            "set KUBECONFIG, or run in a pod with a service account",
        )],
        ClusterFacts::Silent(why) => {
            vec![Check::degraded("cluster", why, "check KUBECONFIG, and the way to the API server")]
        }
        ClusterFacts::Rules(rules) => rules
            .iter()
            .map(|(rule, is_allowed)| {
                if *is_allowed {
                    return Check::ok("rbac", rule);
                }
                let cure = format!("add to the ClusterRole: {rule}");
                Check::degraded("rbac", "not allowed: what it shows is not seen", cure)
            })
            .collect(),
    }
}

/// Renders a report for people, a line a thing.
pub(super) fn render(report: &Report, out: Out) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut page = String::new();
    let mut counts = [0_usize; 3];
    for Check { name, state, why, cure } in &report.checks {
        let [oks, degraded, missing] = &mut counts;
        *match state {
            State::Ok => oks,
            State::Degraded => degraded,
            State::Missing => missing,
        } += 1;
        let state = out.paint(state.style(), format_args!("{:<8}", state.name()));
        let cure = cure.as_ref().map(|cure| format!("; {cure}")).unwrap_or_default();
        // Writing to a string does not fail.
        writeln!(page, "{state}  {name:<width$}  {why}{cure}").unwrap_or_default();
    }
    let [oks, degraded, missing] = counts;
    page + &format!("{oks} ok, {degraded} degraded, {missing} missing\n")
}
