//! From the bytes of a file to events, without a file.

use tapio_collect::{DropReason, event_id};
use tapio_model::{Place, Severity, Source, Timestamp};

use super::join::{Joined, Joiner, Piece};
use crate::{
    harvest::Harvest,
    lines::{self, Lines},
    log_line::{LogLine, Stream, translate_text, unwrap},
};

/// Assembles the events of one file.
///
/// # Invariant
/// What comes out depends on the bytes, and on when the file fell silent; never on how the bytes
/// were chunked.
#[derive(Debug)]
pub(super) struct Assembly {
    /// What tells this file from any other: path, device, inode.
    identity: Vec<u8>,
    place: Place,
    bytes_max: usize,
    lines: Lines,
    streams: [Thread; 2],
}

/// What is held of one stream of a process.
#[derive(Debug, Default)]
struct Thread {
    joiner: Joiner,
    partial: Option<Piece>,
    is_too_long: bool,
}

impl Assembly {
    /// Makes an assembly that begins at `offset` of a file.
    pub(super) fn new(identity: Vec<u8>, place: Place, bytes_max: usize, offset: u64) -> Self {
        let lines = Lines::new(bytes_max, offset);
        Self { identity, place, bytes_max, lines, streams: Default::default() }
    }

    /// Takes the next bytes of the file, read at `at`.
    pub(super) fn feed(&mut self, chunk: &[u8], at: Timestamp, harvest: &mut Harvest) {
        let mut pieces = Vec::new();
        self.lines.push(chunk, |piece| pieces.push(piece));
        for piece in pieces {
            self.take(piece, at, harvest);
        }
    }

    /// Stops waiting for the rest of a stack trace.
    pub(super) fn settle(&mut self, at: Timestamp, harvest: &mut Harvest) {
        for index in [Stream::Out, Stream::Err] {
            if let Some(joined) = self.thread(index).joiner.flush() {
                self.tell(joined, at, harvest);
            }
        }
    }

    /// Stops waiting for anything: the file ends here, or has been silent for long.
    pub(super) fn finish(&mut self, at: Timestamp, harvest: &mut Harvest) {
        if let Some(piece) = self.lines.finish() {
            self.take(piece, at, harvest);
        }
        for index in [Stream::Out, Stream::Err] {
            let thread = self.thread(index);
            let is_too_long = std::mem::take(&mut thread.is_too_long);
            if let Some(partial) = thread.partial.take() {
                if is_too_long {
                    harvest.drop_records(DropReason::TooLarge, partial.records);
                } else {
                    self.join(index, partial, at, harvest);
                }
            }
        }
        self.settle(at, harvest);
    }

    /// Returns where the first byte stands that is not told yet.
    pub(super) fn position(&self) -> u64 {
        let held = self.streams.iter().flat_map(|thread| {
            [thread.partial.as_ref().map(|piece| piece.offset), thread.joiner.held_from()]
        });
        held.flatten().fold(self.lines.begun(), u64::min)
    }

    /// Says whether a line is held that may be the head of a stack trace.
    pub(super) fn is_waiting(&self) -> bool {
        self.streams.iter().any(|thread| thread.joiner.is_waiting())
    }

    fn thread(&mut self, stream: Stream) -> &mut Thread {
        let [out, err] = &mut self.streams;
        match stream {
            Stream::Out => out,
            Stream::Err => err,
        }
    }

    fn take(&mut self, piece: lines::Piece, at: Timestamp, harvest: &mut Harvest) {
        harvest.read += 1;
        let lines::Piece::Line { offset, bytes } = piece else {
            harvest.drop_records(DropReason::TooLarge, 1);
            return;
        };
        let line = String::from_utf8_lossy(&bytes);
        let Some(wrapped) = unwrap(&line) else {
            let piece = Piece { offset, text: line.into_owned(), time: None, records: 1 };
            self.join(Stream::Out, piece, at, harvest);
            return;
        };
        let bytes_max = self.bytes_max;
        let thread = self.thread(wrapped.stream);
        let mut piece = thread.partial.take().unwrap_or_else(|| Piece {
            offset,
            text: String::new(),
            time: wrapped.time,
            records: 0,
        });
        piece.records += 1;
        if piece.text.len() + wrapped.text.len() > bytes_max {
            thread.is_too_long = true;
        } else {
            piece.text.push_str(&wrapped.text);
        }
        if wrapped.is_partial {
            thread.partial = Some(piece);
        } else if std::mem::take(&mut thread.is_too_long) {
            harvest.drop_records(DropReason::TooLarge, piece.records);
        } else {
            self.join(wrapped.stream, piece, at, harvest);
        }
    }

    fn join(&mut self, stream: Stream, piece: Piece, at: Timestamp, harvest: &mut Harvest) {
        for joined in self.thread(stream).joiner.push(piece) {
            self.tell(joined, at, harvest);
        }
    }

    fn tell(&self, joined: Joined, at: Timestamp, harvest: &mut Harvest) {
        let Joined { head, trace, records } = joined;
        let mut line: LogLine = translate_text(&head.text);
        line.time = head.time.or(line.time);
        if let Some(trace) = trace {
            let floor = if trace.is_fatal { Severity::Fatal } else { Severity::Error };
            line.severity = Some(line.severity.map_or(floor, |said| said.max(Severity::Warn)));
            line.message = trace.headline(&head.text).map_or(line.message, str::to_owned);
            line.error_type = trace.error_type.or(line.error_type);
            line.stacktrace = Some(trace.text);
            line.find_kind();
        }
        let is_dull = line.severity.is_some_and(|severity| severity < Severity::Info);
        if is_dull || head.text.trim().is_empty() {
            harvest.drop_records(DropReason::Ignored, records);
            return;
        }
        // The text too: a file that was truncated in place begins again at offset 0.
        let id =
            event_id(&[b"file", &self.identity, &head.offset.to_le_bytes(), head.text.as_bytes()]);
        let event = line.into_event_at(id, at, Source::App, self.place.clone());
        harvest.emit(event, records);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapio_collect::Unbound;
    use tapio_model::{Attributes, Kind, keys};

    use super::*;

    fn assemble(chunks: &[&[u8]]) -> Harvest {
        let mut assembly = Assembly::new(b"file".to_vec(), Place::default(), 256, 0);
        let mut harvest = Harvest::default();
        for chunk in chunks {
            assembly.feed(chunk, Timestamp::from_secs(9), &mut harvest);
        }
        assembly.finish(Timestamp::from_secs(9), &mut harvest);
        harvest
    }

    fn messages(harvest: &Harvest) -> Vec<String> {
        let message = |event: &Unbound| {
            Attributes::new(event.attributes.clone()).text(keys::MESSAGE).map(str::to_owned)
        };
        harvest.events.iter().filter_map(message).collect()
    }

    #[test]
    fn a_trace_in_a_runtimes_wrapping_is_one_exception() {
        let log = b"\
2026-01-02T03:04:05Z stderr F Traceback (most recent call last):
2026-01-02T03:04:05Z stdout F 10.0.0.1 GET /
2026-01-02T03:04:05Z stderr F   File \"a.py\", line 3, in pay
2026-01-02T03:04:05Z stderr F KeyError: 'sku'
";
        let harvest = assemble(&[log]);
        let exception = harvest.events.iter().find(|event| event.kind == Kind::Exception).unwrap();
        let said = Attributes::new(exception.attributes.clone());
        assert_eq!(said.text(keys::ERROR_TYPE), Some("KeyError"));
        assert_eq!(said.text(keys::MESSAGE), Some("KeyError: 'sku'"));
        assert_eq!(said.text(keys::STACKTRACE).unwrap().lines().count(), 3);
        assert_eq!(exception.severity, Severity::Error);
        assert_eq!((harvest.events.len(), harvest.read, harvest.emitted), (2, 4, 4));
    }

    #[test]
    fn lines_that_a_runtime_cut_are_whole_again() {
        let log = b"\
2026-01-02T03:04:05Z stdout P one
2026-01-02T03:04:05Z stderr F between
2026-01-02T03:04:05Z stdout P  and
2026-01-02T03:04:05Z stdout F  two
";
        let harvest = assemble(&[log]);
        let mut messages = messages(&harvest);
        messages.sort();
        assert_eq!(messages, ["between", "one and two"]);
        assert!(harvest.is_balanced() && harvest.emitted == 4);
    }

    #[test]
    fn what_is_too_long_is_counted_whole_and_the_rest_goes_on() {
        let part = "x".repeat(200);
        let log = format!(
            "2026-01-02T03:04:05Z stdout P {part}\n2026-01-02T03:04:05Z stdout F {part}\n{}\nok\n\n",
            "y".repeat(300)
        );
        let harvest = assemble(&[log.as_bytes()]);
        assert_eq!(messages(&harvest), ["ok"]);
        assert_eq!(harvest.dropped(DropReason::TooLarge), 3);
        assert_eq!(harvest.dropped(DropReason::Ignored), 1);
        assert!(harvest.is_balanced());
    }

    #[test]
    fn debug_lines_are_of_no_interest() {
        let harvest = assemble(&[b"DEBUG a\nTRACE b\nINFO c\n"]);
        assert_eq!(messages(&harvest), ["INFO c"]);
    }

    #[test]
    fn invalid_text_is_replaced_and_not_lost() {
        assert_eq!(messages(&assemble(&[b"caf\xe9 closed\n"])), ["caf\u{fffd} closed"]);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            lines in proptest::collection::vec(prop_oneof![
                Just("ERROR boom"), Just("INFO ok"), Just("\tat a.b(C.java:1)"), Just(""),
                Just("Traceback (most recent call last):"), Just("  File \"a\""), Just("KeyError: x"),
                Just("2026-01-02T03:04:05Z stderr P caf\u{e9}"), Just("2026-01-02T03:04:05Z stderr F end"),
                Just("{\"level\":\"error\",\"msg\":\"x\"}"), Just("panic: x"), Just("goroutine 1 [running]:"),
            ], 0..24),
            at in 0_usize..600,
        ) {
            let log = lines.join("\n");
            let (left, right) = log.as_bytes().split_at(at.min(log.len()));
            let (split, whole) = (assemble(&[left, right]), assemble(&[log.as_bytes()]));
            prop_assert_eq!(&split.events, &whole.events);
            prop_assert_eq!((split.read, split.emitted), (whole.read, whole.emitted));
            prop_assert!(split.is_balanced());
        }

        #[test]
        fn no_bytes_panic_and_none_are_forgotten(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(assemble(&[&bytes]).is_balanced());
        }
    }
}
