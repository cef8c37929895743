//! Keeping what the senses bring: a recording of one's own cluster, to replay and to judge by.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

use anyhow::Context as _;
use tapio_bus::{Batch, Bus, Tapped};
use tapio_eval::{RecordingHeader, write_recording};
use tapio_model::{Clock, Event};
use tapio_wire::json::time_to_text;

use crate::out::errln;

/// Batches that wait for the disk at most; the senses wait for nobody.
const BATCHES_WAITING_MAX: usize = 4_096;

/// Writes what is published into a file, in the order of its arrival.
///
/// What the baseline says of telemetry is not in it: whoever replays a recording learns anew.
pub(super) struct Recorder {
    path: PathBuf,
    writer: JoinHandle<std::io::Result<u64>>,
    tap: Arc<Tap>,
}

/// Where batches go to be written.
struct Tap {
    /// Nothing once the recording has ended.
    writer: Mutex<Option<SyncSender<Events>>>,
    passed_over: AtomicU64,
}

type Events = Vec<Arc<Event>>;

impl Recorder {
    /// Taps `inner` and writes to a new file at `path`.
    ///
    /// # Errors
    /// What the system says to the file; one that is there already is not written over.
    pub(super) fn on(
        inner: Arc<dyn Bus>,
        path: &Path,
        clock: &dyn Clock,
    ) -> anyhow::Result<(Arc<dyn Bus>, Self)> {
        let said = || format!("{}: cannot record; name a new file with --record", path.display());
        let file = File::create_new(path).with_context(said)?;
        let title = path.file_stem().unwrap_or_default().to_string_lossy();
        let header = RecordingHeader::new(title, time_to_text(clock.now()));
        let (sender, batches) = sync_channel::<Events>(BATCHES_WAITING_MAX);
        let write = move || {
            let events = batches.iter().flatten();
            write_recording(&header, events, &mut BufWriter::new(file))
        };
        let writer = Builder::new().name("tapio-record".to_owned()).spawn(write)?;
        let writing = Mutex::new(Some(sender));
        let tap = Arc::new(Tap { writer: writing, passed_over: AtomicU64::new(0) });
        let hears = Arc::clone(&tap);
        let tapped = Tapped::new(inner, move |batch| hears.hand(batch));
        Ok((Arc::new(tapped), Self { path: path.to_owned(), writer, tap }))
    }

    /// Ends the recording: waits until all is on the disk, and says how much that is and what found
    /// no room.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.tap.end();
        let path = self.path.display();
        let written = self.writer.join().map_err(|_panic| anyhow::anyhow!("{path}: incomplete"))?;
        let written = written.with_context(|| format!("{path}: the recording is incomplete"))?;
        errln(format_args!("tapio: recorded {written} events in {path}"));
        let lost = self.tap.passed_over.load(Relaxed);
        if lost > 0 {
            errln(format_args!("tapio: the disk was too slow for {lost} events: not in {path}"));
        }
        Ok(())
    }
}

impl Tap {
    fn hand(&self, batch: &Batch) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = writer.as_ref().is_some_and(|it| it.try_send(batch.events.clone()).is_err());
        if is_lost {
            self.passed_over.fetch_add(batch.events.len() as u64, Relaxed);
        }
    }

    fn end(&self) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
