//! The monitoring endpoint of a nats-server, and the little HTTP that it takes.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::real::RealError;

/// How long one question may take; a stopped server answers never.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What a server says about its JetStream, as far as the suite reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct JetStreamStatus {
    pub(crate) meta_cluster: Option<MetaCluster>,
    #[serde(default)]
    account_details: Vec<AccountDetail>,
}

/// The Raft group that places streams.
#[derive(Debug, Deserialize)]
pub(crate) struct MetaCluster {
    pub(crate) leader: Option<String>,
    /// The other servers; only the leader lists them.
    #[serde(default)]
    pub(crate) replicas: Vec<Replica>,
}

/// One follower as its leader sees it.
#[derive(Debug, Deserialize)]
pub(crate) struct Replica {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

#[derive(Debug, Deserialize)]
struct AccountDetail {
    #[serde(default)]
    stream_detail: Vec<StreamDetail>,
}

#[derive(Debug, Deserialize)]
struct StreamDetail {
    name: String,
    cluster: Option<StreamCluster>,
}

#[derive(Debug, Deserialize)]
struct StreamCluster {
    leader: Option<String>,
    /// The other servers of the stream; only its leader knows how they are.
    #[serde(default)]
    replicas: Vec<Replica>,
}

impl JetStreamStatus {
    /// Returns who leads `stream`, according to the server asked.
    pub(crate) fn stream_leader(&self, stream: &str) -> Option<&str> {
        self.groups().find(|(name, _group)| *name == stream)?.1.leader.as_deref()
    }

    /// Returns what is wrong with a stream of server `own_name`, if anything is.
    pub(crate) fn stream_ailment(&self, own_name: &str) -> Option<String> {
        self.groups().find_map(|(stream, group)| match group.leader.as_deref() {
            None | Some("") => Some(format!("stream {stream} has no leader")),
            Some(leader) if leader == own_name => behind(&group.replicas)
                .map(|replica| format!("{replica} is not current in stream {stream}")),
            Some(_) => None,
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&str, &StreamCluster)> {
        let streams = self.account_details.iter().flat_map(|account| &account.stream_detail);
        streams.filter_map(|detail| Some((detail.name.as_str(), detail.cluster.as_ref()?)))
    }
}

/// Returns a follower that is away or behind, if there is one.
pub(crate) fn behind(replicas: &[Replica]) -> Option<&str> {
    let late = replicas.iter().find(|replica| replica.offline || !replica.current)?;
    Some(&late.name)
}

/// Asks a server about its JetStream and its streams.
pub(crate) async fn jetstream(monitor: SocketAddr) -> Result<JetStreamStatus, RealError> {
    let path = "/jsz?streams=true";
    let (_status, body) = http_get(monitor, path).await?;
    serde_json::from_slice(&body).map_err(|error| bad(monitor, path, error.to_string()))
}

/// Asks a server whether it is well: everything recovered, every asset current.
pub(crate) async fn health(monitor: SocketAddr) -> Result<(), RealError> {
    let (status, body) = http_get(monitor, "/healthz").await?;
    match status {
        200 => Ok(()),
        _ => Err(bad(monitor, "/healthz", String::from_utf8_lossy(&body).trim().to_owned())),
    }
}

fn bad(monitor: SocketAddr, path: &str, reason: String) -> RealError {
    RealError::Monitor { url: format!("http://{monitor}{path}"), reason }
}

/// Reads one resource over plain HTTP: its status and its body, of a server or of a node.
///
/// HTTP/1.0, because a server then neither keeps the connection nor sends chunks.
///
/// # Errors
/// [`RealError::Io`] when nobody listens, [`RealError::Monitor`] when there is no answer in 2 s.
pub async fn http_get(monitor: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), RealError> {
    let ask = async {
        let mut connection = TcpStream::connect(monitor).await?;
        let question = format!("GET {path} HTTP/1.0\r\nHost: {monitor}\r\n\r\n");
        connection.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        connection.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer = tokio::time::timeout(ANSWER_PATIENCE, ask)
        .await
        .map_err(|_elapsed| bad(monitor, path, format!("no answer in {ANSWER_PATIENCE:?}")))?
        .map_err(RealError::io(format!("ask http://{monitor}{path}")))?;
    parse(&answer).ok_or_else(|| bad(monitor, path, "no HTTP answer".to_owned()))
}

/// Takes an HTTP answer apart.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(head_end + 4)?;
    let status = std::str::from_utf8(head).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body_or_nothing() {
        let cases: [(&[u8], _); 4] = [
            (b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}", Some((200, "{}"))),
            (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", Some((503, ""))),
            (b"HTTP/1.0 200 OK\r\n", None),
            (b"\r\n\r\n", None),
        ];
        for (answer, expected) in cases {
            let expected = expected.map(|(status, body)| (status, body.as_bytes().to_vec()));
            assert_eq!(parse(answer), expected);
        }
    }

    #[test]
    fn a_stream_is_well_when_it_has_a_leader_whom_all_follow() {
        let cases = [
            ("{}", Some("stream A has no leader")),
            (r#"{"leader":""}"#, Some("stream A has no leader")),
            (r#"{"leader":"n1","replicas":[{"name":"n0","current":false}]}"#, None),
            (r#"{"leader":"n0","replicas":[{"name":"n1","current":true}]}"#, None),
            (
                r#"{"leader":"n0","replicas":[{"name":"n1","current":false}]}"#,
                Some("n1 is not current in stream A"),
            ),
        ];
        for (group, expected) in cases {
            let text = format!(
                r#"{{"account_details":[{{"stream_detail":[{{"name":"A","cluster":{group}}}]}}]}}"#
            );
            let status: JetStreamStatus = serde_json::from_str(&text).unwrap();
            assert_eq!(status.stream_ailment("n0").as_deref(), expected, "{group}");
        }
    }

    #[test]
    fn a_stream_has_the_leader_that_its_server_names() {
        let text = r#"{"meta_cluster":{"leader":"n0"},"account_details":[{"name":"$G","stream_detail":
            [{"name":"A","cluster":{"leader":"n2"}},{"name":"B"}]},{"name":"C"}]}"#;
        let status: JetStreamStatus = serde_json::from_str(text).unwrap();
        assert_eq!(status.stream_leader("A"), Some("n2"));
        assert_eq!(status.stream_leader("B"), None);
        assert_eq!(status.stream_leader("none"), None);
    }
}
