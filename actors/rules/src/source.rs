//! A rule's file: its text, read, with what is needed to say where something stands in it.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_saphyr::Error as YamlError;
use tapio_config::{Outline, choose, read_yaml, says_nothing};

use crate::{Limits, RuleError, problem::Fault, raw::RawRule};

/// A file's path and bytes.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// A file whose form is right, and nothing else known of it.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) path: PathBuf,
    pub(crate) raw: RawRule,
    outline: Outline,
}

impl Source {
    /// Reads a file, one byte past the limit at most.
    pub(crate) fn read(path: &Path) -> Result<Self, RuleError> {
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(Limits::FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|why| unreadable(path, &why))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Reads the text into its form.
    pub(crate) fn parse(&self) -> Result<Parsed, RuleError> {
        let whole = |what: String, cure: &str| RuleError::of_file(&self.path, what, cure);
        if u64::try_from(self.bytes.len()).is_ok_and(|bytes| bytes > Limits::FILE_BYTES_MAX) {
            let what = format!("longer than {} KiB", Limits::FILE_BYTES_MAX / 1024);
            return Err(whole(what, "one rule is one file: split it, or shorten its scenes"));
        }
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|why| whole(format!("is not text: {why}"), "save it as UTF-8"))?;
        if says_nothing(text) {
            return Err(whole("is empty".to_owned(), "write a rule, or take the file away"));
        }
        let outline = Outline::of(text);
        match read_yaml::<RawRule>(text) {
            Ok(raw) => Ok(Parsed { path: self.path.clone(), raw, outline }),
            Err(why) => Err(explain(&self.path, &outline, &why)),
        }
    }
}

impl Parsed {
    /// Adds to a fault where the field stands.
    pub(crate) fn error(&self, field: impl Into<String>, fault: Fault) -> RuleError {
        let field = field.into();
        RuleError {
            file: self.path.clone(),
            line: self.outline.line_of(&field),
            field,
            what: fault.what,
            cure: fault.cure,
        }
    }
}

pub(crate) fn unreadable(path: &Path, why: &io::Error) -> RuleError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "two have a cure of their own")]
    let cure = match why.kind() {
        io::ErrorKind::NotFound => "create it, or name another",
        io::ErrorKind::PermissionDenied => "let this process's user read it",
        _ => "check the path and the disk under it",
    };
    RuleError::of_file(path, format!("cannot be read: {why}"), cure)
}

/// Says what the YAML reader did not like, where, and what to do.
fn explain(path: &Path, outline: &Outline, why: &YamlError) -> RuleError {
    let why = why.without_snippet();
    let line = why.location().map(|location| location.line()).filter(|line| *line > 0);
    let at_line = line.and_then(|line| outline.field_at(line)).unwrap_or_default();
    let at = |field: String, what: String, cure: String| RuleError {
        file: path.to_owned(),
        line,
        field,
        what,
        cure,
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "fifty reasons, and more to come")]
    match why {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            at(beside(at_line, field), "there is no such field".to_owned(), choose(field, expected))
        }
        YamlError::SerdeMissingField { field, .. } => {
            let what = "is missing".to_owned();
            at(beside(at_line, field), what, "write it; docs/rules.md has an example".to_owned())
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("a field");
            // A file with two of a key has no outline.
            let field = if at_line.is_empty() { key } else { at_line };
            let cure = "keep one of the two".to_owned();
            at(field.to_owned(), format!("`{key}` stands here twice"), cure)
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            at(at_line.to_owned(), format!("is {unexpected}"), format!("write {expected}"))
        }
        other => {
            let text = other.render();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            at(at_line.to_owned(), first.to_owned(), "correct what stands there".to_owned())
        }
    }
}

/// Returns the path of a field that stands in the same section as the one at its line.
fn beside(at_line: &str, field: &str) -> String {
    if at_line.rsplit('.').next() == Some(field) {
        return at_line.to_owned();
    }
    match at_line.rsplit_once('.') {
        // The line of an item of a list is also the line of its first field.
        Some((section, last)) if last.parse::<u32>().is_err() => format!("{section}.{field}"),
        Some(_) => format!("{at_line}.{field}"),
        None => field.to_owned(),
    }
}
