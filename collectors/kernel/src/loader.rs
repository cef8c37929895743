//! Loads the object, tells the probes of this kernel, and attaches them as well as it lets us.

use std::{borrow::Cow, fs, path::Path};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, MapError},
    programs::{BtfTracePoint, ProgramError, RawTracePoint, TracePoint},
};
use tapio_ebpf_abi::{Formats, Hook, Offsets, Settings, SyscallSet, maps, watched};

use crate::{
    btf::Btf,
    config::KernelConfig,
    identity::memory_is_v1,
    layout,
    report::{ProbeReport, ProbeState, Refusal},
    tier::{Tier, TierReport, tracefs},
};

/// The probes, as they were compiled and committed.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/probes.o");

/// Why no probe could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This machine lets no probe run.
    #[error("no probe can run: {reason}; {cure}")]
    Blind {
        /// What stands in the way.
        reason: String,
        /// What would remove it.
        cure: String,
    },
    /// The object's file cannot be read.
    #[error("reading {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused the object's maps, or the object is none.
    #[error("loading the probes")]
    Object(#[source] Box<EbpfError>),
    /// A map is missing or not of its kind.
    #[error("map {name}")]
    Map {
        /// The map.
        name: &'static str,
        /// Why.
        #[source]
        source: Option<MapError>,
    },
    /// Every probe was refused.
    #[error("every probe was refused: {report}")]
    Refused {
        /// Why.
        report: Box<ProbeReport>,
    },
}

/// Probes that run, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) ebpf: Ebpf,
    pub(crate) report: ProbeReport,
}

/// Loads and attaches what `config` asks for, as far as this machine allows.
pub(crate) fn load(
    config: &KernelConfig,
    tier: TierReport,
    adjust: impl FnOnce(&mut Settings),
) -> Result<Loaded, LoadError> {
    if let Some(blind) = tier.blindness() {
        let (reason, cure) = (blind.reason.clone(), blind.cure.clone());
        return Err(LoadError::Blind { reason, cure });
    }
    let best = tier.tier.max(config.tier_best);
    let btf = Btf::of_this_kernel().ok();
    let mut settings = Settings::DEFAULT;
    config.thresholds.apply(&mut settings);
    settings.own_tgid = if config.skips_itself { u64::from(std::process::id()) } else { 0 };
    settings.memcg_v1 = u64::from(memory_is_v1());
    // Three quarters full: what is left is for what must not be sampled.
    settings.pressure_bytes = u64::from(config.ring_bytes) / 4 * 3;
    // The reader looks by itself: being woken for each record halves what it can take.
    settings.wakeup_bytes = u64::from(config.ring_bytes) / 2;
    layout::describe(btf.as_ref(), &mut settings);
    adjust(&mut settings);
    let offsets = btf.as_ref().map_or(Offsets::NONE, layout::offsets);
    drop(btf);
    let formats = tracefs().map_or(Formats::NONE, layout::formats);
    let object = object(config.object.as_deref())?;
    let mut ebpf = EbpfLoader::new()
        // The object has no relocations against the kernel's types, and parsing them costs megabytes.
        .btf(None)
        .override_global(maps::SETTINGS, &settings.words(), true)
        .override_global(maps::OFFSETS, &offsets.words(), true)
        .override_global(maps::FORMATS, &formats.words(), true)
        .map_max_entries(maps::EVENTS, config.ring_bytes)
        .load(&object)
        .map_err(|error| LoadError::Object(Box::new(error)))?;
    watch(&mut ebpf, &watched())?;
    let types = if best == Tier::TpBtf { aya::Btf::from_sys_fs().ok() } else { None };
    let probes = config.probes.iter().map(|probe| {
        let mut state = ProbeState {
            slug: probe.slug(),
            attached: Vec::new(),
            refused: Vec::new(),
            missing: Vec::new(),
        };
        for hook in probe.hooks() {
            attach(&mut ebpf, hook, (best, types.as_ref()), &mut state);
        }
        state
    });
    let report = ProbeReport { probes: probes.collect(), tier };
    if report.probes.iter().any(ProbeState::runs) {
        Ok(Loaded { ebpf, report })
    } else {
        Err(LoadError::Refused { report: Box::new(report) })
    }
}

/// Tells which failures of which system calls are of interest.
pub(crate) fn watch(ebpf: &mut Ebpf, sets: &[(u32, SyscallSet)]) -> Result<(), LoadError> {
    let name = maps::ERRNO_SYSCALLS;
    let map = ebpf.map_mut(name).ok_or(LoadError::Map { name, source: None })?;
    let of = |source| LoadError::Map { name, source: Some(source) };
    let mut map: Array<_, [u64; 8]> = Array::try_from(map).map_err(of)?;
    for (errno, calls) in sets {
        map.set(*errno, calls.0, 0).map_err(of)?;
    }
    Ok(())
}

fn object(path: Option<&Path>) -> Result<Cow<'static, [u8]>, LoadError> {
    let Some(path) = path else { return Ok(Cow::Borrowed(OBJECT)) };
    let read = fs::read(path).map(Cow::Owned);
    read.map_err(|source| LoadError::Unreadable { path: path.display().to_string(), source })
}

/// Attaches the best program for a place that the kernel takes.
fn attach(
    ebpf: &mut Ebpf,
    hook: &Hook,
    (best, types): (Tier, Option<&aya::Btf>),
    state: &mut ProbeState,
) {
    let programs = [
        (Tier::TpBtf, Some(hook.tp_btf)),
        (Tier::RawTp, Some(hook.raw_tp)),
        (Tier::Tracepoint, hook.tracepoint),
    ];
    for (tier, program) in programs.into_iter().filter(|(tier, _)| *tier >= best) {
        let Some(program) = program else { continue };
        match attach_one(ebpf, hook, (tier, program), types) {
            Ok(()) => {
                state.attached.push((hook.event, tier));
                return;
            }
            Err(reason) => state.refused.push(Refusal { program, reason }),
        }
    }
    state.missing.push(hook.event);
}

fn attach_one(
    ebpf: &mut Ebpf,
    hook: &Hook,
    (tier, name): (Tier, &str),
    types: Option<&aya::Btf>,
) -> Result<(), String> {
    let program = ebpf.program_mut(name).ok_or("it is not in the object")?;
    let attached = match tier {
        Tier::TpBtf => {
            let types = types.ok_or("the kernel tells nothing of its types")?;
            <&mut BtfTracePoint>::try_from(program)
                .and_then(|it| it.load(hook.event, types).and_then(|()| it.attach()).map(drop))
        }
        Tier::RawTp => <&mut RawTracePoint>::try_from(program)
            .and_then(|it| it.load().and_then(|()| it.attach(hook.event)).map(drop)),
        Tier::Tracepoint => <&mut TracePoint>::try_from(program)
            .and_then(|it| it.load().and_then(|()| it.attach(hook.category, hook.event)).map(drop)),
        Tier::None => return Err("there is no tier".into()),
    };
    attached.map_err(|error| reason(&error))
}

/// Says in one line why a program was refused: of the verifier's log the last line that says it.
fn reason(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let is_said = |line: &&str| {
            let line = line.trim();
            let figures = ["processed ", "verification ", "stack depth "];
            !line.is_empty() && !figures.iter().any(|begin| line.starts_with(begin))
        };
        let last = log.lines().rfind(is_said).unwrap_or("the verifier says nothing");
        return format!("{io_error}: {}", last.trim());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
