//! As much of a NATS client as these tests take.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{error::Elapsed, timeout};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the JetStream API is asked.
const TRIES_MAX: usize = 3;

/// A connection to a nats-server.
pub(crate) struct Client {
    connection: BufReader<TcpStream>,
    /// What the server said of itself.
    pub(crate) info: Value,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let connection = timeout(PATIENCE, TcpStream::connect(addr)).await??;
        let mut client = Self { connection: BufReader::new(connection), info: Value::Null };
        let info = client.line().await?;
        client.info = serde_json::from_str(info.trim_start_matches("INFO "))?;
        client.say(b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB inbox 1\r\n").await?;
        Ok(client)
    }

    /// Publishes a request and returns the answer.
    pub(crate) async fn request(
        &mut self,
        subject: &str,
        body: &str,
    ) -> Result<Value, Box<dyn Error>> {
        let message = format!("PUB {subject} inbox {}\r\n{body}\r\n", body.len());
        self.say(message.as_bytes()).await?;
        loop {
            let line = self.line().await?;
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["PING"] => self.say(b"PONG\r\n").await?,
                ["MSG", .., bytes] => {
                    let mut body = vec![0; bytes.parse::<usize>()? + 2];
                    timeout(PATIENCE, self.connection.read_exact(&mut body)).await??;
                    return Ok(serde_json::from_slice(&body)?);
                }
                ["HMSG", ..] => return Err(format!("nobody answers: {line}").into()),
                _ => {}
            }
        }
    }

    /// Asks the JetStream API; asks again if nobody answers, for an election swallows requests.
    async fn ask(&mut self, subject: &str, body: &str) -> Result<Value, Box<dyn Error>> {
        for _ in 1..TRIES_MAX {
            match self.request(subject, body).await {
                Err(error) if error.is::<Elapsed>() => {}
                answered => return answered,
            }
        }
        self.request(subject, body).await
    }

    /// Creates a stream over `subject`.
    pub(crate) async fn create_stream(
        &mut self,
        name: &str,
        subject: &str,
        replicas: usize,
    ) -> Result<(), Box<dyn Error>> {
        let config = format!(
            r#"{{"name":"{name}","subjects":["{subject}"],"retention":"limits","storage":"file","num_replicas":{replicas}}}"#
        );
        let answer = self.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &config).await?;
        match answer.get("error") {
            None => Ok(()),
            Some(error) => Err(error.to_string().into()),
        }
    }

    /// Returns how many messages a stream has.
    pub(crate) async fn messages(&mut self, stream: &str) -> Result<u64, Box<dyn Error>> {
        let info = self.ask(&format!("$JS.API.STREAM.INFO.{stream}"), "").await?;
        let messages = info.pointer("/state/messages").and_then(Value::as_u64);
        messages.ok_or_else(|| info.to_string().into())
    }

    async fn say(&mut self, words: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(timeout(PATIENCE, self.connection.get_mut().write_all(words)).await??)
    }

    async fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        match timeout(PATIENCE, self.connection.read_line(&mut line)).await?? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}
