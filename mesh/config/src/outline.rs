//! Where each field stands in a file.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The fields of a file with their lines.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    /// The path from the top, with dots between.
    path: String,
    /// The line of the key.
    line: u64,
}

impl Outline {
    /// Reads the outline of a text; one that is not YAML has none.
    pub(crate) fn of(text: &str) -> Self {
        let mut outline = Self::default();
        if let Ok(top) = serde_saphyr::from_str::<Node>(text) {
            outline.add("", top);
        }
        outline
    }

    fn add(&mut self, above: &str, node: Node) {
        for (key, line, below) in node.0 {
            let path = if above.is_empty() { key } else { format!("{above}.{key}") };
            self.fields.push(Field { path: path.clone(), line });
            self.add(&path, below);
        }
    }

    /// Returns the line of a field, or of the nearest section above it that is there.
    pub(crate) fn line_of(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some(found) = self.fields.iter().find(|known| known.path == path) {
                return Some(found.line);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// Says whether the file itself sets the field, or something below it.
    pub(crate) fn sets(&self, field: &str) -> bool {
        self.fields.iter().any(|known| known.path == field)
    }

    /// Returns the field that stands on a line; of several the last, which is the innermost.
    pub(crate) fn field_at(&self, line: u64) -> Option<&str> {
        let on_line = self.fields.iter().rfind(|known| known.line == line);
        on_line.map(|known| known.path.as_str())
    }
}

/// What there is below a key: key, line of the key, and what is below that. A list's items have
/// their index for a key.
#[derive(Debug, Default)]
struct Node(Vec<(String, u64, Self)>);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut below = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            below.push((key.value, key.referenced.line(), map.next_value()?));
        }
        Ok(Node(below))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut below = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Node>>()? {
            below.push((below.len().to_string(), item.referenced.line(), item.value));
        }
        Ok(Node(below))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(value).map(|_| Node::default())
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_the_line_of_its_key() {
        let outline = Outline::of(
            "# a comment\noutput:\n  mode: nats\n  nats:\n    urls:\n      - a\n      - b\nport: 7\n",
        );
        for (field, line) in [
            ("output", 2),
            ("output.mode", 3),
            ("output.nats.urls", 5),
            ("output.nats.urls.1", 7),
            ("output.nats.prefix", 4),
            ("port", 8),
        ] {
            assert_eq!(outline.line_of(field), Some(line), "{field}");
        }
        assert_eq!(outline.line_of("spool.path"), None);
        assert_eq!(outline.field_at(3), Some("output.mode"));
        assert!(outline.sets("output.mode") && !outline.sets("output.nats.prefix"));
    }

    #[test]
    fn what_is_not_yaml_has_no_outline() {
        for text in ["", "a: [", "\u{0}", ": : :", "just words"] {
            assert_eq!(Outline::of(text).line_of("a"), None, "{text}");
        }
    }
}
