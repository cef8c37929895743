//! Any sequence of append, acknowledge, crash and open, against a model.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        level: usize,
        events: u64,
    },
    /// Reads so many and acknowledges the first of them.
    Drain {
        level: usize,
        read: usize,
        acknowledge: usize,
    },
    /// Opens again without a goodbye.
    Crash,
    /// Kills the process at a byte of an append that was not answered.
    CrashWriting {
        level: usize,
        cut: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_usize, 1..4_u64).prop_map(|(level, events)| Step::Append { level, events }),
        3 => (0..3_usize, 1..5_usize, 0..5_usize)
            .prop_map(|(level, read, acknowledge)| Step::Drain { level, read, acknowledge }),
        1 => Just(Step::Crash),
        1 => (0..3_usize, any::<usize>()).prop_map(|(level, cut)| Step::CrashWriting { level, cut }),
    ];
    vec(step, 1..60)
}

/// What should be there: the batches of each level, each by its numbers.
#[derive(Debug, Default)]
struct Model {
    levels: [VecDeque<Vec<u64>>; 3],
    next: u64,
    appended: [u64; 3],
    acknowledged: [u64; 3],
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_reordered_or_counted_twice(steps in steps(), files in 1..8_u64) {
        let folder = folder();
        let limits = limits(files * 700 + 700, 700);
        let mut spool = Some(Spool::open(folder.path(), limits).expect("opened"));
        let mut model = Model::default();
        for step in steps {
            play(&mut spool, folder.path(), limits, &mut model, &step)?;
            let spool = spool.get_or_insert_with(|| Spool::open(folder.path(), limits).expect("opened"));
            check(spool, &mut model)?;
        }
    }
}

#[expect(clippy::unwrap_in_result, reason = "a test that cannot be set up has failed")]
fn play(
    slot: &mut Option<Spool>,
    folder: &Path,
    limits: SpoolLimits,
    model: &mut Model,
    step: &Step,
) -> Result<(), TestCaseError> {
    let Some(spool) = slot.as_mut() else { return Ok(()) };
    match *step {
        Step::Append { level, events } => append(spool, model, level, events),
        Step::Drain { level, read, acknowledge } => {
            let name = Level::ALL[level];
            let entries = spool.peek(name, read).expect("read");
            for (index, entry) in entries.iter().enumerate() {
                let front = model.levels[level].get(index).cloned().unwrap_or_default();
                prop_assert_eq!(numbers(&entry.batch.events), front);
            }
            for entry in entries.iter().take(acknowledge) {
                spool.acknowledge(name, entry, Fate::Taken);
                model.acknowledged[level] += u64::try_from(entry.batch.events.len()).expect("few");
                model.levels[level].pop_front();
            }
            spool.release(name);
        }
        Step::Crash => *slot = None,
        Step::CrashWriting { level, cut } => {
            let record = encode_batch(&batch(Level::ALL[level], 1, 0..2));
            let record = record::seal(&record, Label { events: 2, shard: ShardId::new(1) }, 11);
            *slot = None;
            let name = Level::ALL[level].name();
            let newest = fs::read_dir(folder)
                .expect("a folder")
                .filter_map(|file| Some(file.ok()?.path()))
                .filter(|path| {
                    path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
                })
                .max();
            if let Some(newest) = newest {
                let mut bytes = fs::read(&newest).expect("bytes");
                bytes.extend_from_slice(&record[..cut % record.len()]);
                fs::write(&newest, bytes).expect("written");
            }
        }
    }
    let _ = limits;
    Ok(())
}

fn append(spool: &mut Spool, model: &mut Model, level: usize, events: u64) {
    let numbers = model.next..model.next + events;
    model.next += events;
    model.appended[level] += events;
    if spool.append(&batch(Level::ALL[level], 1, numbers.clone())).is_ok() {
        model.levels[level].push_back(numbers.collect());
    }
}

/// Everything held is what the model holds but for what was dropped from its front, lowest first.
fn check(spool: &mut Spool, model: &mut Model) -> Result<(), TestCaseError> {
    let stats = spool.stats();
    prop_assert!(stats.held_bytes <= spool.limits.bytes_max);
    prop_assert_eq!(stats.damaged_events, [0; 3]);
    for level in 0..3 {
        let held = &mut model.levels[level];
        while held.iter().map(|one| u64::try_from(one.len()).expect("few")).sum::<u64>()
            > stats.held_events[level]
        {
            held.pop_front();
        }
        let held: u64 = held.iter().map(|one| u64::try_from(one.len()).expect("few")).sum();
        prop_assert_eq!(held, stats.held_events[level]);
        prop_assert_eq!(
            model.appended[level],
            model.acknowledged[level] + held + stats.dropped_events[level]
        );
    }
    Ok(())
}
