//! Who plays: five services on two nodes.

use std::sync::Arc;

use tapio_model::{Place, Workload};

/// One pod of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pod {
    pub(crate) service: &'static str,
    pub(crate) node: &'static str,
    /// Hash of the pod template.
    pub(crate) hash: &'static str,
    pub(crate) suffix: &'static str,
    pub(crate) uid: &'static str,
    pub(crate) container_id: &'static str,
}

pub(crate) const FRONTEND: Pod = Pod {
    service: "frontend",
    node: "n1",
    hash: "6d8f9c7b5",
    suffix: "k4m2n",
    uid: "1f0c6b0e-6c0d-4d8b-9c57-3a1d2f8e4b10",
    container_id: "a3f1c5d79be2046813579bdf02468ace13579bdf02468acea3f1c5d79be20468",
};
pub(crate) const CHECKOUT: Pod = Pod {
    service: "checkout",
    node: "n1",
    hash: "5b9c6d7f8",
    suffix: "q7w9z",
    uid: "2c7e91d4-0b35-4f6a-8e12-7d90b4c3a521",
    container_id: "b7d2e9f04c6a81352f7e1d9c0b8a6435b7d2e9f04c6a81352f7e1d9c0b8a6435",
};
pub(crate) const CART_OLD: Pod = Pod {
    service: "cart",
    node: "n2",
    hash: "58d7c9f6b",
    suffix: "t5v8x",
    uid: "3d51a7b8-94ce-4e07-a2f3-58c6e1d09b32",
    container_id: "c04e8a61f9d3b7256e1c0f8d4a92b75ec04e8a61f9d3b7256e1c0f8d4a92b75e",
};
pub(crate) const CART_NEW: Pod = Pod {
    hash: "7f6b8d9c4",
    suffix: "b6d4g",
    uid: "8b1e4f27-5d93-4a6c-b0e8-c27f9a15d643",
    container_id: "d9630f7b2a5e8c14907d3b6f1e8a5c42d9630f7b2a5e8c14907d3b6f1e8a5c42",
    ..CART_OLD
};
/// As it was before the first kill.
pub(crate) const PAYMENTS: Pod = Pod {
    service: "payments",
    node: "n2",
    hash: "7c9d5b7f4",
    suffix: "x2x8p",
    uid: "5a9f3c1d-72e6-4b08-9d4f-e60b8c2a7154",
    container_id: "e58b1d7a3f90c642e7d50b9183ac6f24e58b1d7a3f90c642e7d50b9183ac6f24",
};
/// As it was between the first kill and the second.
pub(crate) const PAYMENTS_AGAIN: Pod = Pod {
    container_id: "f17c4e9a60b2d835c9e07f1a4b6d8253f17c4e9a60b2d835c9e07f1a4b6d8253",
    ..PAYMENTS
};
/// As it was after the second kill.
pub(crate) const PAYMENTS_AT_LAST: Pod = Pod {
    container_id: "0b6d92f5e7a1c384d05f8e2b7c4a91630b6d92f5e7a1c384d05f8e2b7c4a9163",
    ..PAYMENTS
};
pub(crate) const CATALOG: Pod = Pod {
    service: "catalog",
    node: "n2",
    hash: "84b7f6c5d9",
    suffix: "h5j6k",
    uid: "7e24d6f0-18ab-4c95-b7d1-0f9e3a6c8b76",
    container_id: "1a8e5c3f9d7b0642a1c8e5f3d9b70642a1c8e5f3d9b706421a8e5c3f9d7b0642",
};

/// Address of the service `payments`, which its callers dial.
pub(crate) const PAYMENTS_ADDRESS: &str = "10.43.118.52";
pub(crate) const PAYMENTS_PORT: i64 = 8443;

impl Pod {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}-{}", self.service, self.hash, self.suffix)
    }

    /// The cgroup of the container, as the systemd driver of the kubelet names it.
    pub(crate) fn cgroup(&self) -> String {
        let uid = self.uid.replace('-', "_");
        let id = self.container_id;
        format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{id}.scope"
        )
    }

    /// The place as OpenTelemetry resources and the API name it.
    pub(crate) fn place(&self) -> Arc<Place> {
        Arc::new(Place {
            cluster: Some("demo".into()),
            node: Some(self.node.into()),
            namespace: Some("shop".into()),
            workload: Some(Workload { kind: "Deployment".into(), name: self.service.into() }),
            pod: Some(self.name().into()),
            pod_uid: Some(self.uid.into()),
            service: Some(self.service.into()),
            ..Place::default()
        })
    }

    /// The place of its container.
    pub(crate) fn container(&self) -> Arc<Place> {
        Arc::new(Place {
            container: Some(self.service.into()),
            container_id: Some(self.container_id.into()),
            ..(*self.place()).clone()
        })
    }

    /// The place of its container, as the node sees it.
    pub(crate) fn control_group(&self) -> Arc<Place> {
        Arc::new(Place { cgroup: Some(self.cgroup().into()), ..(*self.container()).clone() })
    }

    /// The place of what has no pod: the workload and its service.
    pub(crate) fn workload(&self) -> Arc<Place> {
        Arc::new(Place { node: None, pod: None, pod_uid: None, ..(*self.place()).clone() })
    }
}
