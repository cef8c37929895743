//! The binary, as a user runs it.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::{fs::chown, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// The user whom no file belongs to, and the group.
const NOBODY: u32 = 65_534;

/// Returns the path of the binary, built in this run's profile.
///
/// # Errors
/// The build's last words.
pub fn tapio_binary() -> Result<PathBuf, String> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BINARY.get_or_init(build).clone()
}

fn build() -> Result<PathBuf, String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", "tapio", "--message-format=json"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(crate::root()).output().map_err(|error| error.to_string())?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binary = built.filter_map(|message| Some(message.get("executable")?.as_str()?.to_owned()));
    // Of several messages the last names the binary; there is one, as one package was asked for.
    binary
        .reduce(|_, last| last)
        .map(PathBuf::from)
        .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs the binary to its end, with a store and a socket of its own.
///
/// # Errors
/// If it could not be built or started.
pub fn run(home: &TempDir, arguments: &[&str]) -> Result<Output, String> {
    command(home, arguments)?.stdin(Stdio::null()).output().map_err(|error| error.to_string())
}

/// Returns the command that runs the binary with a store and a socket of its own.
///
/// # Errors
/// If it could not be built.
pub fn command(home: &TempDir, arguments: &[&str]) -> Result<Command, String> {
    let mut command = Command::new(tapio_binary()?);
    at_home(&mut command, home).args(arguments);
    Ok(command)
}

fn at_home<'a>(command: &'a mut Command, home: &TempDir) -> &'a mut Command {
    command
        .env("TAPIO_STORE", home.path().join("stories.db"))
        .env("TAPIO_SOCKET", home.path().join("tapio.sock"))
        .env("NO_COLOR", "1")
        // A test names the cluster that it means.
        .env_remove("KUBECONFIG")
}

fn up_with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["up", "-o", "json"].into_iter().chain(arguments.iter().copied()).collect()
}

/// A running `tapio up`, and the lines it prints. Ended when dropped.
#[derive(Debug)]
pub struct Tapio {
    child: Child,
    lines: Receiver<String>,
    notices: Receiver<String>,
    /// Where its store and socket are.
    pub home: TempDir,
}

impl Tapio {
    /// Starts `tapio up -o json` with `arguments`.
    ///
    /// # Errors
    /// If it could not be built or started.
    pub fn up(arguments: &[&str]) -> Result<Self, String> {
        let home = TempDir::new().map_err(|error| error.to_string())?;
        let command = command(&home, &up_with(arguments))?;
        Self::listen_to(command, home)
    }

    /// Starts it as the user whom no file belongs to, which root alone can do; `home` is that
    /// user's then.
    ///
    /// # Errors
    /// If it could not be built, given away or started.
    pub fn up_as_nobody(home: TempDir, arguments: &[&str]) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        // Where the binary was built nobody may go.
        let (built, binary) = (tapio_binary()?, home.path().join("tapio"));
        std::fs::hard_link(&built, &binary)
            .or_else(|_other_disk| std::fs::copy(&built, &binary).map(drop))
            .map_err(said)?;
        chown(home.path(), Some(NOBODY), Some(NOBODY)).map_err(said)?;
        let mut command = Command::new(binary);
        at_home(&mut command, &home).args(up_with(arguments)).uid(NOBODY).gid(NOBODY);
        Self::listen_to(command, home)
    }

    fn listen_to(mut command: Command, home: TempDir) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let lines = listen(child.stdout.take());
        let notices = listen(child.stderr.take());
        Ok(Self { child, lines, notices, home })
    }

    /// Waits for a line on standard error that contains `text`, and returns it.
    ///
    /// # Errors
    /// Everything that was said instead.
    pub fn notice(&self, text: &str, within: Duration) -> Result<String, String> {
        wait(&self.notices, within, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits for a line on standard output that satisfies `wanted`.
    ///
    /// # Errors
    /// Everything that was printed instead.
    pub fn line(&self, within: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        wait(&self.lines, within, |line| {
            serde_json::from_str(line).ok().filter(|value: &Value| wanted(value))
        })
    }

    /// Asks it to stop as a service manager would, and returns what else it printed.
    ///
    /// # Errors
    /// If it did not stop within 10 s, or stopped badly.
    pub fn stop(mut self) -> Result<Vec<Value>, String> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        asked.map_err(|error| error.to_string())?;
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(10)) {
                Ok(line) => rest.extend(serde_json::from_str(&line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err("it does not stop".into()),
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(rest) } else { Err(format!("it ended with {status}")) }
    }
}

impl Drop for Tapio {
    fn drop(&mut self) {
        // Gone already is what `stop` leaves behind.
        self.child.kill().unwrap_or_default();
        drop(self.child.wait());
    }
}

fn listen(stream: Option<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    // Ends with the stream, which ends with the process.
    drop(thread::spawn(move || {
        let Some(stream) = stream else { return };
        let limited = BufReader::new(stream.take(64 << 20));
        for line in limited.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    }));
    receiver
}

fn wait<T>(
    lines: &Receiver<String>,
    within: Duration,
    wanted: impl Fn(&str) -> Option<T>,
) -> Result<T, String> {
    let mut seen = Vec::new();
    loop {
        // The limit is for each line: a machine under load is slow, not wrong.
        match lines.recv_timeout(within) {
            Ok(line) => match wanted(&line) {
                Some(found) => return Ok(found),
                None => seen.push(line),
            },
            Err(_) => {
                return Err(format!("not told within {within:?}; told:\n{}", seen.join("\n")));
            }
        }
    }
}
