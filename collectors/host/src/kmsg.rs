//! The kernel log: out-of-memory kills, I/O and filesystem errors, hung tasks.

mod assembler;
mod message;
mod oom;
mod record;

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    fs::OFlags,
    time::{ClockId, clock_gettime},
};
use tapio_collect::{Collector, CollectorError, DropReason, Outlet, Stop};
use tapio_model::Clock;
use tokio::{
    io::unix::AsyncFd,
    time::{sleep, timeout},
};
use tracing::debug;

pub(crate) use self::{
    assembler::{Assembler, JOIN_MAX},
    record::Record,
};
use crate::{
    harvest::Harvest,
    lines::{Lines, Piece},
};

/// Bytes of one read: twice the largest record any kernel writes (8 KiB).
const READ_BYTES: usize = 16_384;

/// Bytes of a line; only a file that poses as the kernel log could exceed it.
const LINE_BYTES_MAX: usize = 65_536;

/// How long to wait at the end of a file that cannot be polled.
const IDLE: Duration = Duration::from_millis(20);

/// How the kernel log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsgConfig {
    /// The device, or a file or FIFO with the same records.
    pub path: PathBuf,
    /// The file with the boot's id, which makes event ids unique across boots.
    pub boot_id_path: PathBuf,
    /// Whether to begin with the oldest record, rather than with the next.
    pub from_start: bool,
}

impl Default for KmsgConfig {
    fn default() -> Self {
        Self {
            path: "/dev/kmsg".into(),
            boot_id_path: "/proc/sys/kernel/random/boot_id".into(),
            from_start: false,
        }
    }
}

/// Reads the kernel log.
#[derive(Debug)]
pub struct KmsgCollector {
    config: KmsgConfig,
    clock: Arc<dyn Clock>,
}

impl KmsgCollector {
    /// Makes a collector; nothing is opened before it runs.
    #[must_use]
    pub fn new(config: KmsgConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock }
    }

    fn open(&self) -> io::Result<File> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&self.config.path)?;
        if !self.config.from_start {
            // A FIFO cannot seek, and has no past.
            drop(file.seek(SeekFrom::End(0)));
        }
        Ok(file)
    }

    fn absent(&self, error: &io::Error) -> CollectorError {
        let cure = if error.kind() == ErrorKind::PermissionDenied {
            "run as root, grant CAP_SYSLOG, or set kernel.dmesg_restrict=0"
        } else {
            "mount the host's /dev/kmsg, or switch this collector off"
        };
        CollectorError::Absent {
            source_name: self.config.path.display().to_string(),
            why: error.to_string(),
            cure: cure.into(),
        }
    }
}

#[async_trait]
impl Collector for KmsgCollector {
    fn name(&self) -> &'static str {
        "kmsg"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let file = self.open().map_err(|error| self.absent(&error))?;
        let mut log = LogFile::new(file).map_err(|error| self.absent(&error))?;
        let boot_id = std::fs::read_to_string(&self.config.boot_id_path).unwrap_or_default();
        let mut reading = Reading::new(boot_id.trim().as_bytes());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let wait = if reading.assembler.is_waiting() { JOIN_MAX } else { Duration::MAX };
            let read = tokio::select! {
                biased;
                read = timeout(wait, log.read(&mut buffer)) => read,
                () = stop.stopped() => break,
            };
            let mut harvest = Harvest::default();
            match read {
                Ok(Ok(0)) => {
                    tokio::select! {
                        () = sleep(IDLE) => {}
                        () = stop.stopped() => break,
                    }
                    reading.idle(IDLE, &mut harvest);
                }
                Ok(Ok(bytes)) => {
                    let chunk = buffer.get(..bytes).unwrap_or_default();
                    reading.take(chunk, self.clock.as_ref(), &mut harvest);
                }
                Ok(Err(error)) => Reading::trouble(&error, &self.config.path, &mut harvest)?,
                Err(_elapsed) => reading.assembler.flush(&mut harvest),
            }
            harvest.pass_on(&outlet).await?;
            if stop.is_stopped() {
                break;
            }
        }
        let mut harvest = Harvest::default();
        reading.assembler.flush(&mut harvest);
        harvest.pass_on(&outlet).await
    }
}

/// The open log: polled if the kernel can, else read again and again.
enum LogFile {
    Polled(AsyncFd<File>),
    Plain(File),
}

impl LogFile {
    fn new(file: File) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "the successor is unsafe for the sake of fds that are not owned; a `File` is"
        )]
        let polled = AsyncFd::try_new(file);
        match polled {
            Ok(polled) => Ok(Self::Polled(polled)),
            Err(refused) => {
                let (file, error) = refused.into_parts();
                // A regular file cannot be polled; anything else is a real error.
                if error.kind() == ErrorKind::PermissionDenied {
                    Ok(Self::Plain(file))
                } else {
                    Err(error)
                }
            }
        }
    }

    /// # Cancel safety
    /// Dropping the future reads nothing.
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Polled(polled) => loop {
                let mut ready = polled.readable().await?;
                if let Ok(read) = ready.try_io(|file| file.get_ref().read(buffer)) {
                    return read;
                }
            },
            Self::Plain(file) => file.read(buffer),
        }
    }
}

/// The reader's state between two reads.
struct Reading {
    lines: Lines,
    assembler: Assembler,
    next_seq: Option<u64>,
    idle: Duration,
}

impl Reading {
    fn new(boot_id: &[u8]) -> Self {
        Self {
            lines: Lines::new(LINE_BYTES_MAX, 0),
            assembler: Assembler::new(boot_id),
            next_seq: None,
            idle: Duration::ZERO,
        }
    }

    fn take(&mut self, chunk: &[u8], clock: &dyn Clock, harvest: &mut Harvest) {
        self.idle = Duration::ZERO;
        let now = clock.now();
        let uptime = uptime();
        let mut pieces = Vec::new();
        self.lines.push(chunk, |piece| pieces.push(piece));
        for piece in pieces {
            let Piece::Line { bytes, .. } = piece else {
                harvest.lose(DropReason::TooLarge, 1);
                continue;
            };
            // ` KEY=value` belongs to the record before it and says nothing that its text does not.
            if bytes.is_empty() || bytes.first() == Some(&b' ') {
                continue;
            }
            let Some(record) = Record::parse(&bytes) else {
                harvest.lose(DropReason::Malformed, 1);
                continue;
            };
            let lost = self.next_seq.map_or(0, |next| record.seq.saturating_sub(next));
            harvest.lose(DropReason::Overrun, lost);
            self.next_seq = Some(record.seq.saturating_add(1));
            self.assembler.observe(&record, record.wall_time(now, uptime), harvest);
        }
    }

    fn idle(&mut self, by: Duration, harvest: &mut Harvest) {
        self.idle += by;
        if self.idle >= JOIN_MAX {
            self.assembler.flush(harvest);
        }
    }

    fn trouble(
        error: &io::Error,
        path: &std::path::Path,
        harvest: &mut Harvest,
    ) -> Result<(), CollectorError> {
        let kind = error.kind();
        // Overwritten before it was read: the next record's number tells how much.
        let is_overrun = kind == ErrorKind::BrokenPipe;
        if kind == ErrorKind::InvalidInput {
            // The record is longer than the buffer, and behind us.
            harvest.lose(DropReason::TooLarge, 1);
        } else if is_overrun {
            debug!("the kernel log was overrun");
        } else if kind != ErrorKind::Interrupted {
            return Err(CollectorError::Broken {
                source_name: path.display().to_string(),
                why: error.to_string(),
            });
        }
        Ok(())
    }
}

/// Returns how long the kernel's monotonic clock has run.
fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests;
