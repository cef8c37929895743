//! From a file and the environment to a value.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_saphyr::Error as YamlError;

use crate::{
    ConfigError, Fault, Outline, Problem, Validate, Whence, choose, read_yaml, says_nothing,
};

/// Bytes a file may have. A ConfigMap cannot be larger.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Looks a variable of the environment up.
pub type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where a configuration comes from.
#[derive(Clone)]
pub struct Origin {
    /// The file; without one there are the defaults and the environment.
    pub path: Option<PathBuf>,
    /// The environment.
    pub lookup: Lookup,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Returns a variable of this process. A `main` hands it down as [`Origin::lookup`], so that tests
/// never touch the process.
#[must_use]
pub fn process_variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads variables")]
    std::env::var(name).ok()
}

/// Loads a configuration: the file, then the variables, then validation.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load<T: DeserializeOwned + Default + Validate>(origin: &Origin) -> Result<T, ConfigError> {
    let text = match &origin.path {
        Some(path) => read(path).map_err(|why| unreadable(path, &why))?,
        None => Vec::new(),
    };
    parse(&text, origin)
}

/// Reads a file that may be a [`crate::load`]ed one.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn unreadable(path: &Path, why: &io::Error) -> ConfigError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "two have a cure of their own")]
    let cure = match why.kind() {
        io::ErrorKind::NotFound => "create it, or name another file",
        io::ErrorKind::PermissionDenied => "let this process's user read it",
        _ => "check the path and the disk under it",
    };
    ConfigError::one(Problem {
        whence: Whence::File { path: path.to_owned(), line: None },
        field: String::new(),
        what: format!("cannot be read: {why}"),
        cure: cure.to_owned(),
    })
}

/// Makes a configuration of a file's bytes.
pub(crate) fn parse<T: DeserializeOwned + Default + Validate>(
    bytes: &[u8],
    origin: &Origin,
) -> Result<T, ConfigError> {
    let reading = Reading::new(bytes, origin)?;
    let mut value: T = reading.parse()?;
    let mut set = Vec::new();
    for variable in T::VARIABLES {
        // An empty variable is one that is not set: a manifest cannot leave one out.
        let Some(text) = (origin.lookup)(variable.name).filter(|text| !text.is_empty()) else {
            continue;
        };
        set.push((variable.field, variable.name));
        if let Err(fault) = (variable.set)(&mut value, &text) {
            return Err(ConfigError::one(reading.problem(fault, &set)));
        }
    }
    let faults = value.validate();
    if faults.is_empty() {
        return Ok(value);
    }
    Err(ConfigError {
        problems: faults.into_iter().map(|fault| reading.problem(fault, &set)).collect(),
    })
}

/// A file's text with what is needed to say where something stands in it.
struct Reading<'a> {
    text: &'a str,
    path: Option<&'a Path>,
    outline: Outline,
}

impl<'a> Reading<'a> {
    fn new(bytes: &'a [u8], origin: &'a Origin) -> Result<Self, ConfigError> {
        let path = origin.path.as_deref();
        let whole = |what: &str, cure: &str| {
            ConfigError::one(Problem {
                whence: whence(path, None),
                field: String::new(),
                what: what.to_owned(),
                cure: cure.to_owned(),
            })
        };
        if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
            return Err(whole("longer than 1 MiB", "name the configuration, not something else"));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|why| whole(&format!("is not text: {why}"), "save it as UTF-8"))?;
        Ok(Self { text, path, outline: Outline::of(text) })
    }

    /// Reads the text; nothing but comments is everything by default.
    fn parse<T: DeserializeOwned + Default>(&self) -> Result<T, ConfigError> {
        if says_nothing(self.text) {
            return Ok(T::default());
        }
        read_yaml(self.text).map_err(|why| ConfigError::one(self.explain(&why)))
    }

    /// Says what the YAML reader did not like, where, and what to do.
    fn explain(&self, why: &YamlError) -> Problem {
        let why = why.without_snippet();
        let line = why.location().map(|location| location.line()).filter(|line| *line > 0);
        let at_line = line.and_then(|line| self.outline.field_at(line)).unwrap_or_default();
        let at = |field: String, what: String, cure: String| Problem {
            whence: whence(self.path, line),
            field,
            what,
            cure,
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "fifty reasons, and more to come")]
        match why {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                let section = at_line.rsplit_once('.').map_or("", |(section, _)| section);
                let full = if at_line.rsplit('.').next() == Some(field.as_str()) {
                    at_line.to_owned()
                } else if section.is_empty() {
                    field.clone()
                } else {
                    format!("{section}.{field}")
                };
                at(full, "there is no such field".to_owned(), choose(field, expected))
            }
            YamlError::SerdeUnknownVariant { variant, expected, .. } => at(
                at_line.to_owned(),
                format!("`{variant}` is none of its values"),
                choose(variant, expected),
            ),
            YamlError::DuplicateMappingKey { key, .. } => at(
                at_line.to_owned(),
                format!("`{}` stands here twice", key.as_deref().unwrap_or("a field")),
                "keep one of the two".to_owned(),
            ),
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

    /// Adds to a fault where its value came from: a variable, else the file, else nowhere.
    fn problem(&self, fault: Fault, set: &[(&str, &'static str)]) -> Problem {
        let variable = set.iter().find(|(field, _)| *field == fault.field);
        let whence = match variable {
            Some((_, name)) => Whence::Variable(name),
            None if self.outline.sets(fault.field) => {
                whence(self.path, self.outline.line_of(fault.field))
            }
            None => Whence::Default,
        };
        Problem { whence, field: fault.field.to_owned(), what: fault.what, cure: fault.cure }
    }
}

fn whence(path: Option<&Path>, line: Option<u64>) -> Whence {
    path.map_or(Whence::Default, |path| Whence::File { path: path.to_owned(), line })
}

#[cfg(test)]
mod tests;
