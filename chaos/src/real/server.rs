//! A nats-server of one's own.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::real::options::{Place, Routes, config};
use crate::real::port::PortLease;
use crate::real::process::{OwnedProcess, Progress, follow, log_tail, mortal_command};
use crate::real::{NatsBinary, NatsServerOptions, NeedError, RealError, monitor};

/// How often a start is tried again on other ports, after something else took one.
const START_TRIES_MAX: u32 = 4;

/// How long installing a server may take.
const INSTALL_PATIENCE: Duration = Duration::from_secs(180);

/// The line by which a server says that it listens.
const READY_LINE: &str = "Server is ready";

/// A nats-server with its own ports and its own store, killed when dropped.
///
/// Time must not be paused in the test that uses it: the server lives in real time.
#[derive(Debug)]
pub struct NatsServer {
    name: String,
    options: NatsServerOptions,
    binary: PathBuf,
    client: PortLease,
    monitor: PortLease,
    routes: Option<RouteLease>,
    /// Declared before `directory`, so that the process ends before its store goes.
    process: Option<OwnedProcess>,
    directory: TempDir,
}

/// The ports of a cluster, as one server of it knows them.
#[derive(Debug)]
pub(crate) struct RouteLease {
    pub(crate) own: PortLease,
    pub(crate) all_ports: Vec<u16>,
}

impl NatsServer {
    /// Starts a single server with JetStream and waits until it listens.
    ///
    /// # Errors
    /// [`RealError::Need`] when there is no server program, which a suite counts as skipped;
    /// others when it does not come up, with the end of its log.
    pub async fn start(options: NatsServerOptions) -> Result<Self, RealError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut server = Self::prepare("n0", options.clone(), None).await?;
            match server.launch().await {
                Ok(()) => return Ok(server),
                Err(error) if tries < START_TRIES_MAX && is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes ports and a directory for a server, without starting it.
    pub(crate) async fn prepare(
        name: &str,
        options: NatsServerOptions,
        routes: Option<RouteLease>,
    ) -> Result<Self, RealError> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => find_binary().await?,
        };
        let lease = || PortLease::take().map_err(RealError::io("take a port"));
        let directory = tempfile::Builder::new().prefix("tapio-nats-").tempdir();
        let directory = directory.map_err(RealError::io("create a directory"))?;
        Ok(Self {
            name: name.to_owned(),
            options,
            binary,
            client: lease()?,
            monitor: lease()?,
            routes,
            process: None,
            directory,
        })
    }

    /// Starts the prepared or ended server and waits until it listens.
    pub(crate) async fn launch(&mut self) -> Result<(), RealError> {
        let config_path = self.directory.path().join("nats.conf");
        let store_dir = self.store_dir();
        let place = Place {
            name: &self.name,
            client_port: self.client.port(),
            monitor_port: self.monitor.port(),
            store_dir: &store_dir,
            routes: self
                .routes
                .as_ref()
                .map(|routes| Routes { own_port: routes.own.port(), all_ports: &routes.all_ports }),
        };
        let what = || RealError::io(format!("start {}", self.name));
        fs::write(&config_path, config(&self.options, &place)).map_err(what())?;
        let log = self.log_path();
        let log_file = File::options().create(true).append(true).open(&log).map_err(what())?;
        let mut command = mortal_command(&self.binary);
        command.arg("-c").arg(&config_path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = OwnedProcess::spawn(command).await.map_err(what())?;
        let stderr = process.take_stderr().ok_or_else(|| io::Error::other("no standard error"));
        let mut progress =
            stderr.and_then(|stderr| follow(stderr, log_file, READY_LINE)).map_err(what())?;
        let patience = self.options.start_patience;
        let ready = progress.wait_for(|progress| *progress == Progress::Ready);
        let name = self.name.clone();
        match tokio::time::timeout(patience, ready).await {
            Ok(Ok(_ready)) => {}
            Ok(Err(_ended)) => return Err(RealError::Ended { name, log_tail: log_tail(&log) }),
            Err(_elapsed) => {
                return Err(RealError::NotReady { name, patience, log_tail: log_tail(&log) });
            }
        }
        self.process = Some(process);
        Ok(())
    }

    /// The name, as the server and its peers give it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a client on this machine connects to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr())
    }

    /// Where a client connects to that reaches this machine as `host`, such as a namespace.
    #[must_use]
    pub fn url_at(&self, host: IpAddr) -> String {
        format!("nats://{}", SocketAddr::new(host, self.client.port()))
    }

    /// The address of the client port, for a proxy.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        let host = self.options.host;
        let host = if host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { host };
        SocketAddr::new(host, self.client.port())
    }

    /// The address of the monitoring endpoint (HTTP).
    #[must_use]
    pub fn monitor_addr(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.monitor.port())
    }

    /// Where the store lives.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        match &self.options.store_dir {
            Some(directory) if self.routes.is_some() => directory.join(&self.name),
            Some(directory) => directory.clone(),
            None => self.directory.path().join("store"),
        }
    }

    /// The file with everything the server said, over all its starts.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// A directory of this server's, for certificates and the like; removed with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(OwnedProcess::pid)
    }

    /// Whether the process runs, which it does while paused.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Kills the server (SIGKILL) and waits until it is gone; does nothing to one that is.
    ///
    /// # Errors
    /// [`RealError::StillRuns`] when the kernel did not end it.
    pub async fn kill(&mut self) -> Result<(), RealError> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Asks the server to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// [`RealError::NotRunning`]; [`RealError::StillRuns`] when it did not end in `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus, RealError> {
        self.signal(Signal::TERM)?;
        let status = self.running()?.exit(patience).await?;
        self.process = None;
        Ok(status)
    }

    /// Starts the server again on its ports and its store, killing it first if it runs.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), RealError> {
        self.kill().await?;
        self.launch().await
    }

    /// Stops the server in its tracks (SIGSTOP) and returns when it stands; its
    /// connections stay open.
    ///
    /// # Errors
    /// [`RealError::NotRunning`].
    pub fn pause(&mut self) -> Result<(), RealError> {
        let what = format!("pause {}", self.name);
        self.running()?.pause().map_err(RealError::io(what))
    }

    /// Lets a paused server go on (SIGCONT).
    ///
    /// # Errors
    /// [`RealError::NotRunning`].
    pub fn resume(&mut self) -> Result<(), RealError> {
        self.signal(Signal::CONT)
    }

    /// Asks the server whether it is well: everything recovered, every stream current.
    ///
    /// # Errors
    /// [`RealError::Monitor`] with what it says is wrong.
    pub async fn health(&self) -> Result<(), RealError> {
        monitor::health(self.monitor_addr()).await
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), RealError> {
        let what = format!("signal {}", self.name);
        self.running()?.signal(signal).map_err(RealError::io(what))
    }

    fn running(&mut self) -> Result<&mut OwnedProcess, RealError> {
        let not_running = RealError::NotRunning { name: self.name.clone() };
        self.process.as_mut().ok_or(not_running)
    }
}

/// Finds the program on a thread that may block, since installing takes seconds.
async fn find_binary() -> Result<PathBuf, RealError> {
    let found = tokio::task::spawn_blocking(NatsBinary::find_or_install);
    let need = |reason: String| NeedError::new(crate::real::Need::NatsServer, reason);
    let found = tokio::time::timeout(INSTALL_PATIENCE, found)
        .await
        .map_err(|_elapsed| need(format!("installing took over {INSTALL_PATIENCE:?}")))?
        .map_err(|error| need(error.to_string()))?;
    Ok(found?)
}

/// Whether a start failed because something else listens on a port.
pub(crate) fn is_taken(error: &RealError) -> bool {
    matches!(error, RealError::Ended { log_tail, .. } if log_tail.contains("already in use"))
}
