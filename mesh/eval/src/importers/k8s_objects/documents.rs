//! The objects of a file.

use serde_json::{Deserializer, Value as Json};
use tapio_collect_kube::Resource;

use super::files::Source;
use crate::Rejected;

/// Objects of a recording: a cluster of Kubernetes' tested size has 150,000 pods.
pub(super) const OBJECTS_MAX: usize = 200_000;

/// An object of a kind.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::importers) struct Document {
    pub(in crate::importers) kind: String,
    pub(in crate::importers) json: Json,
}

/// The objects of a file, and what of it could not be read.
#[derive(Debug)]
pub(in crate::importers) struct Documents;

impl Documents {
    /// Reads objects, lists of them, and the events of a watch.
    pub(in crate::importers) fn read(
        source: &Source,
        text: &[u8],
    ) -> Vec<Result<Document, Rejected>> {
        let documents = Self::read_any(source, text).into_iter();
        let watched = |document: Document| match Resource::from_kind(&document.kind) {
            Some(_) => Ok(document),
            None => {
                let why = format!("objects of kind {:?} are not watched", document.kind);
                Err(source.reject(0, "kind", why))
            }
        };
        documents.map(|document| document.and_then(watched)).collect()
    }

    /// Reads the same, of kinds that nobody watches as well.
    pub(in crate::importers) fn read_any(
        source: &Source,
        text: &[u8],
    ) -> Vec<Result<Document, Rejected>> {
        let hint = hint(source);
        let mut documents = Vec::new();
        let mut take = |json: Json| unfold(source, json, hint.as_deref(), &mut documents);
        let first = text.trim_ascii_start().first().copied();
        if matches!(first, Some(b'{' | b'[')) {
            let mut read = Deserializer::from_slice(text).into_iter::<Json>();
            let error = loop {
                match read.next() {
                    None => break None,
                    Some(Ok(json)) => take(json),
                    Some(Err(error)) => break Some(error),
                }
            };
            documents.extend(
                error.map(|error| Err(source.reject(error.line(), "json", error.to_string()))),
            );
            return documents;
        }
        let text = String::from_utf8_lossy(text);
        let mut errors = Vec::new();
        for text in text.split("\n---").filter(|text| !text.trim().is_empty()) {
            match serde_saphyr::from_str::<Json>(text) {
                Ok(json) => take(json),
                Err(error) => errors.push(source.reject(0, "yaml", first_line(&error.to_string()))),
            }
        }
        documents.extend(errors.into_iter().map(Err));
        documents
    }
}

impl Document {
    /// Returns what tells the object from any other.
    pub(super) fn key(&self) -> String {
        let meta = |field: &str| {
            self.json.pointer(&format!("/metadata/{field}")).and_then(Json::as_str).unwrap_or("")
        };
        match meta("uid") {
            "" => format!("{}/{}/{}", self.kind, meta("namespace"), meta("name")),
            uid => format!("{}/{uid}", self.kind),
        }
    }
}

/// Takes lists apart.
fn unfold(
    source: &Source,
    mut json: Json,
    hint: Option<&str>,
    documents: &mut Vec<Result<Document, Rejected>>,
) {
    if let Json::Array(items) = json {
        items.into_iter().for_each(|item| documents.push(one(source, item, hint)));
        return;
    }
    let kind = json.get("kind").and_then(Json::as_str).map(str::to_owned);
    if let Some(Json::Array(items)) = json.get_mut("items").map(Json::take) {
        // A list that is told alone says the kind of its items once: `PodList`.
        let of_list = kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
        let hint = of_list.filter(|kind| !kind.is_empty()).or(hint);
        items.into_iter().for_each(|item| documents.push(one(source, item, hint)));
        return;
    }
    documents.push(one(source, json, hint));
}

fn one(source: &Source, mut json: Json, hint: Option<&str>) -> Result<Document, Rejected> {
    // What a watch prints: `{"type": "MODIFIED", "object": {…}}`.
    if json.get("type").is_some()
        && let Some(object) = json.get_mut("object").filter(|object| object.is_object())
    {
        json = object.take();
    }
    let kind = json.get("kind").and_then(Json::as_str).or(hint);
    let Some(kind) = kind.map(str::to_owned).filter(|_| json.is_object()) else {
        return Err(source.reject(0, "shape", "not an object of the Kubernetes API"));
    };
    let is_served = ["/metadata/uid", "/metadata/resourceVersion", "/metadata/creationTimestamp"]
        .iter()
        .any(|field| json.pointer(field).is_some_and(|value| !value.is_null()));
    if !is_served {
        let why = "not from a server: it has neither uid nor creationTimestamp";
        return Err(source.reject(0, "manifest", why));
    }
    Ok(Document { kind, json })
}

/// Returns the kind that file and folder are named by, for objects that do not say it: `pods.json`,
/// `pods/default.json`.
fn hint(source: &Source) -> Option<String> {
    let path = source.path()?;
    let folder = path.parent().and_then(|folder| folder.file_name());
    let names = [path.file_stem(), folder];
    let mut names = names.into_iter().flatten().filter_map(|name| name.to_str());
    names.find_map(|name| match name {
        "pvcs" => Some(Resource::PersistentVolumeClaims.kind()),
        "pvs" => Some(Resource::PersistentVolumes.kind()),
        name => Resource::from_name(name).map(Resource::kind),
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
