//! What is answered at which path.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use tapio_model::Story;
use tapio_wire::{EventJson, StoryJson};
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError},
    task::spawn_blocking,
};

use crate::{
    status::{NodeState, Status, StatusSource},
    store::{Lookup, StoreError, StoryStore},
    tell::Tellings,
};

/// Stories of a list unless asked otherwise.
const STORIES: u32 = 100;
/// Stories of a list at most.
const STORIES_MAX: u32 = 1_000;
/// Streams at one time.
pub(super) const STREAMS_MAX: usize = 64;

#[derive(Clone)]
struct Api {
    state: Arc<NodeState>,
    tellings: Tellings,
    collectors: StatusSource,
    streams: Arc<Semaphore>,
}

/// Makes the interface.
pub(super) fn router(
    state: Arc<NodeState>,
    tellings: Tellings,
    collectors: StatusSource,
) -> Router {
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/stories", get(stories))
        .route("/v1/stories/stream", get(stream))
        .route("/v1/stories/{id}", get(story))
        .route("/v1/stories/{id}/evidence", get(evidence))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "no such path", PATHS))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "nothing here can be changed", "use GET")
        })
        .with_state(Api { state, tellings, collectors, streams })
}

const PATHS: &str = "ask for /v1/status, /v1/stories, /v1/stories/stream, /v1/stories/ID or \
                     /v1/stories/ID/evidence";

/// Why there is no answer, and what to do about it.
#[derive(Debug, Serialize)]
struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    cure: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<String>,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { status, error: error.into(), cure: cure.into(), candidates: Vec::new() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

async fn status(State(api): State<Api>) -> Json<Status> {
    Json(api.state.status(&api.collectors).await)
}

/// Which stories are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListQuery {
    limit: Option<u32>,
    state: Which,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    #[default]
    All,
    Open,
}

async fn stories(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<StoryJson>>, Refusal> {
    let Query(ListQuery { limit, state }) = query.map_err(|rejection| {
        let cure = format!("use limit=1 to {STORIES_MAX}, and state=open or state=all");
        Refusal::new(StatusCode::BAD_REQUEST, rejection.body_text(), cure)
    })?;
    let limit = limit.unwrap_or(STORIES).clamp(1, STORIES_MAX);
    let stories = ask(&api, move |store| match state {
        Which::All => store.stories(limit),
        Which::Open => store.open_stories(limit),
    });
    Ok(Json(stories.await?.iter().map(StoryJson::from).collect()))
}

async fn story(
    State(api): State<Api>,
    part: Result<Path<String>, PathRejection>,
) -> Result<Json<StoryJson>, Refusal> {
    find(&api, part_of_id(part)?).await.map(|story| Json(StoryJson::from(&story)))
}

async fn evidence(
    State(api): State<Api>,
    part: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<EventJson>>, Refusal> {
    let story = find(&api, part_of_id(part)?).await?;
    let events = ask(&api, move |store| store.events_of(&story)).await?;
    Ok(Json(events.iter().map(EventJson::from).collect()))
}

fn part_of_id(part: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    part.map(|Path(part)| part).map_err(|rejection| {
        let cure = "an id has letters and digits only";
        Refusal::new(StatusCode::BAD_REQUEST, rejection.body_text(), cure)
    })
}

async fn find(api: &Api, part: String) -> Result<Story, Refusal> {
    let wanted = part.clone();
    match ask(api, move |store| store.story(&part)).await? {
        Lookup::Found(story) => Ok(*story),
        Lookup::Unknown => {
            let error = format!("no story has an id that is, begins or ends with {wanted:?}");
            let cure = "list the stories with: tapio stories";
            Err(Refusal::new(StatusCode::NOT_FOUND, error, cure))
        }
        Lookup::Ambiguous(ids) => {
            let error = format!("several stories have an id that begins or ends with {wanted:?}");
            let refusal = Refusal::new(StatusCode::CONFLICT, error, "give more of the id");
            let candidates = ids.iter().map(ToString::to_string).collect();
            Err(Refusal { candidates, ..refusal })
        }
    }
}

/// Asks the store, away from the tasks that must not block.
async fn ask<T: Send + 'static>(
    api: &Api,
    question: impl FnOnce(&StoryStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let store = Arc::clone(&api.state.store);
    let refuse = |error: String| {
        let cure = "look at the log of tapio up";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error, cure)
    };
    let answer = spawn_blocking(move || question(&store)).await;
    answer.map_err(|error| refuse(error.to_string()))?.map_err(|error| refuse(error.to_string()))
}

/// A story that a reader of the stream missed, by number.
#[derive(Serialize)]
struct Missed {
    missed: u64,
}

async fn stream(State(api): State<Api>) -> Result<Response, Refusal> {
    let permit = Arc::clone(&api.streams).try_acquire_owned().map_err(|_full| {
        let error = format!("{STREAMS_MAX} streams are open already");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "close one of them")
    })?;
    // Before the answer begins: what is told after the reader sees its head is in the stream.
    let stories = api.tellings.subscribe();
    let lines = stream::unfold((stories, permit), |(mut stories, permit)| async move {
        let line = match stories.recv().await {
            Ok(story) => line(&StoryJson::from(&*story)),
            Err(RecvError::Lagged(missed)) => line(&Missed { missed }),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(line), (stories, permit)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

fn line(value: &impl Serialize) -> Bytes {
    // Maps with text keys and finite numbers always serialize; an empty line is skipped.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
