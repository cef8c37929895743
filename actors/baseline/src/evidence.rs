//! How much likelier two different shares are than one.

/// Old observations beyond this count no more: a long past must not make a small drift look sure.
const PAST_MAX: f64 = 300.0;

/// Returns the natural logarithm of the Bayes factor for two shares against one: `hits` of `of`
/// before, `hits_now` of `of_now` now, each share with Jeffreys' prior.
///
/// # Source
/// Beta-binomial marginal likelihoods, Beta(1/2, 1/2) prior.
pub(crate) fn change(hits: f64, of: f64, hits_now: f64, of_now: f64) -> f64 {
    let scale = if of > PAST_MAX { PAST_MAX / of } else { 1.0 };
    let (hits, of) = (hits * scale, of * scale);
    marginal(hits, of) + marginal(hits_now, of_now) - marginal(hits + hits_now, of + of_now)
}

/// Returns the logarithm of the marginal likelihood of `hits` of `of`, without its binomial
/// coefficient, which cancels out.
fn marginal(hits: f64, of: f64) -> f64 {
    ln_beta(hits + 0.5, of - hits + 0.5) - ln_beta(0.5, 0.5)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Returns the logarithm of the gamma function for a positive number, to about ten digits.
///
/// # Source
/// Stirling's series after shifting the argument above 8; NIST DLMF 5.11.1.
fn ln_gamma(number: f64) -> f64 {
    let (mut x, mut shift) = (number, 0.0);
    while x < 8.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0)));
    (x - 0.5).mul_add(x.ln(), -x) + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

/// Returns a share that is never quite 0 or 1.
pub(crate) fn share(hits: f64, of: f64) -> f64 {
    (hits + 0.5) / (of + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_of_factorials_is_known() {
        for (number, want) in [(1.0, 0.0), (2.0, 0.0), (5.0, 24_f64.ln()), (0.5, 0.572_364_942_9)] {
            assert!((ln_gamma(number) - want).abs() < 1e-8, "{number}: {}", ln_gamma(number));
        }
    }

    #[test]
    fn what_differs_is_evidence_and_what_is_alike_is_none() {
        assert!(change(0.0, 200.0, 10.0, 10.0) > 10.0);
        assert!(change(0.0, 4.0, 10.0, 10.0) > 3.0);
        assert!(change(100.0, 200.0, 5.0, 10.0) < 0.0);
        assert!(change(2.0, 200.0, 1.0, 10.0) < 3.0);
    }

    #[test]
    fn a_long_past_is_no_surer_than_a_while() {
        let long = change(3_000.0, 1_000_000.0, 3.0, 100.0);
        assert!((long - change(0.9, 300.0, 3.0, 100.0)).abs() < 1e-6);
    }
}
