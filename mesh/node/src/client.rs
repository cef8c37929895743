//! Asks a running node over its socket.

mod lines;

use std::{fmt::Display, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tapio_telemetry::spawn_named;
use tokio::{net::UnixStream, time::timeout};

pub use lines::{StoryStream, Streamed};

/// How long an answer may take; a stream's answer is its head.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody serves there.
    #[error("tapio is not running at {path}; start it with: tapio up")]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is there, and cannot be used.
    #[error("cannot reach tapio at {path}: {source}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such thing.
    #[error("{error}; {cure}")]
    NotFound {
        /// What there is not.
        error: String,
        /// What to do.
        cure: String,
    },
    /// A part of an id that several stories share.
    #[error("{error}; {cure}: {}", candidates.join(", "))]
    Ambiguous {
        /// What is not clear.
        error: String,
        /// What to do.
        cure: String,
        /// Stories that fit, the newest first.
        candidates: Vec<String>,
    },
    /// The node could not or would not answer.
    #[error("{error}; {cure}")]
    Refused {
        /// What went wrong.
        error: String,
        /// What to do.
        cure: String,
    },
    /// What came back is not an answer.
    #[error("what answers at the socket does not speak as this tapio does: {what}")]
    Protocol {
        /// What was seen.
        what: String,
    },
}

impl ClientError {
    fn protocol(what: impl Display) -> Self {
        Self::Protocol { what: format!("{what}") }
    }
}

/// Asks a running node. Every question has a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Makes a client, if somebody serves at `path`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::Unreachable`].
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let client = Self { path: path.into() };
        client.dial().await?;
        Ok(client)
    }

    /// Returns the status.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Value, ClientError> {
        self.ask("/v1/status").await
    }

    /// Returns stories, the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stories(&self, limit: u32, only_open: bool) -> Result<Vec<Value>, ClientError> {
        let state = if only_open { "open" } else { "all" };
        list(self.ask(&format!("/v1/stories?limit={limit}&state={state}")).await?)
    }

    /// Returns the story whose id is, begins or ends with `part`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn story(&self, part: &str) -> Result<Value, ClientError> {
        self.ask(&format!("/v1/stories/{}", segment(part)?)).await
    }

    /// Returns the events that a story cites, in order of time.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence(&self, part: &str) -> Result<Vec<Value>, ClientError> {
        list(self.ask(&format!("/v1/stories/{}/evidence", segment(part)?)).await?)
    }

    /// Returns the stories told from now on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stream(&self) -> Result<StoryStream, ClientError> {
        let response = self.get("/v1/stories/stream").await?;
        if response.status() == StatusCode::OK {
            return Ok(StoryStream::new(response.into_body()));
        }
        Err(refusal(response).await)
    }

    async fn ask(&self, path: &str) -> Result<Value, ClientError> {
        let response = self.get(path).await?;
        if response.status() == StatusCode::OK {
            read(response).await
        } else {
            Err(refusal(response).await)
        }
    }

    async fn dial(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.path).await.map_err(|source| {
            let path = self.path.clone();
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            if nobody.contains(&source.kind()) {
                ClientError::NotRunning { path }
            } else {
                ClientError::Unreachable { path, source }
            }
        })
    }

    async fn get(&self, path: &str) -> Result<Response<Incoming>, ClientError> {
        let stream = self.dial().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::protocol)?;
        // Ends with the answer; what goes wrong on the way, the answer's reader sees.
        drop(spawn_named("client", async move { drop(connection.await) }));
        let request = Request::get(path)
            .header(header::HOST, "tapio")
            .body(Empty::<Bytes>::new())
            .map_err(ClientError::protocol)?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await;
        answer
            .map_err(|_elapsed| ClientError::protocol("no answer in 10 seconds"))?
            .map_err(ClientError::protocol)
    }
}

/// Lets through what an id can have: anything else is no part of one, nor of a path.
fn segment(part: &str) -> Result<&str, ClientError> {
    let part = part.trim();
    if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(part);
    }
    Err(ClientError::NotFound {
        error: format!("{part:?} is not a part of a story's id, which has letters and digits only"),
        cure: "list the stories with: tapio stories".into(),
    })
}

async fn read(response: Response<Incoming>) -> Result<Value, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let body = timeout(PATIENCE, body)
        .await
        .map_err(|_elapsed| ClientError::protocol("the answer did not end in 10 seconds"))?
        .map_err(ClientError::protocol)?;
    serde_json::from_slice(&body.to_bytes()).map_err(ClientError::protocol)
}

fn list(value: Value) -> Result<Vec<Value>, ClientError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(ClientError::protocol("a list was expected"))
        }
    }
}

#[derive(Debug, Deserialize)]
struct RefusalBody {
    error: String,
    cure: String,
    #[serde(default)]
    candidates: Vec<String>,
}

async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = match read(response).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    match serde_json::from_value(body) {
        Ok(RefusalBody { error, cure, candidates }) => match status {
            StatusCode::NOT_FOUND => ClientError::NotFound { error, cure },
            StatusCode::CONFLICT => ClientError::Ambiguous { error, cure, candidates },
            _ => ClientError::Refused { error, cure },
        },
        Err(error) => ClientError::protocol(format!("{status}: {error}")),
    }
}
