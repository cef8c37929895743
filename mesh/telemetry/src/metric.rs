//! Every metric there is.

use std::time::Duration;

use crate::label::LabelKey;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// Only grows, from the start of the process. Several observers of a series are added.
    Counter,
    /// Goes up and down. Several observers of a series are added.
    Level,
    /// Goes up and down. Of several observers of a series the largest counts.
    Peak,
    /// How often what took how long.
    Histogram,
}

impl MetricKind {
    /// Returns the kind as Prometheus calls it.
    #[must_use]
    pub const fn prometheus(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Level | Self::Peak => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds, with fractions.
    Seconds,
}

impl Unit {
    /// Returns the unit as UCUM, which OpenTelemetry uses, writes it.
    #[must_use]
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::Count => "1",
            Self::Bytes => "By",
            Self::Seconds => "s",
        }
    }
}

/// The list of metrics: variant, name, kind, unit, labels, what it says.
macro_rules! metrics {
    ($($variant:ident $name:literal $kind:ident $unit:ident [$($label:ident)*] $help:literal;)+) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $(#[doc = $help] $variant,)+
        }

        impl Metric {
            /// Every metric.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns the name, the same in Prometheus and OTLP.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Returns how it behaves.
            #[must_use]
            pub const fn kind(self) -> MetricKind {
                match self { $(Self::$variant => MetricKind::$kind,)+ }
            }

            /// Returns what it is counted in.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)+ }
            }

            /// Returns the labels that each of its series has, in this order.
            #[must_use]
            pub const fn labels(self) -> &'static [LabelKey] {
                match self { $(Self::$variant => &[$(LabelKey::$label,)*],)+ }
            }

            /// Returns what it says, in a sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

metrics! {
    BuildInfo "tapio_build_info" Level Count [Version] "Always 1; the version that runs.";
    Uptime "tapio_uptime_seconds" Peak Seconds [] "Time since the process started.";

    CollectedEvents "tapio_collected_events_total" Counter Count [] "Events that collectors handed over.";
    PublishedEvents "tapio_published_events_total" Counter Count [] "Events that the bus accepted.";
    LostEvents "tapio_lost_events_total" Counter Count [Reason] "Events lost before the bus had them.";
    RefusedEvents "tapio_refused_events_total" Counter Count [Level] "Events that a full bus turned away.";
    PublishDuration "tapio_publish_duration_seconds" Histogram Seconds [] "Time from handing a batch over to its acknowledgement.";
    PublishRetries "tapio_publish_retries_total" Counter Count [] "Batches published once more because no acknowledgement came.";
    CircuitOpen "tapio_circuit_open" Peak Count [] "1 while the circuit breaker keeps us from asking NATS, else 0.";

    ReceivedEvents "tapio_received_events_total" Counter Count [] "Events that shards of this process took in.";
    OutcomeEvents "tapio_outcome_events" Level Count [Outcome] "Events in the ledgers of the shards owned now, by outcome.";
    ShedEvents "tapio_shed_events" Level Count [Reason] "Events in the ledgers of the shards owned now that were shed, by reason.";
    LiveTraces "tapio_live_traces" Level Count [] "Traces that live.";
    LiveActors "tapio_live_actors" Level Count [] "Traces that have an actor at the moment.";
    LiveBytes "tapio_live_bytes" Level Bytes [] "Bytes that live traces hold, about.";
    WaitingEvents "tapio_waiting_events" Level Count [] "Events that wait in the inboxes of their traces.";
    Restarts "tapio_actor_restarts_total" Counter Count [] "Actors rebuilt after a panic.";
    Quarantined "tapio_quarantined_traces_total" Counter Count [] "Traces given up because their actor panicked too often.";
    RefusedWakes "tapio_refused_wakes_total" Counter Count [] "Wakes that a mailbox refused; the events were kept.";
    PublishToActor "tapio_publish_to_actor_seconds" Histogram Seconds [] "Time from publishing an event to its trace's actor.";

    OpenIncidents "tapio_open_incidents" Level Count [] "Incidents that are open.";
    ToldStories "tapio_told_stories_total" Counter Count [] "Tellings of stories that were published.";
    Findings "tapio_findings_total" Counter Count [Fate] "Findings on their way between shards.";

    RulesInForce "tapio_rules_in_force" Level Count [] "Rules of users that traces are judged by, beside the built-in patterns.";
    RulesRefused "tapio_rules_refused" Peak Count [] "1 while the files of rules are not what is in force, because something is wrong with them, else 0.";
    RuleFailures "tapio_rule_failures_total" Counter Count [] "Conditions of rules that could not be worked out on an event, and were taken for false.";

    OwnedShards "tapio_owned_shards" Level Count [] "Shards that this node owns.";
    Claims "tapio_claims_total" Counter Count [] "Shards claimed.";
    Takeovers "tapio_takeovers_total" Counter Count [] "Shards claimed from an owner that went silent.";
    Handoffs "tapio_handoffs_total" Counter Count [] "Shards handed to another node.";
    Commits "tapio_commits_total" Counter Count [Result] "Commits of shard roots.";
    CommitDuration "tapio_commit_duration_seconds" Histogram Seconds [] "Time of a commit, chunks and root.";
    OutboxParcels "tapio_outbox_parcels" Level Count [] "Parcels that wait in outboxes.";
    DeadLetters "tapio_dead_letters_total" Counter Count [] "Dead letters sent.";
    DifferingParcels "tapio_differing_parcels_total" Counter Count [] "Parcels whose place was taken by other bytes: two owners told different things. An alarm.";
    ReplayMismatches "tapio_replay_mismatches_total" Counter Count [] "Times reading the log again led elsewhere than the first time.";
    ExpiredUnread "tapio_expired_unread_entries_total" Counter Count [] "Entries of the log that aged out before they were read.";
    LogLag "tapio_log_lag_seconds" Peak Seconds [] "How far the slowest shard is behind its log.";

    Requests "tapio_requests_total" Counter Count [Op Result] "Answers to correlation.request.";
    RequestDuration "tapio_request_duration_seconds" Histogram Seconds [Op] "Time to answer a correlation.request.";
    ShardRequests "tapio_shard_requests_total" Counter Count [Op] "Requests of other nodes to the owners here.";

    NatsReconnects "tapio_nats_reconnects_total" Counter Count [] "Connections to NATS made again.";
    NatsErrors "tapio_nats_errors_total" Counter Count [Kind] "What the NATS client reported out of turn.";
    LogGaps "tapio_log_gaps_total" Counter Count [] "Gaps in a log that were noticed and read again.";
    ReadersRecreated "tapio_log_readers_recreated_total" Counter Count [] "Consumers made anew because the old one was gone or silent.";

    DirectEnvelopes "tapio_direct_envelopes_total" Counter Count [Fate] "Envelopes that agents handed over directly, by what became of them.";
    DirectStreams "tapio_direct_streams" Level Count [] "Streams of agents that are open.";

    Spans "tapio_spans_total" Counter Count [Fate] "Spans of our own; ended less sent less failed is waiting or dropped.";
}

/// Upper bounds of every histogram's buckets: from the fastest answer we promise to the slowest wait.
pub(crate) const BOUNDS: [Duration; 15] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Dashboards and alerts read these: a change here is a change to other people's files.
    #[test]
    fn names_kinds_units_and_labels_are_these() {
        let mut table = String::new();
        for metric in Metric::ALL {
            let labels: Vec<_> = metric.labels().iter().map(|key| key.name()).collect();
            let (name, kind, unit) = (metric.name(), metric.kind(), metric.unit());
            let (labels, help) = (labels.join(","), metric.help());
            writeln!(table, "{name}{{{labels}}} {kind:?} {unit:?}\n    {help}").unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn names_keep_the_conventions() {
        for metric in Metric::ALL {
            let name = metric.name();
            let letters = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("tapio_") && name.chars().all(letters), "{name}");
            let is_counter = metric.kind() == MetricKind::Counter;
            assert_eq!(is_counter, name.ends_with("_total"), "{name}");
            let is_seconds = metric.unit() == Unit::Seconds;
            assert_eq!(is_seconds, name.ends_with("_seconds"), "{name}");
            assert_eq!(metric.unit() == Unit::Bytes, name.ends_with("_bytes"), "{name}");
            assert!(metric.kind() != MetricKind::Histogram || is_seconds, "{name}");
            let same = Metric::ALL.iter().filter(|other| other.name() == name).count();
            assert_eq!(same, 1, "{name}");
        }
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
