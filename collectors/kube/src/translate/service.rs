//! Services, and how many endpoints stand behind them.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointSlice},
    },
    jiff,
};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, Timestamp, Workload, keys};

use super::{
    Context, Labels, Translate,
    seen::{Seen, nanos},
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// When the pod or Service changed that the slice follows: truer than when the slice was written.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Endpoints, ready and not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    ready: i64,
    not_ready: i64,
}

impl Translate for Service {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_found()) else {
            return Vec::new();
        };
        let (change, what, changed) = match (before, after) {
            (None, _) => ("added", vec!["service", seen.version()], Vec::new()),
            (Some(_), None) => ("deleted", vec!["deleted"], Vec::new()),
            (Some(was), Some(now)) => {
                ("modified", vec!["service", seen.version()], differences(was, now))
            }
        };
        if change == "modified" && changed.is_empty() {
            return Vec::new();
        }
        let place = Place { service: Some(seen.name().into()), ..seen.place() };
        let event = seen
            .event(Kind::ServiceChanged, seen.time(None), &what)
            .at(place)
            .rated(Severity::Info, 0.2, Class::Configuration)
            .with(keys::CHANGE, change)
            .with_some(keys::CHANGED, (!changed.is_empty()).then(|| changed.join(", ")))
            .with(keys::RESOURCE_VERSION, seen.version())
            .message(format!("Service {} {change}", seen.name()));
        seen.to_workloads(seen.named(event, "Service"), backends(&seen), &what)
    }
}

/// Returns the workloads that a Service leads to, or led to: those of its endpoints, and those that
/// its selectors take, as the endpoints follow later.
fn backends(seen: &Seen<'_, Service>) -> Vec<Workload> {
    let services = [Some(seen.last), seen.before].into_iter().flatten();
    let selectors = services.filter_map(|service| service.spec.as_ref()?.selector.as_ref());
    let selectors: Vec<&Labels> = selectors.filter(|selector| !selector.is_empty()).collect();
    let is_selected = |labels: &Labels| {
        let takes =
            |selector: &&Labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        selectors.iter().any(takes)
    };
    let owners = seen.context.owners;
    let mut backends: BTreeSet<Workload> =
        owners.backends(seen.namespace(), seen.name()).into_iter().collect();
    if !selectors.is_empty() {
        backends.extend(owners.tenants(seen.namespace(), &is_selected));
    }
    backends.into_iter().collect()
}

/// Names what of a Service decides where traffic goes and differs.
fn differences(was: &Service, now: &Service) -> Vec<&'static str> {
    let (was, now) = (was.spec.clone().unwrap_or_default(), now.spec.clone().unwrap_or_default());
    let fields = [
        ("selector", was.selector != now.selector),
        ("ports", was.ports != now.ports),
        ("type", was.type_ != now.type_),
        ("clusterIP", was.cluster_ip != now.cluster_ip),
        ("externalName", was.external_name != now.external_name),
        ("externalIPs", was.external_ips != now.external_ips),
        ("trafficPolicy", was.internal_traffic_policy != now.internal_traffic_policy),
        ("notReadyAddresses", was.publish_not_ready_addresses != now.publish_not_ready_addresses),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

impl Translate for EndpointSlice {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        // A slice that goes was emptied before, or its Service went and says so itself.
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let (was, now) = (seen.before.map(counts), counts(seen.last));
        let is_news = if seen.is_found() {
            // A Service without any pod is everyday; one whose pods are all out is not.
            now.ready == 0 && now.not_ready > 0
        } else {
            was.unwrap_or(Counts { ready: 0, not_ready: 0 }) != now
        };
        if !is_news {
            return Vec::new();
        }
        let service = seen.label(SERVICE_NAME).unwrap_or_default();
        let (more_ready, more_not_ready) =
            context.owners.other_endpoints(seen.namespace(), service, seen.name());
        let ready = now.ready.saturating_add(more_ready);
        let not_ready = now.not_ready.saturating_add(more_not_ready);
        if seen.is_found() && ready > 0 {
            return Vec::new();
        }
        let is_fewer = was.is_some_and(|was| now.ready < was.ready) || seen.is_found();
        let (severity, impact) = match (is_fewer, ready) {
            (true, 0) => (Severity::Warn, 0.7),
            (true, _) => (Severity::Warn, 0.4),
            (false, _) => (Severity::Info, 0.0),
        };
        let triggered = triggered(&seen);
        let turn =
            triggered.map_or_else(|| seen.version().to_owned(), |at| at.as_nanos().to_string());
        let numbers = format!("{} {}", now.ready, now.not_ready);
        let place = Place {
            service: Some(service).filter(|name| !name.is_empty()).map(Into::into),
            workload: workload(&seen),
            ..seen.place()
        };
        let event = seen
            .event(
                Kind::EndpointsChanged,
                triggered.unwrap_or_else(|| seen.time(None)),
                &["endpoints", &turn, &numbers],
            )
            .at(place)
            .rated(severity, impact, Class::Health)
            .with(keys::ENDPOINTS_READY, ready)
            .with(keys::ENDPOINTS_NOT_READY, not_ready)
            .message(format!("service {service} has {ready} ready endpoints"));
        vec![event]
    }
}

fn counts(slice: &EndpointSlice) -> Counts {
    let conditions = |endpoint: &Endpoint| endpoint.conditions.clone().unwrap_or_default();
    // Unknown readiness counts as ready, says the API; one that terminates is neither.
    let is_ready = |endpoint: &&Endpoint| conditions(endpoint).ready != Some(false);
    let is_leaving = |endpoint: &&Endpoint| conditions(endpoint).terminating == Some(true);
    let endpoints = || slice.endpoints.iter().flatten();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Counts {
        ready: number(endpoints().filter(is_ready).count()),
        not_ready: number(endpoints().filter(|e| !is_ready(e) && !is_leaving(e)).count()),
    }
}

/// Returns the time that the slice says it follows, unless it is that of the look before.
fn triggered(seen: &Seen<'_, EndpointSlice>) -> Option<Timestamp> {
    let of = |slice: &EndpointSlice| -> Option<Timestamp> {
        let at = slice.metadata.annotations.as_ref()?.get(TRIGGERED)?;
        at.parse::<jiff::Timestamp>().ok().map(nanos)
    };
    of(seen.last).filter(|at| seen.before.and_then(of) != Some(*at))
}

/// Returns the workload that all the endpoints are of, those that were there before included: what
/// befalls the endpoints befalls it.
fn workload(seen: &Seen<'_, EndpointSlice>) -> Option<Workload> {
    let slices = [Some(seen.last), seen.before];
    let endpoints = slices.into_iter().flatten().flat_map(|slice| slice.endpoints.iter().flatten());
    let mut found = None;
    for target in endpoints.filter_map(|endpoint| endpoint.target_ref.as_ref()) {
        if target.kind.as_deref() != Some("Pod") {
            continue;
        }
        let workload = seen.context.owners.workload(target.uid.as_deref()?);
        match (&found, workload) {
            (Some(known), Some(workload)) if *known != workload => return None,
            (None, workload) => found = workload,
            (Some(_), _) => {}
        }
    }
    found
}
