//! An object before and after, and what all events of it share.

use k8s_openapi::{
    Metadata,
    api::{
        apps::v1::{DeploymentCondition, ReplicaSetCondition},
        autoscaling::v2::HorizontalPodAutoscalerCondition,
        batch::v1::JobCondition,
        core::v1::{NodeCondition, PodCondition},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff,
};
use tapio_collect::{Unbound, event_id};
use tapio_model::{Kind, Place, Source, Text, Timestamp, Workload, keys};

use super::{Context, NEWS_AGE_MAX, owner};

/// A status may quote a whole log; a story quotes a line.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// A rule may concern everybody in its namespace; a change is told to so many of them.
const TOLD_MAX: usize = 64;

/// The API writes whole seconds: two writes that close may bear one time.
const WRITE_SKEW: std::time::Duration = std::time::Duration::from_secs(2);

/// How long a server keeps an Event.
const EVENTS_KEPT: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Two looks at one object.
#[derive(Debug)]
pub(super) struct Seen<'a, K> {
    pub(super) context: &'a Context<'a>,
    /// The look before; none of an object of that name which was another one.
    pub(super) before: Option<&'a K>,
    /// The last look there is: the object's last state, if it is gone.
    pub(super) last: &'a K,
    pub(super) is_gone: bool,
}

/// A condition of any object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Condition<'a> {
    pub(super) name: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) since: Option<&'a Time>,
}

impl<'a, K: Metadata<Ty = ObjectMeta>> Seen<'a, K> {
    /// Pairs two looks; `None` without any.
    pub(super) fn of(
        before: Option<&'a K>,
        after: Option<&'a K>,
        context: &'a Context<'a>,
    ) -> Option<Self> {
        let last = after.or(before)?;
        // A StatefulSet gives a new pod the old one's name.
        let before = before.filter(|before| before.metadata().uid == last.metadata().uid);
        Some(Self { context, before, last, is_gone: after.is_none() })
    }

    pub(super) fn meta(&self) -> &'a ObjectMeta {
        self.last.metadata()
    }

    pub(super) fn name(&self) -> &'a str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &'a str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn label(&self, key: &str) -> Option<&'a str> {
        self.meta().labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Says whether the object was there before anybody looked.
    pub(super) const fn is_found(&self) -> bool {
        self.before.is_none() && self.context.is_first_list
    }

    /// Says whether something of that time is worth telling.
    pub(super) fn is_news(&self, time: Timestamp) -> bool {
        !self.is_found() || self.context.now.since(time) <= self.context.news_age_max
    }

    /// Says whether something of that time happened a moment ago, or since the look before.
    pub(super) fn is_fresh(&self, time: Timestamp) -> bool {
        !self.is_found() || self.context.now.since(time) <= NEWS_AGE_MAX
    }

    /// Says whether something of that time happened within the hour for which Events are kept, in a
    /// look at one moment: a watch would have told it as it happened.
    pub(super) fn is_recent(&self, time: Timestamp) -> bool {
        self.context.news_age_max == std::time::Duration::MAX
            && self.context.now.since(time) <= EVENTS_KEPT
    }

    /// Returns the time that the status gives, else that of the last write.
    pub(super) fn time(&self, told: Option<&Time>) -> Timestamp {
        told.map_or_else(|| self.written(), timestamp)
    }

    /// Returns when the API server took the change, by its own clock if it says so.
    fn written(&self) -> Timestamp {
        let now = self.context.now;
        if self.is_gone {
            return now;
        }
        let meta = self.meta();
        let Some(before) = self.before else {
            let created = meta.creation_timestamp.as_ref().map(timestamp);
            return written(meta).or(created).unwrap_or(now);
        };
        let before = written(before.metadata());
        let is_of_this = |at: &Timestamp| {
            before.is_none_or(|before| *at > before) || at.distance(now) <= WRITE_SKEW
        };
        written(meta).filter(is_of_this).unwrap_or(now)
    }

    /// Returns the place that all objects have: cluster and namespace.
    pub(super) fn place(&self) -> Place {
        place(self.context, self.namespace())
    }

    /// Returns the place of what owns pods: that of the workload which they are of.
    pub(super) fn workload_place(&self, kind: &str) -> Place {
        Place { workload: owner::of_object(kind, self.meta()), ..self.place() }
    }

    /// Makes an event whose id is the object and `what`.
    pub(super) fn event(&self, kind: Kind, time: Timestamp, what: &[&str]) -> Unbound {
        let meta = self.meta();
        // Only a broken object lacks a UID; its name is all there is then.
        let name = format!("{} {}", self.namespace(), self.name());
        let uid = meta.uid.as_deref().filter(|uid| !uid.is_empty()).unwrap_or(&name);
        told(self.context, kind, time, (uid, what))
    }

    /// Returns the resource version.
    pub(super) fn version(&self) -> &'a str {
        self.meta().resource_version.as_deref().unwrap_or_default()
    }

    /// Adds which object it is.
    pub(super) fn named(&self, event: Unbound, kind: &str) -> Unbound {
        let meta = self.meta();
        event
            .with(keys::OBJECT_KIND, kind)
            .with_some(keys::OBJECT_NAME, meta.name.as_deref())
            .with_some(keys::OBJECT_NAMESPACE, meta.namespace.as_deref())
            .with_some(keys::OBJECT_UID, meta.uid.as_deref())
    }

    /// Tells an event in the trace of every workload that uses the object; in the namespace's, if
    /// none is known.
    pub(super) fn to_users(&self, event: Unbound, kind: &str, what: &[&str]) -> Vec<Unbound> {
        let users = self.context.owners.users(self.namespace(), kind, self.name());
        self.to_workloads(event, users, what)
    }

    /// Tells an event in the trace of each workload, of the first [`TOLD_MAX`] at most; as it is,
    /// if there is none.
    pub(super) fn to_workloads(
        &self,
        event: Unbound,
        workloads: Vec<Workload>,
        what: &[&str],
    ) -> Vec<Unbound> {
        if workloads.is_empty() {
            return vec![event];
        }
        let tell = |workload: Workload| {
            let scoped: Vec<&str> =
                what.iter().copied().chain([&*workload.kind, &*workload.name]).collect();
            let id = self.event(event.kind, event.time, &scoped).id;
            let place = Place { workload: Some(workload), ..event.place.clone() };
            Unbound { id, ..event.clone() }.at(place)
        };
        workloads.into_iter().take(TOLD_MAX).map(tell).collect()
    }
}

/// Makes an event of the API.
pub(super) fn told(
    context: &Context<'_>,
    kind: Kind,
    time: Timestamp,
    (uid, what): (&str, &[&str]),
) -> Unbound {
    // Two clusters may be one restored from the other, with all its UIDs.
    let cluster = context.cluster.as_deref().unwrap_or_default();
    let mut parts = vec![&b"kubernetes"[..], cluster.as_bytes(), uid.as_bytes()];
    parts.extend(what.iter().map(|part| part.as_bytes()));
    Unbound::new(event_id(&parts), time, Source::Kubernetes, kind)
}

pub(super) fn place(context: &Context<'_>, namespace: &str) -> Place {
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    Place {
        cluster: context.cluster.clone(),
        namespace: namespace.map(Text::from),
        ..Place::default()
    }
}

impl Condition<'_> {
    /// Returns what names this turn of the condition among all of it.
    pub(super) fn turn(&self) -> String {
        let since = self.since.map(timestamp).unwrap_or_default().as_nanos();
        format!("{} {} {since}", self.name, self.status)
    }

    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Adds what a condition says to an event.
    pub(super) fn tell(&self, event: Unbound) -> Unbound {
        event
            .with(keys::CONDITION, self.name)
            .with(keys::STATUS, self.is_true())
            .with_some(keys::REASON, self.reason.filter(|reason| !reason.is_empty()))
            .with_some(keys::MESSAGE, message(self.message))
    }
}

/// Returns the conditions whose status is not what it was, with what it was.
pub(super) fn turned<'a, C>(
    before: Option<&'a [C]>,
    after: Option<&'a [C]>,
) -> Vec<(Option<&'a str>, Condition<'a>)>
where
    Condition<'a>: From<&'a C>,
{
    let of = |list: Option<&'a [C]>| -> Vec<Condition<'a>> {
        list.unwrap_or_default().iter().map(Condition::from).collect()
    };
    let before = of(before);
    let was = |now: &Condition<'_>| {
        before.iter().find(|known| known.name == now.name).map(|known| known.status)
    };
    // A broken list may have two of a name.
    let is_same = |now: &Condition<'_>| {
        before.iter().any(|known| (known.name, known.status) == (now.name, now.status))
    };
    of(after).into_iter().filter(|now| !is_same(now)).map(|now| (was(&now), now)).collect()
}

/// Returns a message, cut at what an event may hold; an empty one is none.
pub(super) fn message(text: Option<&str>) -> Option<&str> {
    let text = text?.trim();
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    text.get(..end).filter(|text| !text.is_empty())
}

pub(super) fn timestamp(time: &Time) -> Timestamp {
    nanos(time.0)
}

/// Returns the time; what lies outside of 1677 to 2262 is cut.
pub(super) fn nanos(time: jiff::Timestamp) -> Timestamp {
    let nanos = time.as_nanosecond();
    let end = if nanos < 0 { i64::MIN } else { i64::MAX };
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(end))
}

fn written(meta: &ObjectMeta) -> Option<Timestamp> {
    let fields = meta.managed_fields.as_deref().unwrap_or_default();
    fields.iter().filter_map(|field| field.time.as_ref()).map(timestamp).max()
}

macro_rules! conditions {
    ($($name:ident,)+) => {
        $(impl<'a> From<&'a $name> for Condition<'a> {
            fn from(condition: &'a $name) -> Self {
                Self {
                    name: &condition.type_,
                    status: &condition.status,
                    reason: condition.reason.as_deref(),
                    message: condition.message.as_deref(),
                    since: condition.last_transition_time.as_ref(),
                }
            }
        })+
    };
}

conditions! {
    DeploymentCondition,
    HorizontalPodAutoscalerCondition,
    JobCondition,
    NodeCondition,
    PodCondition,
    ReplicaSetCondition,
}
