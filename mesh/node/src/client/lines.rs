//! Cuts the stream's body into lines.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::ClientError;

/// Bytes of a line: a story at its limits has some hundred thousand.
const LINE_BYTES_MAX: usize = 16 << 20;

/// What a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Streamed {
    /// A telling.
    Story(Value),
    /// So many tellings were missed here, because they were not read in time.
    Missed(u64),
}

/// The stories that are told while it is read.
#[derive(Debug)]
pub struct StoryStream {
    body: Incoming,
    lines: Lines,
}

impl StoryStream {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, lines: Lines::default() }
    }

    /// Waits for the next telling; `None` once the node has stopped.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] if what came is not a telling, or the connection broke.
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Streamed>, ClientError> {
        loop {
            if let Some(line) = self.lines.next()? {
                return streamed(&line).map(Some);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.lines.push(&bytes);
                    }
                }
                Some(Err(error)) => return Err(ClientError::protocol(error)),
                None if self.lines.0.is_empty() => return Ok(None),
                None => {
                    self.lines = Lines::default();
                    return Err(ClientError::protocol("a line was cut off"));
                }
            }
        }
    }
}

/// Bytes until they are lines.
#[derive(Debug, Default)]
struct Lines(BytesMut);

impl Lines {
    fn push(&mut self, bytes: &Bytes) {
        self.0.extend_from_slice(bytes);
    }

    /// Takes the next line that is not empty, without its end.
    fn next(&mut self) -> Result<Option<BytesMut>, ClientError> {
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let mut line = self.0.split_to(end + 1);
            line.truncate(end);
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
        if self.0.len() > LINE_BYTES_MAX {
            return Err(ClientError::protocol("a line without end"));
        }
        Ok(None)
    }
}

fn streamed(line: &[u8]) -> Result<Streamed, ClientError> {
    let value: Value = serde_json::from_slice(line).map_err(ClientError::protocol)?;
    Ok(match value.get("missed").and_then(Value::as_u64) {
        Some(missed) => Streamed::Missed(missed),
        None => Streamed::Story(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let text = b"{\"a\":1}\n\n{\"missed\":3}\n{\"rest\"";
        for size in 1..text.len() {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.push(&Bytes::copy_from_slice(piece));
                while let Some(line) = lines.next().unwrap() {
                    got.push(streamed(&line).unwrap());
                }
            }
            let want = [Streamed::Story(serde_json::json!({"a": 1})), Streamed::Missed(3)];
            assert_eq!(got, want, "{size}");
            assert_eq!(&lines.0[..], b"{\"rest\"");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&Bytes::from(vec![b' '; LINE_BYTES_MAX + 1]));
        assert!(lines.next().is_err());
    }
}
