//! From what groups counted to what rose.

use std::collections::{BTreeMap, BTreeSet};

use tapio_collect::{DropReason, Unbound, event_id};
use tapio_model::{Class, Kind, Severity, Source, Timestamp, keys};

use super::{
    CgroupConfig,
    counters::{Pressure, Throttling},
    scan::{Group, Hierarchy},
};
use crate::{harvest::Harvest, place_of_cgroup};

/// Remembers every group and tells what rose.
///
/// # Invariant
/// What was counted before the first look is never told; what a group counted that appeared since
/// is told from zero.
#[derive(Debug)]
pub(super) struct Watch {
    config: CgroupConfig,
    boot_id: String,
    known: BTreeMap<(Hierarchy, String), Known>,
    has_looked: bool,
}

/// What is remembered of a group.
#[derive(Debug, Default)]
struct Known {
    inode: u64,
    oom_kills: u64,
    limit_hits: u64,
    /// Hits that were not told yet, and in how many looks they were seen.
    untold: Untold,
    throttling: Throttling,
    /// When each kind of event (and resource) was last told.
    told: BTreeMap<&'static str, Timestamp>,
    unread: BTreeSet<&'static str>,
    limit_bytes: Option<i64>,
}

#[derive(Debug, Default)]
struct Untold {
    hits: u64,
    records: u64,
}

impl Watch {
    pub(super) fn new(config: CgroupConfig) -> Self {
        let boot_id = std::fs::read_to_string(&config.boot_id_path).unwrap_or_default();
        Self { config, boot_id, known: BTreeMap::new(), has_looked: false }
    }

    /// Compares a look with the one before it.
    pub(super) fn compare(&mut self, groups: Vec<Group>, now: Timestamp, harvest: &mut Harvest) {
        let mut before = std::mem::take(&mut self.known);
        for group in groups {
            let key = (group.hierarchy, group.path.clone());
            let known = before.remove(&key).filter(|known| known.inode == group.inode);
            let known = match known {
                Some(known) => known,
                None if self.has_looked => Known { inode: group.inode, ..Known::default() },
                None => Known::baseline(&group),
            };
            self.known.insert(key, self.rises(known, &group, now, harvest));
        }
        // Groups that went away take nothing untold with them.
        for ((_, path), mut known) in before {
            known.tell_limit((&self.boot_id, &path), now, harvest);
        }
        self.has_looked = true;
    }

    /// Tells what is held back.
    pub(super) fn close(&mut self, now: Timestamp, harvest: &mut Harvest) {
        for ((_, path), known) in &mut self.known {
            known.tell_limit((&self.boot_id, path), now, harvest);
        }
    }

    fn rises(
        &self,
        mut known: Known,
        group: &Group,
        now: Timestamp,
        harvest: &mut Harvest,
    ) -> Known {
        let unread = group.unread.iter().copied().collect::<BTreeSet<_>>();
        let newly = unread.difference(&known.unread).count();
        harvest.lose(DropReason::Malformed, u64::try_from(newly).unwrap_or(u64::MAX));
        known.unread = unread;

        let kills = rise(&mut known.oom_kills, group.oom_kills);
        let hits = rise(&mut known.limit_hits, group.limit_hits);
        if kills > 0 || hits > 0 {
            known.limit_bytes = group.memory_limit();
        }
        if kills > 0 {
            harvest.read += 1;
            let event = self
                .event(group, ("oom_kill", known.oom_kills), Kind::OomKillCounted, now)
                .rated(Severity::Error, 0.9, Class::Memory)
                .with(keys::COUNT, int(kills))
                .with_some(keys::MEMORY_LIMIT, known.limit_bytes)
                .message(format!("{kills} killed for want of memory in {}", group.path));
            harvest.emit(event, 1);
        }
        if hits > 0 {
            harvest.read += 1;
            known.untold.hits = known.untold.hits.saturating_add(hits);
            known.untold.records += 1;
        }
        if known.untold.hits > 0 && self.may_tell(&mut known, "limit", now) {
            known.tell_limit((&self.boot_id, &group.path), now, harvest);
        }
        self.throttled(&mut known, group, now, harvest);
        for (resource, pressure) in &group.pressures {
            self.pressed(&mut known, group, (resource, *pressure), (now, harvest));
        }
        known
    }

    fn throttled(&self, known: &mut Known, group: &Group, now: Timestamp, harvest: &mut Harvest) {
        let Some(after) = group.throttling else { return };
        let before = std::mem::replace(&mut known.throttling, after);
        let periods = after.periods.saturating_sub(before.periods);
        let throttled = after.throttled.saturating_sub(before.throttled);
        let ratio = ratio(throttled, periods);
        if ratio <= self.config.throttled_ratio_min {
            return;
        }
        harvest.read += 1;
        if !self.may_tell(known, "throttled", now) {
            harvest.drop_records(DropReason::Ignored, 1);
            return;
        }
        let event = self
            .event(group, ("throttled", after.throttled), Kind::CpuThrottled, now)
            .rated(Severity::Warn, 0.5, Class::Cpu)
            .with(keys::RATIO, ratio)
            .with(keys::COUNT, int(throttled))
            .message(format!("throttled in {throttled} of {periods} periods"));
        harvest.emit(event, 1);
    }

    fn pressed(
        &self,
        known: &mut Known,
        group: &Group,
        (resource, pressure): (&'static str, Pressure),
        (now, harvest): (Timestamp, &mut Harvest),
    ) {
        let is_full = pressure.full_avg10 > self.config.pressure_full_min;
        let is_some = resource == "cpu" && pressure.some_avg10 > self.config.pressure_some_cpu_min;
        if !is_full && !is_some {
            return;
        }
        harvest.read += 1;
        if !self.may_tell(known, resource, now) {
            harvest.drop_records(DropReason::Ignored, 1);
            return;
        }
        let (which, percent) =
            if is_full { ("full", pressure.full_avg10) } else { ("some", pressure.some_avg10) };
        let class = match resource {
            "cpu" => Class::Cpu,
            "memory" => Class::Memory,
            _ => Class::Storage,
        };
        let event = self
            .event(group, (resource, pressure.total), Kind::Pressure, now)
            .rated(Severity::Warn, 0.5, class)
            .with(keys::RESOURCE, resource)
            .with(keys::RATIO, percent / 100.0)
            .message(format!("{which} tasks stalled on {resource} {percent} % of ten seconds"));
        harvest.emit(event, 1);
    }

    fn event(
        &self,
        group: &Group,
        (counter, value): (&str, u64),
        kind: Kind,
        now: Timestamp,
    ) -> Unbound {
        let id = event_id(&[
            b"cgroup",
            self.boot_id.as_bytes(),
            counter.as_bytes(),
            group.path.as_bytes(),
            &group.inode.to_le_bytes(),
            &value.to_le_bytes(),
        ]);
        Unbound::new(id, now, Source::Cgroup, kind).at(place_of_cgroup(&group.path))
    }

    /// Says whether the group has been quiet for long enough, and takes the turn if so.
    fn may_tell(&self, known: &mut Known, what: &'static str, now: Timestamp) -> bool {
        let is_quiet =
            known.told.get(what).is_none_or(|told| now.since(*told) >= self.config.quiet);
        if is_quiet {
            known.told.insert(what, now);
        }
        is_quiet
    }
}

impl Known {
    fn baseline(group: &Group) -> Self {
        Self {
            inode: group.inode,
            oom_kills: group.oom_kills.unwrap_or_default(),
            limit_hits: group.limit_hits.unwrap_or_default(),
            throttling: group.throttling.unwrap_or_default(),
            ..Self::default()
        }
    }

    fn tell_limit(&mut self, (boot_id, path): (&str, &str), now: Timestamp, harvest: &mut Harvest) {
        let untold = std::mem::take(&mut self.untold);
        if untold.hits == 0 {
            return;
        }
        let id = event_id(&[
            b"cgroup",
            boot_id.as_bytes(),
            b"limit",
            path.as_bytes(),
            &self.inode.to_le_bytes(),
            &self.limit_hits.to_le_bytes(),
        ]);
        let event = Unbound::new(id, now, Source::Cgroup, Kind::MemoryLimitReached)
            .at(place_of_cgroup(path))
            .rated(Severity::Warn, 0.5, Class::Memory)
            .with(keys::COUNT, int(untold.hits))
            .with_some(keys::MEMORY_LIMIT, self.limit_bytes)
            .message(format!("reached its memory limit {} times", untold.hits));
        harvest.emit(event, untold.records);
    }
}

/// Returns how much a counter rose; one that fell was reset, and starts anew.
fn rise(known: &mut u64, seen: Option<u64>) -> u64 {
    let Some(seen) = seen else { return 0 };
    let before = std::mem::replace(known, seen);
    seen.saturating_sub(before)
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "periods of a second are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
