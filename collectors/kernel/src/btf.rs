//! Where this kernel keeps its fields: a reader of BTF, the kernel's own type information.

use std::{fs, path::Path};

/// Where kernels since 5.2 show their types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// First two bytes of every blob, in the byte order of the machine that reads itself.
const MAGIC: u16 = 0xeb9f;

/// Anonymous members are looked into this deep; kernels nest three.
const DEPTH_MAX: u32 = 16;

/// Bytes of a member of a struct.
const MEMBER_BYTES: usize = 12;

/// Why a blob is not type information.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("reading {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not BTF, or of another byte order.
    #[error("no BTF magic")]
    Magic,
    /// The blob ends early, or names a kind that this reader does not know.
    #[error("malformed at byte {at}")]
    Malformed {
        /// Where in the blob.
        at: usize,
    },
}

/// Type information of a kernel.
///
/// # Invariant
/// Every entry of `types` is the offset of a whole type in `blob`.
/// # Source
/// Documentation/bpf/btf.rst in the kernel's tree.
pub struct Btf {
    blob: Vec<u8>,
    /// Offset of each type; type 1 is the first.
    types: Vec<u32>,
    strings: usize,
    strings_end: usize,
}

/// What a type is; the numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Struct,
    /// Carries its target's number in the place of a size and adds nothing to its layout.
    Alias,
    Enum,
    Enum64,
    Other,
}

/// The head of a type.
#[derive(Debug, Clone, Copy)]
struct Head {
    name: u32,
    shape: Shape,
    members: usize,
    has_bitfields: bool,
    target: u32,
    /// Where its members begin.
    body: usize,
}

impl Btf {
    /// Reads the types of the kernel that runs.
    ///
    /// # Errors
    /// [`BtfError`]; kernels built without BTF have no such file.
    pub fn of_this_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(BTF_PATH))
    }

    /// Reads the types in a file.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let blob = fs::read(path)
            .map_err(|source| BtfError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(blob)
    }

    /// Indexes a blob.
    ///
    /// # Errors
    /// [`BtfError::Magic`], [`BtfError::Malformed`].
    pub fn parse(blob: Vec<u8>) -> Result<Self, BtfError> {
        if u16_at(&blob, 0) != Some(MAGIC) {
            return Err(BtfError::Magic);
        }
        let field = |at: usize| {
            let value = u32_at(&blob, at).and_then(|value| usize::try_from(value).ok());
            value.ok_or(BtfError::Malformed { at })
        };
        let head = field(4)?;
        let begin = |at: usize| Ok(head.saturating_add(field(at)?));
        let (types_begin, strings) = (begin(8)?, begin(16)?);
        let types_end = types_begin.saturating_add(field(12)?);
        let strings_end = strings.saturating_add(field(20)?);
        if types_end > blob.len() || strings_end > blob.len() {
            return Err(BtfError::Malformed { at: blob.len() });
        }
        let mut types = Vec::new();
        let mut at = types_begin;
        while at < types_end {
            types.push(u32::try_from(at).map_err(|_too_far| BtfError::Malformed { at })?);
            at = after(&blob, at).ok_or(BtfError::Malformed { at })?;
        }
        Ok(Self { blob, types, strings, strings_end })
    }

    /// Returns the offset in bytes of a field: `path` leads from the struct `name` through embedded
    /// structs to it. Members of anonymous structs and unions are found by their own name.
    ///
    /// `None` if there is no such field, if it is a bit field, or if it lies behind a pointer.
    #[must_use]
    pub fn offset(&self, name: &str, path: &[&str]) -> Option<u32> {
        let mut head = self.named(name, Shape::Struct)?;
        let mut bits: u32 = 0;
        let mut is_first = true;
        for part in path {
            if !is_first {
                head = self.resolve(head.target)?;
            }
            let (at, target) = self.member(head, part, DEPTH_MAX)?;
            bits = bits.checked_add(at)?;
            head = Head { target, ..head };
            is_first = false;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Returns the number of an enumerator.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        self.heads().filter(|head| matches!(head.shape, Shape::Enum | Shape::Enum64)).find_map(
            |head| {
                let bytes = if head.shape == Shape::Enum { 8 } else { 12 };
                (0..head.members).find_map(|index| {
                    let at = head.body + index * bytes;
                    self.is_named(u32_at(&self.blob, at)?, name).then_some(())?;
                    let low = u32_at(&self.blob, at + 4)?;
                    if head.shape == Shape::Enum {
                        return Some(i64::from(low.cast_signed()));
                    }
                    let high = u32_at(&self.blob, at + 8)?;
                    Some(((u64::from(high) << 32) | u64::from(low)).cast_signed())
                })
            },
        )
    }

    /// Says whether the kernel has a raw tracepoint of this name with types.
    #[must_use]
    pub fn has_tracepoint(&self, name: &str) -> bool {
        let name = format!("btf_trace_{name}");
        self.named(&name, Shape::Alias).is_some()
    }

    /// Returns the bytes of a struct.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u32> {
        self.named(name, Shape::Struct).map(|head| head.target)
    }

    /// Says whether the first argument of a tracepoint is a pointer to the struct `name`.
    #[must_use]
    pub fn takes(&self, tracepoint: &str, name: &str) -> bool {
        let argument = || {
            let alias = self.named(&format!("btf_trace_{tracepoint}"), Shape::Alias)?;
            let prototype = self.head(self.resolve(alias.target)?.target)?;
            // The first parameter is the tracepoint's own; each takes eight bytes, a name and a type.
            let pointer = self.resolve(u32_at(&self.blob, prototype.body + 12)?)?;
            (prototype.members > 1).then_some(())?;
            self.resolve(pointer.target)
        };
        argument().is_some_and(|it| it.shape == Shape::Struct && self.is_named(it.name, name))
    }

    /// Finds a member; returns its offset in bits and its type.
    fn member(&self, head: Head, name: &str, depth: u32) -> Option<(u32, u32)> {
        let depth = depth.checked_sub(1)?;
        (0..head.members).find_map(|index| {
            let at = head.body + index * MEMBER_BYTES;
            let (own, target) = (u32_at(&self.blob, at)?, u32_at(&self.blob, at + 4)?);
            let offset = u32_at(&self.blob, at + 8)?;
            // With bit fields the upper byte is the width in bits.
            let offset = if head.has_bitfields { offset & 0x00ff_ffff } else { offset };
            if self.is_named(own, name) {
                return Some((offset, target));
            }
            if !self.is_named(own, "") {
                return None;
            }
            let inner = self.resolve(target).filter(|inner| inner.shape == Shape::Struct)?;
            let (within, target) = self.member(inner, name, depth)?;
            Some((offset.checked_add(within)?, target))
        })
    }

    /// Follows names and qualifiers to what is behind them.
    fn resolve(&self, id: u32) -> Option<Head> {
        let mut head = self.head(id)?;
        for _ in 0..DEPTH_MAX {
            if head.shape != Shape::Alias {
                return Some(head);
            }
            head = self.head(head.target)?;
        }
        None
    }

    fn named(&self, name: &str, shape: Shape) -> Option<Head> {
        self.heads().find(|head| head.shape == shape && self.is_named(head.name, name))
    }

    fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.types.iter().filter_map(|at| head_at(&self.blob, usize::try_from(*at).ok()?))
    }

    fn head(&self, id: u32) -> Option<Head> {
        let at = self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        head_at(&self.blob, usize::try_from(*at).ok()?)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let begin =
            usize::try_from(offset).map_or(usize::MAX, |it| self.strings.saturating_add(it));
        let text = self.blob.get(begin..self.strings_end).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).and_then(<[u8]>::first) == Some(&0)
    }
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf").field("types", &self.types.len()).finish_non_exhaustive()
    }
}

fn u16_at(blob: &[u8], at: usize) -> Option<u16> {
    blob.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(blob: &[u8], at: usize) -> Option<u32> {
    blob.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn head_at(blob: &[u8], at: usize) -> Option<Head> {
    let info = u32_at(blob, at + 4)?;
    let shape = match kind(info) {
        4 | 5 => Shape::Struct,
        6 => Shape::Enum,
        19 => Shape::Enum64,
        // Typedef, volatile, const, restrict, type tag.
        8..=11 | 18 => Shape::Alias,
        _ => Shape::Other,
    };
    Some(Head {
        name: u32_at(blob, at)?,
        shape,
        members: members(info),
        has_bitfields: info >> 31 == 1,
        target: u32_at(blob, at + 8)?,
        body: at + 12,
    })
}

const fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

fn members(info: u32) -> usize {
    usize::try_from(info & 0xffff).unwrap_or(0)
}

/// Returns where the type after the one at `at` begins.
fn after(blob: &[u8], at: usize) -> Option<usize> {
    let info = u32_at(blob, at + 4)?;
    let members = members(info);
    let body = match kind(info) {
        // Pointer, forward, typedef, qualifiers, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        3 => 12,
        6 | 13 => members * 8,
        4 | 5 | 15 | 19 => members * MEMBER_BYTES,
        _ => return None,
    };
    at.checked_add(12)?.checked_add(body)
}

#[cfg(test)]
mod tests;
