//! Things of this machine that only one process may hold, marked by locked files.
//!
//! The kernel frees a lock with its holder, so a killed test run leaves nothing taken.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::getuid;

/// Takes `name` among the things of a `kind`, if no other process of this user holds it; it is
/// held until the file is dropped.
pub(crate) fn try_take(kind: &str, name: &str) -> io::Result<Option<File>> {
    let directory = std::env::temp_dir().join(format!("tapio-chaos-{kind}-{}", getuid().as_raw()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let file = File::create(directory.join(name))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
