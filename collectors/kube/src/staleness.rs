//! The alarm of watches that hear nothing.

use std::{collections::BTreeSet, time::Duration};

use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, Text, Timestamp, keys};
use tokio::time::Instant;

use crate::WatchState;

/// Reason of the events that tell of silence, and of its end.
pub(crate) const REASON: &str = "TapioWatchStale";

/// When a watch last heard from the server.
#[derive(Debug, Clone)]
pub(crate) struct Sign {
    pub(crate) name: String,
    /// The last sign; before the first one, when the watch began.
    pub(crate) last: Option<Instant>,
    pub(crate) is_heard: bool,
    pub(crate) state: WatchState,
}

/// Who turned silent, and who speaks again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Turn {
    pub(crate) stale: Vec<String>,
    pub(crate) recovered: Vec<String>,
    /// The longest silence among the stale.
    pub(crate) silence: Duration,
}

/// Watches the watches.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    stale: BTreeSet<String>,
}

impl Vigil {
    /// Looks at all signs; what turned since the last look is told together, as one server is
    /// behind all of them.
    pub(crate) fn look(&mut self, signs: &[Sign], now: Instant, after: Duration) -> Turn {
        let mut turn = Turn::default();
        for sign in signs {
            let silence =
                sign.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
            let is_stale = silence >= after && !is_excused(sign);
            if is_stale && self.stale.insert(sign.name.clone()) {
                turn.silence = turn.silence.max(silence);
                turn.stale.push(sign.name.clone());
            } else if !is_stale && self.stale.remove(&sign.name) {
                turn.recovered.push(sign.name.clone());
            }
        }
        turn
    }
}

/// Says whether the silence is none: a resource that never was ours to watch. Rights that were
/// taken away in mid-watch are no excuse.
const fn is_excused(sign: &Sign) -> bool {
    match sign.state {
        WatchState::Standby => true,
        WatchState::Refused | WatchState::NotServed => !sign.is_heard,
        WatchState::Listing | WatchState::Watching | WatchState::Retrying => false,
    }
}

impl Turn {
    /// Returns the events that tell it.
    pub(crate) fn events(&self, cluster: Option<&Text>, now: Timestamp) -> Vec<Unbound> {
        let tell = |names: &[String], is_stale: bool| {
            let list = names.join(", ");
            let text = if is_stale {
                let seconds = self.silence.as_secs();
                format!("no sign from the API server for {seconds} s: blind for {list}")
            } else {
                format!("the API server is heard again: {list}")
            };
            let stamp = now.as_nanos().to_le_bytes();
            let cluster_name = cluster.map_or("", Text::as_str);
            let parts: [&[u8]; 5] = [
                REASON.as_bytes(),
                cluster_name.as_bytes(),
                list.as_bytes(),
                &[u8::from(is_stale)],
                &stamp,
            ];
            let severity = if is_stale { Severity::Warn } else { Severity::Info };
            Unbound::new(event_id(&parts), now, Source::Kubernetes, Kind::ObjectEvent)
                .at(Place { cluster: cluster.cloned(), ..Place::default() })
                .rated(severity, 0.0, Class::Other)
                .with(keys::REASON, REASON)
                .with(keys::STATUS, is_stale)
                .message(text)
        };
        let sides = [(&self.stale, true), (&self.recovered, false)];
        let told = sides.into_iter().filter(|(names, _)| !names.is_empty());
        told.map(|(names, is_stale)| tell(names, is_stale)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_told_once_and_together() {
        let start = Instant::now();
        let after = Duration::from_secs(60);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let sign = |name: &str, last: u64, state: WatchState, is_heard: bool| Sign {
            name: name.into(),
            last: Some(at(last)),
            is_heard,
            state,
        };
        let mut signs = vec![
            sign("events", 0, WatchState::Retrying, true),
            sign("pods", 10, WatchState::Refused, true),
            sign("secrets", 0, WatchState::Refused, false),
            sign("nodes", 65, WatchState::Watching, true),
        ];
        let mut vigil = Vigil::default();
        assert_eq!(vigil.look(&signs, at(59), after), Turn::default());
        let turn = vigil.look(&signs, at(70), after);
        assert_eq!(turn.stale, ["events", "pods"]);
        assert_eq!(turn.silence.as_secs(), 70);
        assert_eq!(vigil.look(&signs, at(71), after), Turn::default());
        signs[0].last = Some(at(72));
        let turn = vigil.look(&signs, at(73), after);
        assert_eq!((turn.recovered.len(), turn.stale.len()), (1, 0));
        let told = turn.events(None, Timestamp::ZERO);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].severity, Severity::Info);
    }
}
