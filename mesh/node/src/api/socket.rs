//! The socket's file: who may have it, and when an old one goes.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// Why the local interface cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process serves there.
    #[error("tapio is already up at {path}; stop it first, or name another socket")]
    AlreadyUp {
        /// The socket.
        path: PathBuf,
    },
    /// There is a file, and it is not a socket.
    #[error("{path} is not a socket; Tapio leaves it alone: name another socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {path}: {source}; name a socket in a directory of yours")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket's file, ours until dropped.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    is_removed: bool,
    /// Held as long as we live: between "nobody answers" and "removed" nobody else may bind.
    /// Its file stays, because removing a lock's file lets two processes hold it.
    _lock: File,
}

impl Socket {
    /// Listens on `path`, in place of a socket whose process is gone.
    pub(super) async fn bind(path: &Path) -> Result<(Self, UnixListener), ServeError> {
        let listen = |source| ServeError::Listen { path: path.to_owned(), source };
        let lock = lock(path)?;
        remove_stale(path).await?;
        let socket = UnixSocket::new_stream().map_err(listen)?;
        socket.bind(path).map_err(listen)?;
        let own = Self { path: path.to_owned(), is_removed: false, _lock: lock };
        // Between binding and listening, when nobody can connect yet.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(listen)?;
        let listener = socket.listen(BACKLOG).map_err(listen)?;
        Ok((own, listener))
    }

    /// Removes the file: whoever comes now learns that nobody is up.
    pub(super) fn remove(&mut self) {
        if !self.is_removed {
            self.is_removed = true;
            // Gone already is as good.
            drop(fs::remove_file(&self.path));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.remove();
    }
}

fn lock(path: &Path) -> Result<File, ServeError> {
    let listen = |source| ServeError::Listen { path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(name);
    let file = file.map_err(listen)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::AlreadyUp { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(listen(source)),
    }
}

async fn remove_stale(path: &Path) -> Result<(), ServeError> {
    let owned = || path.to_owned();
    let is_socket = match fs::symlink_metadata(path) {
        Ok(file) => file.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ServeError::Listen { path: owned(), source }),
    };
    if !is_socket {
        return Err(ServeError::NotASocket { path: owned() });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| ServeError::Listen { path: owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog is an error too, and a sign of life.
        Ok(_) | Err(_) => Err(ServeError::AlreadyUp { path: owned() }),
    }
}
