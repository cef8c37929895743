use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::{Value, json};
use tapio_bus::{MemoryBus, MemoryBusLimits};
use tapio_engine::Told;
use tapio_model::State;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, sync::mpsc};

use super::*;
use crate::{
    client::{Client, ClientError, Streamed},
    fixture::{events, retold, story},
    store::StoryStore,
    tell::{TellFigures, Teller},
};

/// An interface over a store and a teller, without actors.
struct Desk {
    dir: TempDir,
    store: Arc<StoryStore>,
    told: mpsc::Sender<Told>,
    teller: JoinHandle<()>,
    state: Arc<NodeState>,
    tellings: Tellings,
}

impl Desk {
    fn new() -> Self {
        let store = Arc::new(StoryStore::in_memory().unwrap());
        let (told, receiver) = mpsc::channel(16);
        let figures = Arc::new(TellFigures::default());
        let teller = Teller::new(receiver, Arc::clone(&store), Arc::clone(&figures));
        let tellings = teller.tellings();
        let bus = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
        let state = Arc::new(NodeState::new(None, bus, Arc::clone(&store), figures));
        let dir = tempfile::tempdir().unwrap();
        Self { dir, store, told, teller: teller.spawn(), state, tellings }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("tapio.sock")
    }

    async fn serve(&self) -> Result<ApiServer, ServeError> {
        let collectors: StatusSource = Arc::new(|| json!({"kmsg": {"events": 3}}));
        let (state, tellings) = (Arc::clone(&self.state), self.tellings.clone());
        ApiServer::start(&self.socket(), state, tellings, collectors).await
    }
}

#[tokio::test]
async fn status_names_all_accounts() {
    let desk = Desk::new();
    let _api = desk.serve().await.unwrap();
    let status = Client::connect(desk.socket()).await.unwrap().status().await.unwrap();
    let outcomes = ["story", "open", "expired", "duplicate", "late", "dead_letter", "shed"];
    for outcome in outcomes {
        assert!(status["ledger"][outcome].is_number() || outcome == "shed", "{outcome}: {status}");
    }
    let shed: Vec<_> = status["ledger"]["shed"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(shed, ["bus", "mailbox", "node_traces", "trace_bytes", "trace_events"]);
    for figure in ["uptime_s", "traces_live", "actors_live", "restarts", "quarantined"] {
        assert!(status[figure].is_u64(), "{figure}: {status}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["is_current"], false, "there are no actors");
    assert_eq!(status["collectors"]["kmsg"]["events"], 3);
    assert_eq!((&status["open_stories"], &status["store"]["stories"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn stories_are_listed_found_and_proven() {
    let desk = Desk::new();
    let events = events(3);
    let open = story(1, &events);
    let resolved = retold(&story(2, &[]), State::Resolved);
    desk.store.keep_events(&events).unwrap();
    desk.store.keep_story(&open).unwrap();
    desk.store.keep_story(&resolved).unwrap();
    let _api = desk.serve().await.unwrap();
    let client = Client::connect(desk.socket()).await.unwrap();

    let ids = |stories: Vec<Value>| -> Vec<_> {
        stories.iter().map(|story| story["id"].as_str().unwrap().to_owned()).collect()
    };
    let (old, new) = (open.id.to_string(), resolved.id.to_string());
    assert_eq!(ids(client.stories(10, false).await.unwrap()), [new.clone(), old.clone()]);
    assert_eq!(ids(client.stories(1, false).await.unwrap()), [new]);
    assert_eq!(ids(client.stories(10, true).await.unwrap()), std::slice::from_ref(&old));

    let found = client.story(&old.split_at(20).1.to_lowercase()).await.unwrap();
    assert_eq!((&found["id"], &found["title"]), (&json!(old), &json!("out of memory")));
    let evidence = client.evidence(&old).await.unwrap();
    let ids: Vec<_> = evidence.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_answered_names_its_cure() {
    let desk = Desk::new();
    desk.store.keep_story(&story(1, &[])).unwrap();
    desk.store.keep_story(&story(2, &[])).unwrap();
    let _api = desk.serve().await.unwrap();
    let client = Client::connect(desk.socket()).await.unwrap();
    for part in ["ZZZZ", "../status", "a b", "é", ""] {
        let error = client.story(part).await.unwrap_err();
        assert!(matches!(&error, ClientError::NotFound { .. }), "{part}: {error:?}");
        assert!(error.to_string().contains("tapio stories"), "{part}: {error}");
    }
    let error = client.evidence("00").await.unwrap_err();
    let ClientError::Ambiguous { candidates, .. } = error else { panic!("{error:?}") };
    assert_eq!(candidates, [story(2, &[]), story(1, &[])].map(|story| story.id.to_string()));

    let cases = [
        ("GET /v1/stories?state=closed", "400", "state=open"),
        ("GET /v1/stories?limit=many", "400", "limit=1"),
        ("GET /v1/stories?colour=red", "400", "state=open"),
        ("GET /v1/stories/%ff", "400", "letters and digits"),
        ("GET /v2", "404", "/v1/stories"),
        ("DELETE /v1/stories", "405", "use GET"),
    ];
    for (request, status, cure) in cases {
        let answer = raw(&desk.socket(), request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
        assert!(body.contains(cure), "{request}: {body}");
    }
}

async fn raw(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: tapio\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_stream_begins_with_nothing_old_and_ends_with_the_last_telling() {
    let desk = Desk::new();
    let api = desk.serve().await.unwrap();
    desk.store.keep_story(&story(1, &[])).unwrap();
    let client = Client::connect(desk.socket()).await.unwrap();
    let mut stream = client.stream().await.unwrap();
    let opened = story(2, &[]);
    let resolved = retold(&opened, State::Resolved);
    for telling in [&opened, &resolved] {
        desk.told.send(Told::Story(Box::new(telling.clone()))).await.unwrap();
    }
    drop(desk.told);
    desk.teller.await.unwrap();
    for telling in [&opened, &resolved] {
        let Some(Streamed::Story(line)) = stream.next().await.unwrap() else { panic!("no story") };
        assert_eq!(line["id"], telling.id.to_string());
        assert_eq!(line["state"], telling.state.name());
    }
    assert_eq!(stream.next().await.unwrap(), None);
    api.stop().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let desk = Desk::new();
    let socket = desk.socket();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = Client::connect(&socket).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");

    let api = desk.serve().await.unwrap();
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = desk.serve().await.unwrap_err();
    assert!(matches!(error, ServeError::AlreadyUp { .. }), "{error}");
    assert!(error.to_string().starts_with("tapio is already up at "), "{error}");
    Client::connect(&socket).await.unwrap().status().await.unwrap();

    api.stop().await;
    assert!(!socket.exists());
    let error = Client::connect(&socket).await.unwrap_err();
    assert!(error.to_string().contains("start it with: tapio up"), "{error}");
    desk.serve().await.unwrap();
}

#[tokio::test]
async fn what_others_serve_or_own_is_left_alone() {
    let desk = Desk::new();
    let listener = std::os::unix::net::UnixListener::bind(desk.socket()).unwrap();
    let error = desk.serve().await.unwrap_err();
    assert!(matches!(error, ServeError::AlreadyUp { .. }), "no lock, and yet it answers: {error}");
    drop(listener);
    fs::remove_file(desk.socket()).unwrap();
    fs::write(desk.socket(), "a letter").unwrap();
    let error = desk.serve().await.unwrap_err();
    assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(desk.socket()).unwrap(), "a letter");
}

#[tokio::test]
async fn streams_are_bounded() {
    let desk = Desk::new();
    let _api = desk.serve().await.unwrap();
    let client = Client::connect(desk.socket()).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..routes::STREAMS_MAX {
        streams.push(client.stream().await.unwrap());
    }
    let error = client.stream().await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
}
