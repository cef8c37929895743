//! What a node takes straight from agents.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tapio_bus::Bus;
use tapio_direct::{DirectServer, ServeConfig, ServeFigures, ServeTls};
use tapio_nats::{Acknowledge, Connection, NatsBus, NatsBusOptions};
use tapio_node::serve_direct;
use tapio_shard::ShardCount;
use tapio_telemetry::{EnvelopeFate, Label, Meters, Metric, Sheet, Telemetry};

use crate::{exit::Usage, out::errln};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Direct")]
pub(super) struct DirectArgs {
    /// Where envelopes are taken straight from agents, over gRPC; nowhere without it.
    #[arg(long, value_name = "ADDR", env = "TAPIO_DIRECT", hide_env_values = true)]
    direct: Option<SocketAddr>,
    /// Certificate of this node: agents then need TLS.
    #[arg(long, value_name = "FILE", env = "TAPIO_DIRECT_CERT", hide_env_values = true)]
    direct_cert: Option<PathBuf>,
    /// Key of the certificate.
    #[arg(long, value_name = "FILE", env = "TAPIO_DIRECT_KEY", hide_env_values = true)]
    direct_key: Option<PathBuf>,
    /// Takes only agents with a certificate that this authority signed.
    #[arg(long, value_name = "FILE", env = "TAPIO_DIRECT_CA", hide_env_values = true)]
    direct_ca: Option<PathBuf>,
}

/// What takes envelopes, and the bus it gives them to.
#[derive(Debug)]
pub(super) struct Direct {
    server: DirectServer,
    bus: Arc<dyn Bus>,
}

impl DirectArgs {
    /// Begins to take envelopes, if it is said where.
    pub(super) async fn start(
        &self,
        connection: &Connection,
        shards: ShardCount,
        telemetry: Telemetry,
        meters: &Meters,
    ) -> anyhow::Result<Option<Direct>> {
        let tls = self.tls()?;
        let Some(address) = self.direct else { return Ok(None) };
        let options = NatsBusOptions {
            shards,
            acknowledge: Acknowledge::Keep,
            telemetry,
            ..NatsBusOptions::default()
        };
        let bus: Arc<dyn Bus> = Arc::new(NatsBus::new(connection.clone(), options));
        let config = ServeConfig { tls, ..ServeConfig::default() };
        let server = serve_direct(address, Arc::clone(&bus), shards, config).await;
        let server = server.map_err(|error| Usage(format!("--direct: {error}")))?;
        let figures = server.meter();
        meters.observe_all(move |sheet| show(&figures(), sheet)).keep();
        errln(format_args!("tapio: envelopes on {}", server.address()));
        Ok(Some(Direct { server, bus }))
    }

    fn tls(&self) -> Result<Option<ServeTls>, Usage> {
        match (&self.direct_cert, &self.direct_key) {
            (Some(cert), Some(key)) => Ok(Some(ServeTls {
                cert: cert.clone(),
                key: key.clone(),
                client_ca: self.direct_ca.clone(),
            })),
            (None, None) if self.direct_ca.is_none() => Ok(None),
            (Some(_) | None, Some(_) | None) => {
                Err(Usage("TLS for --direct takes both --direct-cert and --direct-key".to_owned()))
            }
        }
    }
}

/// Puts the figures of a server where a scrape finds them.
fn show(figures: &ServeFigures, sheet: &mut Sheet) {
    sheet.set(Metric::DirectStreams, (), figures.streams_open);
    for fate in EnvelopeFate::ALL.iter().copied() {
        let count = match fate {
            EnvelopeFate::Kept => figures.kept,
            EnvelopeFate::Refused => figures.refused.values().sum(),
            EnvelopeFate::Busy => figures.busy,
            EnvelopeFate::Leaving => figures.leaving,
            EnvelopeFate::Lost => figures.lost,
        };
        sheet.set(Metric::DirectEnvelopes, Label::Envelope(fate), count);
    }
}

impl Direct {
    /// Takes nothing new, and waits until what is on its way is kept and acknowledged.
    pub(super) async fn stop(self) {
        let figures = self.server.stop().await;
        tracing::info!(kept = figures.kept, lost = figures.lost, "no more envelopes are taken");
        self.bus.close().await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        direct: DirectArgs,
    }

    #[test]
    fn half_of_tls_is_refused_with_the_cure() {
        let table: [(&[&str], bool); 4] = [
            (&["--direct=127.0.0.1:0"], true),
            (&["--direct-cert=c", "--direct-key=k", "--direct-ca=a"], true),
            (&["--direct-cert=c"], false),
            (&["--direct-ca=a"], false),
        ];
        for (flags, is_sound) in table {
            let line = Line::try_parse_from(["tapio"].iter().chain(flags)).expect("flags");
            let tls = line.direct.tls();
            assert_eq!(tls.is_ok(), is_sound, "{flags:?}");
            if let Err(refused) = tls {
                assert!(refused.0.contains("both --direct-cert and --direct-key"), "{refused}");
            }
        }
    }
}
