//! How far each resource has been told: what makes a restart continue.

use std::{
    collections::BTreeMap,
    fmt, io,
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Positions of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marks {
    /// Which cluster: a version means nothing in another one.
    pub cluster: String,
    /// The last resourceVersion told, by resource and namespace.
    pub versions: BTreeMap<String, String>,
}

/// Keeps positions from one run to the next.
pub trait Positions: Send + Sync + fmt::Debug {
    /// Returns what was saved last; nothing at the first run.
    ///
    /// # Errors
    /// Those of the medium.
    fn load(&self) -> io::Result<Marks>;

    /// Saves, in whole or not at all.
    ///
    /// # Errors
    /// Those of the medium.
    fn save(&self, marks: &Marks) -> io::Result<()>;
}

/// Positions in a file.
#[derive(Debug)]
pub struct FilePositions {
    path: PathBuf,
}

impl FilePositions {
    /// Makes positions that are kept in `path`; its directory exists.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Positions for FilePositions {
    fn load(&self) -> io::Result<Marks> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Marks::default()),
            Err(error) => Err(error),
        }
    }

    fn save(&self, marks: &Marks) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(marks)?)?;
        file.sync_all()?;
        std::fs::rename(new, &self.path)
    }
}

/// Positions that end with the process.
#[derive(Debug, Default)]
pub struct MemoryPositions(Mutex<Marks>);

impl Positions for MemoryPositions {
    fn load(&self) -> io::Result<Marks> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn save(&self, marks: &Marks) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(marks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_it_was_given_and_garbage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let positions = FilePositions::new(folder.path().join("positions.json"));
        assert_eq!(positions.load().unwrap(), Marks::default());
        let versions = [("pods".to_owned(), "17".to_owned())].into();
        let marks = Marks { cluster: "c".into(), versions };
        positions.save(&marks).unwrap();
        assert_eq!(positions.load().unwrap(), marks);
        std::fs::write(folder.path().join("positions.json"), b"{").unwrap();
        assert!(positions.load().is_err());
    }
}
