//! Ages and dates, as kubectl prints them.

use std::time::Duration;

use tapio_model::Timestamp;

use crate::importers::k8s_objects::clock;

/// What is earlier is the zero of somebody's clock.
const EARLIEST: Timestamp = Timestamp::from_secs(365 * 86_400);

/// Reads `58m`, `3m19s`, `2d17h`; `<unknown>` is none.
pub(super) fn age(text: &str) -> Option<Duration> {
    const UNITS: &[(char, u64)] =
        &[('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800), ('y', 31_536_000)];
    let mut seconds = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(end)?;
        let unit = after.chars().next()?;
        let (_, of_unit) = UNITS.iter().find(|(known, _)| *known == unit)?;
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*of_unit)?)?;
        rest = after.get(unit.len_utf8()..)?;
    }
    Some(Duration::from_secs(seconds))
}

/// When an Event was seen last and first, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) last: Option<Duration>,
    pub(super) first: Option<Duration>,
    pub(super) count: i64,
}

/// Reads `3m19s (x256 over 58m)`.
pub(super) fn sight(text: &str) -> Sight {
    let (last, rest) = text.split_once(" (x").unwrap_or((text, ""));
    let (count, first) = rest.trim_end_matches(')').split_once(" over ").unwrap_or(("1", last));
    let last = age(last);
    Sight { last, first: age(first).or(last), count: count.trim().parse().unwrap_or(1).max(1) }
}

/// Reads `Tue, 12 Aug 2025 05:45:20 +0200`, or a time as the API writes it.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // The day of the week says nothing that the date does not, and may be wrong.
    let day = text.split_once(", ").map_or(text, |(_, day)| day);
    let of_mail = || clock::settle(jiff::fmt::rfc2822::parse(day).ok()?.timestamp());
    // `2025-08-12 05:45:20 +0200 CEST`: the zone's name says nothing that the offset does not.
    let of_words = || {
        let mut words = text.split_whitespace();
        let (day, time, zone) = (words.next()?, words.next()?, words.next()?);
        let time = jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", format!("{day}T{time}{zone}"));
        clock::settle(time.ok()?)
    };
    clock::parse(text).or_else(of_mail).or_else(of_words).filter(|time| *time > EARLIEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ages_and_dates_are_read_as_kubectl_prints_them() {
        for (text, want) in [
            ("0s", Some(0)),
            ("3m19s", Some(199)),
            ("2d17h", Some(234_000)),
            ("1y3d", Some(31_795_200)),
            ("<unknown>", None),
            ("99999999999999999999d", None),
            ("", None),
            ("12", None),
        ] {
            assert_eq!(age(text).map(|age| age.as_secs()), want, "{text}");
        }
        let want = Some(Timestamp::from_secs(1_754_970_320));
        assert_eq!(date("Tue, 12 Aug 2025 05:45:20 +0200"), want);
        assert_eq!(date("Fri, 12 Aug 2025 05:45:20 +0200"), want);
        assert_eq!(date("2025-08-12T03:45:20Z"), want);
        assert_eq!(date("2025-08-12 05:45:20 +0200 CEST"), want);
        assert_eq!(date("Thu, 01 Jan 1970 01:00:00 +0100"), None);
    }

    #[test]
    fn a_sight_is_last_first_and_how_often() {
        let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
        let often = Sight { last: minutes(3), first: minutes(58), count: 256 };
        assert_eq!(sight("3m (x256 over 58m)"), often);
        assert_eq!(sight("5m"), Sight { last: minutes(5), first: minutes(5), count: 1 });
        assert_eq!(sight("<unknown>"), Sight { last: None, first: None, count: 1 });
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            age(&text);
            sight(&text);
            date(&text);
        }
    }
}
