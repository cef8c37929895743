//! A server, and nodes as people start them.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tapio_chaos::real::{NatsServer, NatsServerOptions, NodeCommand, NodeProcess, http_get};
use tapio_tests::{command, run, tapio_binary};
use tempfile::TempDir;
use tokio::time::{Instant, interval, timeout};

/// How long anything may take: a machine under load is slow, not wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a case failed.
pub(super) type Outcome<T = ()> = Result<T, String>;

/// Makes what went wrong text.
pub(super) fn said(why: impl std::fmt::Display) -> String {
    why.to_string()
}

/// Fails unless `holds`.
pub(super) fn check(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// Looks until there is what is looked for; what was missing the last time is the failure.
pub(super) async fn until<T>(mut look: impl AsyncFnMut() -> Outcome<T>) -> Outcome<T> {
    let mut tick = interval(LOOK_EVERY);
    let mut missing = String::new();
    let looking = async {
        loop {
            tick.tick().await;
            match look().await {
                Ok(found) => return found,
                Err(why) => missing = why,
            }
        }
    };
    let found = timeout(PATIENCE, looking).await;
    found.map_err(|_elapsed| format!("not within {PATIENCE:?}: {missing}"))
}

/// A node of the mesh: a process, killed when dropped.
pub(super) struct Node {
    pub(super) process: NodeProcess,
    name: &'static str,
    pub(super) http: SocketAddr,
}

impl Node {
    /// Starts a node that joins the mesh on `url`, and waits until it can be looked at.
    pub(super) async fn start(name: &'static str, url: &str, flags: &[&str]) -> Outcome<Self> {
        let process = NodeProcess::prepare(name).map_err(said)?;
        let mut node = Self { process, name, http: SocketAddr::from(([127, 0, 0, 1], 0)) };
        node.restart(url, flags).await?;
        Ok(node)
    }

    /// Starts it again under its name and with its store, killing it first if it runs.
    pub(super) async fn restart(&mut self, url: &str, flags: &[&str]) -> Outcome {
        let data = self.process.state_dir();
        let data = data.to_string_lossy();
        let words = ["node", "--nats", url, "--http", "127.0.0.1:0", "--data", &data];
        let words = words
            .iter()
            .chain(&["--arbiters", "1", "--log-level", "info", "--no-baseline"])
            .chain(flags);
        let command = NodeCommand {
            program: tapio_binary()?,
            args: words.map(Into::into).collect(),
            // As a StatefulSet names its pods.
            env: vec![("POD_NAME".into(), self.name.into())],
        };
        let before = self.said().len();
        self.process.start(&command).await.map_err(said)?;
        self.http = until(async || {
            let said = self.said();
            let new = said.get(before..).unwrap_or_default();
            let line = new.lines().find(|line| line.contains(" joins the mesh; http "));
            let addr = line.and_then(|line| line.split("http ").nth(1)?.split(';').next());
            addr.and_then(|addr| addr.parse().ok()).ok_or_else(|| new.to_owned())
        })
        .await?;
        Ok(())
    }

    /// Returns everything it said, over all its starts.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.process.stderr_path()).unwrap_or_default()
    }

    /// Returns the file of its stories.
    pub(super) fn store(&self) -> PathBuf {
        self.process.state_dir().join("stories.sqlite")
    }

    /// Returns what it answers to whoever asks for `path`.
    pub(super) async fn get(&self, path: &str) -> Outcome<(u16, String)> {
        let (status, body) = http_get(self.http, path).await.map_err(said)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Waits until it says that it is ready, or that it is not, and returns what it says.
    pub(super) async fn says(&self, status: u16) -> Outcome<String> {
        let said = until(async || {
            let (now, text) = self.get("/readyz").await?;
            check(now == status, || text.clone())?;
            Ok(text)
        });
        said.await.map_err(|why| format!("{} is not {status}: {why}\n{}", self.name, self.said()))
    }

    /// Returns its metrics, by name and labels as Prometheus writes them.
    pub(super) async fn metrics(&self) -> Outcome<Metrics> {
        let (status, page) = self.get("/metrics").await?;
        check(status == 200, || format!("/metrics: {status}"))?;
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        Ok(Metrics(series.map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Returns how many shards it owns.
    pub(super) async fn shards(&self) -> Outcome<u64> {
        Ok(self.metrics().await?.count("tapio_owned_shards"))
    }

    /// Asks it to leave, and returns how it ended and how long that took.
    pub(super) async fn leave(&mut self) -> Outcome<(ExitStatus, Duration)> {
        let begun = Instant::now();
        let status = self.process.terminate(PATIENCE).await.map_err(said)?;
        Ok((status, begun.elapsed()))
    }
}

/// What a node shows of itself.
#[derive(Debug)]
pub(super) struct Metrics(pub(super) BTreeMap<String, String>);

impl Metrics {
    /// Returns the count of a series; zero if it is not there.
    pub(super) fn count(&self, series: &str) -> u64 {
        self.0.get(series).and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

/// A mesh on a server of its own.
pub(super) struct World {
    pub(super) server: NatsServer,
    pub(super) nodes: Vec<Node>,
    home: TempDir,
}

impl World {
    /// Starts a server without nodes.
    pub(super) async fn empty() -> Outcome<Self> {
        let server = NatsServer::start(NatsServerOptions::default()).await.map_err(said)?;
        Ok(Self { server, nodes: Vec::new(), home: TempDir::new().map_err(said)? })
    }

    /// Starts a server and nodes of these names, and waits until each knows an owner of every shard.
    pub(super) async fn start(names: &[&'static str], flags: &[&str]) -> Outcome<Self> {
        let mut world = Self::empty().await?;
        let url = world.server.url();
        let starts = names.iter().map(|name| Node::start(name, &url, flags));
        for node in futures::future::join_all(starts).await {
            world.nodes.push(node?);
        }
        for node in &world.nodes {
            node.says(200).await?;
        }
        Ok(world)
    }

    /// Runs a command of the mesh to its end.
    pub(super) fn tapio(&self, words: &[&str]) -> Outcome<Output> {
        let url = self.server.url();
        let words: Vec<_> = words.iter().copied().chain(["--nats", &url]).collect();
        run(&self.home, &words)
    }

    /// Runs a command that needs no mesh, or another.
    pub(super) fn elsewhere(&self, words: &[&str]) -> Outcome<Output> {
        run(&self.home, words)
    }

    /// Starts a command of the mesh and returns what waits for its end. Who does not wait ends it.
    pub(super) fn background(
        &self,
        words: &[&str],
    ) -> Outcome<impl Future<Output = io::Result<Output>> + use<>> {
        let url = self.server.url();
        let words: Vec<_> = words.iter().copied().chain(["--nats", &url]).collect();
        let mut command = tokio::process::Command::from(command(&self.home, &words)?);
        command.kill_on_drop(true).stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(said)?;
        Ok(child.wait_with_output())
    }

    /// Publishes a recording and returns the summary.
    pub(super) fn publish(&self, words: &[&str]) -> Outcome<Value> {
        let all = ["publish", "-o", "json"].iter().chain(words).copied().collect::<Vec<_>>();
        let output = self.tapio(&all)?;
        check(output.status.success(), || told(&output))?;
        let lines = lines(&output);
        let line = lines.into_iter().find_map(|line| line.get("published").cloned());
        line.ok_or_else(|| told(&output))
    }

    /// Asks the mesh, and returns the exit code and the answer.
    pub(super) fn query(&self, words: &[&str]) -> Outcome<(i32, Value)> {
        // Long enough for a machine that has other work: an answer comes as soon as it is complete.
        let all = ["query", "-o", "json", "--deadline-ms", "5000"].iter().chain(words).copied();
        let all: Vec<_> = all.collect();
        let output = self.tapio(&all)?;
        let answer = lines(&output).pop().unwrap_or_default();
        Ok((output.status.code().unwrap_or(-1), answer))
    }
}

/// Returns the lines of JSON that a command printed.
pub(super) fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Returns what a command said, and how it ended.
pub(super) fn told(output: &Output) -> String {
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    format!("{status}\n{stdout}\n{stderr}")
}
