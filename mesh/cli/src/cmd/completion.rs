//! `tapio completion`: completion scripts.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{cmd::Cli, out::Out};

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionArgs, out: Out) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tapio", &mut script);
    out.text(String::from_utf8_lossy(&script))
}
