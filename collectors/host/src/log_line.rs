//! What a line of an application's log says.

mod json;
mod network;
mod phrases;
mod plain;
mod stamp;
mod wrapper;

use tapio_collect::{TraceParent, Unbound, find_trace_context};
use tapio_model::{Class, EventId, Kind, Place, Severity, Source, Timestamp, keys};

pub use self::network::Peer;
use self::phrases::Limit;
pub(crate) use self::{
    plain::level,
    wrapper::{Stream, unwrap},
};
use crate::catalogue::{self, Entry, Writer};

/// Bytes of a message that are kept; a longer one is a dump, and its beginning says which.
const MESSAGE_BYTES_MAX: usize = 8_192;

/// Bytes of a stack trace that are kept.
pub(crate) const STACK_BYTES_MAX: usize = 32_768;

/// The impact of a limit that is reached, as the kernel's account of it has.
const LIMIT_IMPACT: f32 = 0.6;

/// A line, understood as far as it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// How bad the line says it is.
    pub severity: Option<Severity>,
    /// What it says: the message of a structured line, the whole of a plain one.
    pub message: String,
    /// When it says it was written; a time without a zone is taken as UTC.
    pub time: Option<Timestamp>,
    /// The trace it names.
    pub trace: Option<TraceParent>,
    /// The logger it names.
    pub logger: Option<String>,
    /// The class of its error.
    pub error_type: Option<String>,
    /// Its stack trace.
    pub stacktrace: Option<String>,
    /// What happened, as told by phrases that every stack writes alike.
    pub kind: Kind,
    /// Who was at the other end.
    pub peer: Option<Peer>,
    /// How a name failed to resolve.
    pub dns_rcode: Option<&'static str>,
    /// The name that failed to resolve.
    pub dns_name: Option<String>,
    /// Which limit was reached.
    limit: Option<&'static Limit>,
    /// What the catalogue knows of its wording.
    known: Option<&'static Entry>,
}

/// Understands one line: JSON or plain, as written or as wrapped by a container runtime.
///
/// # Shape
/// Never panics, whatever the bytes; what is not UTF-8 is replaced.
#[must_use]
pub fn translate_line(bytes: &[u8]) -> LogLine {
    let text = String::from_utf8_lossy(bytes);
    match unwrap(&text) {
        Some(wrapped) => {
            let mut line = translate_text(&wrapped.text);
            // The runtime's clock is the host's: it beats whatever the application thinks.
            line.time = wrapped.time.or(line.time);
            line
        }
        None => translate_text(&text),
    }
}

/// Understands one line that no runtime wrapped.
pub(crate) fn translate_text(text: &str) -> LogLine {
    let mut line = json::read(text).unwrap_or_else(|| plain::read(text));
    if line.trace.is_none() {
        line.trace = find_trace_context(text);
    }
    line.find_kind();
    line.message = cut(std::mem::take(&mut line.message), MESSAGE_BYTES_MAX);
    line.stacktrace = line.stacktrace.map(|stack| cut(stack, STACK_BYTES_MAX));
    line
}

impl LogLine {
    /// Makes a line that says nothing but its message.
    pub(crate) fn new(message: String) -> Self {
        Self {
            severity: None,
            message,
            time: None,
            trace: None,
            logger: None,
            error_type: None,
            stacktrace: None,
            kind: Kind::Log,
            peer: None,
            dns_rcode: None,
            dns_name: None,
            limit: None,
            known: None,
        }
    }

    /// Derives the kind from phrases in message and stack trace, if the line is about trouble.
    pub(crate) fn find_kind(&mut self) {
        let is_trouble = self.severity.is_none_or(|severity| severity >= Severity::Warn);
        let text = match &self.stacktrace {
            Some(stack) => format!("{}\n{stack}", self.message),
            None => self.message.clone(),
        };
        let failure = if is_trouble { network::find(&text) } else { None };
        // What failed below a message of the catalogue is nearer to the cause.
        let writer = if is_trouble { Writer::Process } else { Writer::CalmProcess };
        self.known = catalogue::look_up(writer, &text).filter(|_| failure.is_none());
        if let Some(failure) = failure {
            self.kind = failure.kind;
            self.peer = failure.peer;
            self.dns_rcode = failure.dns_rcode;
            self.dns_name = failure.dns_name;
            self.limit = failure.limit;
            self.severity.get_or_insert(Severity::Error);
            // The class of an exception says less of a limit than the errno, and stays in the text.
            if failure.limit.is_some() {
                self.error_type = Some(failure.error_type.into());
            }
            self.error_type.get_or_insert_with(|| failure.error_type.into());
        } else if let Some(known) = self.known {
            self.kind = known.kind;
            self.severity = self.severity.max(Some(known.severity));
        } else if self.stacktrace.is_some() || (is_trouble && self.error_type.is_some()) {
            self.kind = Kind::Exception;
            self.severity.get_or_insert(Severity::Error);
        }
    }

    /// Takes the line for calm, whatever its text says: its source knows better. What the catalogue
    /// calls trouble however calmly it is said stays trouble.
    pub(crate) fn calm_down(&mut self) {
        self.kind = Kind::Log;
        self.limit = None;
        self.known = catalogue::look_up(Writer::CalmProcess, &self.message);
        if let Some(known) = self.known {
            self.kind = known.kind;
            self.severity = self.severity.max(Some(known.severity));
        }
    }

    /// Makes the event of this line.
    pub(crate) fn into_event(self, id: EventId, read_at: Timestamp, source: Source) -> Unbound {
        let severity = self.severity.unwrap_or_default();
        let (impact, class) = match (self.known, self.limit) {
            (Some(known), _) => (known.impact, known.class),
            (None, Some(limit)) => (LIMIT_IMPACT, limit.class),
            (None, None) => rating(self.kind, severity),
        };
        let known = self.known.map(|known| (known, self.message.clone()));
        // A line is never from the future: a wrong zone would hold it back for hours.
        let time = self.time.map_or(read_at, |time| time.min(read_at));
        let mut event = Unbound::new(id, time, source, self.kind)
            .rated(severity, impact, class)
            .message(self.message)
            .with_some(keys::LOGGER, self.logger)
            .with_some(keys::ERROR_TYPE, self.error_type)
            .with_some(keys::STACKTRACE, self.stacktrace)
            .with_some(keys::DNS_RCODE, self.dns_rcode)
            .with_some(keys::DNS_NAME, self.dns_name)
            .with_some(keys::RESOURCE, self.limit.map(|limit| limit.resource));
        if let Some(peer) = self.peer {
            event = event
                .with(keys::PEER_ADDRESS, peer.address)
                .with_some(keys::PEER_PORT, peer.port.map(i64::from));
        }
        if let Some((known, message)) = known {
            event = known.fill(event, &message);
        }
        event.trace_id = self.trace.map(|trace| trace.trace_id);
        event.span_id = self.trace.and_then(|trace| trace.span_id);
        event
    }

    /// Makes the event of this line at a place.
    pub(crate) fn into_event_at(
        self,
        id: EventId,
        read_at: Timestamp,
        source: Source,
        place: Place,
    ) -> Unbound {
        let event = self.into_event(id, read_at, source);
        let place = catalogue::place_of_pod(&event).unwrap_or(place);
        event.at(place)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every kind that a line is not told as")]
fn rating(kind: Kind, severity: Severity) -> (f32, Class) {
    match kind {
        Kind::ConnectRefused | Kind::ConnectTimeout => (0.5, Class::Network),
        Kind::DnsFailure => (0.5, Class::Naming),
        Kind::StorageFull | Kind::FilesystemReadOnly => (0.8, Class::Storage),
        Kind::Exception => (0.4, Class::Application),
        _ => match severity {
            Severity::Fatal => (0.6, Class::Application),
            Severity::Error => (0.3, Class::Application),
            Severity::Warn => (0.1, Class::Application),
            Severity::Info | Severity::Debug | Severity::Trace => (0.0, Class::Application),
        },
    }
}

/// Cuts text at the last whole character within `bytes_max`.
fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests;
