//! Attribute values, bounded.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use serde_json::json;
use tapio_collect::Unbound;
use tapio_model::{Text, Value};

use super::{DROPPED, TRUNCATED};
use crate::Limits;

/// Attributes to keep before others when there are too many: they say whom the record talks to and
/// what went wrong.
const FIRST: [&str; 11] = [
    "db.",
    "rpc.",
    "http.",
    "url.",
    "messaging.",
    "server.",
    "network.",
    "net.",
    "error.",
    "exception.",
    "k8s.",
];

/// Finds the first of `keys` that has a value.
pub(super) fn find<'a>(attributes: &'a [KeyValue], keys: &[&str]) -> Option<&'a Any> {
    keys.iter().find_map(|key| {
        let found = attributes.iter().find(|attribute| attribute.key == *key)?;
        found.value.as_ref()?.value.as_ref()
    })
}

/// Finds the first of `keys` that has a value, as text; empty text is no value.
pub(super) fn find_text<'a>(attributes: &'a [KeyValue], keys: &[&str]) -> Option<Cow<'a, str>> {
    keys.iter().find_map(|key| text(find(attributes, &[key])?).filter(|text| !text.is_empty()))
}

/// Finds the first of `keys` that has a value, as a whole number.
pub(super) fn find_int(attributes: &[KeyValue], keys: &[&str]) -> Option<i64> {
    match find(attributes, keys)? {
        Any::IntValue(number) => Some(*number),
        // Some instrumentations send the status code or the port as text.
        Any::StringValue(text) => text.parse().ok(),
        Any::BoolValue(_)
        | Any::DoubleValue(_)
        | Any::ArrayValue(_)
        | Any::KvlistValue(_)
        | Any::BytesValue(_)
        | Any::StringValueStrindex(_) => None,
    }
}

/// Returns a value as text: what is not text already, as JSON. `None` for an index into a
/// dictionary, which only profiles have.
pub(super) fn text(value: &Any) -> Option<Cow<'_, str>> {
    match value {
        Any::StringValue(text) => Some(Cow::Borrowed(text)),
        Any::BoolValue(_)
        | Any::IntValue(_)
        | Any::DoubleValue(_)
        | Any::ArrayValue(_)
        | Any::KvlistValue(_)
        | Any::BytesValue(_) => Some(Cow::Owned(tree(value).to_string())),
        Any::StringValueStrindex(_) => None,
    }
}

/// As deep as the request's own nesting, which its decoder has bounded.
fn tree(value: &Any) -> serde_json::Value {
    let of =
        |value: &Option<AnyValue>| value.as_ref().and_then(|value| value.value.as_ref()).map(tree);
    match value {
        Any::StringValue(text) => json!(text),
        Any::BoolValue(truth) => json!(truth),
        Any::IntValue(number) => json!(number),
        Any::DoubleValue(number) => json!(number),
        Any::ArrayValue(list) => {
            list.values.iter().map(|value| value.value.as_ref().map(tree)).collect()
        }
        Any::KvlistValue(list) => {
            list.values.iter().map(|pair| (pair.key.clone(), of(&pair.value))).collect()
        }
        Any::BytesValue(bytes) => {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        Any::StringValueStrindex(_) => serde_json::Value::Null,
    }
}

/// Writes the attributes of one event, and counts what did not fit.
#[derive(Debug)]
pub(super) struct Writer {
    event: Unbound,
    limits: Limits,
    truncated: u32,
    dropped: u32,
}

impl Writer {
    /// Makes a writer for an event that has no attributes yet.
    pub(super) const fn new(event: Unbound, limits: Limits) -> Self {
        Self { event, limits, truncated: 0, dropped: 0 }
    }

    /// Adds text of at most a value's length, unless there is none.
    pub(super) fn text(&mut self, key: &'static str, text: Option<impl AsRef<str>>) {
        self.text_within(key, text, self.limits.value_bytes_max);
    }

    /// Adds text of at most `bytes_max`, unless there is none.
    pub(super) fn text_within(
        &mut self,
        key: &'static str,
        text: Option<impl AsRef<str>>,
        bytes_max: usize,
    ) {
        let Some(text) = text else { return };
        if !text.as_ref().is_empty() {
            let text = self.clip(text.as_ref(), bytes_max);
            self.push(key.into(), text.into());
        }
    }

    /// Adds a number, unless there is none.
    pub(super) fn int(&mut self, key: &'static str, number: Option<i64>) {
        if let Some(number) = number {
            self.push(key.into(), number.into());
        }
    }

    /// Adds the sender's own attributes, as many as are allowed, under their own keys. A key that
    /// was written already stays as it is.
    pub(super) fn rest(&mut self, attributes: &[KeyValue], dropped_by_sender: u32) {
        let written = self.event.attributes.len();
        let (first, others): (Vec<_>, Vec<_>) = attributes
            .iter()
            .filter(|attribute| !self.is_written(&attribute.key, written))
            .partition(|attribute| FIRST.iter().any(|prefix| attribute.key.starts_with(prefix)));
        let mut room = self.limits.attributes_max;
        self.dropped = dropped_by_sender;
        for attribute in first.into_iter().chain(others) {
            let Some(value) = attribute.value.as_ref().and_then(|value| value.value.as_ref())
            else {
                continue;
            };
            if room == 0 {
                self.dropped = self.dropped.saturating_add(1);
                continue;
            }
            room -= 1;
            let key = self.clip(&attribute.key, self.limits.key_bytes_max);
            if let Some(value) = self.value(value) {
                self.push(key, value);
            }
        }
    }

    /// Returns the event, with a note of what did not fit.
    pub(super) fn finish(mut self) -> Unbound {
        if self.truncated > 0 {
            self.push(TRUNCATED.into(), self.truncated.into());
        }
        if self.dropped > 0 {
            self.push(DROPPED.into(), self.dropped.into());
        }
        self.event
    }

    fn is_written(&self, key: &str, written: usize) -> bool {
        self.event.attributes.iter().take(written).any(|(known, _)| known == key)
    }

    fn value(&mut self, value: &Any) -> Option<Value> {
        match value {
            Any::BoolValue(truth) => Some((*truth).into()),
            Any::IntValue(number) => Some((*number).into()),
            Any::DoubleValue(number) => Some((*number).into()),
            Any::StringValue(_)
            | Any::ArrayValue(_)
            | Any::KvlistValue(_)
            | Any::BytesValue(_)
            | Any::StringValueStrindex(_) => {
                text(value).map(|text| self.clip(&text, self.limits.value_bytes_max).into())
            }
        }
    }

    fn clip(&mut self, text: &str, bytes_max: usize) -> Text {
        let end = text.floor_char_boundary(bytes_max);
        if end < text.len() {
            self.truncated = self.truncated.saturating_add(1);
        }
        text.get(..end).unwrap_or_default().into()
    }

    fn push(&mut self, key: Text, value: Value) {
        self.event.attributes.push((key, value));
    }
}
