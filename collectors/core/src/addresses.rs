//! Who has which address.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use moka::sync::Cache;
use tapio_model::{Place, Text};

/// Addresses that are remembered: every pod and service of a cluster of Kubernetes' tested size.
const KNOWN_MAX: u64 = 200_000;

/// How long an address is remembered that nobody mentions. Who learns of addresses says when they
/// are given back; this is for those whose end was missed.
const KNOWN_IDLE: Duration = Duration::from_secs(86_400);

/// Which place has which address.
pub struct Addresses {
    known: Cache<IpAddr, Arc<Place>>,
}

impl Addresses {
    /// Makes a book without an entry.
    #[must_use]
    pub fn new() -> Self {
        Self { known: Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(KNOWN_IDLE).build() }
    }

    /// Remembers that `address` belongs to `place`; the last word counts, as addresses are given
    /// to others.
    pub fn learn(&self, address: IpAddr, place: Arc<Place>) {
        self.known.insert(address.to_canonical(), place);
    }

    /// Forgets an address that was given back, unless somebody else has it by now.
    pub fn forget(&self, address: IpAddr, place: &Place) {
        let address = address.to_canonical();
        if self.known.get(&address).is_some_and(|known| *known == *place) {
            self.known.invalidate(&address);
        }
    }

    /// Returns who has `address`.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Option<Arc<Place>> {
        self.known.get(&address.to_canonical())
    }

    /// Returns the service at `address`, or the workload if it is no service.
    #[must_use]
    pub fn service_at(&self, address: IpAddr) -> Option<Text> {
        self.at(address)?.service_name().cloned()
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("known", &self.known.entry_count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tapio_model::Workload;

    use super::*;

    #[test]
    fn the_last_word_counts_and_only_the_holder_gives_back() {
        let addresses = Addresses::new();
        let ip: IpAddr = "10.0.0.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.7".parse().unwrap();
        let place = |service: &str| Place { service: Some(service.into()), ..Place::default() };
        addresses.learn(ip, Arc::new(place("old")));
        addresses.learn(mapped, Arc::new(place("db")));
        assert_eq!(addresses.service_at(ip).as_deref(), Some("db"));
        addresses.forget(ip, &place("old"));
        assert_eq!(addresses.service_at(mapped).as_deref(), Some("db"));
        addresses.forget(ip, &place("db"));
        assert_eq!(addresses.at(ip), None);
    }

    #[test]
    fn what_is_no_service_is_known_by_its_workload() {
        let addresses = Addresses::new();
        let ip: IpAddr = "fd00::1".parse().unwrap();
        let owner = Workload { kind: "Deployment".into(), name: "cart".into() };
        addresses.learn(ip, Arc::new(Place { workload: Some(owner), ..Place::default() }));
        assert_eq!(addresses.service_at(ip).as_deref(), Some("cart"));
    }
}
