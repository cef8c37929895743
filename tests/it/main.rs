//! The proof from outside. One module per question.
//!
//! What a machine cannot run is reported as ignored, with its reason and a count at the end; with
//! `CI=true` whatever could have been installed must run.

mod agent;
mod archive_nats;
mod contract_nats;
mod fabric_nats;
mod kernel;
mod mesh;
mod observed;
mod otlp;
mod product;
mod request_nats;
mod rules;
mod scores;
mod tidy;
mod trainticket;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tapio_tests::Need;

/// A test, or why it cannot run here.
struct Case {
    name: &'static str,
    need: Result<(), Need>,
    test: fn() -> Result<(), String>,
}

impl Case {
    const fn new(name: &'static str, test: fn() -> Result<(), String>) -> Self {
        Self { name, need: Ok(()), test }
    }

    const fn with_need(
        name: &'static str,
        need: Result<(), Need>,
        test: fn() -> Result<(), String>,
    ) -> Self {
        Self { name, need, test }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut cases = tidy::cases();
    cases.extend(product::cases());
    if !arguments.list {
        cases.extend(contract_nats::cases());
        cases.extend(fabric_nats::cases());
        cases.extend(archive_nats::cases());
        cases.extend(request_nats::cases());
        cases.extend(observed::cases());
        cases.extend(mesh::cases());
        cases.extend(agent::cases());
        cases.extend(kernel::cases());
        cases.extend(otlp::cases());
        cases.extend(rules::cases());
        cases.extend(trainticket::cases());
        cases.extend(scores::cases());
    }
    let mut skipped = Vec::new();
    let trials = cases.into_iter().map(|case| {
        let Case { name, need, test } = case;
        match need {
            Ok(()) => Trial::test(name, move || test().map_err(Failed::from)),
            Err(need) if need.is_failure() => {
                let why = format!("must run in CI, and cannot: {need}");
                Trial::test(name, move || Err(Failed::from(why)))
            }
            Err(need) => {
                skipped.push(format!("  {name}: {need}"));
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
        }
    });
    let trials: Vec<_> = trials.collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !skipped.is_empty() {
        tapio_tests::say(&format!("ignored {} tests:\n{}", skipped.len(), skipped.join("\n")));
    }
    conclusion.exit_code()
}
