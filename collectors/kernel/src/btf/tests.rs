use proptest::prelude::*;

use super::*;

/// A blob under construction: types and the strings that name them.
#[derive(Default)]
struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap_or_default();
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
    }

    /// Adds a struct (kind 4) with members (name, type, offset in bits).
    fn record(&mut self, name: &str, flag: u32, members: &[(&str, u32, u32)]) {
        let name = self.name(name);
        let count = u32::try_from(members.len()).unwrap_or_default();
        self.words(&[name, (flag << 31) | (4 << 24) | count, 64]);
        for (name, target, bits) in members {
            let name = self.name(name);
            self.words(&[name, *target, *bits]);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or_default();
        let mut blob = MAGIC.to_ne_bytes().to_vec();
        blob.extend_from_slice(&[1, 0]);
        for word in [24, 0, len(&self.types), len(&self.types), len(&self.strings)] {
            blob.extend_from_slice(&word.to_ne_bytes());
        }
        [blob, self.types.clone(), self.strings.clone()].concat()
    }
}

/// 1 int, 2 inner, 3 typedef of 2, 4 anonymous union, 5 outer, 6 bit fields, 7 enum, 8 enum64, 9 typedef of
/// 10 pointer to 11 function, whose second parameter is 12 pointer to 13 const 5.
fn blob() -> Vec<u8> {
    let mut blob = Blob::new();
    let int = blob.name("int");
    blob.words(&[int, 1 << 24, 4, 32]);
    blob.record("inner", 0, &[("a", 1, 0), ("b", 1, 32)]);
    let alias = blob.name("inner_t");
    blob.words(&[alias, 8 << 24, 2]);
    blob.record("", 0, &[("hidden", 1, 0), ("deep", 3, 64)]);
    blob.record("outer", 0, &[("x", 1, 0), ("", 4, 128), ("inner", 3, 512)]);
    blob.record("bits", 1, &[("flag", 1, (1 << 24) | 3), ("whole", 1, 64)]);
    let (one, two) = (blob.name("MEMORY"), blob.name("CPU"));
    blob.words(&[0, (6 << 24) | 2, 4, one, 4, two, u32::MAX]);
    let big = blob.name("BIG");
    blob.words(&[0, (19 << 24) | 1, 8, big, 1, 1]);
    let trace = blob.name("btf_trace_mark_victim");
    blob.words(&[trace, 8 << 24, 10]);
    blob.words(&[0, 2 << 24, 11]);
    blob.words(&[0, (13 << 24) | 2, 0, 0, 1, 0, 12]);
    blob.words(&[0, 2 << 24, 13]);
    blob.words(&[0, 10 << 24, 5]);
    blob.bytes()
}

/// A struct, a path in it, and its offset.
type Case = (&'static str, &'static [&'static str], Option<u32>);

#[test]
fn finds_fields_through_names_and_anonymous_members() {
    let btf = Btf::parse(blob()).unwrap();
    let cases: [Case; 10] = [
        ("outer", &["x"], Some(0)),
        ("outer", &["hidden"], Some(16)),
        ("outer", &["inner"], Some(64)),
        ("outer", &["inner", "b"], Some(68)),
        ("outer", &["deep", "b"], Some(28)),
        ("outer", &["nothing"], None),
        ("outer", &["x", "b"], None),
        ("bits", &["whole"], Some(8)),
        ("bits", &["flag"], None),
        ("nobody", &["x"], None),
    ];
    for (name, path, want) in cases {
        assert_eq!(btf.offset(name, path), want, "{name} {path:?}");
    }
}

#[test]
fn reads_enumerators_and_tracepoints() {
    let btf = Btf::parse(blob()).unwrap();
    let cases =
        [("MEMORY", Some(4)), ("CPU", Some(-1)), ("BIG", Some((1 << 32) | 1)), ("NET", None)];
    for (name, want) in cases {
        assert_eq!(btf.enumerator(name), want, "{name}");
    }
    assert!(btf.has_tracepoint("mark_victim"));
    assert!(!btf.has_tracepoint("earthquake"));
    let cases =
        [("mark_victim", "outer", true), ("mark_victim", "inner", false), ("x", "outer", false)];
    for (tracepoint, name, want) in cases {
        assert_eq!(btf.takes(tracepoint, name), want, "{tracepoint} {name}");
    }
    assert_eq!((btf.size("inner"), btf.size("nobody")), (Some(64), None));
}

#[test]
fn what_is_not_btf_is_refused() {
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Magic)));
    assert!(matches!(Btf::parse(b"\x7fELF".to_vec()), Err(BtfError::Magic)));
    let mut short = blob();
    short.truncate(40);
    assert!(matches!(Btf::parse(short), Err(BtfError::Malformed { .. })));
    assert!(matches!(Btf::read(Path::new("/nonexistent")), Err(BtfError::Unreadable { .. })));
}

#[test]
fn reads_this_kernel_where_it_shows_its_types() {
    let Ok(btf) = Btf::of_this_kernel() else { return };
    for (name, path) in [
        ("task_struct", ["tgid"].as_slice()),
        ("task_struct", &["comm"]),
        ("sock", &["__sk_common", "skc_daddr"]),
        ("sock_common", &["skc_dport"]),
        ("oom_control", &["memcg"]),
    ] {
        assert!(btf.offset(name, path).is_some(), "{name} {path:?}");
    }
    assert_eq!(
        btf.offset("list_head", &["prev"]),
        Some(u32::try_from(size_of::<usize>()).unwrap())
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut bytes = blob();
        if let Some(it) = bytes.get_mut(at) {
            *it = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(btf) = Btf::parse(bytes) {
            let found = btf.offset("outer", &["deep", "b"]);
            prop_assert!(found.is_none() || btf.offset("outer", &["deep"]).is_some());
            btf.enumerator("BIG").map_or_else(|| (), |_number| ());
            prop_assert!(btf.takes("mark_victim", "outer") <= btf.has_tracepoint("mark_victim"));
        }
    }
}
