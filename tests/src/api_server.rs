//! A Kubernetes API server of a few objects, that can be told to misbehave.

#![expect(
    clippy::indexing_slicing,
    clippy::struct_excessive_bools,
    clippy::needless_pass_by_value,
    reason = "objects are made of JSON, each fault is a switch, and answers are made where they are sent"
)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tapio_telemetry::spawn_named;
use tokio::{net::TcpListener, sync::watch};

type Body = BoxBody<Bytes, Infallible>;

/// What the server does wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Answers everything with this code.
    pub status: Option<u16>,
    /// As `status`, for so many requests only.
    pub status_times: u32,
    /// Answers nothing, and sends nothing on open watches.
    pub is_frozen: bool,
    /// Refuses new requests with 403; open watches flow on.
    pub is_revoked: bool,
    /// Open watches say 410 and end.
    pub gone: bool,
    /// Cannot list the past.
    pub has_no_past: bool,
    /// Lists no more objects than this a page; 0 means all.
    pub page_max: usize,
    /// Forgets where a listing was: answers so many continuations with 410.
    pub expired_pages: u32,
    /// Refuses with 403 whatever is asked of Leases.
    pub refuses_leases: bool,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    /// Objects by path of their list and by name.
    objects: BTreeMap<(String, String), Value>,
    /// What happened, by version: path, type, object.
    log: Vec<(u64, String, &'static str, Value)>,
    faults: Faults,
    /// Watches of an older number end.
    cut: u64,
    requests: Vec<String>,
    minor: u32,
    lease: Option<Value>,
    serves_everything: bool,
}

/// The server; it ends with the runtime that it was started on.
#[derive(Debug, Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    asked: watch::Sender<u64>,
    url: String,
}

/// Where ConfigMaps are listed.
pub const MAPS: &str = "/api/v1/configmaps";
/// Where Events are listed.
pub const EVENTS: &str = "/api/v1/events";

impl ApiServer {
    /// Starts on a port of its own; serves ConfigMaps and Events, and knows nothing else.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = State { version: 100, minor: 28, ..State::default() };
        let (state, changed) = (Arc::new(Mutex::new(state)), watch::Sender::new(0));
        let server = Self { state, changed, asked: watch::Sender::new(0), url };
        let serving = server.clone();
        drop(spawn_named("server", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let server = serving.clone();
                drop(spawn_named("connection", async move {
                    let service = service_fn(|request| {
                        let server = server.clone();
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    // A client that goes away is none of the server's business.
                    drop(
                        http1::Builder::new().serve_connection(TokioIo::new(socket), service).await,
                    );
                }));
            }
        }));
        Ok(server)
    }

    /// Returns where it is reached.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves every resource from now on, empty until something is put.
    pub fn serve_everything(&self) {
        self.change(|state| state.serves_everything = true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Makes or changes a ConfigMap; returns its version.
    pub fn put(&self, name: &str) -> u64 {
        self.put_object(MAPS, name, json!({ "data": {} }))
    }

    /// Makes or changes an object, with metadata of the server's own; returns its version.
    pub fn put_object(&self, path: &str, name: &str, mut object: Value) -> u64 {
        object["metadata"] = json!({ "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z" });
        self.put_whole(path, object)
    }

    /// Makes or changes an object that brings its metadata; returns its version.
    pub fn put_whole(&self, path: &str, mut object: Value) -> u64 {
        self.change(|state| {
            state.version += 1;
            let version = state.version;
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if path == MAPS {
                object["data"]["value"] = version.to_string().into();
            }
            object["metadata"]["resourceVersion"] = version.to_string().into();
            let is_new = state.objects.insert((path.to_owned(), name), object.clone()).is_none();
            let what = if is_new { "ADDED" } else { "MODIFIED" };
            state.log.push((version, path.to_owned(), what, object));
            version
        })
    }

    /// Deletes an object; returns the version of that.
    pub fn delete(&self, path: &str, name: &str) -> u64 {
        self.change(|state| {
            state.version += 1;
            let version = state.version;
            let object = state.objects.remove(&(path.to_owned(), name.to_owned()));
            let mut object = object.unwrap_or_else(|| json!({ "metadata": { "name": name } }));
            object["metadata"]["resourceVersion"] = version.to_string().into();
            state.log.push((version, path.to_owned(), "DELETED", object));
            version
        })
    }

    /// Sets what goes wrong from now on.
    pub fn fault(&self, faults: Faults) {
        self.change(|state| state.faults = faults);
    }

    /// Ends every watch.
    pub fn cut(&self) {
        self.change(|state| state.cut += 1);
    }

    /// Forgets what happened: nobody may resume from before.
    pub fn compact(&self) {
        self.change(|state| state.log.clear());
    }

    /// Comes back from a backup that counts from below; open watches stay, and stay silent.
    pub fn rebuild(&self, version: u64) {
        self.change(|state| {
            state.version = version;
            state.log.clear();
        });
    }

    /// Says that it serves listings as streams.
    pub fn stream_lists(&self) {
        self.change(|state| state.minor = 35);
    }

    /// Returns what was asked for so far: path and query.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Waits until somebody watches the objects of a path: what is put from then on is told.
    pub async fn watched(&self, path: &str) {
        let is_watch = |request: &String| {
            request.split_once('?').is_some_and(|(asked, query)| {
                asked == path && query.contains("watch=true") && !query.contains("sendInitial")
            })
        };
        let mut asked = self.asked.subscribe();
        while !self.state().requests.iter().any(is_watch) && asked.changed().await.is_ok() {}
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if path == "/version" {
            return self.version();
        }
        if path.contains("/leases") {
            let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            return self.lease(&parts.method, &bytes);
        }
        let faults = {
            let mut state = self.state();
            state.requests.push(format!("{path}?{query}"));
            let faults = state.faults.clone();
            if faults.status_times == 1 {
                state.faults.status = None;
            }
            state.faults.status_times = faults.status_times.saturating_sub(1);
            faults
        };
        self.asked.send_modify(|count| *count += 1);
        if faults.is_frozen {
            self.thaw().await;
        }
        if path != MAPS && path != EVENTS && !self.state().serves_everything {
            return refusal(404);
        }
        if let Some(code) = faults.status {
            return refusal(code);
        }
        if faults.is_revoked {
            return refusal(403);
        }
        if query.contains("watch=true") {
            self.watch(path, &query)
        } else {
            self.list(&path, &query)
        }
    }

    async fn thaw(&self) {
        let mut changed = self.changed.subscribe();
        while self.state().faults.is_frozen && changed.changed().await.is_ok() {}
    }

    fn version(&self) -> Response<Body> {
        let minor = self.state().minor.to_string();
        respond(
            200,
            json!({ "major": "1", "minor": minor, "buildDate": "", "compiler": "",
            "gitCommit": "", "gitTreeState": "", "gitVersion": "", "goVersion": "",
            "platform": "" }),
        )
    }

    fn list(&self, path: &str, query: &str) -> Response<Body> {
        let mut state = self.state();
        if query.contains("resourceVersionMatch=Exact") {
            return self.list_past(&state, path, query);
        }
        let begin = parameter(query, "continue").parse().unwrap_or(0_usize);
        if begin > 0 && state.faults.expired_pages > 0 {
            state.faults.expired_pages -= 1;
            return refusal(410);
        }
        let page_max = Some(state.faults.page_max).filter(|max| *max > 0).unwrap_or(usize::MAX);
        let mut items = state.objects.iter().filter(|(key, _)| key.0 == path).skip(begin);
        let page: Vec<_> = items.by_ref().take(page_max).map(|(_, one)| one.clone()).collect();
        let end = begin + page.len();
        let mut list = listing(state.version, page);
        if items.next().is_some() {
            list["metadata"]["continue"] = end.to_string().into();
        }
        respond(200, list)
    }

    fn list_past(&self, state: &State, path: &str, query: &str) -> Response<Body> {
        let at = parameter(query, "resourceVersion").parse().unwrap_or(0);
        let oldest = state.log.first().map_or(state.version, |(version, ..)| version - 1);
        if at > state.version {
            return refusal(504);
        }
        if state.faults.has_no_past || at < oldest {
            return refusal(410);
        }
        let mut objects = state.objects.clone();
        for (version, path, what, object) in state.log.iter().rev() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let key = (path.clone(), name.clone());
            if *version <= at {
                continue;
            }
            let before = state.log.iter().rev().find(|(older, _, what, past)| {
                older < version && *what != "DELETED" && past["metadata"]["name"] == name
            });
            match before {
                Some((.., past)) if *what != "ADDED" => objects.insert(key, past.clone()),
                Some(_) | None => objects.remove(&key),
            };
        }
        let items = objects.iter().filter(|(key, _)| key.0 == path);
        respond(200, listing(at, items.map(|(_, object)| object.clone()).collect()))
    }

    fn watch(&self, path: String, query: &str) -> Response<Body> {
        let from = parameter(query, "resourceVersion").parse().unwrap_or(0_u64);
        let is_listing = query.contains("sendInitialEvents=true");
        let state = self.state();
        let oldest = state.log.first().map_or(state.version, |(version, ..)| version - 1);
        let mut first = String::new();
        let mut at = from;
        if is_listing {
            for (_, object) in state.objects.iter().filter(|(key, _)| key.0 == path) {
                first.push_str(&line("ADDED", object));
            }
            first.push_str(&line(
                "BOOKMARK",
                &json!({ "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": { "resourceVersion": state.version.to_string(),
                "annotations": { "k8s.io/initial-events-end": "true" } } }),
            ));
            at = state.version;
        } else if from < oldest && from < state.version {
            // A 200, with the 410 inside.
            let gone = Bytes::from(line("ERROR", &status(410)));
            return stream_of(stream::iter([Ok(Frame::data(gone))]).boxed());
        }
        let cut = state.cut;
        drop(state);
        let watching = Watching { server: self.clone(), path, at, cut, first: Some(first) };
        stream_of(stream::unfold(watching, Watching::next).boxed())
    }

    fn lease(&self, method: &Method, bytes: &Bytes) -> Response<Body> {
        self.change(|state| {
            if state.faults.refuses_leases {
                return refusal(403);
            }
            if *method == Method::GET {
                return state
                    .lease
                    .clone()
                    .map_or_else(|| refusal(404), |lease| respond(200, lease));
            }
            let mut lease: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let current =
                state.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
            let is_current = match &current {
                Some(current) => {
                    *method == Method::PUT && *current == lease["metadata"]["resourceVersion"]
                }
                None => *method == Method::POST,
            };
            if !is_current {
                return refusal(409);
            }
            state.version += 1;
            lease["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.lease = Some(lease.clone());
            respond(200, lease)
        })
    }
}

/// An open watch.
struct Watching {
    server: ApiServer,
    path: String,
    at: u64,
    cut: u64,
    first: Option<String>,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some((Ok(Frame::data(first.into())), self));
        }
        let mut changed = self.server.changed.subscribe();
        loop {
            let text = {
                let state = self.server.state();
                if state.faults.is_frozen {
                    None
                } else if state.faults.gone {
                    self.cut = u64::MAX;
                    Some(line("ERROR", &status(410)))
                } else if state.cut != self.cut {
                    return None;
                } else {
                    let next = state
                        .log
                        .iter()
                        .find(|(version, path, ..)| *version > self.at && *path == self.path);
                    next.map(|(version, _, what, object)| {
                        self.at = *version;
                        line(what, object)
                    })
                }
            };
            if let Some(text) = text {
                return Some((Ok(Frame::data(text.into())), self));
            }
            changed.changed().await.ok()?;
        }
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value)).unwrap_or_default()
}

fn listing(version: u64, items: Vec<Value>) -> Value {
    json!({ "kind": "List", "apiVersion": "v1", "items": items,
        "metadata": { "resourceVersion": version.to_string() } })
}

fn line(what: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": what, "object": object }))
}

fn status(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "scripted", "reason": if code == 404 { "NotFound" } else { "" }, "code": code })
}

fn refusal(code: u16) -> Response<Body> {
    respond(code, status(code))
}

fn respond(code: u16, body: Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
    response
}

fn stream_of(
    frames: stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>,
) -> Response<Body> {
    Response::new(http_body_util::BodyExt::boxed(StreamBody::new(SyncStream(Mutex::new(frames)))))
}

/// A body must be `Sync`; nobody polls it from two threads.
struct SyncStream(Mutex<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>);

impl futures::Stream for SyncStream {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(context)
    }
}
