//! `tapio`: one story per incident.

mod cmd;
mod exit;
mod out;
mod story;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cmd::Cli::try_parse() {
        Ok(cli) => exit::code(cmd::run(cli)),
        Err(refusal) => exit::refused(&refusal),
    }
}
