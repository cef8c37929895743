//! The lookups of a real machine.

use std::{fs, net::IpAddr, sync::Arc};

use moka::sync::Cache;
use tapio_collect::Addresses;
use tapio_model::{Place, Text};

use crate::{
    identity::{Identity, Task},
    probes::Lookup,
};

/// Block devices that are remembered.
const DEVICES_MAX: u64 = 1_024;

/// Everything that gives the kernel's numbers a meaning.
#[derive(Debug)]
pub(crate) struct Senses {
    identity: Identity,
    addresses: Arc<Addresses>,
    devices: Cache<(u32, u32), Option<Text>>,
}

impl Senses {
    pub(crate) fn new(identity: Identity, addresses: Arc<Addresses>) -> Self {
        Self { identity, addresses, devices: Cache::new(DEVICES_MAX) }
    }
}

impl Lookup for Senses {
    fn task(&mut self, task: Task) -> Place {
        self.identity.of_task(task)
    }

    fn socket(&mut self, task: Task) -> Place {
        self.identity.of_socket(task)
    }

    fn memory_group(&mut self, id: u64) -> Option<Text> {
        self.identity.memory_group(id).map(|path| Text::from(&*path))
    }

    fn device(&mut self, major: u32, minor: u32) -> Option<Text> {
        self.devices.get_with((major, minor), || {
            let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(Text::from)
        })
    }

    fn service(&self, address: IpAddr) -> Option<Text> {
        self.addresses.service_at(address)
    }
}
