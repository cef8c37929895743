//! Rules of users: read at the start, and kept current while a node runs.

mod following;

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use tapio_engine::{Patterns, Rules};
use tapio_patterns::patterns;
use tapio_rules::{Library, Reload, RuleError};

pub(crate) use self::following::Following;
use crate::{exit::Usage, out::errln};

/// Where rules of users are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RulesArgs {
    /// Directory of rules of your own, to stand beside the built-in patterns. `up` and `node` take a
    /// change over while they run; a bad one they do not.
    #[arg(long, value_name = "DIR", env = "TAPIO_RULES", hide_env_values = true)]
    rules: Option<PathBuf>,
}

impl RulesArgs {
    /// Returns the flags again, for a command that another one starts.
    pub(crate) fn words(&self) -> impl Iterator<Item = OsString> {
        self.rules.iter().flat_map(|directory| ["--rules".into(), directory.into()])
    }

    /// Reads the rules once; none without a directory.
    pub(crate) fn load(&self) -> anyhow::Result<Library> {
        match &self.rules {
            Some(directory) => Library::load(directory).map_err(refused),
            None => Ok(Library::default()),
        }
    }

    /// Reads the rules, to be kept current.
    pub(crate) fn open(&self) -> anyhow::Result<OwnRules> {
        let reload = self.rules.as_deref().map(Reload::open).transpose().map_err(refused)?;
        Ok(OwnRules(reload))
    }
}

/// Says everything that is wrong with rules, a line each.
pub(crate) fn refused(errors: Vec<RuleError>) -> anyhow::Error {
    let count = errors.len();
    for error in errors {
        errln(error);
    }
    Usage(format!("{count} thing{} to correct", if count == 1 { "" } else { "s" })).into()
}

/// Rules that were read and can be kept current.
#[derive(Debug)]
pub(crate) struct OwnRules(Option<Reload>);

impl OwnRules {
    /// Returns the built-in patterns and the rules.
    pub(crate) fn patterns(&self) -> Patterns {
        self.0.as_ref().map_or_else(patterns, |reload| reload.library().patterns())
    }

    /// Keeps looking at the directory, and swaps what is good into `rules`.
    pub(crate) fn follow(self, rules: &Arc<Rules>) -> Following {
        Following::start(self.0, rules)
    }
}
