//! What this machine lets a probe do, and what would let it do more.

use std::{fmt, fs, path::Path};

use crate::btf::Btf;

/// How deep probes can see, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Tracepoints with types: the verifier checks every access.
    TpBtf,
    /// Raw tracepoints: the same places, read with checked copies.
    RawTp,
    /// Classic tracepoints: what their format files offer.
    Tracepoint,
    /// No probes; kernel log, journal and counters remain.
    None,
}

impl Tier {
    /// Every tier, best first.
    pub const ALL: [Self; 4] = [Self::TpBtf, Self::RawTp, Self::Tracepoint, Self::None];

    /// Returns the name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
            Self::Tracepoint => "tracepoint",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the kernel tells of its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// Nothing: built without BTF, or the file is hidden.
    None,
    /// Structs, and no tracepoints.
    Structs,
    /// Structs and tracepoints.
    Tracepoints,
}

/// What this process may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Everything that probes need.
    Enough,
    /// These capabilities are missing.
    Missing(Vec<&'static str>),
}

/// What was found out about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Major and minor version.
    pub kernel: (u32, u32),
    /// What the kernel tells of its types.
    pub types: Types,
    /// What this process may do.
    pub rights: Rights,
    /// Whether classic tracepoints can be read.
    pub has_tracefs: bool,
    /// Whether the kernel is locked down so far that it does not let itself be read.
    pub is_locked_down: bool,
    /// Why the kernel refused a trial program, if it did.
    pub refusal: Option<String>,
}

/// Why a tier was not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// The tier.
    pub tier: Tier,
    /// What stands in the way.
    pub reason: String,
    /// What would remove it.
    pub cure: String,
}

/// The tier of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierReport {
    /// The best tier that can be used.
    pub tier: Tier,
    /// Why each better one cannot.
    pub hindrances: Vec<Hindrance>,
    /// What it was decided on.
    pub facts: Facts,
}

/// The first kernel with a ring buffer for probes.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// Capabilities by the number of their bit; either the first, or all others.
const SYS_ADMIN: u32 = 21;
const FINER: [(u32, &str); 2] = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];

impl TierReport {
    /// Decides which tier the facts allow.
    #[must_use]
    pub fn decide(facts: Facts) -> Self {
        let everywhere = facts.for_every_tier();
        let mut hindrances = Vec::new();
        for tier in [Tier::TpBtf, Tier::RawTp, Tier::Tracepoint] {
            let Some((reason, cure)) = everywhere.clone().or_else(|| facts.against(tier)) else {
                return Self { tier, hindrances, facts };
            };
            hindrances.push(Hindrance { tier, reason, cure: cure.into() });
        }
        Self { tier: Tier::None, hindrances, facts }
    }

    /// Returns, if there is no probe at all, why and what to do.
    #[must_use]
    pub fn blindness(&self) -> Option<&Hindrance> {
        self.hindrances.first().filter(|_| self.tier == Tier::None)
    }
}

impl Facts {
    /// Finds out about this machine, without changing it.
    #[must_use]
    pub fn probe() -> Self {
        let types = Btf::of_this_kernel().map_or(Types::None, |btf| {
            let has = btf.has_tracepoint("sched_process_exec");
            if has { Types::Tracepoints } else { Types::Structs }
        });
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let rights = rights(&read("/proc/self/status"));
        let refusal = if rights == Rights::Enough { trial() } else { None };
        Self {
            kernel: version(&read("/proc/sys/kernel/osrelease")),
            types,
            rights,
            has_tracefs: tracefs().is_some(),
            is_locked_down: read("/sys/kernel/security/lockdown").contains("[confidentiality]"),
            refusal,
        }
    }

    fn for_every_tier(&self) -> Option<(String, &'static str)> {
        let (major, minor) = self.kernel;
        if self.kernel < KERNEL_MIN {
            return Some((
                format!("kernel {major}.{minor} has no ring buffer for probes"),
                "run a kernel of 5.8 or later",
            ));
        }
        if let Rights::Missing(names) = &self.rights {
            return Some((
                format!("{} missing", names.join(" and ")),
                "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
            ));
        }
        if self.is_locked_down {
            return Some((
                "the kernel is locked down (confidentiality)".into(),
                "boot with lockdown=integrity, or without secure boot",
            ));
        }
        let refusal = self.refusal.as_ref()?;
        Some((
            format!("the kernel refuses programs: {refusal}"),
            "let the bpf system call through the container's seccomp profile, and check \
             CONFIG_BPF_SYSCALL",
        ))
    }

    fn against(&self, tier: Tier) -> Option<(String, &'static str)> {
        const NO_BTF: &str = "run a kernel built with CONFIG_DEBUG_INFO_BTF, and let \
                              /sys/kernel/btf/vmlinux be read";
        match (tier, self.types) {
            (Tier::TpBtf | Tier::RawTp, Types::None) => {
                Some(("the kernel tells nothing of its types (no BTF)".into(), NO_BTF))
            }
            (Tier::TpBtf, Types::Structs) => {
                Some(("BTF does not hold the tracepoints".into(), NO_BTF))
            }
            (Tier::Tracepoint, _) if !self.has_tracefs => Some((
                "tracefs is not mounted, or not readable".into(),
                "mount -t tracefs tracefs /sys/kernel/tracing; read it as root",
            )),
            (Tier::TpBtf, Types::Tracepoints)
            | (Tier::RawTp, Types::Structs | Types::Tracepoints)
            | (Tier::Tracepoint | Tier::None, _) => None,
        }
    }
}

/// Says which tier this machine allows, and why no better one.
#[must_use]
pub fn probe_tier() -> TierReport {
    TierReport::decide(Facts::probe())
}

/// Reads the numbers of `6.18.44-fc`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    (next(), next())
}

/// Reads the effective capabilities in the kernel's account of a process.
fn rights(status: &str) -> Rights {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let has = |bit: u32| held & (1 << bit) != 0;
    let missing: Vec<_> =
        FINER.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
    if has(SYS_ADMIN) || missing.is_empty() { Rights::Enough } else { Rights::Missing(missing) }
}

/// Loads the smallest program there is: containers may hold the right and not reach the call.
fn trial() -> Option<String> {
    match aya::sys::is_program_supported(aya::programs::ProgramType::RawTracePoint) {
        Ok(true) => None,
        Ok(false) => Some("it does not know raw tracepoints".into()),
        Err(error) => Some(error.to_string()),
    }
}

/// Returns where classic tracepoints can be read.
pub(crate) fn tracefs() -> Option<&'static Path> {
    let mounts = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].into_iter().map(Path::new);
    mounts.into_iter().find(|mount| fs::read_dir(mount.join("events")).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            kernel: (6, 1),
            types: Types::Tracepoints,
            rights: Rights::Enough,
            has_tracefs: true,
            is_locked_down: false,
            refusal: None,
        }
    }

    #[test]
    fn the_best_tier_the_facts_allow_is_taken() {
        let missing = Rights::Missing(vec!["CAP_BPF"]);
        let cases = [
            (facts(), Tier::TpBtf, ""),
            (Facts { types: Types::Structs, ..facts() }, Tier::RawTp, "BTF does not hold"),
            (Facts { types: Types::None, ..facts() }, Tier::Tracepoint, "no BTF"),
            (Facts { has_tracefs: false, ..facts() }, Tier::TpBtf, ""),
            (Facts { types: Types::None, has_tracefs: false, ..facts() }, Tier::None, "no BTF"),
            (Facts { kernel: (5, 7), ..facts() }, Tier::None, "kernel 5.7"),
            (Facts { rights: missing, ..facts() }, Tier::None, "CAP_BPF missing"),
            (Facts { is_locked_down: true, ..facts() }, Tier::None, "locked down"),
            (Facts { refusal: Some("EPERM".into()), ..facts() }, Tier::None, "EPERM"),
        ];
        for (facts, tier, reason) in cases {
            let report = TierReport::decide(facts);
            assert_eq!(report.tier, tier, "{report:?}");
            let better = Tier::ALL.into_iter().filter(|it| *it < tier).count();
            assert_eq!(report.hindrances.len(), better, "{report:?}");
            let first = report.hindrances.first();
            assert!(first.is_none_or(|it| it.reason.contains(reason)), "{report:?}");
            assert!(report.hindrances.iter().all(|it| !it.cure.is_empty()));
            assert_eq!(report.blindness().is_some(), tier == Tier::None);
        }
    }

    #[test]
    fn reads_versions() {
        let cases = [
            ("6.18.44-fc-v595\n", (6, 18)),
            ("5.8.0-rc1", (5, 8)),
            ("4.19", (4, 19)),
            ("", (0, 0)),
        ];
        for (release, want) in cases {
            assert_eq!(version(release), want, "{release}");
        }
    }

    #[test]
    fn root_or_the_two_capabilities_are_enough() {
        let mask = |bits: &[u32]| bits.iter().fold(0_u64, |mask, bit| mask | (1 << bit));
        let cases: [(&[u32], Rights); 4] = [
            (&[SYS_ADMIN], Rights::Enough),
            (&[38, 39], Rights::Enough),
            (&[39], Rights::Missing(vec!["CAP_PERFMON"])),
            (&[], Rights::Missing(vec!["CAP_BPF", "CAP_PERFMON"])),
        ];
        for (bits, want) in cases {
            let status = format!("Name:\tx\nCapEff:\t{:016x}\n", mask(bits));
            assert_eq!(rights(&status), want, "{bits:?}");
        }
        assert_eq!(rights(""), Rights::Missing(vec!["CAP_BPF", "CAP_PERFMON"]));
    }
}
