//! A program of ours as a process, with its own state.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::real::process::{OwnedProcess, log_tail, mortal_command};
use crate::real::{Namespace, RealError};

/// What a node process runs.
#[derive(Clone, Debug, Default)]
pub struct NodeCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(String, OsString)>,
}

/// A process with a state directory that outlives its restarts, killed when dropped.
///
/// Time must not be paused in the test that uses it: the process lives in real time.
#[derive(Debug)]
pub struct NodeProcess {
    name: String,
    /// Declared before `directory`, so that the process ends before its state goes.
    process: Option<OwnedProcess>,
    prefix: Vec<String>,
    directory: TempDir,
}

impl NodeProcess {
    /// Makes the place of a process, without starting it.
    ///
    /// # Errors
    /// [`RealError::Io`] when there is no room for its directory.
    pub fn prepare(name: &str) -> Result<Self, RealError> {
        let directory = tempfile::Builder::new().prefix("tapio-node-").tempdir();
        let directory = directory.map_err(RealError::io("create a directory"))?;
        let node = Self { name: name.to_owned(), process: None, prefix: Vec::new(), directory };
        fs::create_dir(node.state_dir()).map_err(RealError::io("create a directory"))?;
        Ok(node)
    }

    /// Has every later start run inside `namespace`, which must outlive the process.
    #[must_use]
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.prefix = namespace.command_prefix();
        self
    }

    /// Starts `command`, killing what runs; returns once the process exists.
    ///
    /// # Errors
    /// [`RealError::Io`] when the program cannot be run.
    pub async fn start(&mut self, command: &NodeCommand) -> Result<(), RealError> {
        self.kill().await?;
        let what = || RealError::io(format!("start {}", self.name));
        let append = |path: PathBuf| File::options().create(true).append(true).open(path);
        let stdout = append(self.stdout_path()).map_err(what())?;
        let stderr = append(self.stderr_path()).map_err(what())?;
        let mut words = self.prefix.iter().map(OsString::from).collect::<Vec<_>>();
        words.push(command.program.clone().into_os_string());
        words.extend(command.args.iter().cloned());
        let (program, args) =
            words.split_first().ok_or_else(|| io::Error::other("no program")).map_err(what())?;
        let mut child = mortal_command(Path::new(program));
        child.args(args).envs(command.env.iter().map(|(key, value)| (key, value)));
        child.stdout(stdout).stderr(Stdio::from(stderr));
        self.process = Some(OwnedProcess::spawn(child).await.map_err(what())?);
        Ok(())
    }

    /// The name in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory for what the process keeps; removed with this value, not with the process.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The file with everything written to standard output, over all starts.
    #[must_use]
    pub fn stdout_path(&self) -> PathBuf {
        self.directory.path().join("stdout.log")
    }

    /// The file with everything written to standard error, over all starts.
    #[must_use]
    pub fn stderr_path(&self) -> PathBuf {
        self.directory.path().join("stderr.log")
    }

    /// The end of what was written to standard error, for a report.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        log_tail(&self.stderr_path())
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

    /// Kills the process (SIGKILL) and waits until it is gone; does nothing to one that is.
    ///
    /// # Errors
    /// [`RealError::StillRuns`] when the kernel did not end it.
    pub async fn kill(&mut self) -> Result<(), RealError> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// [`RealError::NotRunning`]; [`RealError::StillRuns`] when it did not end in `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus, RealError> {
        self.signal(Signal::TERM)?;
        self.exit(patience).await
    }

    /// Waits until the process ends by itself, and reaps it.
    ///
    /// # Errors
    /// [`RealError::NotRunning`]; [`RealError::StillRuns`] when it did not end in `patience`.
    pub async fn exit(&mut self, patience: Duration) -> Result<ExitStatus, RealError> {
        let status = self.running()?.exit(patience).await?;
        self.process = None;
        Ok(status)
    }

    /// Stops the process in its tracks (SIGSTOP) and returns when it stands; its
    /// connections stay open.
    ///
    /// # Errors
    /// [`RealError::NotRunning`].
    pub fn pause(&mut self) -> Result<(), RealError> {
        let what = format!("pause {}", self.name);
        self.running()?.pause().map_err(RealError::io(what))
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Errors
    /// [`RealError::NotRunning`].
    pub fn resume(&mut self) -> Result<(), RealError> {
        self.signal(Signal::CONT)
    }

    /// Returns the memory that the process holds, in bytes, while it runs.
    #[must_use]
    pub fn rss_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        resident_bytes(&status)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), RealError> {
        let what = format!("signal {}", self.name);
        self.running()?.signal(signal).map_err(RealError::io(what))
    }

    fn running(&mut self) -> Result<&mut OwnedProcess, RealError> {
        let not_running = RealError::NotRunning { name: self.name.clone() };
        self.process.as_mut().ok_or(not_running)
    }
}

/// Reads the resident set out of a `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_or_unknown() {
        let cases = [
            ("Name:\tx\nVmRSS:\t    1234 kB\nVmData: 1 kB\n", Some(1234 * 1024)),
            ("Name:\tx\n", None),
            ("VmRSS: many kB\n", None),
        ];
        for (status, expected) in cases {
            assert_eq!(resident_bytes(status), expected, "{status}");
        }
    }
}
