//! Attributes: a map from text to text, whole number, measured number or truth.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use tapio_model::{Attributes, Value};

use super::{
    ATTRIBUTES_MAX,
    leaf::{Capped, TextV1, read_text},
};
use crate::DecodeError;

/// Attributes, in the order of their keys when we write them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct AttributesV1(Capped<(TextV1, ValueV1), ATTRIBUTES_MAX>);

/// A value; its `MessagePack` type says which it is.
#[derive(Debug, Clone, PartialEq)]
struct ValueV1(Value);

impl From<&Attributes> for AttributesV1 {
    fn from(attributes: &Attributes) -> Self {
        let pairs = attributes.iter();
        Self(pairs.map(|(key, value)| (TextV1::from(key), ValueV1(value.clone()))).collect())
    }
}

impl TryFrom<AttributesV1> for Attributes {
    type Error = DecodeError;

    fn try_from(attributes: AttributesV1) -> Result<Self, DecodeError> {
        let pairs = attributes.0.into_items("attributes")?;
        Ok(Self::new(pairs.into_iter().map(|(TextV1(key), ValueV1(value))| (key, value))))
    }
}

impl Serialize for AttributesV1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.items().iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for AttributesV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = AttributesV1;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AttributesV1, A::Error> {
        let pairs = Capped::read(|keep| {
            if keep {
                return Ok(map.next_entry()?.map(Some));
            }
            Ok(map.next_entry::<IgnoredAny, IgnoredAny>()?.map(|_| None))
        })?;
        Ok(AttributesV1(pairs))
    }
}

impl Serialize for ValueV1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
        }
    }
}

impl<'de> Deserialize<'de> for ValueV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false as the attribute's value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        read_text(text).map(Value::Text)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number)
            .ok()
            .map(Value::Int)
            .ok_or_else(|| E::custom(format_args!("whole number {number} is beyond 2^63-1")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }
}
