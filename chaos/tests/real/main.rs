//! Whether the real world is as harmful, and as well kept, as it says.
//!
//! What a machine cannot run is reported as ignored, with its reason and a count at the end; with
//! `CI=true` a nats-server must be there.
#![expect(clippy::indexing_slicing, reason = "JSON that lacks a key indexes to null")]
#![expect(clippy::print_stdout, reason = "what was ignored is said at the end of the tests")]

mod client;
mod cluster;
mod machine;
mod process;
mod proxy;
mod server;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tapio_chaos::real::{FullDisk, Namespace, NatsBinary, Need, NeedError, parent_death_signal};

/// How a test ends.
type Outcome = Result<(), Box<dyn Error>>;

/// Starts a test.
type Test = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

/// A test, and what it needs.
struct Case {
    name: &'static str,
    need: Option<Need>,
    test: Test,
}

/// Lists tests of one module: `cases![Some(Need::Mount); a_claim, another_claim]`.
macro_rules! cases {
    ($need:expr; $($test:ident),+ $(,)?) => {
        vec![$(crate::Case {
            name: stringify!($test),
            need: $need,
            test: || Box::pin($test()),
        }),+]
    };
}
pub(crate) use cases;

fn main() -> ExitCode {
    // The test of what becomes of children when their parent is killed starts this very program.
    if std::env::args().any(|argument| argument == process::HOLD_A_CHILD) {
        return process::hold_a_child();
    }
    let arguments = Arguments::from_args();
    let modules = [
        server::cases(),
        cluster::cases(),
        proxy::cases(),
        process::cases(),
        process::parent_cases(),
        machine::namespace_cases(),
        machine::disk_cases(),
    ];
    let mut skipped = Vec::new();
    let missing = if arguments.list { Vec::new() } else { missing() };
    let trials = modules.into_iter().flatten().map(|Case { name, need, test }| {
        let lack = missing.iter().find(|(lacking, _)| Some(*lacking) == need);
        match lack {
            None => Trial::test(name, move || run(test)),
            Some((Need::NatsServer, error)) if std::env::var_os("CI").is_some() => {
                let why = format!("must run in CI, and cannot: {error}");
                Trial::test(name, move || Err(Failed::from(why)))
            }
            Some((_, error)) => {
                skipped.push(format!("  {name}: {error}"));
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
        }
    });
    let trials: Vec<_> = trials.collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !skipped.is_empty() {
        println!("ignored {} tests:\n{}", skipped.len(), skipped.join("\n"));
    }
    conclusion.exit_code()
}

/// What this machine lacks, found by trying.
fn missing() -> Vec<(Need, NeedError)> {
    let tries = [
        (Need::NatsServer, NatsBinary::find_or_install().err()),
        (Need::NetworkNamespace, Namespace::create().err()),
        (Need::ParentDeathSignal, parent_death_signal().err()),
        (Need::Mount, FullDisk::mount(1 << 20).err()),
    ];
    tries.into_iter().filter_map(|(need, error)| Some((need, error?))).collect()
}

fn run(test: Test) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(test()).map_err(|error| Failed::from(error.to_string()))
}

/// Fails with `why` unless `holds`.
fn ensure(holds: bool, why: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(why.into().into()) }
}
