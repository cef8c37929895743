//! What a test does to the machine, undone when dropped, and what it sees of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tapio_collect::{
    Account, Accounts, Addresses, Collector as _, Outlet, Stopper, Unbound, stop_signal,
};
use tapio_collect_host::place_of_cgroup;
use tapio_collect_kernel::{KernelCollector, KernelConfig, Probe, ProbeReport, Tier};
use tapio_model::{Attributes, Place};
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{runtime::Runtime, sync::mpsc, task::JoinHandle};

/// The memory that a group of [`Cgroup::make`] may have.
pub(crate) const LIMIT_BYTES: i64 = 33_554_432;

/// Whose addresses are known.
const SERVICES: [(&str, &str); 1] = [("10.231.7.2", "stock")];

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test lacks.
pub(crate) struct Need(pub(crate) String);

/// Says whether a lack is a failure.
#[expect(clippy::disallowed_methods, reason = "the tests' own switch")]
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

pub(crate) fn said(event: &Unbound) -> Attributes {
    Attributes::new(event.attributes.clone())
}

/// Runs a command, and says what it said if it fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), words.trim()))
}

/// Says whether memory can be limited here.
pub(crate) fn memory() -> Result<(), Need> {
    let probe = Cgroup::try_make("probe").map_err(Need)?;
    drop(probe);
    Ok(())
}

/// Says whether something can be mounted here.
pub(crate) fn mounts() -> Result<(), Need> {
    memory()?;
    Tmpfs::try_mount("probe").map(drop).map_err(Need)
}

/// A memory cgroup with a limit, v1 or v2. Removed when dropped.
pub(crate) struct Cgroup {
    path: String,
    /// The directories that we made, the outermost first.
    made: Vec<PathBuf>,
}

impl Cgroup {
    pub(crate) fn make(name: &str) -> Self {
        Self::try_make(name).expect("a memory cgroup")
    }

    /// Makes the group of a pod's container, below one of ours.
    pub(crate) fn of_pod(name: &str, pod: &Pod) -> Self {
        let below = format!("{}/pod{}/{}", own(name), pod.uid, pod.container_id);
        Self::try_make_at(&below).expect("a memory cgroup")
    }

    fn try_make(name: &str) -> Result<Self, String> {
        Self::try_make_at(&own(name))
    }

    /// Makes a group at a path below the mount, and what is missing above it.
    fn try_make_at(below: &str) -> Result<Self, String> {
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let is_v1 = v1.is_dir();
        let mount = if is_v1 { v1 } else { PathBuf::from("/sys/fs/cgroup") };
        let mut group = Self { path: format!("/{below}"), made: Vec::new() };
        let said = |at: &Path, error: &std::io::Error| format!("{}: {error}", at.display());
        let mut directory = mount;
        for part in below.split('/') {
            if !is_v1 {
                let control = directory.join("cgroup.subtree_control");
                fs::write(&control, "+memory").map_err(|error| said(&control, &error))?;
            }
            directory.push(part);
            fs::create_dir(&directory).map_err(|error| said(&directory, &error))?;
            group.made.push(directory.clone());
        }
        let limit = directory.join(if is_v1 { "memory.limit_in_bytes" } else { "memory.max" });
        fs::write(&limit, LIMIT_BYTES.to_string()).map_err(|error| said(&limit, &error))?;
        Ok(group)
    }

    /// Returns the path below the mount.
    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    fn directory(&self) -> &Path {
        self.made.last().expect("a group has a directory")
    }

    /// Runs a shell command inside and returns how it ended.
    pub(crate) fn run(&self, command: &str) -> ExitStatus {
        self.command(&["sh", "-c", &format!("exec {command}")]).status().expect("a shell")
    }

    /// Makes a command that runs inside.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.directory().display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &enter, "sh"]).args(words).stdin(Stdio::null()).stderr(Stdio::null());
        shell
    }
}

fn own(name: &str) -> String {
    format!("tapio-test-{name}-kernel-{}", std::process::id())
}

/// The names by which a pod and its container are known.
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) container_id: String,
}

impl Pod {
    /// Makes names that are ours: the number of this process is in them.
    pub(crate) fn new(number: u32) -> Self {
        let own = format!("{:08x}{number:04x}", std::process::id());
        Self {
            uid: format!("7a910000-0000-4000-8000-{own}"),
            container_id: format!("7a91{own:0>60}"),
        }
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
                std::thread::yield_now();
            }
        }
    }
}

/// A filesystem of a mebibyte. Unmounted when dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    pub(crate) fn mount(name: &str) -> Self {
        Self::try_mount(name).expect("a filesystem")
    }

    fn try_mount(name: &str) -> Result<Self, String> {
        let name = format!("tapio-test-{name}-kernel-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        let disk = Self(path);
        let target = disk.0.to_string_lossy();
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "tapio-test", &target])?;
        Ok(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(run("umount", &[&self.0.to_string_lossy()]));
        drop(fs::remove_dir(&self.0));
    }
}

/// A running collector.
pub(crate) struct Watch {
    runtime: Runtime,
    events: mpsc::Receiver<Unbound>,
    account: Arc<Account>,
    stopper: Stopper,
    running: JoinHandle<Result<(), tapio_collect::CollectorError>>,
    report: Arc<ProbeReport>,
}

impl Watch {
    /// Runs the probes with these names at the best tier, and waits until they run.
    pub(crate) fn begin(slugs: &[&str]) -> Self {
        // An object that was built elsewhere is tried as ours is.
        let object = std::env::var_os("TAPIO_PROBES").map(PathBuf::from);
        Self::begin_with(Tier::TpBtf, object, slugs)
    }

    /// Runs them at no better tier, from an object of the test's own.
    pub(crate) fn begin_with(tier_best: Tier, object: Option<PathBuf>, slugs: &[&str]) -> Self {
        let probes = Probe::ALL.iter().copied().filter(|probe| slugs.contains(&probe.slug()));
        let addresses = Arc::new(Addresses::new());
        for (address, service) in SERVICES {
            let place = Place { service: Some(service.into()), ..Place::default() };
            addresses.learn(address.parse().unwrap(), Arc::new(place));
        }
        let config = KernelConfig {
            object,
            tier_best,
            probes: probes.collect(),
            place_of_cgroup: Arc::new(place_of_cgroup),
            addresses,
            ..KernelConfig::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let account = Arc::new(Account::default());
        let (sender, events) = mpsc::channel(4_096);
        let (stopper, stop) = stop_signal();
        let outlet = Outlet::new(sender, Arc::clone(&account));
        let collector = Box::new(KernelCollector::new(config, Arc::new(SystemClock)));
        let mut said = collector.report();
        let guard = runtime.enter();
        let running = spawn_named("kernel", collector.run(outlet, stop));
        drop(guard);
        let report = runtime.block_on(async {
            let said = tokio::time::timeout(PATIENCE, said.wait_for(Option::is_some)).await;
            said.expect("the probes were not loaded in time").expect("no probe runs").clone()
        });
        let report = report.unwrap();
        println!("{report}");
        for slug in slugs {
            assert!(report.runs(slug), "{report}");
        }
        Self { runtime, events, account, stopper, running, report }
    }

    pub(crate) fn report(&self) -> &ProbeReport {
        &self.report
    }

    /// Gathers events until `is_enough`, and what came until the end.
    pub(crate) fn until(self, is_enough: impl Fn(&[Unbound]) -> bool) -> (Vec<Unbound>, Accounts) {
        let Self { runtime, mut events, account, stopper, running, report } = self;
        let mut told = Vec::new();
        let gathered = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, async {
                while !is_enough(&told) {
                    told.push(events.recv().await.expect("the collector ended early"));
                }
            })
            .await
        });
        assert!(gathered.is_ok(), "not told in time; {report}\n{told:#?}");
        stopper.stop();
        runtime.block_on(async {
            while let Some(event) = events.recv().await {
                told.push(event);
            }
            running.await.unwrap().unwrap();
        });
        let accounts = account.snapshot();
        let dropped: u64 = accounts.dropped.iter().sum();
        assert_eq!(accounts.read, accounts.emitted + dropped, "{accounts:?}");
        (told, accounts)
    }
}
