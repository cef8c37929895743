//! The probes' reading halves: one file for each, named as its twin in the kernel.
//!
//! Each turns a record into an event, or into nothing when it is of no interest. None of them reads
//! anything but its arguments: who somebody is comes from [`Lookup`].

use std::net::IpAddr;

use tapio_collect::{Unbound, event_id};
use tapio_ebpf_abi::{Body, DnsQuery, Header, Record};
use tapio_model::{EventId, Kind, Place, Source, Text, Timestamp, keys};

use crate::{identity::Task, words::comm};

macro_rules! probes {
    ($($slug:ident),+ $(,)?) => {
        $(mod $slug;)+
        /// Names of the reading halves, in order of their probes' numbers.
        #[cfg(test)]
        const SLUGS: &[&str] = &[$(stringify!($slug)),+];
    };
}

probes! {
    oom_kill,
    process_exec,
    process_exit,
    signal,
    tcp_retransmit,
    tcp_reset,
    tcp_state,
    syscall_errno,
    block_io,
    run_queue,
    reclaim,
    dns,
}

pub(crate) use self::dns::PATIENCE;

/// What numbers of the kernel mean outside it.
pub(crate) trait Lookup {
    /// Returns where a task is.
    fn task(&mut self, task: Task) -> Place;
    /// Returns where a socket belongs, whoever was current.
    fn socket(&mut self, task: Task) -> Place;
    /// Returns the path of the memory cgroup with this number.
    fn memory_group(&mut self, id: u64) -> Option<Text>;
    /// Returns the name of a block device.
    fn device(&mut self, major: u32, minor: u32) -> Option<Text>;
    /// Returns the service, or the workload, at an address.
    fn service(&self, address: IpAddr) -> Option<Text>;
}

/// What a translation knows besides the record.
pub(crate) struct Context<'a> {
    /// The event's identity, and its wall time.
    pub(crate) id: EventId,
    pub(crate) time: Timestamp,
    /// Whether changes of connections are told, so that a failed `connect` need not be told twice.
    pub(crate) sees_connections: bool,
    pub(crate) lookup: &'a mut dyn Lookup,
}

/// Derives an event's identity from the boot and the whole record: time, processor, thread and what
/// happened are in it.
pub(crate) fn record_id(boot_id: &[u8], record: &[u8]) -> EventId {
    event_id(&[b"ebpf", boot_id, record])
}

/// Turns a record into an event; `None` if it is of no interest.
pub(crate) fn translate(record: &Record<'_>, context: Context<'_>) -> Option<Unbound> {
    let header = record.header;
    match record.body {
        Body::OomKill(body) => Some(oom_kill::translate(header, body, context)),
        Body::ProcessStarted(body) => Some(process_exec::translate(header, body, context)),
        Body::ProcessExit(body) => Some(process_exit::translate(header, body, context)),
        Body::ProcessSignalled(body) => Some(signal::translate(header, body, context)),
        Body::TcpRetransmit(body) => Some(tcp_retransmit::translate(header, body, context)),
        Body::TcpReset(body) => tcp_reset::translate(header, body, context),
        Body::TcpState(body) => tcp_state::translate(header, body, context),
        Body::SyscallFailed(body) => syscall_errno::translate(header, body, context),
        Body::BlockIo(body) => block_io::translate(header, body, context),
        Body::CpuDelay(body) => Some(run_queue::translate(header, body, context)),
        Body::ReclaimStall(body) => Some(reclaim::translate(header, body, context)),
        Body::Dns(body) => dns::translate(header, body, context),
    }
}

/// Turns a question that nobody answered into an event.
pub(crate) fn translate_unanswered(query: &DnsQuery, context: Context<'_>) -> Unbound {
    dns::unanswered(query, context)
}

impl Context<'_> {
    /// Begins an event where another task than the header's is.
    fn at_task(&mut self, task: Task, header: &Header, kind: Kind) -> Unbound {
        let place = self.lookup.task(task);
        self.event(header, Source::Kernel, kind).at(place)
    }

    /// Begins an event about the task in the header.
    fn of_task(&mut self, header: &Header, kind: Kind) -> Unbound {
        self.at_task(task(header), header, kind)
            .with_some(keys::PROCESS_PID, some(header.pid))
            .with_some(keys::PROCESS_NAME, comm(&header.comm))
    }

    /// Begins an event about a connection: the header's task made it, if it names one.
    fn of_socket(&mut self, header: &Header, kind: Kind) -> Unbound {
        let place = self.lookup.socket(task(header));
        self.event(header, Source::Network, kind)
            .at(place)
            .with_some(keys::PROCESS_PID, some(header.pid))
            .with_some(keys::PROCESS_NAME, comm(&header.comm).filter(|_| header.pid != 0))
    }

    /// Begins an event at no place and about nobody.
    fn event(&self, header: &Header, source: Source, kind: Kind) -> Unbound {
        let sampled = Some(header.sampled).filter(|of| *of > 1);
        Unbound::new(self.id, self.time, source, kind).with_some(keys::SAMPLED, sampled)
    }
}

fn task(header: &Header) -> Task {
    Task {
        pid: header.pid,
        memory: header.memcg_id,
        unified: header.cgroup_id,
        network: header.netns,
    }
}

/// Returns the number, if it is one: zero is how the kernel's half says "unknown".
fn some(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number != 0)
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests {
    use tapio_ebpf_abi::Probe;

    use super::*;

    #[test]
    fn every_probe_has_its_reading_half() {
        let slugs: Vec<_> = Probe::ALL.iter().map(|probe| probe.slug()).collect();
        assert_eq!(SLUGS, slugs);
    }

    #[test]
    fn identity_is_the_boot_and_the_record() {
        assert_eq!(record_id(b"boot", b"record"), record_id(b"boot", b"record"));
        assert_ne!(record_id(b"boot", b"record"), record_id(b"other", b"record"));
        assert_ne!(record_id(b"boot", b"record"), record_id(b"boot", b"recore"));
    }
}
