//! A Python with the OpenTelemetry SDK and Prometheus' parser: stock counterparts that nobody here wrote.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Need, root};

/// Pinned, so that a release of theirs cannot turn our tests red.
const PACKAGES: [&str; 4] = [
    "opentelemetry-sdk==1.38.0",
    "opentelemetry-exporter-otlp-proto-grpc==1.38.0",
    "opentelemetry-exporter-otlp-proto-http==1.38.0",
    "prometheus-client==0.22.1",
];

/// Returns an interpreter that can import the SDK, installing it into the build directory once.
///
/// # Errors
/// [`Need`] if there is no Python, or the packages could not be installed.
pub fn python_with_opentelemetry() -> Result<PathBuf, Need> {
    let venv = root().join("target/python-opentelemetry");
    let python = venv.join("bin/python");
    if imports(&python) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .map_err(|why| Need::NotInstalled(format!("no Python with venv: {why}")))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
        .map_err(|why| Need::NotInstalled(format!("the OpenTelemetry SDK: {why}")))?;
    if imports(&python) {
        return Ok(python);
    }
    Err(Need::NotInstalled("the OpenTelemetry SDK does not import".into()))
}

fn imports(python: &Path) -> bool {
    let code = "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.grpc.trace_exporter, \
                opentelemetry.exporter.otlp.proto.http.trace_exporter, prometheus_client";
    run(Command::new(python).args(["-c", code])).is_ok()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().last().unwrap_or("no reason given").to_owned())
}
