//! What is wrong with a rule: file, line, field and cure.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Why a rule cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleError {
    /// The file, or the directory of rules.
    pub file: PathBuf,
    /// The line, if one line is to blame.
    pub line: Option<u64>,
    /// The field, with points between: `match.2.when` is of the second step. Empty for the whole file.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.what, self.cure)
    }
}

impl std::error::Error for RuleError {}

impl RuleError {
    /// Makes an error about a whole file.
    pub(crate) fn of_file(file: &Path, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            field: String::new(),
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// What is wrong with a value, by somebody who does not know where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) cure: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what: what.into(), cure: cure.into() }
    }

    /// Makes a fault of a name that is none of those known.
    pub(crate) fn unknown<K: AsRef<str>>(
        noun: &str,
        typed: &str,
        known: impl IntoIterator<Item = K>,
    ) -> Self {
        Self::new(format!("there is no {noun} `{typed}`"), choose(typed, known))
    }
}

/// Returns the cure for a name that is not known.
pub(crate) fn choose<K: AsRef<str>>(typed: &str, known: impl IntoIterator<Item = K>) -> String {
    let known: Vec<K> = known.into_iter().collect();
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    nearest(typed, &known).map_or_else(
        || format!("choose one of: {}", known.join(", ")),
        |meant| format!("did you mean `{meant}`?"),
    )
}

/// Returns the known name that was probably meant: a third of its letters may be wrong.
fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    known
        .iter()
        .map(|name| (distance(&typed, name), *name))
        .filter(|(distance, name)| {
            let letters = name.chars().count();
            *distance <= letters.div_ceil(3) && *distance < letters
        })
        .min()
        .map(|(_, name)| name)
}

/// Counts the letters to change, add or take away (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_ascii_lowercase().chars().collect();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().enumerate() {
        let mut left = row + 1;
        let mut costs = vec![left];
        for (other, pair) in to.iter().zip(last.windows(2)) {
            let [above_left, above] = pair else { continue };
            left = (above_left + usize::from(letter != *other)).min(above + 1).min(left + 1);
            costs.push(left);
        }
        last = costs;
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_far_off() {
        let known = ["kind", "when", "at_least", "OomKill"];
        let cases = [
            ("whenx", Some("when")),
            ("atx_least", Some("at_least")),
            ("oom_kill", Some("OomKill")),
            ("colour", None),
            ("", None),
        ];
        for (typed, meant) in cases {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(choose("x", ["a", "b"]), "choose one of: a, b");
    }

    #[test]
    fn an_error_says_where_what_and_the_cure() {
        let mut error = RuleError::of_file(Path::new("a.yaml"), "is empty", "write a rule");
        assert_eq!(error.to_string(), "a.yaml: is empty; write a rule");
        (error.line, error.field) = (Some(7), "slug".to_owned());
        assert_eq!(error.to_string(), "a.yaml:7: slug: is empty; write a rule");
    }
}
