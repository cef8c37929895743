//! Exact intervals of rates.

use crate::statistics::to_f64;

/// Returns the exact 95 % interval of a rate of `count` in `hours`.
///
/// # Source
/// Garwood, "Fiducial limits for the Poisson distribution", 1936.
#[must_use]
pub(crate) fn poisson_interval(count: usize, hours: f64) -> (f64, f64) {
    if hours <= 0.0 {
        return (0.0, f64::INFINITY);
    }
    // The chance of so many or fewer falls with the mean; search for where it crosses.
    let lower = if count == 0 { 0.0 } else { crossing(count - 1, 0.975) };
    (lower / hours, crossing(count, 0.025) / hours)
}

/// Returns the mean at which `count` or fewer have this chance.
fn crossing(count: usize, chance: f64) -> f64 {
    let (mut low, mut high) = (0.0, to_f64(count) * 2.0 + 20.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if at_most(count, middle) > chance { low = middle } else { high = middle }
    }
    low
}

fn at_most(count: usize, mean: f64) -> f64 {
    let mut term = (-mean).exp();
    let mut sum = term;
    for number in 1..=count {
        term *= mean / to_f64(number);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_known_one() {
        for (count, low, high) in [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39)] {
            let (from, to) = poisson_interval(count, 1.0);
            assert!((from - low).abs() < 0.01 && (to - high).abs() < 0.01, "{count}: {from}..{to}");
        }
        assert_eq!(poisson_interval(0, 0.0), (0.0, f64::INFINITY));
    }
}
