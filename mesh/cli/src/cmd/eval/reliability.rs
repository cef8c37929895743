//! The reliability diagram: how often a story is right that is so sure.

use tapio_eval::{Claim, Reliability, Score, bins};

use super::chart::{Chart, Look};

/// How far confidence is from truth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) verdicts: usize,
    pub(super) brier: f64,
    pub(super) ece: f64,
    pub(super) ece_interval: (f64, f64),
}

impl From<&Score> for Figures {
    fn from(score: &Score) -> Self {
        let Score { verdicts, brier, ece, ece_interval, .. } = *score;
        Self { verdicts, brier, ece, ece_interval }
    }
}

impl From<Reliability> for Figures {
    fn from(reliability: Reliability) -> Self {
        let Reliability { verdicts, brier, ece, ece_interval, .. } = reliability;
        Self { verdicts, brier, ece, ece_interval }
    }
}

/// Says of what the diagram is.
pub(super) fn title(what: &str, figures: Figures) -> String {
    let Figures { verdicts, brier, ece, ece_interval: (low, high) } = figures;
    format!("{verdicts} {what}: ECE {ece:.3} ({low:.3} to {high:.3}), Brier {brier:.3}")
}

/// Draws the diagram of some claims.
pub(super) fn diagram(claims: &[Claim], title: &str) -> String {
    let mut chart = Chart::new(title, (420.0, 320.0), 54.0);
    chart.shares_across();
    chart.line(Look::Class("ideal"), &[(0.0, 0.0), (1.0, 1.0)]);
    for bin in bins(claims) {
        let (from, to) = bin.range;
        let middle = f64::midpoint(from, to);
        chart.below(middle, 0, &format!("{from:.1}"));
        chart.below(middle, 1, &bin.claims.to_string());
        if bin.claims == 0 {
            continue;
        }
        let says = format!(
            "{} stories, {:.0} % sure on average, {:.0} % right",
            bin.claims,
            bin.confidence * 100.0,
            bin.right * 100.0
        );
        chart.bar(bin.range, bin.right, &says);
        chart.line(Look::Class("gap"), &[(middle, bin.right), (middle, bin.confidence)]);
    }
    chart.below(0.5, 2, "how sure (from), how many stories; the bar is how many of them are right");
    chart.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapio_eval::Judgement;

    #[test]
    fn every_bin_has_its_count_and_only_those_with_stories_a_bar() {
        let claims = [(0.85, true), (0.85, false), (0.15, true)]
            .map(|(confidence, is_right)| Claim { confidence, is_right });
        let score = Judgement::default().score();
        let svg = diagram(&claims, &title("stories", (&score).into()));
        assert_eq!(svg.matches("class=\"bar\"").count(), 2);
        assert_eq!(svg.matches(">0</text>").count(), 8, "{svg}");
        assert!(svg.contains("0 stories: ECE 0.000 (0.000 to 0.000), Brier 0.000"), "{svg}");
        assert!(svg.contains("2 stories, 85 % sure on average, 50 % right"), "{svg}");
    }
}
