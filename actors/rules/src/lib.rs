//! Failure patterns that users write: YAML files with CEL conditions, loaded at run time.
//!
//! A rule tells the same as a built-in pattern (what, evidence, root, not this, first look), brings
//! scenes like one, and is a [`Pattern`](tapio_engine::Pattern) like any other. `docs/rules.md`
//! describes the format. [`Library::load`] reads a directory of them, whole or not at all,
//! [`Library::test`] plays their scenes, and [`Reload`] keeps a directory's rules current.
//!
//! | the file | becomes |
//! |---|---|
//! | is not YAML, has an unknown field or a bad value | errors with file, line, field and cure |
//! | a condition that can never hold, or costs too much | the same, before it ever runs |
//! | a condition that fails on an event | false, and counted: [`Rule::failures`] |

mod compile;
mod condition;
mod event_text;
#[cfg(test)]
mod fixture;
mod kept;
mod library;
mod limits;
mod problem;
mod raw;
mod reload;
mod report;
mod rule;
mod scope;
mod source;
mod step;
mod template;

pub use library::Library;
pub use limits::Limits;
pub use problem::RuleError;
pub use reload::{Change, Reload};
pub use report::{Played, Report, RuleReport};
pub use rule::{Rule, RuleScene};
