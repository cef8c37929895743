//! Runs of a schedule: a `CronJob` makes a Job each time, and is what people know.

/// Minutes since 1970 with which a `CronJob` ends its Jobs' names: from 2016, when `CronJob`s
/// came, to the end of the eighth digit. A date such as 20260302 lies below.
const MINUTES: std::ops::RangeInclusive<u64> = 24_200_000..=99_999_999;

/// Seconds since 1970, as servers before 1.21 wrote. A date and hour such as 2026030210 lies above.
const SECONDS: std::ops::RangeInclusive<u64> = 1_450_000_000..=1_999_999_999;

/// Returns the name of the `CronJob` that made a Job of this name: what precedes the time at its
/// end.
///
/// The name alone decides, for it is all that every host knows of a pod's Job: who sees the Job,
/// and who sees only its pods, must come to one workload. A Job of somebody else's that is named
/// like a run is taken for one by everybody alike.
#[must_use]
pub fn schedule_of(job: &str) -> Option<&str> {
    let (schedule, time) = job.rsplit_once('-')?;
    let is_number = !time.starts_with('0') && time.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = time.parse().ok().filter(|_| is_number)?;
    let is_time = MINUTES.contains(&number) || SECONDS.contains(&number);
    (is_time && !schedule.is_empty()).then_some(schedule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_at_the_end_of_a_name_tells_the_schedule() {
        let table = [
            ("backup-29000000", Some("backup")),
            ("nightly-report-29540160", Some("nightly-report")),
            ("backup-1772445600", Some("backup")),
            ("import-7", None),
            ("import-20260302", None),
            ("import-2026030210", None),
            ("import-029000000", None),
            ("import-+29000000", None),
            ("import-29000000x", None),
            ("import-99999999999999999999999", None),
            ("-29000000", None),
            ("29000000", None),
            ("import", None),
            ("", None),
        ];
        for (job, schedule) in table {
            assert_eq!(schedule_of(job), schedule, "{job}");
        }
    }
}
