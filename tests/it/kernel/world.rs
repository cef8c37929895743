//! What a test does to the machine, undone when dropped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// Outgrows any limit: `tail` keeps the last line, and zeros never end one.
pub(super) const HOG: &str = "tail /dev/zero";
pub(super) const LIMIT_BYTES: &str = "33554432";

/// How long a line may take: what is slow here is a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A memory cgroup of our own, v1 or v2. Removed when dropped, with what was made above it.
pub(super) struct Cgroup {
    path: PathBuf,
    mount: PathBuf,
    /// The directories that we made, the outermost first.
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a group below the root.
    pub(super) fn make(name: &str) -> Result<Self, String> {
        Self::below(&format!("tapio-test-{name}-{}", std::process::id()))
    }

    /// Makes the group at a path below the mount, and what is missing above it.
    pub(super) fn below(path: &str) -> Result<Self, String> {
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let is_v1 = v1.is_dir();
        let mount = if is_v1 { v1 } else { PathBuf::from("/sys/fs/cgroup") };
        let full = mount.join(path);
        let mut cgroup = Self { path: full.clone(), mount, made: Vec::new() };
        let said = |at: &Path, error: &std::io::Error| format!("{}: {error}", at.display());
        let above: Vec<_> = full.ancestors().take_while(|it| *it != cgroup.mount).collect();
        for directory in above.into_iter().rev() {
            if directory.is_dir() {
                continue;
            }
            if let Some(parent) = directory.parent().filter(|_| !is_v1) {
                let control = parent.join("cgroup.subtree_control");
                fs::write(&control, "+memory").map_err(|error| said(&control, &error))?;
            }
            fs::create_dir(directory).map_err(|error| said(directory, &error))?;
            cgroup.made.push(directory.to_path_buf());
        }
        let limit = full.join(if is_v1 { "memory.limit_in_bytes" } else { "memory.max" });
        fs::write(&limit, LIMIT_BYTES).map_err(|error| said(&limit, &error))?;
        Ok(cgroup)
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the path below the mount, as the kernel writes it.
    pub(super) fn inside(&self) -> String {
        let below = self.path.strip_prefix(&self.mount).unwrap_or(&self.path);
        format!("/{}", below.display())
    }

    /// Runs a shell command inside and returns how it ended.
    pub(super) fn run(&self, command: &str) -> Result<ExitStatus, String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec {command}", self.path.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        shell.status().map_err(|error| error.to_string())
    }

    /// Lets the kernel kill a process inside for its memory: the first of a process namespace, as a
    /// container's is, for with it the container ends.
    pub(super) fn kill(&self) -> Result<(), String> {
        let status = self.run(&format!("unshare --pid --fork {HOG}"))?;
        if status.success() { Err("the process outlived its limit".into()) } else { Ok(()) }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.made.iter().rev() {
            // Its last process may still be on its way out: the kernel says busy until it is gone.
            for _ in 0..1_000 {
                if fs::remove_dir(directory).is_ok() {
                    break;
                }
                thread::yield_now();
            }
        }
    }
}

/// Returns the tier of probes that this machine allows, as `tapio check` names it.
pub(super) fn tier(home: &TempDir) -> Result<String, String> {
    let checked = tapio_tests::run(home, &["check", "--pre", "-o", "json"])?;
    let report: Value = serde_json::from_slice(&checked.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&checked.stderr)))?;
    let tier = report.get("kernel_tier").and_then(Value::as_str).map(str::to_owned);
    tier.ok_or_else(|| format!("`tapio check` names no tier: {report}"))
}
