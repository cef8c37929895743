//! `tapio`: one story per incident.

mod cmd;
mod exit;
mod out;
mod story;

use std::process::ExitCode;

use clap::Parser as _;

/// Windows that close free some ten thousand traces a second, on other threads than made them. The
/// C library's allocator spends most of its time on that; this one does not (docs/figures.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cmd::Cli::try_parse() {
        Ok(cli) => exit::code(cmd::run(cli)),
        Err(refusal) => exit::refused(&refusal),
    }
}
