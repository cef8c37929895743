//! Where to, and how.

use std::{str::FromStr, time::Duration};

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtlpProtocol {
    /// `http/protobuf`: what OpenTelemetry asks for where nobody says anything.
    #[default]
    Http,
    /// `grpc`.
    Grpc,
}

impl OtlpProtocol {
    /// Returns the name, as `OTEL_EXPORTER_OTLP_PROTOCOL` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }
}

impl FromStr for OtlpProtocol {
    type Err = ObserveError;

    fn from_str(name: &str) -> Result<Self, ObserveError> {
        let known = [Self::Http, Self::Grpc].into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| ObserveError::UnknownProtocol(name.to_owned()))
    }
}

/// Where our own traces and metrics go.
#[derive(Debug, Clone, PartialEq)]
pub struct ObserveConfig {
    /// The receiver, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it: `http://host:4317` for gRPC,
    /// `http://host:4318` for HTTP. Nothing is sent without it.
    pub otlp_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: OtlpProtocol,
    /// `service.name`.
    pub service_name: String,
    /// `service.instance.id`: the node or the collector.
    pub instance: String,
    /// `service.version`, and the label of `tapio_build_info`.
    pub version: &'static str,
    /// Which part of the traces that begin here is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// Ids of traces and spans follow from it: no two processes may share it.
    pub seed: u64,
    /// How often metrics are sent.
    pub metrics_every: Duration,
}

impl ObserveConfig {
    /// One batch of a hundred: enough to see the way, too little to be seen in the figures.
    pub const SAMPLE_RATIO: f64 = 0.01;
    /// Every batch, in debug mode.
    pub const SAMPLE_ALL: f64 = 1.0;

    /// Makes the configuration of the process called `instance`, with nothing sent yet.
    #[must_use]
    pub fn new(instance: impl Into<String>, seed: u64) -> Self {
        Self {
            otlp_endpoint: None,
            protocol: OtlpProtocol::default(),
            service_name: "tapio".to_owned(),
            instance: instance.into(),
            version: env!("CARGO_PKG_VERSION"),
            sample_ratio: Self::SAMPLE_RATIO,
            seed,
            metrics_every: Duration::from_secs(10),
        }
    }

    /// Returns the endpoint without a slash at its end; `None` if there is none.
    pub(super) fn endpoint(&self) -> Result<Option<&str>, ObserveError> {
        // The specification treats empty as not set.
        let endpoint = self.otlp_endpoint.as_deref().map(str::trim).unwrap_or_default();
        if endpoint.is_empty() {
            return Ok(None);
        }
        let bad = |why| ObserveError::BadEndpoint { endpoint: endpoint.to_owned(), why };
        match (endpoint.split_once("://"), self.protocol) {
            (Some(("http", _)), _) | (Some(("https", _)), OtlpProtocol::Grpc) => {
                Ok(Some(endpoint.trim_end_matches('/')))
            }
            (Some(("https", _)), OtlpProtocol::Http) => {
                Err(bad("https is spoken over gRPC only: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"))
            }
            (Some(_) | None, _) => {
                Err(bad("begin with http:// or https://, as in http://127.0.0.1:4318"))
            }
        }
    }
}

/// Why we cannot be observed as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// Not an address we can send to.
    #[error("cannot send OTLP to {endpoint:?}: {why}")]
    BadEndpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a protocol we speak.
    #[error("cannot send OTLP as {0:?}: use grpc or http/protobuf")]
    UnknownProtocol(String),
    /// The exporter refuses.
    #[error("cannot send OTLP: {0}")]
    Exporter(String),
    /// The same meters are sent already.
    #[error("these meters are sent already: give each node meters of its own")]
    Twice,
    /// Not called from a task.
    #[error("sending OTLP needs a running runtime")]
    NoRuntime,
    /// The rest did not go.
    #[error("the last traces or metrics did not go within {0:?}; the receiver may be away")]
    NotFlushed(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_once() {
        use OtlpProtocol::{Grpc, Http};
        let cases = [
            (Http, "", Ok(None)),
            (Http, "  ", Ok(None)),
            (Http, "http://host:4318/", Ok(Some("http://host:4318"))),
            (Http, "http://host:4318/otlp", Ok(Some("http://host:4318/otlp"))),
            (Grpc, "https://host", Ok(Some("https://host"))),
            (Http, "https://host", Err("PROTOCOL=grpc")),
            (Grpc, "host:4317", Err("begin with http://")),
            (Grpc, "unix:///run/otlp", Err("begin with http://")),
        ];
        for (protocol, endpoint, expected) in cases {
            let otlp_endpoint = Some(endpoint.to_owned());
            let config = ObserveConfig { otlp_endpoint, protocol, ..ObserveConfig::new("n", 0) };
            match (config.endpoint(), expected) {
                (Ok(read), Ok(wanted)) => assert_eq!(read, wanted, "{endpoint}"),
                (Err(error), Err(cure)) => assert!(error.to_string().contains(cure), "{error}"),
                (read, wanted) => panic!("{endpoint}: {read:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn protocols_are_those_of_the_specification() {
        assert_eq!("grpc".parse(), Ok(OtlpProtocol::Grpc));
        assert_eq!("http/protobuf".parse(), Ok(OtlpProtocol::Http));
        let error = "http/json".parse::<OtlpProtocol>().unwrap_err();
        assert!(error.to_string().contains("use grpc or http/protobuf"), "{error}");
    }
}
