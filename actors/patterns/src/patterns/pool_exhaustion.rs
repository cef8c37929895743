//! Everybody waits for a connection or a lock that somebody holds, while the server behind is well.
//!
//! Evidence: complaints of connection pools that nobody gave a connection back in time, of servers
//! that their slots are taken, or of lock waits that timed out; that the server behind answers
//! quickly, or that the size of the pool was changed just before.
//! Root: that change, else the first such complaint.
//! Not this: `cascading_dependency` (the server behind is slow, and a full pool only shows it);
//! `connection_failed` (connections cannot be made at all); `traffic_surge` (more callers than
//! ever: it leads here); `pid_exhaustion` (files or ports run out).
//! First look: in the database who holds what: `pg_stat_activity` or `SHOW PROCESSLIST`, by client
//! and age of transaction; then the pool's size times the number of pods against the server's limit.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use super::{application_errors::beside, connection_failed::peer_service};
use crate::{
    Gravity, Scene,
    last_words::quote,
    witness::{count, times},
    wording::{bears, complaints, line},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "pool_exhaustion",
        "the pool was made smaller",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=DB_POOL_SIZE
         8s shop/cart-1/cart@n1%cart Exception msg=\"HikariPool-1 - Connection is not available, request timed out after 30000ms\"
         9s shop/cart-2/cart@n2%cart Exception msg=\"HikariPool-1 - Connection is not available, request timed out after 30000ms\"
         12s shop/cart-1/cart@n1%cart ProbeFailed probe=readiness count=3
         13s shop/cart-1@n1%cart PodReadiness status=false",
    ),
    Scene::cause(
        "pool_exhaustion",
        "the database has no slot left",
        "0s shop/cart-1/cart@n1%cart Exception msg=\"FATAL: sorry, too many clients already\"
         2s shop/cart-2/cart@n2%cart Exception msg=\"FATAL: sorry, too many clients already\"
         4s shop/cart-2/cart@n2%cart Exception msg=\"FATAL: sorry, too many clients already\"",
    ),
    Scene::cause(
        "pool_exhaustion",
        "a request waits for the pool, and what it gets is quick",
        "4s svc:shop/cart Span trace=7 span=4 parent=2 status=ok span_kind=client peer=db dur=3ms
         30s svc:shop/cart Exception trace=7 span=2 msg=\"QueuePool limit of size 5 overflow 10 reached, connection timed out\"
         30s svc:shop/cart Span trace=7 span=2 parent=1 status=error span_kind=server dur=30s
         30s svc:shop/web Span trace=7 span=1 status=error span_kind=server http=500 dur=30s",
    ),
    Scene::cause(
        "connection_failed",
        "the database refuses, and the pool runs dry",
        "0s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.0.0.7 port=5432 count=5
         8s shop/cart-1/cart@n1%cart Exception msg=\"HikariPool-1 - Connection is not available, request timed out after 30000ms\"
         9s shop/cart-1/cart@n1%cart Exception msg=\"HikariPool-1 - Connection is not available, request timed out after 30000ms\"",
    ),
    Scene::cause(
        "cascading_dependency",
        "the database is slow, and a request waits for the pool",
        "30s svc:shop/cart Exception trace=7 span=2 msg=\"QueuePool limit of size 5 overflow 10 reached, connection timed out\"
         28s svc:shop/db Span trace=7 span=5 parent=4 status=error span_kind=server dur=28s
         28s svc:shop/cart Span trace=7 span=4 parent=2 status=error span_kind=client peer=db dur=28s
         30s svc:shop/cart Span trace=7 span=2 parent=1 status=error span_kind=server dur=30s",
    ),
    Scene::unknown(
        "pool_exhaustion",
        "a pool runs dry, and nothing is seen of the server behind",
        "0s shop/cart-1/cart@n1%cart Exception msg=\"HikariPool-1 - Connection is not available, request timed out after 30000ms\"
         2s shop/cart-2/cart@n2%cart Exception msg=\"HikariPool-1 - Connection is not available, request timed out after 30000ms\"",
    ),
    Scene::healthy(
        "a pool that drops what it does not need, and a deadlock that was tried again",
        "0s shop/cart-1/cart@n1%cart Log sev=warn msg=\"Connection pool is full, discarding connection: es. Connection pool size: 10\"
         1s shop/cart-1/cart@n1%cart Log sev=warn msg=\"Connection pool is full, discarding connection: es. Connection pool size: 10\"
         2s shop/cart-1/cart@n1%cart Log sev=error msg=\"ERROR: deadlock detected, trying again\"
         3s shop/cart-1/cart@n1%cart Log sev=error count=20 msg=\"ERROR: deadlock detected, retrying transaction (1/3)\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "pool_exhaustion",
    title: "Connection pool or lock exhausted",
    wakes_on: &[Kind::Log, Kind::Exception],
    leads_to: &[
        "cascading_dependency",
        "connection_failed",
        "readiness_lost",
        "liveness_kill",
        "job_failed",
    ],
};

/// By what a pool says that it has nothing to give, in lower case.
const POOLS: &[&str] = &[
    "connection is not available, request timed out",
    "queuepool limit",
    "timeout acquiring a connection",
    "timeout acquiring connection",
    "timed out acquiring connection",
    "timed out waiting for connection",
    "timeout waiting for connection from pool",
    "timeout waiting for idle object",
    "connection pool timeout",
    "connectionpooltimeoutexception",
    "connection pool exhausted",
    "pool exhausted",
    "pool is exhausted",
    "pool is probably full",
    "cannot get a connection, pool error",
    "obtaining a connection from the pool",
];

/// By what a server says that its slots are taken.
const SERVERS: &[&str] = &[
    "too many clients already",
    "remaining connection slots are reserved",
    "too many connections",
    "max number of clients reached",
];

/// By what a server says that a lock was not given.
const LOCKS: &[&str] = &[
    "lock wait timeout exceeded",
    "deadlock detected",
    "deadlock found when trying to get lock",
    "canceling statement due to lock timeout",
];

/// Parts of keys that set how large a pool is, in lower case.
const SIZES: &[&str] = &["pool", "max_conn", "maxconn", "max_open", "max_idle", "connections"];

/// One complaint may be of an attempt that the next one made good; locks make do with that daily.
const POOL_MIN: i64 = 2;
const LOCK_MIN: i64 = 3;

/// A call that takes no longer is quick: nobody waits half a minute for a pool of such.
const QUICK_NS: i64 = 1_000_000_000;

/// Finds pools, slots and locks that ran out.
#[derive(Debug)]
pub(crate) struct Detector;

/// What ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Pool,
    Slots,
    Locks,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut waits: Vec<(Lack, &Event)> = Vec::new();
        for event in complaints(view) {
            waits.extend(lack(event).map(|lack| (lack, event)));
        }
        let of = |wanted: Lack| -> Vec<&Event> {
            waits.iter().filter(|(lack, _)| *lack == wanted).map(|(_, event)| *event).collect()
        };
        // A server without a slot is why the pools have none either.
        let found = [Lack::Slots, Lack::Pool, Lack::Locks];
        found.into_iter().find_map(|lack| draft(view, lack, &of(lack))).into_iter().collect()
    }
}

/// Says whether a line complains of a pool, of slots or of locks.
pub(super) fn is_told(event: &Event) -> bool {
    lack(event).is_some()
}

fn lack(event: &Event) -> Option<Lack> {
    let line = line(event);
    if bears(&line, SERVERS) {
        return Some(Lack::Slots);
    }
    if bears(&line, POOLS) {
        return Some(Lack::Pool);
    }
    // Whoever is chosen to end a deadlock tries again, every day.
    let is_lasting = Gravity::of(&line) > Gravity::Passing;
    (is_lasting && bears(&line, LOCKS)).then_some(Lack::Locks)
}

/// Reads which server a driver speaks of: `connection to server at "db" (10.0.0.7), port 5432`.
fn server(event: &Event) -> Option<Entity> {
    let rest = event.message().split_once("server at \"")?.1;
    let name = rest.split(['"', '.']).next().filter(|name| !name.is_empty())?;
    let namespace = event.place.namespace.clone().unwrap_or_default();
    Some(Entity::Service { namespace, name: name.into() })
}

fn draft(view: &View<'_>, lack: Lack, waits: &[&Event]) -> Option<Draft> {
    let first = *waits.first()?;
    // A complaint that belongs to a request failed that request.
    let weight = |event: &&Event| count(event) + i64::from(event.trace.span_id.is_some());
    let total: i64 = waits.iter().map(weight).sum();
    let min = if lack == Lack::Locks { LOCK_MIN } else { POOL_MIN };
    // Without connections no pool has any: how they fail is the story.
    let fails = [Kind::ConnectRefused, Kind::ConnectTimeout, Kind::DnsFailure];
    if total < min || fails.iter().any(|kind| view.has(*kind)) {
        return None;
    }
    let named = Entity::workload(&first.place).or_else(|| Entity::service(&first.place));
    let who = named.as_ref().map_or_else(|| first.place.label(), ToString::to_string);
    let subject = named.or_else(|| Entity::narrowest(&first.place))?;
    let (what, cure) = match lack {
        Lack::Pool => (
            "waits for a connection of its pool",
            "find who keeps connections: leaks, long transactions, slow queries; then size the pool",
        ),
        Lack::Slots => (
            "is out of connections: all slots of the server are taken",
            "compare pool size times pods with the server's limit; put a pooler before it",
        ),
        Lack::Locks => (
            "waits for locks that are not given back",
            "find the transaction that holds them, and make it shorter",
        ),
    };
    let resize = view.of(Kind::ConfigChanged).rfind(|change| {
        let changed =
            change.attributes.text(keys::CHANGED).unwrap_or_default().to_ascii_lowercase();
        change.order() < first.order() && SIZES.iter().any(|part| changed.contains(part))
    });
    let root = resize.unwrap_or(first);
    let text = resize.map_or_else(|| quote(first), |_| "the size of the pool changed".into());
    let since = resize.map(|_| "since its size changed, ").unwrap_or_default();
    let mut draft = Draft::new(subject, EvidenceClass::LogTemplate, root, text)
        .touching(&root.place)
        .title(format!("{who} {what}"))
        .because(format!(
            "{since}{who} {what}{}: {}{}",
            times(total),
            quote(first),
            beside(view, first)
        ))
        .advise(cure);
    for event in waits {
        draft = draft.symptom(event, quote(event)).touching(&event.place);
        draft = match event.trace.span_id.and_then(|id| view.span(id)) {
            Some(span) => draft.symptom(span, "the request that waited"),
            None => draft,
        };
        let peers = peer_service(event).into_iter().chain(server(event));
        draft = peers.fold(draft, Draft::touch);
    }
    if lack == Lack::Pool && resize.is_none() && waits.iter().any(|wait| is_all_in_use(wait)) {
        return Some(draft.missing("who keeps its connections, and for how long"));
    }
    Some(judge(view, draft, lack, resize))
}

/// Says whether a pool tells by its own numbers that all it has is in use and others wait:
/// `total=10, active=10, idle=0, waiting=12`.
fn is_all_in_use(event: &Event) -> bool {
    let number = |key: &str| -> Option<u32> {
        let (_, rest) = event.message().split_once(key)?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let total = number("total=").filter(|total| *total > 0);
    total.is_some()
        && total == number("active=")
        && number("waiting=").is_some_and(|waiting| waiting > 0)
}

/// Says whether the server behind is well: a full pool alone does not tell.
fn judge(view: &View<'_>, draft: Draft, lack: Lack, resize: Option<&Event>) -> Draft {
    let slow = slow(view);
    if let Some(slow) = slow {
        return unsure(draft.step(slow, "the server behind became slow"));
    }
    if let Some(resize) = resize {
        return draft.rule_out("cascading_dependency", "it began when its size changed", &[resize]);
    }
    if let Some(quick) = quick(view) {
        let text = "the server behind answers quickly";
        return draft.step(quick, text).rule_out("cascading_dependency", text, &[quick]);
    }
    match lack {
        Lack::Slots => {
            draft.rule_out("cascading_dependency", "the server itself says that it is full", &[])
        }
        Lack::Locks => {
            draft.rule_out("cascading_dependency", "the server itself tells of the lock", &[])
        }
        Lack::Pool => unsure(draft.missing("how long calls of the server behind take")),
    }
}

fn unsure(draft: Draft) -> Draft {
    draft.or(
        "cascading_dependency",
        "the server behind is slow, and the pool only waits for it",
        "the server's own latency and load at that time: flat means that the pool is the cause",
    )
}

/// Finds a sign that what is called became slow.
fn slow<'a>(view: &View<'a>) -> Option<&'a Event> {
    let rose = view.find(Kind::Anomaly, |event| {
        let text = |key| event.attributes.text(key);
        text(keys::ANOMALY_CHANGE) == Some("rose")
            && matches!(text(keys::ANOMALY_SIGNAL), Some("edge_latency" | "self_time"))
    });
    rose.or_else(|| view.find(Kind::Span, |span| is_call(span) && duration(span) > QUICK_NS))
}

/// Finds a call that came back quickly.
fn quick<'a>(view: &View<'a>) -> Option<&'a Event> {
    view.find(Kind::Span, |span| {
        let is_error = span.attributes.text(keys::SPAN_STATUS) == Some("error");
        is_call(span) && !is_error && (1..=QUICK_NS).contains(&duration(span))
    })
}

fn is_call(span: &Event) -> bool {
    span.attributes.text(keys::SPAN_KIND) == Some("client")
}

fn duration(span: &Event) -> i64 {
    span.attributes.int(keys::DURATION).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(message: &str, times: u32) -> String {
        let line = |at| format!("{at}s shop/cart-1/cart%cart Exception msg=\"{message}\"\n");
        (5..5 + times).map(line).collect()
    }

    const POOL: &str = "Knex: Timeout acquiring a connection. The pool is probably full.";

    #[test]
    fn a_change_of_its_size_is_the_root() {
        let change = "0s shop/x%cart ConfigChanged oname=env tapio.changed=\"LOG, MAX_CONNS\"\n";
        let draft = one!(Detector, &[change, &waits(POOL, 2)].concat()).unwrap();
        assert_eq!(draft.headline(), "Deployment shop/cart waits for a connection of its pool");
        assert_eq!(draft.evidence()[0].kind, Kind::ConfigChanged);
        assert!(draft.doubt().is_none());
        let other = change.replace("MAX_CONNS", "LEVEL");
        assert!(one!(Detector, &[&other, &*waits(POOL, 2)].concat()).unwrap().doubt().is_some());
    }

    #[test]
    fn a_full_pool_alone_does_not_tell_who_is_slow() {
        let cases = [
            ("", true),
            ("1s svc:shop/cart Span span=3 span_kind=client status=ok dur=3ms", false),
            ("1s svc:shop/cart Span span=3 span_kind=client status=ok dur=9s", true),
            ("1s svc:shop/cart Anomaly anomaly=edge_latency how=rose", true),
        ];
        for (seen, is_doubt) in cases {
            let draft = one!(Detector, &[&*waits(POOL, 2), seen].concat()).unwrap();
            assert_eq!(draft.doubt().is_some(), is_doubt, "{seen}");
        }
    }

    #[test]
    fn what_the_server_says_of_slots_and_locks_is_believed() {
        let cases = [
            ("FATAL: too many clients already", 2, "slots of the server"),
            ("Lock wait timeout exceeded; try restarting transaction", 3, "waits for locks"),
        ];
        for (message, times, title) in cases {
            let draft = one!(Detector, &waits(message, times)).unwrap();
            assert!(draft.headline().contains(title), "{}", draft.headline());
            assert!(draft.doubt().is_none());
            assert_eq!(one!(Detector, &waits(message, times - 1)), None, "{message}");
        }
        let named = waits(
            "connection to server at 'db.shop', port 5432 failed: FATAL: sorry, too \
                           many clients already",
            2,
        );
        let db = Entity::Service { namespace: "shop".into(), name: "db".into() };
        let draft = one!(Detector, &named.replace('\'', "\\\"")).unwrap();
        assert!(draft.touches().contains(&db), "callers of one server join");
        let both = [waits(POOL, 3), waits("too many connections", 3)].concat();
        assert!(one!(Detector, &both).unwrap().headline().contains("slots"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let refused = "1s shop/cart-1/cart%cart ConnectRefused peer=db\n";
        for story in [
            waits(POOL, 1),
            [refused, &waits(POOL, 5)].concat(),
            waits("Connection pool is full, discarding connection", 9),
            waits("timeout waiting for lock, trying again", 9),
            waits(POOL, 3).replace("Exception", "Log"),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
