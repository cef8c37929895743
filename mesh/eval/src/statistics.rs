//! Numbers about numbers.

/// Counts in the units of a share.
pub(crate) fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// Returns which share a part is; of nothing, none.
pub(crate) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { to_f64(part) / to_f64(whole) }
}

/// Returns the mean; of nothing, zero.
pub(crate) fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = numbers.fold((0_usize, 0.0), |(count, sum), it| (count + 1, sum + it));
    if count == 0 { 0.0 } else { sum / to_f64(count) }
}

/// Returns the number that has this share of the others below it.
pub(crate) fn quantile(numbers: &[f64], share: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let at = (to_f64(last) * share).round() as usize;
    sorted.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nothing_there_is_no_number_and_no_division() {
        assert_eq!(quantile(&[], 0.5), None);
        assert!(mean(std::iter::empty()).abs() < 1e-9 && ratio(3, 0).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_is_one_of_the_numbers() {
        let numbers = [5.0, 1.0, 3.0];
        let all = [0.0, 0.5, 1.0].map(|share| quantile(&numbers, share));
        assert_eq!(all, [Some(1.0), Some(3.0), Some(5.0)]);
    }
}
