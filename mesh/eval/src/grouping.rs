//! What stories put together, against what belongs together.

use std::collections::BTreeMap;

use crate::statistics::to_f64;

/// Returns the adjusted Rand index of two groupings: of each item, its group in the one and in the
/// other.
///
/// # Source
/// Hubert and Arabie, "Comparing partitions", 1985.
pub(crate) fn rand_index(pairs: &[(usize, usize)]) -> f64 {
    let choose = |count: usize| to_f64(count) * (to_f64(count) - 1.0) / 2.0;
    let mut cells: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let (mut rows, mut columns) = (BTreeMap::new(), BTreeMap::new());
    for (row, column) in pairs {
        *cells.entry((*row, *column)).or_default() += 1;
        *rows.entry(*row).or_default() += 1;
        *columns.entry(*column).or_default() += 1;
    }
    let sum = |counts: &mut dyn Iterator<Item = usize>| counts.map(choose).sum::<f64>();
    let both = sum(&mut cells.into_values());
    let (row, column) = (sum(&mut rows.into_values()), sum(&mut columns.into_values()));
    let all = choose(pairs.len());
    let by_chance = if all > 0.0 { row * column / all } else { 0.0 };
    let most = f64::midpoint(row, column);
    if (most - by_chance).abs() < f64::EPSILON {
        1.0
    } else {
        (both - by_chance) / (most - by_chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_is_compared_with_chance() {
        let same = [(0, 0), (0, 0), (1, 1), (1, 1)];
        let crossed = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert!((rand_index(&same) - 1.0).abs() < 1e-9);
        assert!(rand_index(&crossed) < 0.0);
        assert!((rand_index(&[]) - 1.0).abs() < 1e-9);
    }
}
