//! A disk that can be filled.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::real::{Need, NeedError, RealError};

/// How much the ballast takes at a time: the room that is left when it no longer fits.
const BALLAST_STEP_BYTES: usize = 4096;

/// A small filesystem in memory, unmounted when dropped.
///
/// A process that is killed leaves it mounted, as a directory `tapio-disk-*` of the temporary one.
#[derive(Debug)]
pub struct FullDisk {
    directory: TempDir,
}

impl FullDisk {
    /// Mounts a filesystem that holds `bytes`.
    ///
    /// # Errors
    /// [`NeedError`] when this user may not mount.
    pub fn mount(bytes: u64) -> Result<Self, NeedError> {
        if !geteuid().is_root() {
            return Err(NeedError::new(Need::Root, "a filesystem is mounted by root only"));
        }
        let need = |error: io::Error| NeedError::new(Need::Mount, error.to_string());
        let directory = tempfile::Builder::new().prefix("tapio-disk-").tempdir().map_err(need)?;
        let options = std::ffi::CString::new(format!("size={bytes},mode=700"))
            .map_err(|error| need(error.into()))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", directory.path(), "tmpfs", flags, options.as_c_str())
            .map_err(|error| need(error.into()))?;
        Ok(Self { directory })
    }

    /// Where it is mounted; a server's store goes into it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all room that is left, and returns how many bytes that were.
    ///
    /// # Errors
    /// [`RealError::Io`] when writing ends for another reason than that the disk is full.
    pub fn fill(&self) -> Result<u64, RealError> {
        let what = || RealError::io(format!("fill {}", self.path().display()));
        let mut ballast =
            File::options().create(true).append(true).open(self.ballast()).map_err(what())?;
        let step = [0_u8; BALLAST_STEP_BYTES];
        let mut taken = 0_u64;
        loop {
            match ballast.write(&step) {
                Ok(bytes) => taken = taken.saturating_add(u64::try_from(bytes).unwrap_or(0)),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(taken),
                Err(error) => return Err(what()(error)),
            }
        }
    }

    /// Gives back the room that [`Self::fill`] took.
    ///
    /// # Errors
    /// [`RealError::Io`] when it took none.
    pub fn free(&self) -> Result<(), RealError> {
        let what = RealError::io(format!("free {}", self.path().display()));
        fs::remove_file(self.ballast()).map_err(what)
    }

    fn ballast(&self) -> PathBuf {
        self.path().join(".ballast")
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        // Detached: a server that still has files open does not keep the directory.
        if let Err(error) = unmount(self.path(), UnmountFlags::DETACH) {
            tracing::warn!(%error, "a filesystem stays mounted");
        }
    }
}
