//! The formats there are.

use std::{path::Path, sync::Arc};

use tapio_collect::Binder;

use crate::{ImportError, Importer, Input, Recording};

macro_rules! importers {
    ($($format:ident),+ $(,)?) => {
        $(mod $format;)+

        /// Returns every importer, in the order in which they are asked whether a path is theirs.
        #[must_use]
        pub fn importers() -> &'static [&'static dyn Importer] {
            &[$(&$format::Format),+]
        }
    };
}

/// Returns the service that a pod's name speaks of: without the last two parts, the hashes of
/// ReplicaSet and pod.
pub(crate) fn service_of_pod(pod: &str) -> &str {
    pod.rsplitn(3, '-').nth(2).unwrap_or(pod)
}

// A format is a file below `importers/` that has a `Format`, and a word here.
importers! {
    tapio,
    nezha,
    kubectl,
    k8s_objects,
}

/// Returns the importer of our own format.
pub(crate) const fn tapio() -> impl Importer {
    tapio::Format
}

/// Returns the importer that goes by `name`.
#[must_use]
pub fn importer(name: &str) -> Option<&'static dyn Importer> {
    let is_called =
        |importer: &&dyn Importer| importer.name() == name || importer.aliases().contains(&name);
    importers().iter().copied().find(is_called)
}

/// Returns the name of the format that `path` looks like.
#[must_use]
pub fn detect_format(path: &Path) -> Option<&'static str> {
    importers().iter().find(|importer| importer.detects(path)).map(|importer| importer.name())
}

/// Opens a recording in the format that is named, or in the one it looks like. A stream of no
/// named format is read as our own.
///
/// # Errors
/// [`ImportError`] if the format is unknown or the recording cannot be opened.
pub fn open_recording(
    format: Option<&str>,
    input: Input,
    binder: Arc<Binder>,
) -> Result<Box<dyn Recording>, ImportError> {
    let chosen: &dyn Importer = match (format, &input) {
        (Some(name), _) => importer(name)
            .ok_or_else(|| ImportError::UnknownFormat { name: name.to_owned(), known: known() })?,
        (None, Input::Stream(_)) => &tapio::Format,
        (None, Input::Path(path)) => {
            // A path that is not there says so, rather than that its format is unknown.
            std::fs::metadata(path)
                .map_err(|error| ImportError::Read { path: path.clone(), error })?;
            detect_format(path).and_then(importer).ok_or_else(|| ImportError::Undetected {
                what: input.to_string(),
                known: known(),
            })?
        }
    };
    chosen.open(input, binder)
}

fn known() -> String {
    importers().iter().map(|importer| importer.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tapio_collect::Home;

    use super::*;

    #[test]
    fn names_and_aliases_are_unique() {
        let names = importers()
            .iter()
            .flat_map(|importer| {
                [importer.name()].iter().chain(importer.aliases()).copied().collect::<Vec<_>>()
            })
            .collect::<Vec<_>>();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        assert_eq!(importer("trainticket").map(|found| found.name()), Some("nezha"));
    }

    #[test]
    fn says_what_is_missing() {
        let binder = Arc::new(Binder::new(Home::default()));
        let refused = |format, input| {
            open_recording(format, input, Arc::clone(&binder)).err().map(|error| error.to_string())
        };
        let stream = || Input::from_static(b"");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let nothing = Input::Path(directory.path().join("nothing.jsonl"));
        assert_eq!(
            refused(Some("pcap"), stream()).as_deref(),
            Some("unknown format \"pcap\": write one of tapio, nezha, kubectl, k8s-objects")
        );
        assert!(refused(None, nothing).is_some_and(|text| text.starts_with("cannot read ")));
        let empty = Input::Path(directory.path().to_path_buf());
        assert!(
            refused(None, empty).is_some_and(|text| text.starts_with("cannot tell the format"))
        );
        assert!(refused(Some("nezha"), stream()).is_some_and(|text| text.contains("a directory")));
    }
}
