//! Reading ahead: a second thread parses while the first one thinks.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::Builder,
};

use tapio_model::Event;

use crate::{ImportAccount, ImportError, Progress, Recording, RecordingHeader};

/// Chunks that wait between the two threads at most.
pub const READ_AHEAD_CHUNKS_MAX: usize = 8;

/// A recording that a thread of its own reads.
///
/// Account and progress are those of the chunk that was handed out last, so that they agree with
/// what the reader of this has seen.
pub struct ReadAhead {
    chunks: Receiver<Chunk>,
    account: ImportAccount,
    progress: Progress,
    header: Option<RecordingHeader>,
    has_ended: bool,
}

struct Chunk {
    events: Vec<Arc<Event>>,
    more: Result<bool, ImportError>,
    account: ImportAccount,
    progress: Progress,
    header: Option<RecordingHeader>,
}

impl ReadAhead {
    /// Starts reading; dropping the result stops the thread at its next chunk.
    ///
    /// # Errors
    /// [`ImportError::Thread`] if the system has no thread to give.
    pub fn start(mut recording: Box<dyn Recording>) -> Result<Self, ImportError> {
        let (sender, chunks) = sync_channel(READ_AHEAD_CHUNKS_MAX);
        let read = move || {
            loop {
                let mut events = Vec::new();
                let more = recording.next_chunk(&mut events);
                let goes_on = matches!(more, Ok(true));
                let account = recording.account().clone();
                let progress = recording.progress();
                let header = recording.header().cloned();
                // A refused chunk means that nobody reads any more.
                let sent = sender.send(Chunk { events, more, account, progress, header });
                if sent.is_err() || !goes_on {
                    return;
                }
            }
        };
        // Detached on purpose: it ends with its recording or with its reader, whichever is first.
        Builder::new().name("tapio-import".to_owned()).spawn(read).map_err(ImportError::Thread)?;
        let account = ImportAccount::default();
        let progress = Progress::default();
        Ok(Self { chunks, account, progress, header: None, has_ended: false })
    }
}

impl Recording for ReadAhead {
    fn next_chunk(&mut self, chunk: &mut Vec<Arc<Event>>) -> Result<bool, ImportError> {
        if self.has_ended {
            return Ok(false);
        }
        let Ok(mut next) = self.chunks.recv() else {
            self.has_ended = true;
            return Err(ImportError::ThreadEnded);
        };
        chunk.append(&mut next.events);
        self.account = next.account;
        self.progress = next.progress;
        self.header = next.header;
        self.has_ended = !matches!(next.more, Ok(true));
        next.more
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn account(&self) -> &ImportAccount {
        &self.account
    }

    fn header(&self) -> Option<&RecordingHeader> {
        self.header.as_ref()
    }
}

impl fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAhead")
            .field("account", &self.account)
            .field("progress", &self.progress)
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}
