use tapio_model::Attributes;

use super::*;

const LIMITS: LoopLimits = LoopLimits { restarts_min: 3, within: Duration::from_secs(60) };
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const FAILED: &str = "d9b373ed55a64feb8242e02dbe79a49c";
const EXITED: &str = "98e322203f7a4ed290d09fe03c09fe15";
const RESTARTS: &str = "5eb03494b6584870a536b337290809b3";

/// The fields of an entry, and the event in short.
type Case = (&'static [(&'static str, &'static str)], Option<&'static str>);

const TRANSITIONS: &[Case] = &[
    (
        &[
            ("MESSAGE_ID", "7d4958e842da4a758f6c1cdc7b36dcc5"),
            ("MESSAGE", "Starting cart.service - Cart..."),
        ],
        None,
    ),
    (
        &[("MESSAGE_ID", STARTED), ("MESSAGE", "Started cart.service - Cart.")],
        Some("unit_changed started"),
    ),
    (
        &[
            ("MESSAGE_ID", "fe6faa94e7774663a0da52717891d8ef"),
            ("MESSAGE", "cart.service: A process of this unit has been killed by the OOM killer."),
        ],
        Some("unit_changed oom_killed"),
    ),
    (
        &[
            ("MESSAGE_ID", EXITED),
            ("MESSAGE", "cart.service: Main process exited, code=killed, status=9/KILL"),
            ("EXIT_CODE", "killed"),
            ("EXIT_STATUS", "9"),
        ],
        Some("unit_changed exited"),
    ),
    (
        &[
            ("MESSAGE_ID", FAILED),
            ("MESSAGE", "cart.service: Failed with result 'oom-kill'."),
            ("UNIT_RESULT", "oom-kill"),
        ],
        Some("unit_failed oom-kill"),
    ),
    (
        &[
            ("MESSAGE_ID", "be02cf6855d2428ba40df7e9d022f03d"),
            ("MESSAGE", "Failed to start cart.service - Cart."),
            ("JOB_RESULT", "failed"),
        ],
        None,
    ),
    (
        &[
            ("MESSAGE_ID", "be02cf6855d2428ba40df7e9d022f03d"),
            ("MESSAGE", "Dependency failed for cart.service - Cart."),
            ("JOB_RESULT", "dependency"),
        ],
        Some("unit_failed dependency"),
    ),
    (
        &[
            ("MESSAGE_ID", RESTARTS),
            ("MESSAGE", "cart.service: Scheduled restart job, restart counter is at 7."),
            ("N_RESTARTS", "7"),
        ],
        Some("unit_changed restart_scheduled 7"),
    ),
    (
        &[
            ("MESSAGE_ID", "9d1aaa27d60140bd96365438aad20286"),
            ("MESSAGE", "Stopped cart.service - Cart."),
        ],
        Some("unit_changed stopped"),
    ),
    (
        &[
            ("MESSAGE_ID", "7ad2d189f7e94e70a38c781354912448"),
            ("MESSAGE", "cart.service: Deactivated successfully."),
        ],
        Some("unit_changed deactivated"),
    ),
    (&[("MESSAGE", "cart.service: Failed with result 'timeout'.")], Some("unit_failed timeout")),
    (&[("MESSAGE", "cart.service: Failed with result 'watchdog'.")], Some("unit_failed watchdog")),
    (
        &[("MESSAGE", "cart.service: Scheduled restart job, restart counter is at 8.")],
        Some("unit_changed restart_scheduled 8"),
    ),
];

/// What systemd writes at a second.
fn observe(units: &mut Units, second: u64, fields: &[(&str, &str)]) -> Told {
    let all = [("_PID", "1"), ("UNIT", "cart.service")];
    let fields = fields.iter().chain(&all).map(|(name, value)| (*name, value.as_bytes()));
    let entry = Entry {
        boot_id: [7; 16],
        seqnum: second,
        realtime_usec: second * 1_000_000,
        monotonic_usec: second,
        fields: fields.collect(),
    };
    units.observe(&entry, EventId::default())
}

/// An event in short: kind, change or result or reason, count.
fn short(told: &Told) -> Option<String> {
    let Told::Event(event) = told else { return None };
    let said = Attributes::new(event.attributes.clone());
    let what =
        [keys::REASON, keys::CHANGE, keys::UNIT_RESULT].into_iter().find_map(|key| said.text(key));
    let count = said.int(keys::COUNT).map(|count| format!(" {count}")).unwrap_or_default();
    Some(format!("{} {}{count}", event.kind.name(), what.unwrap_or_default()))
}

#[test]
fn every_transition_is_told_once() {
    let mut units = Units::new(LIMITS);
    for (fields, want) in TRANSITIONS {
        let told = observe(&mut units, 1, fields);
        assert!(!matches!(told, Told::NoUnit), "{fields:?}");
        assert_eq!(short(&told).as_deref(), *want, "{fields:?}");
    }
    let told = observe(&mut units, 1, &[("MESSAGE", "Startup finished in 3s.")]);
    assert!(matches!(told, Told::NoUnit));
}

#[test]
fn a_failure_carries_how_its_process_ended() {
    for (text, key, status) in [
        ("cart.service: Main process exited, code=exited, status=203/EXEC", keys::EXIT_CODE, 203),
        ("cart.service: Main process exited, code=dumped, status=11/SEGV", keys::EXIT_SIGNAL, 11),
    ] {
        let mut units = Units::new(LIMITS);
        drop(observe(&mut units, 1, &[("MESSAGE_ID", EXITED), ("MESSAGE", text)]));
        let message = ("MESSAGE", "cart.service: Failed with result 'exit-code'.");
        let Told::Event(event) = observe(&mut units, 1, &[message]) else { panic!("{text}") };
        assert_eq!(Attributes::new(event.attributes).int(key), Some(status));
        let Told::Event(event) = observe(&mut units, 99, &[message]) else { panic!("{text}") };
        assert_eq!(Attributes::new(event.attributes).int(key), None);
    }
}

#[test]
fn a_loop_is_one_event_that_counts_and_not_a_flood() {
    let mut units = Units::new(LIMITS);
    let mut told = Vec::new();
    for round in 0..12 {
        for fields in [
            [("MESSAGE_ID", STARTED), ("MESSAGE", "Started cart.service - Cart.")],
            [("MESSAGE_ID", FAILED), ("MESSAGE", "cart.service: Failed with result 'exit-code'.")],
            [("MESSAGE_ID", RESTARTS), ("MESSAGE", "cart.service: Scheduled restart job.")],
        ] {
            told.extend(short(&observe(&mut units, 10 * round, &fields)));
        }
    }
    assert_eq!(
        told.split_off(8),
        ["unit_failed RestartLoop 3", "unit_failed RestartLoop 6", "unit_failed RestartLoop 12",]
    );
    let limit = [("MESSAGE", "cart.service: Failed with result 'start-limit-hit'.")];
    let hit = || Some("unit_failed start-limit-hit".to_owned());
    assert_eq!(short(&observe(&mut units, 121, &limit)), hit());
    assert_eq!(short(&observe(&mut units, 122, &limit)), None);
    // Up for long enough, it is a unit like any other.
    assert_eq!(short(&observe(&mut units, 200, &limit)), hit());
}

#[test]
fn restarts_far_apart_are_no_loop() {
    let mut units = Units::new(LIMITS);
    for round in 0..9 {
        let fields = [("MESSAGE_ID", RESTARTS), ("MESSAGE", "x"), ("N_RESTARTS", "4")];
        let told = observe(&mut units, 31 * round, &fields);
        assert_eq!(short(&told).as_deref(), Some("unit_changed restart_scheduled 4"));
    }
}

#[test]
fn containers_scopes_come_and_go_untold() {
    let mut units = Units::new(LIMITS);
    let fields = [("MESSAGE_ID", STARTED), ("MESSAGE", "Started x"), ("UNIT", "session-3.scope")];
    assert!(matches!(observe(&mut units, 1, &fields), Told::Nothing));
}

#[test]
fn units_past_the_limit_push_out_the_one_longest_unseen() {
    let mut units = Units::new(LIMITS);
    for number in 0..UNITS_MAX + 5 {
        let name = format!("u{number}.service");
        let second = u64::try_from(number).unwrap();
        let fields = [("MESSAGE_ID", STARTED), ("MESSAGE", "Started x"), ("UNIT", &name)];
        drop(observe(&mut units, second, &fields));
    }
    assert_eq!(units.known.len(), UNITS_MAX);
    assert!(!units.known.contains_key("u4.service") && units.known.contains_key("u5.service"));
}
