//! Objects of the Kubernetes API as JSON or YAML: what `kubectl get -o json` prints, and what
//! support bundles hold.
//!
//! # Shape
//! A file is an object, a list of objects, or several of either; a directory is read with all below
//! it. All of it is one cluster at one moment, told as the collector tells its first list: the
//! same translation, the same ids. Only what does not come from a server (a manifest that somebody
//! wrote) is refused, for it says what is wanted and not what is.
//!
//! # Times
//! The moment is the latest time that an object mentions. What stands at that moment is told within
//! half a minute before it, in the order in which it came to be: see [`clock`]. An Event of a thing
//! that is well again stays where it was.
//!
//! A row of the account is what says something: an event told, or something that cannot be read. An
//! object with which all is well is none.

pub(super) mod clock;
pub(super) mod documents;
pub(super) mod files;
pub(super) mod moment;

use std::{ffi::OsStr, path::Path, sync::Arc};

use tapio_collect::Binder;

use self::{
    documents::{Documents, OBJECTS_MAX},
    files::{Budget, Found, Source},
    moment::{Detail, Moment, Object},
};
use crate::{ImportAccount, ImportError, Importer, Input, Recording};

/// Endings of the files that are read.
const ENDINGS: &[&str] = &["json", "yaml", "yml"];

/// The importer.
#[derive(Debug)]
pub(super) struct Format;

impl Importer for Format {
    fn name(&self) -> &'static str {
        "k8s-objects"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["kubernetes", "support-bundle"]
    }

    fn about(&self) -> &'static str {
        "objects of the Kubernetes API: JSON or YAML files, or a directory of them"
    }

    fn detects(&self, path: &Path) -> bool {
        let Ok(found) = files::find(path, is_ours) else { return false };
        found.any_head(|head| {
            let head = String::from_utf8_lossy(head);
            head.contains("apiVersion") && head.contains("kind")
        })
    }

    fn open(&self, input: Input, binder: Arc<Binder>) -> Result<Box<dyn Recording>, ImportError> {
        let mut account = ImportAccount::default();
        let found = match input {
            Input::Stream(stream) => Found::of_stream(stream),
            Input::Path(path) => files::find(&path, is_ours)
                .map_err(|error| ImportError::Read { path: path.clone(), error })?,
        };
        let mut moment = Moment::default();
        let mut bytes = 0;
        let mut budget = Budget::default();
        for source in found.sources() {
            let text = match source.read(&mut budget) {
                Ok(text) => text,
                Err(rejected) => {
                    account.reject(rejected);
                    continue;
                }
            };
            bytes += files::to_u64(text.len());
            take(source, &text, &mut moment, &mut account);
        }
        let end = moment.latest();
        let told = moment.tell(end, &mut account);
        Ok(Box::new(told.bind(&binder, account, bytes)))
    }
}

/// Takes the objects of one file.
fn take(source: &Source, text: &[u8], moment: &mut Moment, account: &mut ImportAccount) {
    for document in Documents::read(source, text) {
        let object = match document {
            Ok(object) if moment.len() >= OBJECTS_MAX => {
                Err(source.reject(0, "full", format!("{} is one too many", object.kind)))
            }
            Ok(object) => Ok(object),
            Err(rejected) => Err(rejected),
        };
        match object {
            Ok(document) => moment.add(Object {
                key: document.key(),
                kind: document.kind,
                json: document.json,
                detail: Detail::Whole,
                file: source.name(),
            }),
            Err(rejected) => account.reject(rejected),
        }
    }
}

fn is_ours(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
pub(super) mod tests;
