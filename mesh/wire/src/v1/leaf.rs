//! The smallest parts: text, ids, shares, and lists that know their limit.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};
use serde_bytes::ByteArray;
use tapio_model::{EventId, SpanId, StoryId, Text, TraceId};

use super::{LIST_ITEMS_MAX, TEXT_BYTES_MAX};
use crate::{DecodeError, known};

/// Sixteen bytes of an id.
pub(super) type Id16 = ByteArray<16>;
/// Eight bytes of an id.
pub(super) type Id8 = ByteArray<8>;

pub(super) const fn trace_id(id: Id16) -> TraceId {
    TraceId::from_bytes(id.into_array())
}

pub(super) const fn event_id(id: Id16) -> EventId {
    EventId::from_bytes(id.into_array())
}

pub(super) const fn story_id(id: Id16) -> StoryId {
    StoryId::from_bytes(id.into_array())
}

pub(super) const fn span_id(id: Id8) -> SpanId {
    SpanId::from_bytes(id.into_array())
}

/// Bytes: owned or borrowed by the sender, borrowed from the message by the receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BytesV1<'a>(#[serde(borrow, with = "serde_bytes")] pub(super) Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for BytesV1<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

/// Takes a field that this form of `what` cannot do without.
pub(super) fn needed<T>(field: Option<T>, what: &str, name: &str) -> Result<T, DecodeError> {
    field.ok_or_else(|| DecodeError::malformed(format!("{what} without its `{name}`")))
}

/// Refuses what is no share: the model would clamp it, and the sender never learn.
pub(super) fn share<T: Into<f64> + Copy>(field: &str, share: T) -> Result<T, DecodeError> {
    if (0.0..=1.0).contains(&share.into()) {
        return Ok(share);
    }
    Err(DecodeError::malformed(format!("{field} {} is not within 0 to 1", share.into())))
}

/// A model's text; longer ones than [`TEXT_BYTES_MAX`] are refused before they are copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TextV1(pub(crate) Text);

impl TextV1 {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&Text> for TextV1 {
    fn from(text: &Text) -> Self {
        Self(text.clone())
    }
}

impl From<TextV1> for Text {
    fn from(text: TextV1) -> Self {
        text.0
    }
}

impl Serialize for TextV1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TextV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = TextV1;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TextV1, E> {
        read_text(text).map(TextV1)
    }
}

/// Takes a text if it is no longer than a text may be.
pub(super) fn read_text<E: de::Error>(text: &str) -> Result<Text, E> {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        let what = format_args!("a text of {bytes} bytes, at most {TEXT_BYTES_MAX} are read");
        return Err(E::custom(what));
    }
    Ok(known::text(text))
}

/// A list that keeps no more than one item past its limit, so that a message of one-byte items
/// cannot fill memory, and still counts the rest, so that the refusal can say how many there were.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capped<T, const MAX: usize = LIST_ITEMS_MAX> {
    items: Vec<T>,
    count: usize,
}

impl<T, const MAX: usize> Capped<T, MAX> {
    /// Reads `more` on top of `items` with `next`, which steps over an item when told not to keep.
    pub(super) fn read<E>(
        mut next: impl FnMut(bool) -> Result<Option<Option<T>>, E>,
    ) -> Result<Self, E> {
        let mut list = Self::default();
        while let Some(item) = next(list.count < MAX)? {
            list.items.extend(item);
            list.count += 1;
        }
        Ok(list)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }

    /// Returns the items, unless there were too many.
    pub(crate) fn into_items(self, what: &'static str) -> Result<Vec<T>, DecodeError> {
        if self.count > MAX {
            return Err(DecodeError::TooMany { what, count: self.count, count_max: MAX });
        }
        Ok(self.items)
    }

    /// Reads every item, unless there were too many.
    pub(crate) fn into_model<M>(
        self,
        what: &'static str,
        read: impl Fn(T) -> Result<M, DecodeError>,
    ) -> Result<Vec<M>, DecodeError> {
        self.into_items(what)?.into_iter().map(read).collect()
    }
}

impl<T, const MAX: usize> Default for Capped<T, MAX> {
    fn default() -> Self {
        Self { items: Vec::new(), count: 0 }
    }
}

impl<T, const MAX: usize> FromIterator<T> for Capped<T, MAX> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        Self { count: items.len(), items }
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Capped<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.items)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Capped<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CappedVisitor(PhantomData))
    }
}

struct CappedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for CappedVisitor<T, MAX> {
    type Value = Capped<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        Capped::read(|keep| {
            if keep {
                return Ok(list.next_element()?.map(Some));
            }
            Ok(list.next_element::<IgnoredAny>()?.map(|_| None))
        })
    }
}
