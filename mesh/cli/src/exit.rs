//! Exit codes, after sysexits.h.

use std::{io, process::ExitCode};

use tapio_node::ClientError;

use crate::out::errln;

/// Arguments or configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Something needed is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(pub(crate) String);

/// A question whose answer is no.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Lacking(pub(crate) String);

/// Prints what clap has to say: help, or what is wrong with the arguments.
pub(crate) fn refused(refusal: &clap::Error) -> ExitCode {
    // Whoever closed the stream does not want to read it.
    refusal.print().unwrap_or_default();
    if refusal.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS }
}

/// Turns what a command returned into an exit code, and prints the chain of an error once.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // Whoever read our output has had enough: `tapio stories | head -1` is no error.
    let is_broken_pipe = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
    if is_broken_pipe {
        return ExitCode::SUCCESS;
    }
    errln(format_args!("tapio: {error:#}"));
    ExitCode::from(number(&error))
}

fn number(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<Usage>() {
            return 64;
        }
        if cause.is::<Lacking>() {
            return 1;
        }
        if cause.is::<Unreachable>() || cause.is::<ClientError>() || cause.is::<io::Error>() {
            return 69;
        }
    }
    70
}
