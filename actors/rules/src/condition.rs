//! A condition over one event, in CEL: compiled once, its cost known before it ever runs.

mod leaf;
mod lower;
mod typing;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, ExecutionError, IdedExpr, ParseErrors, Value, common::types::CelBool};
use tapio_model::Event;

use self::leaf::{Leaf, Sight};
use crate::{Limits, problem::Fault};

pub(crate) use leaf::{PLACE_FIELDS, attribute_key, place_field};

/// The operators and functions of the language; without those that take a clock or bytes.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// A condition over one event.
#[derive(Debug)]
pub(crate) struct Condition {
    expression: IdedExpr,
    leaves: Vec<Leaf>,
    cost: usize,
}

/// What a condition says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It holds.
    Holds,
    /// It does not, or it asks for an attribute that the event does not have.
    No,
    /// It could not be worked out: a text compared with a number, a division by zero.
    Failed,
}

impl Condition {
    /// Compiles a condition.
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        if text.chars().count() > Limits::CONDITION_CHARS_MAX {
            let max = Limits::CONDITION_CHARS_MAX;
            return Err(Fault::new(format!("longer than {max} letters"), "split the step in two"));
        }
        let parse = || ENV.parser().max_recursion_depth(Limits::CONDITION_BRACKETS_MAX).parse(text);
        // The grammar's runtime is somebody else's and large; a panic in it is no more than an error.
        let parsed = catch_unwind(AssertUnwindSafe(parse));
        let expression = match parsed {
            Ok(Ok(expression)) => expression,
            Ok(Err(errors)) => return Err(unreadable(&errors)),
            Err(_) => return Err(Fault::new("is not CEL", CURE)),
        };
        let (expression, leaves, cost) = lower::lower(expression)?;
        Ok(Self { expression, leaves, cost })
    }

    /// Returns how many operations a look at one event takes at most.
    pub(crate) const fn cost(&self) -> usize {
        self.cost
    }

    /// Asks the condition about an event.
    pub(crate) fn judge(&self, event: &Event) -> Judgement {
        let look = || {
            let sight = Sight { event, leaves: &self.leaves };
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.set_variable_resolver(&sight);
            match Value::resolve_val(&self.expression, &context) {
                Ok(value) => match value.downcast_ref::<CelBool>().map(|truth| *truth.inner()) {
                    Some(true) => Judgement::Holds,
                    Some(false) => Judgement::No,
                    None => Judgement::Failed,
                },
                // Every other name was known when the condition was compiled.
                Err(ExecutionError::UndeclaredReference(_)) => Judgement::No,
                Err(_) => Judgement::Failed,
            }
        };
        catch_unwind(AssertUnwindSafe(look)).unwrap_or(Judgement::Failed)
    }
}

const CURE: &str = "write CEL, such as: severity >= WARN && message.contains(\"evicted\")";

fn unreadable(errors: &ParseErrors) -> Fault {
    let Some(first) = errors.errors.first() else { return Fault::new("is not CEL", CURE) };
    if errors.errors.iter().any(|error| error.msg.contains("Recursion limit")) {
        return lower::too_deep();
    }
    let (line, column) = first.pos;
    let mut said = first.msg.lines().next().unwrap_or_default().to_owned();
    if let Some(syntax) = said.strip_prefix("Syntax error: ") {
        said = syntax.to_owned();
    }
    Fault::new(format!("is not CEL: line {line}, column {column}: {said}"), CURE)
}

#[cfg(test)]
mod tests;
