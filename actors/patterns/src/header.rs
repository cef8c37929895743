//! What a pattern's file says of itself, read from its own `//!` lines.

/// The header of a pattern's file.
///
/// # Shape
/// Each part is one paragraph, its lines joined by spaces; a part that the file lacks is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// What goes wrong.
    pub what: String,
    /// What the pattern must see.
    pub evidence: String,
    /// Which event it calls the root.
    pub root: String,
    /// Its look-alikes, and what tells them apart.
    pub not_this: String,
    /// Where a person looks first.
    pub first_look: String,
}

impl Header {
    /// Reads the header of a source file.
    #[must_use]
    pub fn parse(source: &str) -> Self {
        let mut header = Self::default();
        let mut section = "";
        for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
            let mut text = line.trim();
            let named = ["Evidence:", "Root:", "Not this:", "First look:"]
                .into_iter()
                .find_map(|name| Some((name, text.strip_prefix(name)?)));
            if let Some((name, rest)) = named {
                section = name;
                text = rest.trim();
            }
            let part = match section {
                "Evidence:" => &mut header.evidence,
                "Root:" => &mut header.root,
                "Not this:" => &mut header.not_this,
                "First look:" => &mut header.first_look,
                _ => &mut header.what,
            };
            if !part.is_empty() && !text.is_empty() {
                part.push(' ');
            }
            part.push_str(text);
        }
        header
    }

    /// Says whether the file has all five parts.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let Self { what, evidence, root, not_this, first_look } = self;
        [what, evidence, root, not_this, first_look].into_iter().all(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "//! It breaks.\n//!\n//! Evidence: this,\n//! and that.\n//! Root: this.\n\
        //! Not this: a look-alike.\n//! First look: there.\n\nuse std::fmt;\n//! Root: no more.\n";

    #[test]
    fn parts_are_paragraphs() {
        let header = Header::parse(FILE);
        assert_eq!(header.what, "It breaks.");
        assert_eq!(header.evidence, "this, and that.");
        assert_eq!(header.root, "this.");
        assert!(header.is_complete());
    }

    #[test]
    fn a_file_without_a_part_is_incomplete() {
        for part in ["Evidence:", "Root:", "Not this:", "First look:"] {
            assert!(!Header::parse(&FILE.replace(part, "")).is_complete(), "{part}");
        }
        assert_eq!(Header::parse("use std::fmt;"), Header::default());
    }
}
