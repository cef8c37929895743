//! Cuts a stream of bytes into lines of bounded length.

use memchr::memchr;

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line without its newline, and where in the stream it began.
    Line {
        /// Offset of the first byte.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A line longer than the limit; its bytes are gone.
    TooLong,
}

/// A cutter of lines: what comes out depends on the bytes, never on how they were chunked.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes_max: usize,
    carry: Vec<u8>,
    /// Offset of the next byte that comes in.
    offset: u64,
    /// Offset of the first byte of the line in hand.
    begun: u64,
    is_skipping: bool,
}

impl Lines {
    /// Makes a cutter for a stream of which `offset` bytes are behind us.
    pub(crate) fn new(bytes_max: usize, offset: u64) -> Self {
        Self { bytes_max, carry: Vec::new(), offset, begun: offset, is_skipping: false }
    }

    /// Takes a chunk and hands each completed line to `take`.
    pub(crate) fn push(&mut self, mut chunk: &[u8], mut take: impl FnMut(Piece)) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (line, rest) = chunk.split_at(end);
            self.extend(line);
            self.offset += 1;
            take(self.complete());
            chunk = rest.split_first().map_or(&[][..], |(_, after)| after);
        }
        self.extend(chunk);
    }

    /// Takes what is left as a line, newline or not.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        let has_rest = self.is_skipping || !self.carry.is_empty();
        has_rest.then(|| self.complete())
    }

    /// Returns the offset of the line in hand.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.is_skipping {
            return;
        }
        if self.carry.len() + bytes.len() > self.bytes_max {
            self.is_skipping = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    fn complete(&mut self) -> Piece {
        let offset = std::mem::replace(&mut self.begun, self.offset);
        if std::mem::take(&mut self.is_skipping) {
            return Piece::TooLong;
        }
        let mut bytes = std::mem::take(&mut self.carry);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Piece::Line { offset, bytes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Piece> {
        let mut lines = Lines::new(8, 100);
        let mut pieces = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |piece| pieces.push(piece));
        }
        pieces.extend(lines.finish());
        pieces
    }

    #[test]
    fn knows_where_each_line_began() {
        let line = |offset, text: &str| Piece::Line { offset, bytes: text.as_bytes().to_vec() };
        assert_eq!(
            cut(&[b"ab\ncd\r\n\nrest"]),
            [line(100, "ab"), line(103, "cd"), line(107, ""), line(108, "rest")]
        );
    }

    #[test]
    fn a_line_past_the_limit_is_one_loss_and_the_next_is_whole() {
        let pieces = cut(&[b"123456", b"789\nok\n", b"123456789"]);
        let ok = Piece::Line { offset: 110, bytes: b"ok".to_vec() };
        assert_eq!(pieces, [Piece::TooLong, ok, Piece::TooLong]);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..64), at in 0_usize..64) {
            let (left, right) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(cut(&[left, right]), cut(&[&bytes]));
        }
    }
}
