//! The known name that was probably meant.

/// Returns the name among `known` that `typed` is nearest to, if it is near enough to be meant: a
/// third of its letters may be wrong, missing, too many or swapped with their neighbour.
#[must_use]
pub fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = letters(typed);
    known
        .iter()
        .map(|name| (letters(name), *name))
        .map(|(letters, name)| (distance(&typed, &letters), letters.len(), name))
        .filter(|(distance, length, _)| *distance <= length.div_ceil(3) && distance < length)
        .min()
        .map(|(_, _, name)| name)
}

fn letters(name: &str) -> Vec<char> {
    name.chars().flat_map(char::to_lowercase).collect()
}

/// Returns the cure for a name that is not known: the one that was meant, or all there are.
#[must_use]
pub fn choose(typed: &str, known: &[&str]) -> String {
    nearest(typed, known).map_or_else(
        || format!("choose one of: {}", known.join(", ")),
        |meant| format!("did you mean `{meant}`?"),
    )
}

/// Counts the edits between two names, a swap of neighbours being one (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.iter().enumerate() {
        let mut costs = Vec::with_capacity(to.len() + 1);
        costs.push(row + 1);
        for (column, other) in to.iter().enumerate() {
            let at =
                |costs: &[usize], index: usize| costs.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&last, column) + usize::from(letter != other);
            let mut least = replaced.min(at(&last, column + 1) + 1).min(at(&costs, column) + 1);
            let before = column.checked_sub(1);
            if let Some(before) = before
                && previous == Some(other)
                && to.get(before) == Some(letter)
            {
                least = least.min(at(&before_last, before) + 1);
            }
            costs.push(least);
        }
        before_last = std::mem::replace(&mut last, costs);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_far_off() {
        let known = ["mode", "nats", "direct", "bytes_max", "OomKill"];
        for (typed, meant) in [
            ("nast", Some("nats")),
            ("Mode", Some("mode")),
            ("byte_max", Some("bytes_max")),
            ("bytesmax", Some("bytes_max")),
            ("driect", Some("direct")),
            ("oom_kill", Some("OomKill")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(choose("nast", &known), "did you mean `nats`?");
        assert_eq!(choose("x", &["a", "b"]), "choose one of: a, b");
    }
}
