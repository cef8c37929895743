//! Prometheus text, version 0.0.4.

use std::{collections::BTreeMap, fmt, fmt::Write as _, time::Duration};

use super::{HistogramReading, Reading, Series, Sheet};
use crate::{
    label::{Label, Labels},
    metric::{BOUNDS, Metric},
};

/// Writes what was read. A metric that nobody observes has no line.
pub(super) fn text(sheet: &Sheet, histograms: &BTreeMap<Series, HistogramReading>) -> String {
    let mut text = String::new();
    for metric in Metric::ALL {
        let mut lines = String::new();
        for (labels, value) in sheet.of(*metric) {
            line(&mut lines, metric.name(), &pairs(labels), value);
        }
        for ((_, labels), histogram) in histograms.iter().filter(|((of, _), _)| of == metric) {
            write_histogram(&mut lines, *metric, *labels, histogram);
        }
        if !lines.is_empty() {
            let (name, kind) = (metric.name(), metric.kind().prometheus());
            let help = escape(metric.help(), false);
            put(&mut text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}"));
        }
    }
    text
}

fn write_histogram(to: &mut String, metric: Metric, labels: Labels, histogram: &HistogramReading) {
    let (name, labels) = (metric.name(), pairs(labels));
    let bounds = BOUNDS.iter().map(|bound| Seconds(*bound).to_string());
    let bounds = bounds.chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(histogram.cumulative) {
        let labels: Vec<_> = labels.iter().cloned().chain([format!("le=\"{bound}\"")]).collect();
        line(to, &format!("{name}_bucket"), &labels, count.into());
    }
    line(to, &format!("{name}_sum"), &labels, histogram.sum.into());
    line(to, &format!("{name}_count"), &labels, histogram.total.into());
}

fn line(to: &mut String, name: &str, labels: &[String], value: Reading) {
    to.push_str(name);
    if !labels.is_empty() {
        put(to, format_args!("{{{}}}", labels.join(",")));
    }
    match value {
        Reading::Count(count) => put(to, format_args!(" {count}\n")),
        Reading::Time(time) => put(to, format_args!(" {}\n", Seconds(time))),
    }
}

fn pairs(labels: Labels) -> Vec<String> {
    let pair = |label: Label| format!("{}=\"{}\"", label.key().name(), escape(label.value(), true));
    labels.iter().map(pair).collect()
}

/// Escapes what the format gives a meaning; the quote only inside a label's value.
fn escape(text: &str, is_quoted: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if is_quoted => escaped.push_str("\\\""),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Seconds with as many digits as they have, without a float in between.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        f.write_str(digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

fn put(to: &mut String, what: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    to.write_fmt(what).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_every_digit_and_no_zero() {
        let cases = [(0, "0"), (1, "0.000000001"), (250_000, "0.00025"), (20_000_000_000, "20")];
        for (nanos, text) in cases {
            assert_eq!(Seconds(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn what_has_a_meaning_is_escaped() {
        assert_eq!(escape("a\\b\nc\"d", true), "a\\\\b\\nc\\\"d");
        assert_eq!(escape("a\\b\nc\"d", false), "a\\\\b\\nc\"d");
    }
}
