//! A ConfigMap or Secret was given content that those who read it cannot use.
//!
//! Evidence: a ConfigMap or Secret of the workload was changed, and afterwards its pods fail over
//! that content: a complaint names a changed key or the object, or says that the configuration
//! cannot be read; or an address changed, and connections fail since; or its pods began anew, or read
//! it again, and only since then more of its requests fail than ever before, with lines that never
//! were; or its callers are refused only since. Where they did not, requests that fail make the change
//! a candidate. The change alone is no evidence, nor is a failure that speaks of something else.
//! Root: the change of the object.
//! Not this: `bad_rollout` (the image changed as well, and only pods of the new template fail);
//! `missing_config` (the object is gone, and containers are never created); `cannot_start` (nothing
//! changed before); `stale_credentials` (a credential was changed, and the process that still uses
//! the old one was never restarted).
//! First look: what changed: `kubectl get configmap NAME -o yaml` against the last version in Git,
//! then the first complaint after it in `kubectl logs POD --previous`.

mod scenes;

use std::time::Duration;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, Text, keys};

pub(crate) use self::scenes::SCENES;
use super::{bad_rollout::has_new_image, stale_credentials::is_refused};
use crate::{
    last_words::{is_own_exit, last_words, quote},
    slowness::has_risen,
    witness::{spot, touch_namesake, was_asked_to_stop},
    wording::{is_complaint, names, says},
};

const SPEC: Spec = Spec {
    slug: "bad_config",
    title: "Bad content of a ConfigMap or Secret",
    wakes_on: &[Kind::ConfigChanged],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "liveness_kill",
        "connection_failed",
        "dns_failure",
        "cascading_dependency",
        "service_abnormal",
    ],
};

/// By what a line says that the configuration itself is at fault, in lower case.
const OF_CONFIG: &[&str] = &[
    "invalid config",
    "invalid configuration",
    "bad config",
    "config error",
    "configuration error",
    "error in config",
    "error loading config",
    "failed to load config",
    "could not load config",
    "cannot load config",
    "failed to parse config",
    "failed to read config",
    "missing required configuration",
    "unknown directive",
    "[emerg]",
    "error during parsing",
    "yaml: line",
];

/// What parsers say. They say it of requests too, so it counts only in the last words of a process.
const OF_PARSERS: &[&str] = &[
    "parse error",
    "failed to parse",
    "cannot parse",
    "could not parse",
    "while parsing",
    "unmarshal",
    "unknown field",
    "unknown key",
    "unexpected token",
    "invalid character",
    "invalid value",
    "malformed",
];

/// Without one of these a line that bears the object's name may speak of something else.
const OBJECTS: &[&str] = &["config", "secret", "settings"];

/// Words of keys whose value is where something is to be found, in lower case.
const OF_ADDRESSES: &[&str] = &[
    "host", "hostname", "url", "uri", "addr", "address", "endpoint", "port", "server", "servers",
    "broker", "brokers", "dsn",
];

/// What a process writes that reads its configuration again, in lower case.
const OF_RELOADS: &[&str] = &[
    "reload",
    "re-read",
    "reread",
    "config changed",
    "configuration changed",
    "configuration updated",
    "new configuration",
];

/// How long after its pods began a change may be blamed by those who call them.
const LATELY: Duration = Duration::from_secs(120);

/// How long after a change pods begin that begin because of it.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Finds workloads that fail over content they were given.
#[derive(Debug)]
pub(crate) struct Detector;

/// How the change shows in a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mechanism {
    /// The complaint names this key, or the object.
    Named(Text),
    /// The complaint says that configuration cannot be read.
    Unreadable,
    /// The key is an address, and connections fail since.
    Address(Text),
    /// Credentials are refused, to processes that began after the change too.
    Refused,
    /// Requests fail by themselves; over what, nobody says.
    Failing,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        // The last change of an object is what is read now.
        let mut changes: Vec<&Event> = Vec::new();
        for change in view.of(Kind::ConfigChanged).filter(|change| is_content(change)) {
            changes.retain(|known| object(known) != object(change) || !is_of(known, change));
            changes.push(change);
        }
        changes.into_iter().filter_map(|change| draft(view, change)).collect()
    }
}

fn is_content(change: &Event) -> bool {
    change.attributes.text(keys::CHANGE) != Some("deleted")
}

fn object(change: &Event) -> (Option<&str>, Option<&str>) {
    (change.attributes.text(keys::OBJECT_KIND), change.attributes.text(keys::OBJECT_NAME))
}

/// Says whether the event is of the workload that the change was told to.
fn is_of(event: &Event, change: &Event) -> bool {
    let is_told = change.place.workload.is_some();
    event.place.is_same_workload(&change.place)
        || (!is_told && event.place.namespace == change.place.namespace)
}

fn draft(view: &View<'_>, change: &Event) -> Option<Draft> {
    let mut failures: Vec<(&Event, Mechanism)> = Vec::new();
    let mine = |event: &&Event| is_of(event, change) && event.id != change.id;
    for event in view.events().filter(mine) {
        let Some(how) = mechanism(view, event, change) else { continue };
        // It failed so before: the change did not bring it.
        if event.order() < change.order() {
            return None;
        }
        failures.push((event, how));
    }
    let Some((first, how)) = failures.first() else { return deaf(view, change) };
    let subject = Entity::owner(&first.place)?;
    let (kind, name) = object(change);
    let (kind, name) = (kind.unwrap_or("ConfigMap"), name.unwrap_or("a configuration object"));
    let namespace = change.place.namespace.clone().unwrap_or_default();
    let ended = view
        .of(Kind::ContainerTerminated)
        .find(|end| is_of(end, change) && end.order() > change.order() && is_own_exit(end));
    let is_status = ended.is_some() || first.source == Source::Network;
    let class = if is_status { EvidenceClass::ObjectStatus } else { EvidenceClass::LogTemplate };
    let changed = change.attributes.text(keys::CHANGED).unwrap_or("its content");
    let mut draft = Draft::new(subject.clone(), class, change, format!("{kind} {name}: {changed}"))
        .touching(&change.place)
        .touch(Entity::Object {
            namespace: namespace.clone(),
            kind: kind.into(),
            name: name.into(),
        })
        .title(format!("{subject} cannot use what {kind} {name} holds now"))
        .because(format!("{kind} {name} changed ({changed}), and since then {}", words(how, first)))
        .advise(format!("take the change of {kind} {namespace}/{name} back, then restart its pods"))
        .advise("give every version of it a name of its own (immutable, with a hash)");
    for (event, _) in &failures {
        draft = draft.symptom(event, quote(event)).touching(&event.place);
    }
    if let Some(ended) = ended {
        draft = draft.symptom(ended, "a container ended").touching(&ended.place);
    }
    if failures.iter().any(|(_, how)| *how != Mechanism::Failing) {
        return Some(judge(view, draft, change));
    }
    Some(failing(view, draft, change, first))
}

/// Tells of requests that fail and of which nobody says over what: the change is to blame if it came
/// to be read, and all was well until then.
fn failing(view: &View<'_>, draft: Draft, change: &Event, first: &Event) -> Draft {
    let is_new = |line: &&Event| {
        let is = |key, word| line.attributes.text(key) == Some(word);
        is(keys::ANOMALY_SIGNAL, "log_template") && is(keys::ANOMALY_CHANGE, "appeared")
    };
    let lines: Vec<_> =
        view.of(Kind::Anomaly).filter(|line| is_of(line, change)).filter(is_new).collect();
    let began = lines.iter().map(|line| line.order()).chain([first.order()]).min();
    let read = took_effect(view, change).filter(|read| began.is_some_and(|at| read.order() < at));
    let (Some(read), Some(line)) = (read, lines.first()) else {
        return draft.missing("a complaint that names what changed").or(
            "service_abnormal",
            "it fails for another reason, and the change only came before",
            "take the change back for one pod, and see whether its requests still fail",
        );
    };
    let draft = draft.step(read, words_of(read)).step(line, quote(line));
    judge(view, draft.missing("a complaint that names what changed"), change)
}

/// Finds how the workload came to read what changed: a container of it that began anew, or a line that
/// says so.
fn took_effect<'a>(view: &View<'a>, change: &Event) -> Option<&'a Event> {
    view.events().find(|event| {
        let is_read = event.kind == Kind::Log && says(event, OF_RELOADS);
        event.order() > change.order()
            && is_of(event, change)
            && (event.kind == Kind::ContainerStarted || is_read)
    })
}

fn words_of(read: &Event) -> String {
    if read.kind == Kind::Log {
        return format!("it reads its configuration again: {}", quote(read));
    }
    format!("{} began, and reads what changed", spot(&read.place))
}

/// Returns the change as one that waits for callers who are refused: its pods began anew, and nothing
/// is seen to fail in them.
fn deaf(view: &View<'_>, change: &Event) -> Option<Draft> {
    let read = took_effect(view, change).filter(|read| read.kind == Kind::ContainerStarted)?;
    let is_hurt = |event: &Event| {
        matches!(event.kind, Kind::ContainerWaiting | Kind::OomKill | Kind::ContainerCreateFailed)
            || (event.kind == Kind::ContainerTerminated && !was_asked_to_stop(event))
    };
    let mut after = view.events().filter(|event| event.order() > change.order());
    let mut rollouts = view.of(Kind::RolloutStarted).filter(|rollout| is_of(rollout, change));
    if after.any(|event| is_of(event, change) && is_hurt(event))
        || view.now().since(read.time) > LATELY
        || read.time.since(change.time) > READ_WITHIN
        || rollouts.any(|rollout| has_new_image(view, rollout))
    {
        return None;
    }
    let subject = Entity::owner(&read.place)?;
    let (kind, name) = object(change);
    let (kind, name) = (kind.unwrap_or("ConfigMap"), name.unwrap_or("a configuration object"));
    let changed = changed(change).collect::<Vec<_>>().join(", ");
    let draft = Draft::new(
        subject.clone(),
        EvidenceClass::ObjectStatus,
        change,
        format!("{kind} {name}: {changed}"),
    );
    let draft = touch_namesake(draft.touching(&change.place).touching(&read.place), &read.place)
        .title(format!(
            "{subject} does not listen where it is called, with what {kind} {name} holds now"
        ))
        .because(format!(
            "{kind} {name} changed ({changed}), its pods began anew, and callers are refused since"
        ))
        .step(read, words_of(read))
        .advise(format!("take the change of {kind} {name} back, then restart its pods"))
        .rule_out("cannot_start", "its pods run", &[read])
        .rule_out("bad_rollout", "no other image came", &[]);
    Some(draft.candidate(&["connection_failed"]))
}

/// Says what keeps the change from being a verdict.
fn judge(view: &View<'_>, draft: Draft, change: &Event) -> Draft {
    let mut rollouts = view.of(Kind::RolloutStarted).filter(|rollout| is_of(rollout, change));
    let Some(rollout) = rollouts.next() else {
        return draft.rule_out("bad_rollout", "no rollout began", &[]);
    };
    if has_new_image(view, rollout) {
        return draft.step(rollout, "a rollout with another image began as well").or(
            "bad_rollout",
            "the new image is at fault",
            "see whether pods of the old image fail as well: kubectl get pods -L pod-template-hash",
        );
    }
    draft.step(rollout, "a rollout of the same image began").rule_out(
        "bad_rollout",
        "the image is the same",
        &[rollout],
    )
}

/// Returns how the change of the object shows in an event, if it does.
fn mechanism(view: &View<'_>, event: &Event, change: &Event) -> Option<Mechanism> {
    if has_risen(event, "error_rate") {
        return Some(Mechanism::Failing);
    }
    if is_complaint(event) {
        return of_complaint(view, event, change);
    }
    let fails =
        matches!(event.kind, Kind::ConnectRefused | Kind::ConnectTimeout | Kind::DnsFailure);
    let address = fails.then(|| changed(change).find(|key| is_address(key))).flatten();
    address.map(|key| Mechanism::Address(key.into()))
}

fn of_complaint(view: &View<'_>, event: &Event, change: &Event) -> Option<Mechanism> {
    let line = event.message();
    if is_refused(event) {
        let is_secret = change.attributes.text(keys::OBJECT_KIND) == Some("Secret");
        let began = super::stale_credentials::began_after(view, event, change);
        return (is_secret && began).then_some(Mechanism::Refused);
    }
    let named = changed(change).filter(|key| is_telling(key)).find(|key| names(line, key));
    // An object is often called as its service is, which lines name for other reasons.
    let object = || object(change).1.filter(|name| names(line, name) && says(event, OBJECTS));
    let named = named.or_else(object);
    if let Some(named) = named {
        return Some(Mechanism::Named(named.into()));
    }
    let is_last = || {
        view.of(Kind::ContainerTerminated).any(|end| {
            is_own_exit(end) && last_words(view, end).is_some_and(|last| last.id == event.id)
        })
    };
    let is_unreadable = says(event, OF_CONFIG) || (says(event, OF_PARSERS) && is_last());
    is_unreadable.then_some(Mechanism::Unreadable)
}

/// Returns the keys that changed.
fn changed(change: &Event) -> impl Iterator<Item = &str> {
    change.attributes.text(keys::CHANGED).unwrap_or_default().split(", ")
}

/// Says whether a key is a word that lines do not have anyway: `LOG_LEVEL`, not `user`.
fn is_telling(key: &str) -> bool {
    key.len() > 3 && !key.chars().all(|letter| letter.is_lowercase())
}

/// Says whether a key's value is an address, by a word in it: `DB_HOST`, not `REPORT_LEVEL`.
fn is_address(key: &str) -> bool {
    let mut words = key.split(|letter: char| !letter.is_alphanumeric());
    words.any(|word| OF_ADDRESSES.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

fn words(how: &Mechanism, first: &Event) -> String {
    let said = quote(first);
    match how {
        Mechanism::Named(key) => format!("a pod complains of {key}: {said}"),
        Mechanism::Unreadable => format!("a pod cannot read its configuration: {said}"),
        Mechanism::Address(key) => format!("connections fail, and {key} is an address: {said}"),
        Mechanism::Failing => format!("more of its requests fail than before: {said}"),
        Mechanism::Refused => format!("pods that began after it are refused: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = "0s shop/x%cart ConfigChanged okind=ConfigMap oname=cart-env \
                          change=modified tapio.changed=\"DB_HOST, LOG_LEVEL\"\n";
    const CRASH: &str = "8s shop/cart-1/cart%cart ContainerTerminated exit=1 reason=Error\n";

    fn line(at: &str, message: &str) -> String {
        format!("{at} shop/cart-1/cart%cart Log sev=error msg=\"{message}\"\n")
    }

    #[test]
    fn a_complaint_that_names_the_key_shows_the_mechanism() {
        let draft =
            one!(Detector, &[CHANGE, &line("7s", "LOG_LEVEL: no such level"), CRASH].concat())
                .unwrap();
        let title = "Deployment shop/cart cannot use what ConfigMap cart-env holds now";
        assert_eq!(draft.headline(), title);
        assert_eq!(draft.class(), EvidenceClass::ObjectStatus);
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.doubt().is_none());
        let object = draft.touches().iter().any(|it| it.to_string() == "ConfigMap shop/cart-env");
        assert!(object, "other consumers of the object join");
    }

    #[test]
    fn each_mechanism_is_told_in_its_words() {
        let refused = "7s shop/cart-1/cart%cart ConnectRefused addr=10.0.0.8 port=5432";
        let cases = [
            (line("7s", "config cart-env: bad indent"), "complains of cart-env"),
            (line("7s", "invalid configuration: level"), "cannot read its configuration"),
            ([&line("7s", "unexpected token ]"), CRASH].concat(), "cannot read"),
            (refused.to_owned(), "DB_HOST is an address"),
        ];
        for (failure, words) in cases {
            let draft = one!(Detector, &[CHANGE, &failure].concat()).unwrap();
            assert!(draft.root_cause().contains(words), "{}", draft.root_cause());
        }
    }

    #[test]
    fn failing_requests_make_the_change_a_candidate() {
        let failing = "70s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose msg=fail\n";
        let draft = one!(Detector, &[CHANGE, failing].concat()).unwrap();
        assert_eq!(draft.doubt().unwrap().alternative, "service_abnormal");
        let named = line("71s", "LOG_LEVEL: no such level");
        assert!(one!(Detector, &[CHANGE, failing, &named].concat()).unwrap().doubt().is_none());
        assert_eq!(one!(Detector, &[CHANGE, &failing.replace("cart", "pay")].concat()), None);
    }

    #[test]
    fn a_new_image_leaves_a_doubt_and_the_same_image_does_not() {
        let failure = line("7s", "LOG_LEVEL: no such level");
        let rollout = "1s shop/x%cart RolloutStarted hash=b image=cart:2\n";
        let old = "1s shop/cart-0/cart%cart ContainerStarted image=cart:1\n";
        let draft = one!(Detector, &[CHANGE, rollout, old, &failure].concat()).unwrap();
        assert_eq!(draft.doubt().unwrap().alternative, "bad_rollout");
        let draft = one!(Detector, &[CHANGE, rollout, &failure].concat()).unwrap();
        assert!(draft.doubt().is_none());
        assert_eq!(draft.ruled_out()[0].because, "the image is the same");
    }

    #[test]
    fn a_change_without_a_mechanism_is_not_it() {
        let gone = CHANGE.replace("modified", "deleted");
        let named = line("7s", "LOG_LEVEL: no such level");
        let refused = "7s shop/cart-1/cart%cart ConnectRefused addr=10.0.0.8 port=5432";
        let report = CHANGE.replace("DB_HOST", "REPORT_EVERY");
        for story in [
            CHANGE.to_owned(),
            [&report, refused].concat(),
            [CHANGE, &line("7s", "call to cart-env failed")].concat(),
            [CHANGE, &line("7s", "order rejected: card expired")].concat(),
            [CHANGE, &line("7s", "order rejected: unexpected token ]")].concat(),
            [CHANGE, CRASH].concat(),
            [&gone, &*named].concat(),
            [&CHANGE.replace("0s", "9s"), &*named].concat(),
            [CHANGE, &named.replace("%cart", "%pay")].concat(),
            [CHANGE, "7s shop/cart-1/cart%cart Log msg=\"LOG_LEVEL is debug\""].concat(),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
