//! Does a stock OpenTelemetry client's failing leaf become one story that names it?

use std::{path::PathBuf, process::Command, time::Duration};

use tapio_tests::{Tapio, python_with_opentelemetry, root, text};

use crate::Case;

const ARGUMENTS: [&str; 8] = [
    "--no-kmsg",
    "--no-journal",
    "--no-cgroup",
    "--no-usage",
    "--otlp-grpc",
    "127.0.0.1:0",
    "--otlp-http",
    "127.0.0.1:0",
];

pub(crate) fn cases() -> Vec<Case> {
    let need = python_with_opentelemetry().map(drop);
    vec![
        Case::with_need("otlp::a_failing_leaf_is_named_over_grpc", need.clone(), || tell("grpc")),
        Case::with_need("otlp::a_failing_leaf_is_named_over_http", need, || tell("http")),
    ]
}

fn tell(protocol: &str) -> Result<(), String> {
    let python: PathBuf = python_with_opentelemetry().map_err(|need| need.to_string())?;
    let tapio = Tapio::up(&ARGUMENTS)?;
    let notice = tapio.notice(&format!("otlp {protocol}"), Duration::from_secs(10))?;
    let address = notice.split_whitespace().last().unwrap_or_default().to_owned();
    let client = Command::new(python)
        .arg(root().join("tests/it/otlp/shop.py"))
        .args([protocol, &address])
        .output()
        .map_err(|error| error.to_string())?;
    if !client.status.success() {
        return Err(String::from_utf8_lossy(&client.stderr).into_owned());
    }
    let cascade = |story: &serde_json::Value| text(story, "pattern") == "cascading_dependency";
    let story = tapio.line(Duration::from_secs(30), cascade)?;
    let id = text(&story, "id").to_owned();
    for field in ["title", "root_cause"] {
        if !text(&story, field).contains("payments-db") {
            return Err(format!("the {field} does not name the leaf: {story}"));
        }
    }
    let rest = tapio.stop()?;
    let other = rest.iter().filter(|it| cascade(it)).find(|it| text(it, "id") != id);
    other.map_or(Ok(()), |other| Err(format!("a second story: {other}")))
}
