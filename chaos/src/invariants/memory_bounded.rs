//! No node holds more memory than it may.

use std::collections::BTreeMap;

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let bound = record.bounds.memory_bytes_max;
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in &record.memory {
        let bytes = most.entry(&sample.node).or_default();
        *bytes = (*bytes).max(sample.bytes);
    }
    let over = most.into_iter().filter(|(_, bytes)| *bytes > bound);
    over.map(|(node, bytes)| format!("{node} held {} MiB", bytes >> 20)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{invariants::sample, record::MemorySample};

    #[test]
    fn too_much_memory_is_seen_once_a_node() {
        let mut record = sample::good();
        let most = record.bounds.memory_bytes_max;
        for (bytes, violations) in [(most, 0), (most + 1, 1), (most + 2, 1)] {
            record.memory.push(MemorySample { at: Duration::ZERO, node: "tapio-0".into(), bytes });
            assert_eq!(check(&record).len(), violations, "{bytes}");
        }
    }
}
