//! Names and short texts of a rule.

use std::time::Duration;

use tapio_model::{EvidenceClass, Kind, Role};

use super::{Known, classes};
use crate::{Limits, problem::Fault};

/// Letters of a slug or of a step's name.
const NAME_CHARS_MAX: usize = 48;

/// What a scene's truth may be, besides a slug.
pub(super) const TRUTHS: [&str; 3] = ["cause", "unknown", "healthy"];

/// Checks a rule's own name.
pub(super) fn slug(slug: &str) -> Result<(), Fault> {
    if TRUTHS.contains(&slug) || slug == "trace" {
        return Err(Fault::new(format!("`{slug}` is a word of the format"), "choose another name"));
    }
    name(slug)
}

/// Checks that a name is one: it becomes a label of metrics and a word in placeholders.
pub(super) fn name(name: &str) -> Result<(), Fault> {
    let is_letter =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if begins && name.len() <= NAME_CHARS_MAX && name.bytes().all(is_letter) {
        return Ok(());
    }
    let cure = format!("write a to z, 0 to 9 and _, a letter first, {NAME_CHARS_MAX} at most");
    Err(Fault::new(format!("`{name}` is not a name"), cure))
}

/// Checks a text of the header.
pub(super) fn header_text(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("is empty", "whoever reads a story at night reads this: write it"));
    }
    if text.chars().count() > Limits::TEXT_CHARS_MAX {
        let what = format!("longer than {} letters", Limits::TEXT_CHARS_MAX);
        return Err(Fault::new(what, "shorten it"));
    }
    Ok(())
}

/// Checks the slug of another pattern.
pub(super) fn pattern(name: &str, own: &str, known: &Known) -> Result<(), Fault> {
    if name == own {
        return Err(Fault::new("names the rule itself", "name another pattern"));
    }
    if known.patterns.contains(name) {
        return Ok(());
    }
    let all = known.patterns.iter().map(String::as_str);
    Err(Fault::unknown("pattern", name, all))
}

/// Reads a class of evidence.
pub(super) fn class(name: &str) -> Result<EvidenceClass, Fault> {
    let found = EvidenceClass::ALL.into_iter().find(|class| class.name() == name);
    found.ok_or_else(|| Fault::unknown("class of evidence", name, classes()))
}

/// Reads a kind by either of its names.
pub(super) fn kind(name: &str) -> Result<Kind, Fault> {
    let camel = || Kind::ALL.iter().copied().find(|kind| format!("{kind:?}") == name);
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    Kind::from_name(name).or_else(camel).ok_or_else(|| Fault::unknown("kind", name, names()))
}

/// Reads a role.
pub(super) fn role(name: &str) -> Result<Role, Fault> {
    let found = Role::ALL.into_iter().find(|role| role.name() == name);
    found.ok_or_else(|| Fault::unknown("role", name, Role::ALL.map(Role::name)))
}

/// Reads a time such as `500ms`, `10s`, `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let wrong = || Fault::new(format!("`{text}` is not a time"), "write 500ms, 10s or 1m30s");
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().ok().ok_or_else(wrong)?;
        let part = Duration::from_millis(number.checked_mul(millis).ok_or_else(wrong)?);
        sum = sum.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if sum.is_zero() { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let cases = [
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("", None),
            ("0s", None),
            ("10", None),
            ("s", None),
            ("1d", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("9999999999999999h", None),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn names_are_labels() {
        for (text, is_name) in [
            ("cache_stampede2", true),
            ("", false),
            ("2fast", false),
            ("Cache", false),
            ("cache-stampede", false),
            ("é", false),
        ] {
            assert_eq!(name(text).is_ok(), is_name, "{text}");
        }
        assert!(name(&"x".repeat(49)).is_err());
        assert!(slug("healthy").is_err());
    }

    #[test]
    fn kinds_have_two_names() {
        assert_eq!(kind("oom_kill"), Ok(Kind::OomKill));
        assert_eq!(kind("OomKill"), Ok(Kind::OomKill));
        assert!(kind("oom_killx").unwrap_err().cure.contains("oom_kill"));
    }
}
