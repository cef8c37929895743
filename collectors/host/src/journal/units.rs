//! What systemd says of its units: starts, stops, failures, restart loops.
//!
//! The journal suffices: every transition that the D-Bus interface would signal is written there
//! with its fields, is still there after a restart of ours, and needs no privilege of its own.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tapio_collect::Unbound;
use tapio_model::{Class, EventId, Kind, Severity, Source, Timestamp, keys};

use super::translate::{Entry, place_of_unit};

/// Units that are remembered; a host has some hundred services.
const UNITS_MAX: usize = 1_024;

/// How long after a process's exit a failure is believed to be of it.
const EXIT_AGE_MAX: Duration = Duration::from_secs(60);

/// When restarts are a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoopLimits {
    /// This many restarts ...
    pub(super) restarts_min: usize,
    /// ... within this time.
    pub(super) within: Duration,
}

/// What became of an entry.
#[derive(Debug)]
pub(super) enum Told {
    /// It is not systemd speaking of a unit.
    NoUnit,
    /// It says nothing that was not said.
    Nothing,
    /// An event.
    Event(Box<Unbound>),
}

/// What systemd says, by the id of its message.
///
/// # Source
/// systemd's `src/systemd/sd-messages.h` and `src/core/unit.c`, `job.c`, `service.c`.
const MESSAGES: [(&[u8], Said); 11] = [
    (b"39f53479d3a045ac8e11786248231fbf", Said::Changed("started")),
    (b"9d1aaa27d60140bd96365438aad20286", Said::Changed("stopped")),
    (b"7ad2d189f7e94e70a38c781354912448", Said::Changed("deactivated")),
    (b"98e322203f7a4ed290d09fe03c09fe15", Said::Exited),
    (b"d9b373ed55a64feb8242e02dbe79a49c", Said::Failed),
    (b"be02cf6855d2428ba40df7e9d022f03d", Said::JobFailed),
    (b"5eb03494b6584870a536b337290809b3", Said::Restarts),
    (b"fe6faa94e7774663a0da52717891d8ef", Said::OomKilled),
    // What is begun is told when it is done.
    (b"7d4958e842da4a758f6c1cdc7b36dcc5", Said::Nothing),
    (b"de5b426a63be47a7b6ac3eaac82e2f6f", Said::Nothing),
    (b"ae8f7b866b0347b9af31fe1c80b127c0", Said::Nothing),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// A start or stop that is done.
    Changed(&'static str),
    /// A process of the unit ended.
    Exited,
    /// The unit failed, with a result.
    Failed,
    /// A job failed; the unit itself may not even have run.
    JobFailed,
    /// The unit will be started again.
    Restarts,
    /// The kernel killed a process of the unit.
    OomKilled,
    Nothing,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
struct Exit {
    key: &'static str,
    status: i64,
    at: Timestamp,
}

/// What is remembered of a unit.
#[derive(Debug, Default)]
struct Unit {
    seen: Timestamp,
    exit: Option<Exit>,
    result: Option<String>,
    /// The last `restarts_min` of them.
    restarts: VecDeque<Timestamp>,
    /// Of the loop it is in: how many restarts, how many at the next telling, which results were
    /// told. No loop has no restarts.
    looped: u64,
    tell_at: u64,
    told: BTreeSet<String>,
}

/// Translates what systemd says of units.
///
/// # Invariant
/// A loop is told when it is noticed and each time its restarts have doubled; of a unit in a loop
/// nothing else is told but results it did not have before.
#[derive(Debug)]
pub(super) struct Units {
    limits: LoopLimits,
    known: BTreeMap<String, Unit>,
}

impl Units {
    pub(super) fn new(limits: LoopLimits) -> Self {
        Self { limits, known: BTreeMap::new() }
    }

    /// Translates an entry, if it is systemd that speaks: anybody may write any message.
    pub(super) fn observe(&mut self, entry: &Entry<'_>, id: EventId) -> Told {
        let is_systemd = entry.get("_PID") == Some(b"1") || entry.get("_COMM") == Some(b"systemd");
        let message = entry.text("MESSAGE").unwrap_or_default();
        let Some((said, name)) = is_systemd.then(|| said(entry, message)).flatten() else {
            return Told::NoUnit;
        };
        let at = entry.time();
        let event = |kind| {
            Unbound::new(id, at, Source::Journal, kind)
                .at(place_of_unit(name))
                .with(keys::UNIT, name)
                .message(message)
        };
        let limits = self.limits;
        let unit = self.unit(name, at);
        let is_service = name.ends_with(".service");
        match said {
            Said::Failed => unit.fail(event(Kind::UnitFailed), &result(entry, message), limits),
            Said::JobFailed => {
                let result = entry.text("JOB_RESULT").unwrap_or("failed");
                // `failed` follows the unit's own failure, which said why.
                if result == "failed" {
                    Told::Nothing
                } else {
                    unit.fail(event(Kind::UnitFailed), result, limits)
                }
            }
            Said::Restarts => unit.restart(event, restarts(entry, message), limits),
            Said::Exited => {
                let exit = exit(entry, message);
                if message.contains("Main process") {
                    unit.exit = exit;
                }
                let event = event(Kind::UnitChanged).with(keys::CHANGE, "exited");
                unit.change(exit.map_or(event.clone(), |exit| exit.add_to(event)), limits)
            }
            Said::OomKilled => {
                let event = event(Kind::UnitChanged).with(keys::CHANGE, "oom_killed");
                unit.change(event.rated(Severity::Warn, 0.6, Class::Memory), limits)
            }
            Said::Changed(change) if is_service => {
                unit.change(event(Kind::UnitChanged).with(keys::CHANGE, change), limits)
            }
            // Scopes, slices and mounts come and go with every container and login.
            Said::Changed(_) | Said::Nothing => Told::Nothing,
        }
    }

    fn unit(&mut self, name: &str, at: Timestamp) -> &mut Unit {
        if self.known.len() >= UNITS_MAX && !self.known.contains_key(name) {
            let oldest = self.known.iter().min_by_key(|(_, unit)| unit.seen);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
            }
        }
        let unit = self.known.entry(name.to_owned()).or_default();
        unit.seen = at;
        unit
    }
}

impl Unit {
    fn fail(&mut self, event: Unbound, result: &str, limits: LoopLimits) -> Told {
        self.result = Some(result.to_owned());
        if self.is_looping(event.time, limits) && !self.told.insert(result.to_owned()) {
            return Told::Nothing;
        }
        let class = if result == "oom-kill" { Class::Memory } else { Class::Lifecycle };
        let exit = self.exit.take().filter(|exit| event.time.since(exit.at) <= EXIT_AGE_MAX);
        let event =
            event.rated(Severity::Error, 0.75, class).with(keys::UNIT_RESULT, result.to_owned());
        Told::Event(Box::new(match exit {
            Some(exit) => exit.add_to(event),
            None => event,
        }))
    }

    fn change(&mut self, event: Unbound, limits: LoopLimits) -> Told {
        if self.is_looping(event.time, limits) {
            return Told::Nothing;
        }
        let is_rated = event.severity > Severity::Info;
        let event =
            if is_rated { event } else { event.rated(Severity::Info, 0.0, Class::Lifecycle) };
        Told::Event(Box::new(event))
    }

    fn restart(
        &mut self,
        event: impl Fn(Kind) -> Unbound,
        counter: Option<i64>,
        limits: LoopLimits,
    ) -> Told {
        let at = self.seen;
        self.restarts.push_back(at);
        if self.restarts.len() > limits.restarts_min {
            self.restarts.pop_front();
        }
        let is_full = self.restarts.len() >= limits.restarts_min;
        let first = self.restarts.front().copied().unwrap_or(at);
        if !is_full || at.since(first) > limits.within {
            (self.looped, self.tell_at) = (0, 0);
            self.told.clear();
            let event = event(Kind::UnitChanged)
                .rated(Severity::Warn, 0.3, Class::Lifecycle)
                .with(keys::CHANGE, "restart_scheduled")
                .with_some(keys::COUNT, counter);
            return Told::Event(Box::new(event));
        }
        let restarts_min = u64::try_from(limits.restarts_min).unwrap_or(u64::MAX);
        self.looped = if self.looped == 0 { restarts_min } else { self.looped.saturating_add(1) };
        if self.looped < self.tell_at {
            return Told::Nothing;
        }
        self.tell_at = self.looped.saturating_mul(2);
        self.told.extend(self.result.clone());
        let count = i64::try_from(self.looped).unwrap_or(i64::MAX);
        let is_oom = self.result.as_deref() == Some("oom-kill");
        let class = if is_oom { Class::Memory } else { Class::Lifecycle };
        let event = event(Kind::UnitFailed)
            .rated(Severity::Error, 0.8, class)
            .with(keys::REASON, "RestartLoop")
            .with(keys::COUNT, count)
            .with_some(keys::UNIT_RESULT, self.result.clone());
        Told::Event(Box::new(event))
    }

    /// Says whether the unit is in a loop, which ends when it stays up for long enough.
    fn is_looping(&self, at: Timestamp, limits: LoopLimits) -> bool {
        let last = self.restarts.back().copied().unwrap_or(at);
        self.looped > 0 && at.since(last) <= limits.within
    }
}

impl Exit {
    fn add_to(self, event: Unbound) -> Unbound {
        event.with(self.key, self.status)
    }
}

/// Reads what is said and of which unit: by the message's id, or, where a journal without ids was
/// imported, by the text.
fn said<'a>(entry: &Entry<'a>, message: &'a str) -> Option<(Said, &'a str)> {
    let named = entry.text("UNIT").or_else(|| entry.text("USER_UNIT"));
    let by_id = entry
        .get("MESSAGE_ID")
        .and_then(|id| MESSAGES.iter().find_map(|(known, said)| (*known == id).then_some(*said)));
    let (prefix, rest) = message.split_once(": ").unwrap_or_default();
    let by_text = if rest.starts_with("Failed with result '") {
        Some(Said::Failed)
    } else if rest.starts_with("Main process exited, code=") {
        Some(Said::Exited)
    } else if rest.starts_with("Scheduled restart job, restart counter is at ") {
        Some(Said::Restarts)
    } else {
        None
    };
    let name = named.or_else(|| (by_text.is_some() && !prefix.contains(' ')).then_some(prefix));
    by_id.or(by_text).zip(name.filter(|name| !name.is_empty()))
}

fn result(entry: &Entry<'_>, message: &str) -> String {
    let by_text = || Some(message.split_once(" result '")?.1.split_once('\'')?.0);
    entry.text("UNIT_RESULT").or_else(by_text).unwrap_or("unknown").to_owned()
}

fn restarts(entry: &Entry<'_>, message: &str) -> Option<i64> {
    let by_text = || Some(message.split_once("counter is at ")?.1.trim_end_matches('.'));
    entry.text("N_RESTARTS").or_else(by_text)?.parse().ok()
}

/// Reads `code=exited, status=1/FAILURE` and `code=killed, status=9/KILL`.
fn exit(entry: &Entry<'_>, message: &str) -> Option<Exit> {
    let by_text = |name: &str| {
        message.split_once(name)?.1.split([',', '/']).next().filter(|text| !text.is_empty())
    };
    let code = entry.text("EXIT_CODE").or_else(|| by_text("code="))?;
    let status = entry.text("EXIT_STATUS").or_else(|| by_text("status="))?.parse().ok()?;
    let key = if code == "exited" { keys::EXIT_CODE } else { keys::EXIT_SIGNAL };
    Some(Exit { key, status, at: entry.time() })
}

#[cfg(test)]
mod tests;
