//! A world for the probes' tests: a few tasks, groups, devices and services.

use std::net::IpAddr;

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, Socket};
use tapio_model::{Attributes, EventId, Place, Text, Timestamp};

use super::{Context, Lookup};
use crate::identity::Task;

/// Whom the lookups know.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) sees_connections: bool,
}

impl World {
    pub(crate) fn context(&mut self) -> Context<'_> {
        Context {
            id: EventId::default(),
            time: Timestamp::from_secs(1),
            sees_connections: self.sees_connections,
            lookup: self,
        }
    }

    pub(crate) fn said(event: &Unbound) -> Attributes {
        Attributes::new(event.attributes.clone())
    }
}

fn at(path: &str) -> Place {
    Place { cgroup: Some(path.into()), ..Place::default() }
}

impl Lookup for World {
    fn task(&mut self, task: Task) -> Place {
        match task.memory {
            10 => at("/kubepods/podx/c"),
            11 => at("/kubepods/pody/d"),
            _ => Place::default(),
        }
    }

    fn socket(&mut self, task: Task) -> Place {
        if task.network == 77 { at("/kubepods/podx") } else { Place::default() }
    }

    fn memory_group(&mut self, id: u64) -> Option<Text> {
        (id == 20).then(|| "/kubepods/podx".into())
    }

    fn device(&mut self, major: u32, minor: u32) -> Option<Text> {
        (major == 8).then(|| format!("sda{minor}").into())
    }

    fn service(&self, address: IpAddr) -> Option<Text> {
        (address.to_string() == "10.0.0.7").then(|| "db".into())
    }
}

/// Returns the header of postgres (pid 4242) in the container of pod x.
pub(crate) fn header() -> Header {
    let mut comm = [0; 16];
    comm[..8].copy_from_slice(b"postgres");
    Header {
        kind: 0,
        size: 0,
        cpu: 1,
        time_ns: 5,
        cgroup_id: 1,
        memcg_id: 10,
        netns: 77,
        pid: 4_242,
        tid: 4_243,
        sampled: 1,
        comm,
    }
}

/// Returns a connection from 10.0.0.1:40000 to 10.0.0.7:5432.
pub(crate) fn socket(state: u16) -> Socket {
    let address = |last: u8| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[10, 0, 0, last]);
        bytes
    };
    Socket {
        local: address(1),
        remote: address(7),
        local_port: 40_000,
        remote_port: 5_432,
        family: 2,
        state,
    }
}
