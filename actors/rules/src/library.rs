//! All rules of a directory, taken whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tapio_engine::{Pattern, Patterns};
use tapio_patterns::{all, patterns};

use crate::{
    Limits, Report, Rule, RuleError,
    compile::{Known, compile},
    problem::Fault,
    source::{Parsed, Source, unreadable},
};

/// Rules that were read together.
#[derive(Debug, Clone, Default)]
pub struct Library {
    rules: Vec<Arc<Rule>>,
}

impl Library {
    /// Loads every `*.yaml` of a directory, in the order of their names.
    ///
    /// # Errors
    /// Everything that is wrong with any of them; then none is taken.
    pub fn load(directory: &Path) -> Result<Self, Vec<RuleError>> {
        Self::of_files(&files(directory)?)
    }

    /// Loads files, and every `*.yaml` of directories.
    ///
    /// # Errors
    /// Everything that is wrong with any of them; then none is taken.
    pub fn load_all(paths: &[PathBuf]) -> Result<Self, Vec<RuleError>> {
        let mut found = Vec::new();
        for path in paths {
            if path.is_dir() {
                found.extend(files(path)?);
            } else {
                found.push(path.clone());
            }
        }
        Self::of_files(&found)
    }

    fn of_files(files: &[PathBuf]) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut sources = Vec::with_capacity(files.len());
        // One too many says so; more need not be read for it.
        for file in files.iter().take(Limits::RULES_MAX + 1) {
            match Source::read(file) {
                Ok(source) => sources.push(source),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Self::of(&sources) } else { Err(errors) }
    }

    /// Makes rules of files that were read.
    pub(crate) fn of(sources: &[Source]) -> Result<Self, Vec<RuleError>> {
        if let Some(further) = sources.get(Limits::RULES_MAX) {
            let what = format!("is one rule more than {}", Limits::RULES_MAX);
            return Err(vec![RuleError::of_file(&further.path, what, "take some away")]);
        }
        let mut errors = Vec::new();
        let mut parsed = Vec::with_capacity(sources.len());
        for source in sources {
            match source.parse() {
                Ok(it) => parsed.push(it),
                Err(error) => errors.push(error),
            }
        }
        let known = known(&parsed);
        errors.extend(twice(&parsed));
        let mut rules = Vec::with_capacity(parsed.len());
        for file in &parsed {
            match compile(file, &known) {
                Ok(rule) => rules.push(Arc::new(rule)),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if errors.is_empty() {
            return Ok(Self { rules });
        }
        errors.sort();
        Err(errors)
    }

    /// Returns the rules, in the order they were loaded in.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Returns the built-in patterns and the rules, as an engine takes them.
    #[must_use]
    pub fn patterns(&self) -> Patterns {
        let mut all: Vec<Arc<dyn Pattern>> = patterns().to_vec();
        for rule in &self.rules {
            all.push(Arc::<Rule>::clone(rule));
        }
        all.into()
    }

    /// Plays the scenes of every rule, and those of the built-in patterns beside the rules.
    #[must_use]
    pub fn test(&self) -> Report {
        Report::of(self)
    }
}

/// Returns the rules' files of a directory, in order of their names.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>, Vec<RuleError>> {
    let unreadable = |why| vec![unreadable(directory, &why)];
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // A hidden one is an editor's, or what the links of a ConfigMap point to.
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|ending| ending == "yaml") && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn known(parsed: &[Parsed]) -> Known {
    let own = parsed.iter().map(|file| file.raw.slug.clone());
    Known { patterns: all().into_iter().map(|entry| entry.slug.to_owned()).chain(own).collect() }
}

/// Returns an error for every slug that is somebody else's already.
fn twice(parsed: &[Parsed]) -> Vec<RuleError> {
    let built_in: BTreeSet<&str> = all().iter().map(|entry| entry.slug).collect();
    let mut owners: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut errors = Vec::new();
    for file in parsed {
        let slug = file.raw.slug.as_str();
        let owner = owners.get(slug).map(|path| path.display().to_string());
        let owner = owner.or_else(|| built_in.contains(slug).then(|| "Tapio itself".to_owned()));
        if let Some(owner) = owner {
            let what = format!("`{slug}` is the slug of a pattern of {owner}");
            errors.push(file.error("slug", Fault::new(what, "choose another name")));
        }
        owners.entry(slug).or_insert(&file.path);
    }
    errors
}

#[cfg(test)]
mod tests;
