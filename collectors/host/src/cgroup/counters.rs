//! The files of a control group.

/// Stall times of one resource.
///
/// # Units
/// Percent of the last ten seconds; `total` in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pressure {
    pub(super) some_avg10: f64,
    pub(super) full_avg10: f64,
    pub(super) total: u64,
}

/// CPU quota figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Throttling {
    pub(super) periods: u64,
    pub(super) throttled: u64,
}

/// Reads the value of `key` in a file of `key value` lines.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

/// Reads `cpu.stat`. A v2 group without a quota has no such lines, which is not an error.
pub(super) fn throttling(text: &str) -> Option<Throttling> {
    let is_stat = text.lines().any(|line| line.split_once(' ').is_some());
    is_stat.then(|| Throttling {
        periods: keyed(text, "nr_periods").unwrap_or_default(),
        throttled: keyed(text, "nr_throttled").unwrap_or_default(),
    })
}

/// Reads a `*.pressure` file; `full` may be missing.
///
/// # Source
/// Documentation/accounting/psi.rst in the kernel's tree.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let line = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).and_then(|line| {
            let field = |name: &str| {
                line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            };
            let avg10: f64 = field("avg10")?.parse().ok()?;
            Some((avg10, field("total")?.trim().parse::<u64>().ok()?))
        })
    };
    let (some_avg10, total) = line("some ")?;
    let full_avg10 = line("full ").map_or(0.0, |(avg10, _)| avg10);
    Some(Pressure { some_avg10, full_avg10, total })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_both_generations() {
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(control, "oom_kill"), Some(3));
        let events = "low 0\nhigh 0\nmax 55\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!((keyed(events, "max"), keyed(events, "oom_kill")), (Some(55), Some(1)));
        assert_eq!(keyed("oom_kill many", "oom_kill"), None);
        let stat = "nr_periods 10\nnr_throttled 4\nthrottled_time 99\n";
        assert_eq!(throttling(stat), Some(Throttling { periods: 10, throttled: 4 }));
        assert_eq!(throttling("usage_usec 7\n"), Some(Throttling::default()));
        assert_eq!(throttling("garbage"), None);
    }

    #[test]
    fn reads_pressure_with_and_without_full() {
        let text = "some avg10=61.50 avg60=1.00 avg300=0.00 total=123\nfull avg10=20.10 avg60=0.00 avg300=0.00 total=7\n";
        let want = Pressure { some_avg10: 61.5, full_avg10: 20.1, total: 123 };
        assert_eq!(pressure(text), Some(want));
        assert!(pressure("some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n").is_some());
        assert_eq!(pressure("some avg10=x total=1"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = (keyed(&text, "max"), throttling(&text), pressure(&text));
        }
    }
}
