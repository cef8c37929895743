//! `tapio check`: what will work here, what will not, why, and what to do about it.

mod cluster;
mod host;
mod report;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::Context as _;

use self::report::{Facts, Report, render};
use super::nats::{NatsArgs, StreamArgs};
use crate::{exit::Lacking, out::Out};

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Before installing: leaves out what needs NATS or a cluster.
    #[arg(long)]
    pre: bool,
    /// Where an agent spools what NATS does not take.
    #[arg(
        long,
        value_name = "DIR",
        env = "TAPIO_SPOOL",
        hide_env_values = true,
        default_value = "/var/lib/tapio/spool"
    )]
    spool: PathBuf,
    /// Configuration of the cluster; a pod's own account without it.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", hide_env_values = true)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    streams: StreamArgs,
}

pub(crate) fn run(args: &CheckArgs, out: Out) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let facts = runtime.context("starting the runtime")?.block_on(gather(args))?;
    let report = Report::of(&facts);
    if out.is_for_people() { out.text(render(&report, out)) } else { out.record(&report) }?;
    let missing: Vec<_> = report.missing().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Lacking(format!("not everything that is required is there: {}", missing.join(", "))).into())
}

/// Finds out about this machine, and what it is connected to.
async fn gather(args: &CheckArgs) -> anyhow::Result<Facts> {
    let host = host::gather(&args.spool);
    if args.pre {
        return Ok(Facts { host, mesh: None, cluster: None });
    }
    let plan = args.streams.plan(args.nats.shards());
    let config = args.nats.config("tapio check")?;
    let mesh = Box::pin(server::gather(config, &plan)).await;
    let cluster = Box::pin(cluster::gather(args.kubeconfig.as_deref())).await;
    Ok(Facts { host, mesh: Some(mesh), cluster: Some(cluster) })
}
