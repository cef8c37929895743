//! How resolvers look names up.

use tapio_engine::View;
use tapio_model::{Event, Kind, Source, keys};

/// Says whether the name is a step of a resolver's walk through its search list, which fails every
/// day: `api.example.com.shop.svc.cluster.local`. Applications report the last answer only.
pub(super) fn is_search_guess(view: &View<'_>, event: &Event) -> bool {
    let Some(name) = unknown_cluster_name(event) else { return false };
    let labels: Vec<_> = name.split('.').collect();
    let [host, scope, "svc"] = labels.as_slice() else { return true };
    // `example.com.svc` and `db.shop.svc` look alike: the walk's other steps tell them apart, and
    // a walk in vain ends with the bare name.
    let (two, one, whole) = (format!("{host}.{scope}."), format!("{host}.svc"), format!("{name}."));
    view.of(Kind::DnsFailure)
        .filter(|other| other.place.is_same_pod(&event.place) || other.place == event.place)
        .filter_map(unknown_cluster_name)
        .any(|other| other == one || (other.starts_with(&two) && !is_or_begins(other, &whole)))
}

/// Returns the name without the cluster's domain, if the wire says that there is none such.
fn unknown_cluster_name(event: &Event) -> Option<&str> {
    let name = event.attributes.text(keys::DNS_NAME)?.trim_end_matches('.');
    let is_unknown = event.source == Source::Network
        && event.attributes.text(keys::DNS_RCODE) == Some("nxdomain");
    name.strip_suffix(".cluster.local").filter(|_| is_unknown)
}

/// Says whether `name` is `whole` without its last point, or goes on after it.
fn is_or_begins(name: &str, whole: &str) -> bool {
    name.starts_with(whole) || whole.strip_suffix('.') == Some(name)
}
