//! Opens the store's file, and refuses files that are not one.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Marks the file as ours in its header: "TAPI".
const APPLICATION_ID: i64 = 0x5441_5049;
/// The tables below. A change that older builds cannot read gets the next number.
const SCHEMA_VERSION: i64 = 1;
/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
    CREATE TABLE stories (
        id TEXT PRIMARY KEY,
        telling INTEGER NOT NULL,
        state TEXT NOT NULL,
        opened_at INTEGER NOT NULL,
        told_at INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        body BLOB NOT NULL
    );
    CREATE TABLE story_events (
        event BLOB NOT NULL,
        story TEXT NOT NULL,
        PRIMARY KEY (event, story)
    ) WITHOUT ROWID;
    CREATE INDEX story_events_story ON story_events (story);
    CREATE TABLE dead_letters (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        trace BLOB NOT NULL,
        reason TEXT NOT NULL,
        body BLOB NOT NULL
    );
";

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its directory cannot be made.
    #[error("cannot make the story store {path}: {source}; name a path that you may write to")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file belongs to something else.
    #[error("{path} is not a story store; name another file, Tapio leaves this one alone")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("the story store {path} is damaged; move it away and a new one is made")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer build.
    #[error(
        "the story store {path} has schema {found}, this build knows up to {known}; use a newer \
         tapio, or name another file"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this build knows.
        known: i64,
    },
    /// The database refused.
    #[error("the story store: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Opens or makes the file.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let unusable = |source| StoreError::Unusable { path: path.to_owned(), source };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    }
    // Made here because evidence may quote logs: SQLite would let everybody read the file.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(unusable)?;
    // Without URI parsing a path is only ever a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(StoreError::from)
        .and_then(|connection| prepare(&connection, path).map(|()| connection));
    connection.map_err(|error| explain(error, path))
}

/// Makes a store that ends with the process.
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    let connection = Connection::open_in_memory()?;
    prepare(&connection, Path::new(":memory:"))?;
    Ok(connection)
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, found) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        if found > SCHEMA_VERSION {
            let path = path.to_owned();
            return Err(StoreError::Newer { path, found, known: SCHEMA_VERSION });
        }
    } else {
        let tables = "SELECT COUNT(*) FROM sqlite_master";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
        if (application, found, tables) != (0, 0, 0) {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
    }
    // A commit then costs no flush. A power cut may take the last tellings, never the file.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    if application != APPLICATION_ID {
        make_tables(connection)?;
    }
    Ok(())
}

fn make_tables(connection: &Connection) -> rusqlite::Result<()> {
    // Immediate, and looked at again inside: two processes may both have found the file empty.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = connection
        .pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))
        .and_then(|application| {
            if application == APPLICATION_ID {
                return Ok(());
            }
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", SCHEMA_VERSION)
        });
    connection.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    made
}

fn explain(error: StoreError, path: &Path) -> StoreError {
    let StoreError::Database(database) = &error else { return error };
    let path = path.to_owned();
    match database.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            StoreError::Unusable { path, source: io::Error::other(database.to_string()) }
        }
        Some(_) | None => error,
    }
}
