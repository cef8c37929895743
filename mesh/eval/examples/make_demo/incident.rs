//! The incident: payments reaches its limit, is killed, comes back, is killed again.

use std::sync::Arc;

use tapio_model::{Class, Kind, Place, Severity, Source, keys};

use super::{
    cast::{
        CHECKOUT, PAYMENTS, PAYMENTS_ADDRESS, PAYMENTS_AGAIN, PAYMENTS_AT_LAST, PAYMENTS_PORT, Pod,
    },
    script::{Draft, Script},
};

/// When the kernel kills payments: 02:48:32.418 and 02:49:14.905.
pub(crate) const KILLS_US: [i64; 2] = [92_418_000, 134_905_000];

/// When it starts and when it answers again after each kill.
const STARTED_US: [i64; 2] = [94_610_000, 146_230_000];
const READY_US: [i64; 2] = [98_120_000, 150_340_000];

/// 256 MiB.
const LIMIT: i64 = 268_435_456;

/// Returns the container of payments that answers at this time, if one does.
pub(crate) fn payments_at(at: i64) -> Option<&'static Pod> {
    let [first_kill, second_kill] = KILLS_US;
    let [first_ready, second_ready] = READY_US;
    match at {
        at if at < first_kill => Some(&PAYMENTS),
        at if at < first_ready => None,
        at if at < second_kill => Some(&PAYMENTS_AGAIN),
        at if at < second_ready => None,
        _ => Some(&PAYMENTS_AT_LAST),
    }
}

pub(crate) fn play(script: &mut Script) {
    for (at, pod, count) in [
        (41_230_000, &PAYMENTS, 3),
        (63_710_000, &PAYMENTS, 41),
        (81_520_000, &PAYMENTS, 318),
        (121_340_000, &PAYMENTS_AGAIN, 57),
        (130_960_000, &PAYMENTS_AGAIN, 402),
        (229_400_000, &PAYMENTS_AT_LAST, 12),
    ] {
        script.add(limit_reached(at, pod, count));
    }
    let deaths = [(&PAYMENTS, 18_342), (&PAYMENTS_AGAIN, 19_077)];
    for ((kill, (pod, pid)), restarts) in KILLS_US.into_iter().zip(deaths).zip(0..) {
        die(script, kill, pod, pid);
        go_unready(script, kill, pod, restarts);
    }
    wait(script);
    let lives = [&PAYMENTS_AGAIN, &PAYMENTS_AT_LAST];
    for (((started, ready), pod), restarts) in
        STARTED_US.into_iter().zip(READY_US).zip(lives).zip(1..)
    {
        come_back(script, (started, ready), pod, restarts);
    }
}

fn limit_reached(at: i64, pod: &Pod, count: i64) -> Draft {
    Draft::new(at, Source::Cgroup, Kind::MemoryLimitReached, &pod.control_group())
        .rated(Severity::Warn, 0.3, Class::Memory)
        .with(keys::COUNT, count)
        .with(keys::MEMORY_LIMIT, LIMIT)
        .with(keys::RESOURCE, "memory")
        .message(format!("memory.events: max rose by {count} (memory.max {LIMIT})"))
}

/// The kernel's account, and the network's.
fn die(script: &mut Script, at: i64, pod: &Pod, pid: i64) {
    let place = pod.control_group();
    let cgroup = pod.cgroup();
    let rss = 257_912;
    script.add(
        Draft::new(at, Source::Kernel, Kind::OomKill, &place)
            .rated(Severity::Fatal, 0.95, Class::Memory)
            .with(keys::PROCESS_NAME, "payments")
            .with(keys::PROCESS_PID, pid)
            .with(keys::PROCESS_IS_INIT, true)
            .with(keys::OOM_CONSTRAINT, "memcg")
            .with(keys::OOM_CGROUP, cgroup.as_str())
            .with(keys::OOM_ANON_RSS_KIB, rss)
            .with(keys::MEMORY_LIMIT, LIMIT)
            .message(format!(
                "Memory cgroup out of memory: Killed process {pid} (payments) total-vm:1304864kB, \
                 anon-rss:{rss}kB, file-rss:18432kB, shmem-rss:0kB, UID:1000 pgtables:812kB \
                 oom_score_adj:984"
            )),
    );
    script.add(
        Draft::new(at + 13_000, Source::Cgroup, Kind::OomKillCounted, &place)
            .rated(Severity::Error, 0.8, Class::Memory)
            .with(keys::COUNT, 1)
            .with(keys::MEMORY_LIMIT, LIMIT)
            .message("memory.events: oom_kill rose by 1"),
    );
    script.add(
        to_payments(Draft::new(
            at + 2_400,
            Source::Network,
            Kind::TcpReset,
            &CHECKOUT.control_group(),
        ))
        .rated(Severity::Warn, 0.4, Class::Network)
        .message("10.42.1.21:41872 -> 10.43.118.52:8443: RST received while established"),
    );
}

/// A connection attempt of checkout that nobody answers but the node.
pub(crate) fn refused(at: i64) -> Draft {
    to_payments(Draft::new(at, Source::Network, Kind::ConnectRefused, &CHECKOUT.control_group()))
        .rated(Severity::Error, 0.6, Class::Network)
        .with(keys::ERROR_TYPE, "ECONNREFUSED")
        .message("connect 10.42.1.21 -> 10.43.118.52:8443: RST in answer to SYN")
}

fn to_payments(draft: Draft) -> Draft {
    draft
        .with(keys::PEER_ADDRESS, PAYMENTS_ADDRESS)
        .with(keys::PEER_PORT, PAYMENTS_PORT)
        .with(keys::PEER_SERVICE, "payments")
}

/// The kubelet's account.
fn go_unready(script: &mut Script, kill: i64, pod: &Pod, restarts: i64) {
    script.add(
        Draft::new(kill + 422_000, Source::Kubernetes, Kind::ContainerTerminated, &pod.container())
            .rated(Severity::Error, 0.8, Class::Memory)
            .with(keys::REASON, "OOMKilled")
            .with(keys::EXIT_CODE, 137)
            .with(keys::RESTART_COUNT, restarts)
            .with(keys::IMAGE, "registry.shop.example/payments:2.7.1")
            .message("container payments terminated: OOMKilled, exit code 137"),
    );
    script.add(readiness(kill + 441_000, pod, false));
    script.add(endpoints(kill + 633_000, pod, 0));
}

fn come_back(script: &mut Script, (started, ready): (i64, i64), pod: &Pod, restarts: i64) {
    let place = pod.container();
    let image =
        "Container image \"registry.shop.example/payments:2.7.1\" already present on machine";
    script.add(object_event(started - 410_000, &place, "Pulled", image));
    script.add(object_event(started - 220_000, &place, "Created", "Created container: payments"));
    script.add(
        Draft::new(started, Source::Kubernetes, Kind::ContainerStarted, &place)
            .rated(Severity::Info, 0.0, Class::Lifecycle)
            .with(keys::RESTART_COUNT, restarts)
            .with(keys::IMAGE, "registry.shop.example/payments:2.7.1")
            .message("Started container payments"),
    );
    script.add(
        Draft::new(started + 640_000, Source::App, Kind::Log, &place)
            .message("level=info msg=\"listening\" addr=:8443 version=2.7.1"),
    );
    script.add(readiness(ready, pod, true));
    script.add(endpoints(ready + 180_000, pod, 1));
}

fn wait(script: &mut Script) {
    let [_, kill] = KILLS_US;
    let place = PAYMENTS_AGAIN.container();
    let pod = PAYMENTS.name();
    let uid = PAYMENTS.uid;
    script.add(
        Draft::new(kill + 1_010_000, Source::Kubernetes, Kind::ContainerWaiting, &place)
            .rated(Severity::Warn, 0.6, Class::Lifecycle)
            .with(keys::REASON, "CrashLoopBackOff")
            .with(keys::RESTART_COUNT, 1)
            .message(format!(
                "back-off 10s restarting failed container=payments pod={pod}_shop({uid})"
            )),
    );
    let text = format!("Back-off restarting failed container payments in pod {pod}_shop({uid})");
    script.add(
        object_event(kill + 1_060_000, &place, "BackOff", text)
            .rated(Severity::Warn, 0.3, Class::Lifecycle)
            .with(keys::COUNT, 2),
    );
}

pub(crate) fn readiness(at: i64, pod: &Pod, is_ready: bool) -> Draft {
    let (severity, impact) = if is_ready { (Severity::Info, 0.0) } else { (Severity::Warn, 0.6) };
    let text = if is_ready { "pod is ready" } else { "containers with unready status" };
    let name = pod.service;
    Draft::new(at, Source::Kubernetes, Kind::PodReadiness, &pod.place())
        .rated(severity, impact, Class::Health)
        .with(keys::STATUS, is_ready)
        .with(keys::CONDITION, "Ready")
        .message(format!("{text}: [{name}]"))
}

/// One replica: either it is ready or nobody is.
pub(crate) fn endpoints(at: i64, pod: &Pod, ready: i64) -> Draft {
    let (severity, impact) = if ready == 0 { (Severity::Warn, 0.7) } else { (Severity::Info, 0.0) };
    Draft::new(at, Source::Kubernetes, Kind::EndpointsChanged, &pod.workload())
        .rated(severity, impact, Class::Health)
        .with(keys::ENDPOINTS_READY, ready)
        .with(keys::ENDPOINTS_NOT_READY, i64::from(ready == 0))
        .message(format!("service {} has {ready} ready endpoints", pod.service))
}

pub(crate) fn object_event(
    at: i64,
    place: &Arc<Place>,
    reason: &'static str,
    text: impl Into<tapio_model::Text>,
) -> Draft {
    Draft::new(at, Source::Kubernetes, Kind::ObjectEvent, place)
        .rated(Severity::Info, 0.0, Class::Lifecycle)
        .with(keys::REASON, reason)
        .with(keys::COUNT, 1)
        .message(text)
}
