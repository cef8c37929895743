//! Names of nodes as keys of a bucket.

use std::fmt::Write as _;

use tapio_model::Text;

/// Opens an escape. Legal in a key, and in no name of a pod.
const ESCAPE: char = '=';

/// Returns the key of a node: letters, digits, `-` and `_` as they are, every other byte as `=` and
/// two digits, and `=` for no name at all. A dot would make two tokens of one name.
pub(super) fn key_of(node: &str) -> String {
    if node.is_empty() {
        return ESCAPE.to_string();
    }
    let mut key = String::with_capacity(node.len());
    for byte in node.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            key.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(key, "{ESCAPE}{byte:02x}").unwrap_or_default();
        }
    }
    key
}

/// Returns the node of a key, or `None` if no node has it.
pub(super) fn node_of(key: &str) -> Option<Text> {
    if key == "=" {
        return Some(Text::default());
    }
    let mut name = Vec::with_capacity(key.len());
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let digits = [bytes.next()?, bytes.next()?];
            name.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    let name = String::from_utf8(name).ok()?;
    // One node has one key: what is not written as we write it was written by somebody else.
    (!name.is_empty() && key_of(&name) == key).then(|| Text::from(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_readable() {
        let table = [
            ("tapio-0", "tapio-0"),
            ("node_1", "node_1"),
            ("ip-10-0-0-1.eu.internal", "ip-10-0-0-1=2eeu=2einternal"),
            ("a b", "a=20b"),
            ("ä", "=c3=a4"),
            ("", "="),
        ];
        for (node, key) in table {
            assert_eq!(key_of(node), key);
            assert_eq!(node_of(key), Some(Text::from(node)));
        }
    }

    #[test]
    fn what_we_would_not_write_is_nobodys_key() {
        for key in ["", "a.b", "=2", "=zz", "=+1", "=2E", "=61", "=ff", "==", "ä"] {
            assert_eq!(node_of(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_legal_key_and_comes_back(node in ".*") {
            let key = key_of(&node);
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
            prop_assert!(!key.is_empty() && key.bytes().all(is_legal), "{}", key);
            prop_assert_eq!(node_of(&key), Some(Text::from(node)));
        }
    }
}
