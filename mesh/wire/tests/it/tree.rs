//! `MessagePack` without a schema: what a stranger to this crate sees in the bytes, and can forge.

use std::fmt::Write;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Tree {
    /// Reads the body of a message.
    pub(crate) fn of(message: &[u8]) -> Self {
        rmp_serde::from_slice(&message[1..]).unwrap()
    }

    /// Makes a message of version 1.
    pub(crate) fn seal(&self) -> Vec<u8> {
        [vec![1], self.body()].concat()
    }

    /// Makes a body.
    pub(crate) fn body(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).unwrap()
    }

    pub(crate) fn fields(&mut self) -> &mut Vec<(String, Self)> {
        let Self::Map(fields) = self else { panic!("not a map") };
        fields
    }

    pub(crate) fn items(&mut self) -> &mut Vec<Self> {
        let Self::List(items) = self else { panic!("not a list") };
        items
    }

    pub(crate) fn field(&mut self, name: &str) -> &mut Self {
        &mut self.fields().iter_mut().find(|(known, _)| known == name).unwrap().1
    }

    /// Shows the tree, a field or an item a line; a binary that is a map of its own is opened.
    pub(crate) fn show(&self, indent: usize, out: &mut String) {
        let next = indent + 2;
        match self {
            Self::List(items) => items.iter().for_each(|item| {
                write!(out, "\n{:indent$}-", "").unwrap();
                item.show(next, out);
            }),
            Self::Map(fields) => fields.iter().for_each(|(name, value)| {
                write!(out, "\n{:indent$}{name}:", "").unwrap();
                value.show(next, out);
            }),
            Self::Bytes(bytes) => match rmp_serde::from_slice::<Self>(bytes) {
                Ok(map @ Self::Map(_)) => map.show(indent, out),
                Ok(_) | Err(_) => {
                    out.push_str(" 0x");
                    bytes.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap());
                }
            },
            Self::Nil => out.push_str(" nil"),
            Self::Bool(truth) => write!(out, " {truth}").unwrap(),
            Self::Int(number) => write!(out, " {number}").unwrap(),
            Self::Uint(number) => write!(out, " {number}").unwrap(),
            Self::Float(number) => write!(out, " {number:?}").unwrap(),
            Self::Text(text) => write!(out, " {text:?}").unwrap(),
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(fields) => serializer.collect_map(fields.iter().map(|(k, v)| (k, v))),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nil)
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(truth))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Int(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Uint(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Float(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.into()))
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Bytes(bytes.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Map(fields))
    }
}
