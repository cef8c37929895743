use std::sync::Mutex;

use tapio_telemetry::Metric;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use super::{
    listener::{CONNECTION_LIFE, CONNECTIONS_MAX},
    *,
};

#[derive(Debug, Default)]
struct Patient(Mutex<Vec<String>>);

impl HealthSource for Patient {
    fn live(&self) -> Health {
        Health::Ok
    }

    fn ready(&self) -> Health {
        Health::from_reasons(self.0.lock().unwrap().clone())
    }
}

async fn serve() -> (HttpServer, Arc<Patient>, Meters) {
    let (patient, meters) = (Arc::new(Patient::default()), Meters::new());
    let health: Arc<dyn HealthSource> = Arc::<Patient>::clone(&patient);
    let any = "127.0.0.1:0".parse().unwrap();
    let server = HttpServer::start(any, health, meters.clone()).await.unwrap();
    (server, patient, meters)
}

/// Asks, and returns head and body.
async fn ask(addr: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: tapio\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn readiness_changes_and_says_why() {
    let (server, patient, _) = serve().await;
    let cases: [(&[&str], _, _, _); 3] = [
        (&[], "200", "ok\n", r#"{"ok":true,"reasons":[]}"#),
        (
            &["NATS is away"],
            "503",
            "no: NATS is away\n",
            r#"{"ok":false,"reasons":["NATS is away"]}"#,
        ),
        (
            &["no shard", "a \"quote\""],
            "503",
            "no: no shard; a \"quote\"\n",
            r#"{"ok":false,"reasons":["no shard","a \"quote\""]}"#,
        ),
    ];
    for (reasons, status, text, json) in cases {
        *patient.0.lock().unwrap() = reasons.iter().map(ToString::to_string).collect();
        for (query, body) in
            [("", text), ("?verbosely", text), ("?verbose", json), ("?a&verbose=1", json)]
        {
            let (head, answer) = ask(server.addr(), &format!("GET /readyz{query}")).await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{query}: {head}");
            assert_eq!(answer, body, "{query}");
        }
        let (head, answer) = ask(server.addr(), "GET /livez").await;
        assert!(head.starts_with("http/1.1 200") && answer == "ok\n", "{head}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let (server, _, meters) = serve().await;
    meters.counter(Metric::Claims, ()).add(3);
    let (head, body) = ask(server.addr(), "GET /metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert_eq!(body, meters.prometheus());
    assert!(body.ends_with("\ntapio_claims_total 3\n"), "{body}");
}

#[tokio::test]
async fn what_is_not_here_says_what_is() {
    let (server, ..) = serve().await;
    let cases = [
        ("GET /healthz", "404", "/livez, /readyz or /metrics"),
        ("GET /metrics/", "404", "/livez, /readyz or /metrics"),
        ("POST /readyz", "405", "use GET"),
    ];
    for (request, status, cure) in cases {
        let (head, body) = ask(server.addr(), request).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}");
        assert!(body.contains(cure), "{request}: {body}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_had_names_its_cure() {
    let (server, patient, meters) = serve().await;
    // 203.0.113.0/24 is for documentation: nobody has it.
    let cases =
        [(server.addr(), "name another port"), ("203.0.113.7:0".parse().unwrap(), "0.0.0.0")];
    for (addr, cure) in cases {
        let health: Arc<dyn HealthSource> = Arc::<Patient>::clone(&patient);
        let error = HttpServer::start(addr, health, meters.clone()).await.unwrap_err();
        assert!(error.to_string().contains(cure), "{error}");
    }
}

#[tokio::test]
async fn stopping_frees_the_port_at_once() {
    let (server, patient, meters) = serve().await;
    let addr = server.addr();
    // A client that asks nothing does not hold up the end.
    let idle = TcpStream::connect(addr).await.unwrap();
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() <= DRAIN + Duration::from_secs(1));
    assert!(TcpStream::connect(addr).await.is_err());
    drop(idle);
    let again = HttpServer::start(addr, patient, meters).await.unwrap();
    assert_eq!(again.addr(), addr);
}

#[tokio::test]
async fn clients_who_hold_on_are_let_go() {
    let (server, ..) = serve().await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(TcpStream::connect(server.addr()).await.unwrap());
    }
    // Connections that the system has taken and we have not, so that all places are theirs.
    let addr = server.addr();
    let asked = ask(addr, "GET /livez");
    tokio::pin!(asked);
    assert!(timeout(Duration::from_millis(200), &mut asked).await.is_err(), "all places are taken");
    tokio::time::pause();
    tokio::time::advance(CONNECTION_LIFE).await;
    tokio::time::resume();
    let (head, _) = asked.await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
}
