//! Where each field stands in a file.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// Levels that a file may have: each takes stack of whoever reads it.
const DEPTH_MAX: usize = 8;

/// Reads YAML that nests no deeper than files that people write.
///
/// # Errors
/// What the reader does not like, nesting of more than 8 levels among it.
pub fn read_yaml<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: DEPTH_MAX } };
    serde_saphyr::from_str_with_options(text, options)
}

/// Says whether a text has nothing but comments.
#[must_use]
pub fn says_nothing(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| matches!(line, "" | "---") || line.starts_with('#'))
}

/// The fields of a file, by their path with dots between, with the line of their key. Items of a
/// list count from 1, as people do.
#[derive(Debug, Default)]
pub struct Outline {
    fields: Vec<(String, u64)>,
}

impl Outline {
    /// Reads the outline of a text; one that is not YAML has none.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut outline = Self::default();
        if let Ok(top) = read_yaml::<Node>(text) {
            outline.add("", top);
        }
        outline
    }

    fn add(&mut self, above: &str, node: Node) {
        for (key, line, below) in node.0 {
            let path = if above.is_empty() { key } else { format!("{above}.{key}") };
            self.fields.push((path.clone(), line));
            self.add(&path, below);
        }
    }

    /// Returns the line of a field, or of the nearest one above it that is there.
    #[must_use]
    pub fn line_of(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some((_, line)) = self.fields.iter().find(|(known, _)| known == path) {
                return Some(*line);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// Says whether the file itself sets the field, or something below it.
    #[must_use]
    pub fn sets(&self, field: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == field)
    }

    /// Returns the field that begins on a line, or on the last line before it; of several the
    /// innermost.
    #[must_use]
    pub fn field_at(&self, line: u64) -> Option<&str> {
        let before = self.fields.iter().filter(|(_, begins)| *begins <= line);
        before.max_by_key(|(_, begins)| *begins).map(|(path, _)| path.as_str())
    }
}

/// What there is below a key: key, line of the key, and what is below that.
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
            below.push(((below.len() + 1).to_string(), item.referenced.line(), item.value));
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
            "# a comment\nslug: x\nmatch:\n  - name: a\n    when: |\n      true\n  - name: b\n",
        );
        for (field, line) in [
            ("slug", 2),
            ("match.1.name", 4),
            ("match.1.when", 5),
            ("match.1.within", 4),
            ("match.2", 7),
            ("match.9.when", 3),
        ] {
            assert_eq!(outline.line_of(field), Some(line), "{field}");
        }
        assert_eq!(outline.line_of("scenes"), None);
        assert_eq!(outline.field_at(6), Some("match.1.when"));
        assert!(outline.sets("match.1.when") && !outline.sets("match.1.within"));
    }

    #[test]
    fn what_is_not_yaml_has_no_outline() {
        for text in ["", "a: [", "\u{0}", ": : :", "just words"] {
            assert_eq!(Outline::of(text).line_of("a"), None, "{text}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_an_error_and_takes_no_stack() {
        let deep = |levels: usize| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read_yaml::<IgnoredAny>(&deep(DEPTH_MAX - 1)).is_ok());
        assert!(read_yaml::<IgnoredAny>(&deep(DEPTH_MAX)).is_err());
        assert_eq!(Outline::of(&deep(100_000)).line_of("a"), None);
    }

    #[test]
    fn comments_say_nothing() {
        let cases = [("", true), ("# a\n\n---\n", true), ("a: 1", false), (" # a\nb:", false)];
        for (text, expected) in cases {
            assert_eq!(says_nothing(text), expected, "{text:?}");
        }
    }
}
