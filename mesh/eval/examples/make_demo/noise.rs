//! What happens besides and has nothing to do with it: a rollout of cart that goes well, a little
//! throttling, an error that is none, and everyday lines.

use std::sync::Arc;

use tapio_model::{Class, Kind, Place, Severity, Source, Workload, keys};

use super::{
    cast::{CART_NEW, CART_OLD, CATALOG, CHECKOUT, FRONTEND, Pod},
    incident::{endpoints, object_event, payments_at, readiness},
    script::{Draft, Script},
};

/// When the new cart serves: some seconds after its rollout began at 02:47:52.
pub(crate) const CART_SWITCHED_US: i64 = 61_000_000;

const ROLLOUT_US: i64 = 52_300_000;

pub(crate) fn play(script: &mut Script) {
    roll_out_cart(script);
    for (at, ratio) in [(28_400_000, 0.03), (71_900_000, 0.05), (163_200_000, 0.04)] {
        script.add(throttled(at, ratio));
    }
    for (at, product) in [(17_350_000, 8_421), (75_120_000, 8_077), (183_640_000, 8_903)] {
        script.add(missed(at, product));
    }
    let cleanup = Arc::new(Place {
        cluster: Some("demo".into()),
        namespace: Some("shop".into()),
        workload: Some(Workload { kind: "CronJob".into(), name: "session-cleanup".into() }),
        ..Place::default()
    });
    for (at, reason, text) in [
        (
            33_000_000,
            "SawCompletedJob",
            "Saw completed job: session-cleanup-29919045, condition: Complete",
        ),
        (180_200_000, "SuccessfulCreate", "Created job session-cleanup-29919050"),
    ] {
        script.add(object_event(at, &cleanup, reason, text));
    }
    let mut at = 5_000_000;
    while at < 238_000_000 {
        hum(script, at);
        at += script.between(2_400_000, 4_400_000);
    }
}

fn roll_out_cart(script: &mut Script) {
    let (old, new) = (CART_OLD.container(), CART_NEW.container());
    script.add(
        Draft::new(ROLLOUT_US, Source::Kubernetes, Kind::RolloutStarted, &CART_NEW.workload())
            .rated(Severity::Info, 0.2, Class::Rollout)
            .with(keys::GENERATION, 9)
            .with(keys::TEMPLATE_HASH, CART_NEW.hash)
            .with(keys::IMAGE, "registry.shop.example/cart:1.14.2")
            .message("Scaled up replica set cart-7f6b8d9c4 from 0 to 1"),
    );
    let pod = CART_NEW.name();
    script.add(
        Draft::new(ROLLOUT_US + 210_000, Source::Kubernetes, Kind::PodScheduled, &CART_NEW.place())
            .rated(Severity::Info, 0.0, Class::Lifecycle)
            .with(keys::REASON, "Scheduled")
            .message(format!("Successfully assigned shop/{pod} to n2")),
    );
    for (after, reason, text) in [
        (900_000, "Pulling", "Pulling image \"registry.shop.example/cart:1.14.2\""),
        (
            3_300_000,
            "Pulled",
            "Successfully pulled image \"registry.shop.example/cart:1.14.2\" in 2.391s",
        ),
        (3_500_000, "Created", "Created container: cart"),
    ] {
        script.add(object_event(ROLLOUT_US + after, &new, reason, text));
    }
    script.add(
        Draft::new(ROLLOUT_US + 3_800_000, Source::Kubernetes, Kind::ContainerStarted, &new)
            .rated(Severity::Info, 0.0, Class::Lifecycle)
            .with(keys::RESTART_COUNT, 0)
            .with(keys::IMAGE, "registry.shop.example/cart:1.14.2")
            .with(keys::TEMPLATE_HASH, CART_NEW.hash)
            .message("Started container cart"),
    );
    script.add(readiness(ROLLOUT_US + 7_900_000, &CART_NEW, true));
    script.add(endpoints(ROLLOUT_US + 8_100_000, &CART_NEW, 2));
    script.add(object_event(
        ROLLOUT_US + 8_700_000,
        &CART_NEW.workload(),
        "ScalingReplicaSet",
        "Scaled down replica set cart-58d7c9f6b from 1 to 0",
    ));
    script.add(
        Draft::new(ROLLOUT_US + 10_400_000, Source::Kubernetes, Kind::ContainerTerminated, &old)
            .rated(Severity::Info, 0.0, Class::Lifecycle)
            .with(keys::REASON, "Completed")
            .with(keys::EXIT_CODE, 0)
            .message("container cart terminated: Completed, exit code 0"),
    );
    script.add(endpoints(ROLLOUT_US + 10_700_000, &CART_NEW, 1));
}

fn throttled(at: i64, ratio: f64) -> Draft {
    Draft::new(at, Source::Cgroup, Kind::CpuThrottled, &FRONTEND.control_group())
        .rated(Severity::Info, 0.1, Class::Cpu)
        .with(keys::RATIO, ratio)
        .with(keys::RESOURCE, "cpu")
        .message(format!("cpu.stat: throttled in {ratio} of the periods"))
}

/// An error in name only: the product comes from the database instead.
fn missed(at: i64, product: i64) -> Draft {
    Draft::new(at, Source::App, Kind::Log, &CATALOG.container())
        .rated(Severity::Error, 0.1, Class::Application)
        .with(keys::LOGGER, "catalog/cache.go:61")
        .message(format!("level=error msg=\"cache miss\" product={product} fallback=database"))
}

/// Lines that every service writes all day.
fn hum(script: &mut Script, at: i64) {
    let cart = if at < CART_SWITCHED_US { &CART_OLD } else { &CART_NEW };
    let pods: [Option<&Pod>; 5] =
        [Some(&FRONTEND), Some(&CHECKOUT), Some(cart), Some(&CATALOG), payments_at(at)];
    let pick = script.between(0, 4);
    let chosen = pods.into_iter().zip(0..).find(|(_, index)| *index == pick);
    let Some((Some(pod), _)) = chosen else { return };
    let text = match script.between(0, 2) {
        0 => "level=info msg=\"health check\" path=/healthz status=200".to_owned(),
        1 => format!("level=info msg=\"gc\" pause_us={}", script.between(180, 2_400)),
        _ => format!(
            "level=debug msg=\"pool\" open={} idle={}",
            script.between(2, 9),
            script.between(0, 4)
        ),
    };
    script.add(Draft::new(at, Source::App, Kind::Log, &pod.container()).message(text));
}
