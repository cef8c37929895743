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
        let known: Vec<K> = known.into_iter().collect();
        let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        Self::new(format!("there is no {noun} `{typed}`"), tapio_config::choose(typed, &known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_and_the_cure() {
        let mut error = RuleError::of_file(Path::new("a.yaml"), "is empty", "write a rule");
        assert_eq!(error.to_string(), "a.yaml: is empty; write a rule");
        (error.line, error.field) = (Some(7), "slug".to_owned());
        assert_eq!(error.to_string(), "a.yaml:7: slug: is empty; write a rule");
    }
}
