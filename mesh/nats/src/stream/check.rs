//! Makes what is missing, and checks what is there.

use std::time::Duration;

use async_nats::jetstream::{
    Error as ApiError, ErrorCode,
    context::{RequestError, RequestErrorKind},
    response::Response,
    stream::{Config, Info},
};
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::{
    StreamPlan,
    want::{Difference, differences, wanted},
};
use crate::{Connection, backoff::Backoff};

/// How long one stream may take to come about: an election takes up to nine seconds, and a
/// cluster's first some more.
const STARTUP_MAX: Duration = Duration::from_secs(30);

/// Delays between looks at a stream that does not answer: a loop without cost 38,000 errors.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Why streams and buckets are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Some are there and differ. None of them was changed.
    #[error("{}", lines(.0))]
    Differs(Vec<Difference>),
    /// The server refuses to make one.
    #[error("the server does not make stream {stream}: {why}{}", cure(.code))]
    Refused {
        /// Which.
        stream: String,
        /// JetStream's number for the reason.
        code: u64,
        /// What it said.
        why: String,
    },
    /// No answer, or no leader, for longer than an election takes.
    #[error("no answer about stream {stream} within {waited:?}: {why}")]
    Unreachable {
        /// Which.
        stream: String,
        /// How long it was tried.
        waited: Duration,
        /// What the last attempt ended with.
        why: String,
    },
}

fn lines(differences: &[Difference]) -> String {
    let lines: Vec<_> = differences.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

fn cure(code: &u64) -> &'static str {
    match ErrorCode(*code) {
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => {
            "; one server keeps one replica: plan 1, or run a cluster"
        }
        ErrorCode::STREAM_SUBJECT_OVERLAP => {
            "; find the other stream with `nats stream ls --subject`, or set NATS_SUBJECT_PREFIX"
        }
        ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::INSUFFICIENT_RESOURCES => {
            "; give the server more of `max_file_store`, or plan smaller streams"
        }
        ErrorCode(_) => "",
    }
}

/// Makes every stream and bucket that is missing, and checks the others.
pub(crate) async fn set_up(connection: &Connection, plan: &StreamPlan) -> Result<(), StreamError> {
    let mut found_differences = Vec::new();
    for config in wanted(plan, connection.subjects()) {
        let found = find_or_make(connection, &config).await?;
        found_differences.extend(differences(&found, &config));
    }
    if found_differences.is_empty() {
        return Ok(());
    }
    Err(StreamError::Differs(found_differences))
}

/// Compares what is there with what is wanted, and makes nothing: returns what differs, and the
/// names of what is missing.
pub(crate) async fn look(
    connection: &Connection,
    plan: &StreamPlan,
) -> Result<(Vec<Difference>, Vec<String>), StreamError> {
    let (mut differing, mut missing) = (Vec::new(), Vec::new());
    for config in wanted(plan, connection.subjects()) {
        let waited = connection.patience();
        match ask(connection, "INFO", &config.name, &()).await {
            Ok(found) => differing.extend(differences(&found, &config)),
            Err(Miss::Absent) => missing.push(config.name),
            Err(Miss::Silent(why)) => {
                return Err(StreamError::Unreachable { stream: config.name, waited, why });
            }
            Err(Miss::Refused(error)) => {
                let (stream, code) = (config.name, error.error_code().0);
                return Err(StreamError::Refused { stream, code, why: error.to_string() });
            }
        }
    }
    Ok((differing, missing))
}

/// What an attempt ended with, if not with a stream.
enum Miss {
    /// There is none.
    Absent,
    /// Worth another try.
    Silent(String),
    /// Not worth one.
    Refused(ApiError),
}

/// Returns the stream as it is, made if it was missing.
async fn find_or_make(connection: &Connection, config: &Config) -> Result<Config, StreamError> {
    let deadline = Instant::now() + STARTUP_MAX;
    let backoff = Backoff::new(DELAYS[0], DELAYS[1], connection.seed());
    let mut failures = 0;
    loop {
        let missed = match attempt(connection, config).await {
            Ok(found) => return Ok(found),
            Err(missed) => missed,
        };
        failures += 1;
        let delay = backoff.delay(failures);
        let stream = config.name.clone();
        let why = match missed {
            Miss::Refused(error) => {
                let code = error.error_code().0;
                return Err(StreamError::Refused { stream, code, why: error.to_string() });
            }
            Miss::Absent => "it is gone again".to_owned(),
            Miss::Silent(why) => why,
        };
        if Instant::now() + delay >= deadline {
            return Err(StreamError::Unreachable { stream, waited: STARTUP_MAX, why });
        }
        sleep(delay).await;
    }
}

async fn attempt(connection: &Connection, config: &Config) -> Result<Config, Miss> {
    match ask(connection, "INFO", &config.name, &()).await {
        Err(Miss::Absent) => {}
        Ok(found) => return Ok(found),
        Err(missed @ (Miss::Silent(_) | Miss::Refused(_))) => return Err(missed),
    }
    let made = ask(connection, "CREATE", &config.name, config).await?;
    info!(stream = config.name, "made");
    Ok(made)
}

/// Asks JetStream for something about a stream that it answers with how the stream is.
async fn ask(
    connection: &Connection,
    what: &str,
    stream: &str,
    payload: &(impl serde::Serialize + Sync + ?Sized),
) -> Result<Config, Miss> {
    let patience = connection.patience();
    let subject = format!("STREAM.{what}.{stream}");
    let asking = connection.jetstream().request(subject, payload);
    let answer: Result<Response<Info>, RequestError> = match timeout(patience, asking).await {
        Ok(answer) => answer,
        Err(_elapsed) => return Err(Miss::Silent("not connected".to_owned())),
    };
    match answer {
        Ok(Response::Ok(info)) => Ok(info.config),
        Ok(Response::Err { error }) => Err(judge(error)),
        Err(why) => match why.kind() {
            RequestErrorKind::NoResponders
            | RequestErrorKind::TimedOut
            | RequestErrorKind::InvalidSubject
            | RequestErrorKind::Other => Err(Miss::Silent(why.to_string())),
        },
    }
}

fn judge(error: ApiError) -> Miss {
    const UNAVAILABLE: usize = 503;
    match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND => Miss::Absent,
        // Two nodes of one mesh start together: the other was first, and the next look compares.
        ErrorCode::STREAM_NAME_EXIST
        // A cluster's servers have not all met yet.
        | ErrorCode::CLUSTER_NO_PEERS => Miss::Silent(error.to_string()),
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => Miss::Refused(error),
        // No leader yet, or one that is just going.
        ErrorCode(_) if error.code() == UNAVAILABLE => Miss::Silent(error.to_string()),
        ErrorCode(_) => Miss::Refused(error),
    }
}
