//! Where Tapio's own traces and metrics go: the same flags for every command that has some.

use tapio_telemetry::{Meters, ObserveConfig, Observed, OtlpProtocol};

use crate::{exit::Usage, out::errln};

/// How long what is left may take to be sent at the end.
const FLUSH_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// Where Tapio's own traces and metrics go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Observing Tapio itself")]
pub(crate) struct ObserveArgs {
    /// Where Tapio's own traces and metrics go, by OTLP.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    observe: Option<String>,
    /// `grpc` or `http/protobuf`, which it is without it.
    #[arg(
        long,
        value_name = "PROTOCOL",
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        hide_env_values = true
    )]
    observe_protocol: Option<OtlpProtocol>,
}

impl ObserveArgs {
    /// Begins to send, as the process called `instance`, of which only this boot has `seed`.
    pub(crate) fn start(
        &self,
        (instance, seed): (&str, u64),
        sample_ratio: f64,
        meters: &Meters,
    ) -> Result<Observed, Usage> {
        let config = ObserveConfig {
            otlp_endpoint: self.observe.clone(),
            protocol: self.observe_protocol.unwrap_or_default(),
            sample_ratio,
            ..ObserveConfig::new(instance, seed)
        };
        Observed::start(&config, meters).map_err(|why| Usage(why.to_string()))
    }
}

/// Sends what is left. What nobody takes is said, and is no reason to fail.
pub(crate) async fn end(observed: Observed) {
    if let Err(why) = observed.shutdown(FLUSH_MAX).await {
        errln(format_args!("tapio: {why}"));
    }
}

/// Reads which part of the traces that begin here is recorded.
pub(crate) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "write a number from 0 to 1".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        observe: ObserveArgs,
    }

    fn start(flags: &[&str]) -> Result<Observed, String> {
        // An empty flag is one that is not there, whatever variables this machine sets.
        let words = ["tapio", "--observe=", "--observe-protocol=grpc"];
        let named = |word: &&&str| {
            !flags.iter().any(|flag| flag.split('=').next() == word.split('=').next())
        };
        let line = Line::try_parse_from(words.iter().filter(named).chain(flags));
        let line = line.map_err(|error| error.to_string())?;
        line.observe.start(("test", 1), 1.0, &Meters::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_sent_unless_it_is_said_where() {
        let observed = start(&[]).expect("nothing to send");
        assert!(!observed.telemetry().is_on());
    }

    #[test]
    fn what_cannot_work_names_the_cure() {
        for (flags, cure) in [
            (["--observe=localhost:4317", "--observe-protocol=grpc"], "begin with http://"),
            (["--observe=http://localhost:4317", "--observe-protocol=json"], "http/protobuf"),
        ] {
            let said = start(&flags).expect_err("nonsense");
            assert!(said.contains(cure), "{flags:?}: {said}");
        }
    }

    #[test]
    fn a_ratio_is_a_part_of_the_whole() {
        assert_eq!((ratio("0"), ratio("0.25"), ratio("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for bad in ["", "-0.1", "1.1", "NaN", "all"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
