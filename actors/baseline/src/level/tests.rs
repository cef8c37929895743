//! What is a step, and what is none.

use proptest::prelude::*;

use super::*;

const RATE: Yardstick = Yardstick { times: 2.5, more: 20.0, is_count: true };

const DAY: usize = 24 * 60;

fn minute(number: usize) -> Timestamp {
    Timestamp::from_secs(i64::try_from(number * 60).unwrap())
}

/// Shows a level minute by minute what comes, and returns the minutes that were steps.
fn steps(values: impl IntoIterator<Item = f64>) -> Vec<(usize, Direction)> {
    let mut level = Level::daily();
    let mut steps = Vec::new();
    for (number, value) in values.into_iter().enumerate() {
        let step = level.judge(value, minute(number), &RATE);
        steps.extend(step.map(|step| (number, step.direction)));
        level.learn(value, minute(number), step.is_some(), 10);
    }
    steps
}

/// Returns a number near 1, the same for the same minute.
fn noise(number: usize, share: f64) -> f64 {
    let turn = u32::try_from(number * 7_919 % 1_000).unwrap();
    1.0 + share * (f64::from(turn) / 500.0 - 1.0)
}

fn sine(number: usize, of: usize) -> f64 {
    let number = u32::try_from(number % of).unwrap();
    let of = u32::try_from(of).unwrap();
    (std::f64::consts::TAU * f64::from(number) / f64::from(of)).sin()
}

proptest! {
    #[test]
    fn a_constant_is_never_a_step(level in 0.0..100_000.0_f64, share in 0.0..0.3_f64) {
        let told = steps((0..500).map(|number| level * noise(number, share)));
        prop_assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn a_ramp_is_never_a_step(level in 1.0..1_000.0_f64, gain in 0.85..1.2_f64) {
        let ramp = |number: usize| level * gain.powi(i32::try_from(number.clamp(60, 90) - 60).unwrap());
        let told = steps((0..200).map(ramp));
        prop_assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn a_day_is_never_a_step(level in 1.0..5_000.0_f64, times in 1.0..100.0_f64, share in 0.0..0.1_f64) {
        let day = |number| level * times.powf(sine(number, DAY) / 2.0) * noise(number, share);
        let told = steps((0..2 * DAY).map(day));
        prop_assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn a_step_by_a_factor_is_told_at_once_and_for_ten_minutes(
        level in 40.0..10_000.0_f64, times in 4.0..50.0_f64, share in 0.0..0.15_f64, is_up: bool,
    ) {
        let factor = if is_up { times } else { 1.0 / times };
        // There is less room below than above: of few, the fall is within chance (see below).
        let level = if is_up { level } else { 2.0 * level };
        let value = |number| {
            level * noise(number, share) * if number < 100 { 1.0 } else { factor }
        };
        let told = steps((0..200).map(value));
        let direction = if is_up { Direction::Rose } else { Direction::Fell };
        // What stays is normal then, and nothing is said until it is known.
        prop_assert_eq!(told, (100..=110).map(|number| (number, direction)).collect::<Vec<_>>());
    }

    #[test]
    fn of_few_a_fall_is_within_chance(level in 40.0..60.0_f64) {
        let told = steps((0..200).map(|number| if number < 100 { level } else { level / 4.0 }));
        prop_assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn nothing_is_told_before_ten_are_known(values in prop::collection::vec(0.0..1e9_f64, 0..=10)) {
        let told = steps(values.iter().copied());
        prop_assert!(told.iter().all(|(number, _)| *number == KNOWN_MIN), "{told:?}");
    }

    #[test]
    fn whatever_comes_is_borne(values in prop::collection::vec(any::<f64>(), 0..100)) {
        let told = steps(values.iter().copied());
        prop_assert!(told.len() <= values.len());
    }
}

#[test]
fn what_comes_at_its_hour_every_day_is_told_on_the_first() {
    let is_sale = |number: usize| (540..560).contains(&(number % DAY));
    let value = |number: usize| if is_sale(number) { 800.0 } else { 100.0 };
    let told = steps((0..3 * DAY).map(value));
    assert!(!told.is_empty() && told.iter().all(|(number, _)| *number < DAY), "{told:?}");
    // At another hour it is news.
    let value = |number: usize| if number == 2 * DAY + 900 { 800.0 } else { value(number) };
    let told = steps((0..3 * DAY).map(value));
    assert_eq!(told.last(), Some(&(2 * DAY + 900, Direction::Rose)));
}

#[test]
fn a_week_fades_what_an_hour_was() {
    let mut level = Level::daily();
    for number in 0..60 {
        level.learn(800.0, minute(number), false, 10);
    }
    let season = |days: usize| level.season(minute(days * DAY + 30)).map(|range| range.high);
    assert_eq!(season(0), None);
    assert_eq!(season(1), Some(800.0));
    assert!(season(7).is_some_and(|high| (500.0..600.0).contains(&high)), "{:?}", season(7));
}

#[test]
fn a_level_is_bounded() {
    let mut level = Level::daily();
    for number in 0..3 * DAY {
        level.learn(1.0, minute(number), false, 10);
    }
    assert!(level.bytes() < 4_096, "{}", level.bytes());
}
