//! Questions to name servers and their answers: UDP, port 53, from `net:net_dev_queue` and
//! `net:netif_receive_skb`.
//!
//! The device hooks see who asks (the thread that sends runs) and in which network namespace on either
//! cgroup hierarchy, which a program on the root cgroup does not on v1. A datagram is looked at once: on
//! the next hop it has lost its socket. Answers come from whoever holds the address, so only those that
//! match a question count. What is never answered stays in the map, where the reader finds it.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use tapio_ebpf_abi::{DNS_NAME_BYTES, Dns, DnsKey, DnsQuery, Kind, Probe};

use crate::{
    kernel::{Args, at, now, string},
    ring::{self, Worth},
    settings::{field, setting},
    sock, task,
};

const QUESTIONS_MAX: u32 = 4_096;
const PORT: u16 = 53;
const IPPROTO_UDP: u8 = 17;
const UDP_BYTES: u64 = 8;
const DNS_BYTES: u64 = 12;
const RESPONSE: u16 = 0x8000;
const RCODE: u16 = 0x000f;
/// A stacked device shows the same datagram twice at once; a resolver asks again after far longer.
const AGAIN_NS_MIN: u64 = 100_000_000;

#[map]
static DNS: LruHashMap<DnsKey, DnsQuery> = LruHashMap::with_max_entries(QUESTIONS_MAX, 0);
/// A question is too large for a program's stack.
#[map]
static SCRATCH: PerCpuArray<DnsQuery> = PerCpuArray::with_max_entries(1, 0);

hook!(dns_sent_btf, dns_sent_raw => sent);
hook!(dns_received_btf, dns_received_raw => received);

/// The fixed part of a datagram that may be one of DNS.
struct Datagram {
    is_v6: bool,
    from: u16,
    to: u16,
    id: u16,
    flags: u16,
    questions: u16,
    payload: u64,
}

/// Reads the headers of a UDP datagram from where its IP header begins.
#[inline(always)]
fn datagram(ip: u64) -> Option<Datagram> {
    let header: [u8; 20] = at(ip)?;
    let (is_v6, protocol, length) = match header[0] >> 4 {
        4 => (false, header[9], u64::from(header[0] & 15) * 4),
        6 => (true, header[6], 40),
        _ => return None,
    };
    if protocol != IPPROTO_UDP {
        return None;
    }
    let words: [u16; 10] = at(ip + length)?;
    Some(Datagram {
        is_v6,
        from: u16::from_be(words[0]),
        to: u16::from_be(words[1]),
        id: u16::from_be(words[4]),
        flags: u16::from_be(words[5]),
        questions: u16::from_be(words[6]),
        payload: ip + length + UDP_BYTES + DNS_BYTES,
    })
}

#[inline(always)]
fn sent(args: Args) {
    let skb = args.word(0);
    let sk: u64 = field!(skb, skb_sk).unwrap_or(0);
    let protocol: u16 = field!(sk, sock_protocol).unwrap_or(0);
    if protocol == u16::from(IPPROTO_UDP)
        && let Some(head) = field!(skb, skb_head)
        && let Some(network) = field!(skb, skb_network_header)
    {
        let head: u64 = head;
        let network: u16 = network;
        asked(sk, head + u64::from(network));
    }
}

#[inline(always)]
fn asked(sk: u64, ip: u64) {
    let Some(datagram) = datagram(ip) else { return };
    if datagram.to != PORT || datagram.flags & RESPONSE != 0 || datagram.questions != 1 {
        return;
    }
    let netns = task::net_inum(field!(sk, sock_net).unwrap_or(0));
    let key = DnsKey { netns, port: datagram.from, id: datagram.id };
    if let Some(known) = DNS.get_ptr_mut(key) {
        // SAFETY: the map's value is there until the program ends.
        let known = unsafe { &mut *known };
        if now() - known.header.time_ns >= AGAIN_NS_MIN {
            known.tries += 1;
        }
        return;
    }
    let Some(query) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: the value is this processor's own while the program runs.
    let query = unsafe { &mut *query };
    query.header = task::current(Kind::Dns);
    query.header.netns = netns;
    query.tries = 1;
    query.name = [0; DNS_NAME_BYTES];
    if datagram.is_v6 {
        query.family = sock::AF_INET6;
        query.server = at(ip + 24).unwrap_or_default();
    } else {
        query.family = sock::AF_INET;
        query.server = sock::widen(at(ip + 16).unwrap_or_default());
    }
    // A name ends with a label of no bytes, as a string does.
    let copied = string(datagram.payload, &mut query.name);
    query.name_len = copied as u16;
    query.qtype = u16::from_be(at(datagram.payload + u64::from(copied)).unwrap_or(0));
    // A full table forgets the oldest question.
    let _full = DNS.insert(key, &*query, 0);
}

#[inline(always)]
fn received(args: Args) {
    let skb = args.word(0);
    let ip: u64 = field!(skb, skb_data).unwrap_or(0);
    let Some(datagram) = datagram(ip) else { return };
    if datagram.from != PORT || datagram.flags & RESPONSE == 0 {
        return;
    }
    let device: u64 = field!(skb, skb_dev).unwrap_or(0);
    let netns = task::net_inum(field!(device, dev_net).unwrap_or(0));
    let key = DnsKey { netns, port: datagram.to, id: datagram.id };
    let Some(query) = DNS.get_ptr(key) else { return };
    // SAFETY: the map's value is there until the program ends.
    let query = unsafe { &*query };
    let asked_ns = query.header.time_ns;
    let latency_ns = now() - asked_ns;
    let rcode = datagram.flags & RCODE;
    if (rcode != 0 || latency_ns >= setting!(dns_ns_min))
        && let Some(slot) = ring::reserve(Probe::Dns, Worth::Sampled)
    {
        let mut header = query.header;
        header.time_ns = asked_ns + latency_ns;
        slot.write(
            header,
            Dns {
                latency_ns,
                server: query.server,
                family: query.family,
                qtype: query.qtype,
                rcode,
                name_len: query.name_len,
                tries: query.tries,
                local_port: key.port,
                id: key.id,
                name: query.name,
                reserved: 0,
            },
        );
    }
    // Another processor may have been faster.
    let _absent = DNS.remove(key);
}
