//! Who learns from the cluster where pods and addresses are.

use std::sync::Arc;

use tapio_collect::{Addresses, Binder};
use tapio_collect_kube::{Learn, LearnAddress};

/// Lets the binder know every container and pod.
pub(super) fn learn(binder: &Arc<Binder>) -> Learn {
    let binder = Arc::clone(binder);
    Arc::new(move |place| binder.learn(place))
}

/// Lets the book of addresses know who has which.
pub(super) fn learn_address(addresses: &Arc<Addresses>) -> LearnAddress {
    let addresses = Arc::clone(addresses);
    Arc::new(move |address, place| match place {
        Some(place) => addresses.learn(address, Arc::new(place.clone())),
        None => {
            if let Some(place) = addresses.at(address) {
                addresses.forget(address, &place);
            }
        }
    })
}
