//! `tapio`: one story per incident.

mod cmd;
mod exit;
mod out;
mod story;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cmd::Cli::parse();
    exit::code(cmd::run(cli))
}
