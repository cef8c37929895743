//! No node ends by itself.

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let say = |crash: &crate::record::Crash| {
        let last = crash.log_tail.lines().next_back().unwrap_or_default();
        format!("{} ended by itself: {last}", crash.node)
    };
    record.crashes.iter().map(say).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{invariants::sample, record::Crash};

    #[test]
    fn a_crash_is_seen_with_its_last_word() {
        let mut record = sample::good();
        let (node, log_tail) = ("tapio-0".into(), "one\ntwo\n".to_owned());
        record.crashes.push(Crash { at: Duration::ZERO, node, log_tail });
        assert_eq!(check(&record), ["tapio-0 ended by itself: two"]);
    }
}
