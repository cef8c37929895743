//! The task that keeps rules current, and what it shows of them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tapio_engine::Rules;
use tapio_node::StatusSource;
use tapio_rules::{Change, Library, Reload, RuleError};
use tapio_telemetry::{Meters, Metric, Sheet, spawn_named};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tracing::{error, info, warn};

/// How often the directory is looked at: two looks that agree make a change, so one takes a second.
/// A look at files that did not change reads none of them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The task that looks at a directory of rules; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    figures: Arc<Figures>,
    task: Option<JoinHandle<()>>,
}

impl Following {
    /// Begins to look, if there is a directory to look at.
    pub(super) fn start(reload: Option<Reload>, rules: &Arc<Rules>) -> Self {
        let figures = Arc::new(Figures::of(reload.as_ref()));
        let task = reload.map(|reload| {
            let (rules, figures) = (Arc::clone(rules), Arc::clone(&figures));
            spawn_named("rules", Follower { rules, figures, reload }.run())
        });
        Self { figures, task }
    }

    /// Lets the figures be read with the others of a node.
    pub(crate) fn observe(&self, meters: &Meters) {
        let figures = Arc::clone(&self.figures);
        meters.observe_all(move |sheet| figures.observe(sheet)).keep();
    }

    /// Adds the rules to what a status says, if there is a directory of them.
    pub(crate) fn beside(&self, status: StatusSource) -> StatusSource {
        if self.task.is_none() {
            return status;
        }
        let figures = Arc::clone(&self.figures);
        Arc::new(move || {
            let mut status = status();
            if let Some(fields) = status.as_object_mut() {
                fields.insert("rules".to_owned(), figures.describe());
            }
            status
        })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What is known of the rules in force.
#[derive(Debug)]
struct Figures(Mutex<Force>);

#[derive(Debug)]
struct Force {
    library: Arc<Library>,
    /// Failures of rules that were in force before.
    failures_before: u64,
    /// Why the files are not what is in force; nothing if they are.
    errors: Vec<RuleError>,
}

impl Force {
    fn failures(&self) -> u64 {
        let now: u64 = self.library.rules().iter().map(|rule| rule.failures()).sum();
        self.failures_before + now
    }
}

impl Figures {
    fn of(reload: Option<&Reload>) -> Self {
        let library = reload.map(Reload::library).unwrap_or_default();
        Self(Mutex::new(Force { library, failures_before: 0, errors: Vec::new() }))
    }

    fn force(&self) -> MutexGuard<'_, Force> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a look has left in force. A counter only grows, so what the old rules counted stays.
    fn note(&self, reload: &Reload) {
        let mut force = self.force();
        if !Arc::ptr_eq(&force.library, &reload.library()) {
            force.failures_before = force.failures();
            force.library = reload.library();
        }
        if force.errors != reload.errors() {
            force.errors = reload.errors().to_vec();
        }
    }

    fn observe(&self, sheet: &mut Sheet) {
        let force = self.force();
        sheet.set(Metric::RulesInForce, (), force.library.rules().len() as u64);
        sheet.set(Metric::RulesRefused, (), !force.errors.is_empty());
        sheet.set(Metric::RuleFailures, (), force.failures());
    }

    fn describe(&self) -> Value {
        let force = self.force();
        let rules = force.library.rules().iter();
        let failures: serde_json::Map<_, _> =
            rules.map(|rule| (rule.slug().to_owned(), rule.failures().into())).collect();
        let refused: Vec<_> = force.errors.iter().map(RuleError::to_string).collect();
        json!({ "failures": failures, "failures_total": force.failures(), "refused": refused })
    }
}

struct Follower {
    rules: Arc<Rules>,
    figures: Arc<Figures>,
    reload: Reload,
}

impl Follower {
    async fn run(mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            // On a thread that may wait for a disk.
            let look = move || {
                let change = self.look();
                (self, change)
            };
            match spawn_blocking(look).await {
                Ok((follower, change)) => {
                    self = follower;
                    say(&change, self.reload.library().rules().len());
                }
                Err(why) if why.is_cancelled() => return,
                Err(why) => {
                    error!(%why, "the rules stay as they are from now on; restart to change them");
                    return;
                }
            }
        }
    }

    /// Looks once; what is good is in force afterwards.
    fn look(&mut self) -> Change {
        let change = self.reload.look();
        if let Change::Taken { .. } = &change {
            self.rules.swap(&self.reload.library().patterns());
        }
        self.figures.note(&self.reload);
        change
    }
}

fn say(change: &Change, rules: usize) {
    match change {
        Change::None => {}
        Change::Taken { added, changed, removed } => {
            info!(rules, ?added, ?changed, ?removed, "new rules are in force");
        }
        Change::Refused(errors) => {
            for why in errors {
                warn!(%why, "the rules stay as they were");
            }
        }
    }
}

#[cfg(test)]
mod tests;
