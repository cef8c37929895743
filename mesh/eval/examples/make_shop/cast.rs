//! Who plays: eight services of a shop, and what each does when it is asked.

use std::sync::Arc;

use tapio_model::{Place, Workload};

/// What a service does under one name.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    /// What it writes when it begins, and when it has done its work.
    pub(crate) begins: &'static str,
    pub(crate) ends: &'static str,
    /// Microseconds it works by itself, about.
    pub(crate) work_us: i64,
    /// Whom it calls, one after another.
    pub(crate) calls: &'static [Self],
}

/// The services, with the node each runs on.
pub(crate) const SERVICES: [(&str, &str); 8] = [
    ("web", "n1"),
    ("catalog", "n1"),
    ("cart", "n1"),
    ("checkout", "n2"),
    ("stock", "n2"),
    ("session", "n2"),
    ("payments", "n3"),
    ("orders", "n3"),
];

const SESSION: Step = Step {
    service: "session",
    name: "shop.Session/Load",
    begins: "load session of user",
    ends: "session is valid for user",
    work_us: 2_000,
    calls: &[],
};

/// The three things customers do.
pub(crate) const REQUESTS: [Step; 3] = [
    Step {
        service: "web",
        name: "GET /products",
        begins: "products asked for by user",
        ends: "products shown to user",
        work_us: 4_000,
        calls: &[Step {
            service: "catalog",
            name: "shop.Catalog/List",
            begins: "list page",
            ends: "listed page",
            work_us: 9_000,
            calls: &[Step {
                service: "stock",
                name: "shop.Stock/Get",
                begins: "count items of page",
                ends: "counted items of page",
                work_us: 5_000,
                calls: &[],
            }],
        }],
    },
    Step {
        service: "web",
        name: "POST /cart",
        begins: "item chosen by user",
        ends: "cart shown to user",
        work_us: 3_000,
        calls: &[Step {
            service: "cart",
            name: "shop.Cart/Add",
            begins: "add item",
            ends: "added item",
            work_us: 4_000,
            calls: &[
                SESSION,
                Step {
                    service: "stock",
                    name: "shop.Stock/Reserve",
                    begins: "reserve item",
                    ends: "reserved item",
                    work_us: 7_000,
                    calls: &[],
                },
            ],
        }],
    },
    Step {
        service: "web",
        name: "POST /checkout",
        begins: "checkout begun by user",
        ends: "receipt shown to user",
        work_us: 4_000,
        calls: &[Step {
            service: "checkout",
            name: "shop.Checkout/Place",
            begins: "place order",
            ends: "placed order",
            work_us: 6_000,
            calls: &[
                SESSION,
                Step {
                    service: "payments",
                    name: "shop.Payments/Charge",
                    begins: "charge order",
                    ends: "charged order",
                    work_us: 30_000,
                    calls: &[],
                },
                Step {
                    service: "orders",
                    name: "shop.Orders/Store",
                    begins: "store order",
                    ends: "stored order",
                    work_us: 8_000,
                    calls: &[],
                },
            ],
        }],
    },
];

/// Returns the place of a service's pod.
pub(crate) fn place(service: &str) -> Arc<Place> {
    let known = SERVICES.iter().find(|(name, _)| *name == service);
    Arc::new(Place {
        node: known.map(|(_, node)| (*node).into()),
        namespace: Some("shop".into()),
        workload: Some(Workload { kind: "Deployment".into(), name: service.into() }),
        pod: Some(format!("{service}-6d8f9c7b5-k4m2n").into()),
        service: Some(service.into()),
        ..Place::default()
    })
}
