//! Joins the lines of a stack trace to the line they belong to.

use std::sync::LazyLock;

use regex::Regex;
use tapio_model::{Severity, Timestamp};

use crate::log_line::{STACK_BYTES_MAX, level};

/// Lines of a stack trace that are kept.
const STACK_LINES_MAX: usize = 200;

/// A line of a stream, and how many records it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// Where in the file it begins.
    pub(super) offset: u64,
    pub(super) text: String,
    pub(super) time: Option<Timestamp>,
    pub(super) records: u64,
}

/// A line with the stack trace that followed it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Joined {
    pub(super) head: Piece,
    pub(super) trace: Option<Trace>,
    pub(super) records: u64,
}

/// A stack trace.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Trace {
    /// The whole of it, the head included, within limits.
    pub(super) text: String,
    /// The class of the error.
    pub(super) error_type: Option<String>,
    /// The line that says what went wrong, if it is not the head.
    message: Option<String>,
    /// Whether the process ends of it.
    pub(super) is_fatal: bool,
    lines: usize,
}

/// What may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A log line: a trace may begin.
    Head,
    /// Frames of Java, JavaScript or .NET.
    Frames,
    /// Between `Traceback` and the line that names the exception.
    Python,
    /// After that line: a chained exception may follow.
    PythonEnd,
    /// A Go panic.
    Go,
    /// A Rust panic, before the line that says why.
    Rust,
    /// After that line: its backtrace may follow.
    RustEnd,
}

/// Joins lines of one stream.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    head: Piece,
    mode: Mode,
    trace: Option<Trace>,
    records: u64,
}

impl Joiner {
    /// Takes a line, and returns those that nothing can follow any more.
    pub(super) fn push(&mut self, piece: Piece) -> Vec<Joined> {
        let mode = self.pending.as_ref().and_then(|pending| next_mode(pending.mode, &piece.text));
        if let (Some(mode), Some(pending)) = (mode, self.pending.as_mut()) {
            pending.append(mode, &piece);
            return Vec::new();
        }
        let mut done: Vec<_> = self.flush().into_iter().collect();
        match first_mode(&piece.text) {
            Some(mode) => self.pending = Some(Pending::new(mode, piece)),
            None => {
                let records = piece.records;
                done.push(Joined { head: piece, trace: None, records });
            }
        }
        done
    }

    /// Says whether a line is held.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Returns where what is held begins.
    pub(super) fn held_from(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| pending.head.offset)
    }

    /// Returns what is held.
    pub(super) fn flush(&mut self) -> Option<Joined> {
        self.pending.take().map(|pending| {
            let Pending { head, mode: _, trace, records } = pending;
            Joined { head, trace, records }
        })
    }
}

impl Pending {
    fn new(mode: Mode, head: Piece) -> Self {
        let mut trace = (mode != Mode::Head).then(Trace::default);
        if let Some(trace) = &mut trace {
            trace.add(mode, &head.text);
            trace.message = None;
        }
        let records = head.records;
        Self { head, mode, trace, records }
    }

    fn append(&mut self, mode: Mode, piece: &Piece) {
        let head = &self.head.text;
        let trace = self.trace.get_or_insert_with(|| {
            let mut trace = Trace::default();
            trace.keep(head);
            trace.error_type = jvm_class(head).map(str::to_owned);
            trace
        });
        trace.add(mode, &piece.text);
        self.mode = mode;
        self.records += piece.records;
    }
}

impl Trace {
    /// Returns what says more than a head that only announces the trace.
    pub(super) fn headline(&self, head: &str) -> Option<&str> {
        let announces = is_traceback(head) || is_rust_panic(head);
        self.message.as_deref().filter(|_| announces)
    }

    fn add(&mut self, mode: Mode, line: &str) {
        self.keep(line);
        let class = match mode {
            Mode::Head | Mode::Python => None,
            Mode::Rust => Some("panic"),
            // Where stands above why.
            Mode::RustEnd => {
                let (place, why) = (self.text.lines().next().unwrap_or_default(), line.trim());
                self.message.get_or_insert_with(|| format!("{} {why}", unnumbered(place)));
                None
            }
            // The outermost is what the caller saw; what caused it is in the text.
            Mode::Frames if self.error_type.is_some() => None,
            Mode::Frames => jvm_class(line),
            Mode::PythonEnd => python_class(line),
            Mode::Go => {
                self.is_fatal = true;
                self.error_type.get_or_insert_with(|| "panic".into());
                None
            }
        };
        if let Some(class) = class {
            self.error_type = Some(class.to_owned());
            self.message = Some(line.to_owned());
        }
    }

    fn keep(&mut self, line: &str) {
        if self.lines < STACK_LINES_MAX && self.text.len() + line.len() < STACK_BYTES_MAX {
            if self.lines > 0 {
                self.text.push('\n');
            }
            self.text.push_str(line);
            self.lines += 1;
        }
    }
}

/// Says whether a line must be held, and for what. Structured lines carry their trace inside, and
/// calm ones have none.
fn first_mode(line: &str) -> Option<Mode> {
    if is_traceback(line) {
        return Some(Mode::Python);
    }
    if line.starts_with("panic: ") || line.starts_with("fatal error: ") || is_goroutine(line) {
        return Some(Mode::Go);
    }
    if is_rust_panic(line) {
        return Some(Mode::Rust);
    }
    if is_named(line) {
        return Some(Mode::Frames);
    }
    let is_calm = level(line).is_some_and(|severity| severity < Severity::Warn);
    let holds = !line.is_empty() && !line.starts_with('{') && !is_calm;
    holds.then_some(Mode::Head)
}

/// Says whether a line goes on with what is held, and what may follow then.
fn next_mode(mode: Mode, line: &str) -> Option<Mode> {
    match mode {
        Mode::Head if is_traceback(line) => Some(Mode::Python),
        Mode::Head if is_goroutine(line) => Some(Mode::Go),
        Mode::Head if is_frame(line) || is_named(line) => Some(Mode::Frames),
        Mode::Frames if is_frame(line) => Some(Mode::Frames),
        Mode::Head | Mode::Frames => None,
        Mode::Python if line.starts_with([' ', '\t']) || line.is_empty() => Some(Mode::Python),
        Mode::Python if python_class(line).is_some() => Some(Mode::PythonEnd),
        Mode::Python => None,
        Mode::PythonEnd if is_traceback(line) => Some(Mode::Python),
        Mode::PythonEnd if is_python_link(line) => Some(Mode::PythonEnd),
        Mode::PythonEnd => None,
        Mode::Go => is_go(line).then_some(Mode::Go),
        Mode::Rust => (!line.is_empty()).then_some(Mode::RustEnd),
        Mode::RustEnd => is_rust(line).then_some(Mode::RustEnd),
    }
}

fn is_traceback(line: &str) -> bool {
    line.starts_with("Traceback (most recent call last):")
}

fn is_python_link(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("During handling of the above exception")
        || line.starts_with("The above exception was the direct cause")
}

fn is_goroutine(line: &str) -> bool {
    line.strip_prefix("goroutine ").is_some_and(|rest| rest.contains(" ["))
}

fn is_go(line: &str) -> bool {
    static CALL: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^[\w./*()\[\]{}~%-]+\(.*\)$").ok());
    line.is_empty()
        || line.starts_with('\t')
        || line.starts_with("[signal ")
        || line.starts_with("created by ")
        || line.starts_with("exit status ")
        || is_goroutine(line)
        || CALL.as_ref().is_some_and(|call| call.is_match(line))
}

/// `thread 'main' (4711) panicked at src/main.rs:3:9:`; before 1.91 without a number, before 1.73 the
/// line said why as well.
fn is_rust_panic(line: &str) -> bool {
    let is_panic = line.contains("' panicked at ") || line.contains(") panicked at ");
    line.starts_with("thread '") && is_panic && line.ends_with(':')
}

/// Returns such a line without the thread's number, which is another one each time.
fn unnumbered(line: &str) -> String {
    let parts =
        line.split_once("' (").and_then(|(before, rest)| Some((before, rest.split_once(')')?.1)));
    parts.map_or_else(|| line.to_owned(), |(before, after)| format!("{before}'{after}"))
}

fn is_rust(line: &str) -> bool {
    line.starts_with([' ', '\t']) || line == "stack backtrace:" || line.starts_with("note: ")
}

/// `\tat …`, `    at …`, `Caused by: …`, `Suppressed: …`, `… 12 more`.
fn is_frame(line: &str) -> bool {
    let rest = line.trim_start();
    let is_indented = rest.len() < line.len();
    (is_indented && rest.starts_with("at "))
        || rest.starts_with("Caused by: ")
        || (is_indented && rest.starts_with("Suppressed: "))
        || (is_indented && rest.starts_with("... ") && rest.ends_with(" more"))
}

/// Says whether a line names an exception. A bare `Error: …` is as often a sentence: only its
/// frames make it one.
fn is_named(line: &str) -> bool {
    jvm_class(line).is_some_and(|class| class != "Error")
}

/// Reads the class of `java.lang.IllegalStateException: …`, `TypeError: …` and of
/// `Exception in thread "main" …`.
fn jvm_class(line: &str) -> Option<&str> {
    static CLASS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r#"^(?:Exception in thread "[^"]*" |Uncaught |Unhandled exception\. |Caused by: )?"#,
            r"((?:[A-Za-z_][\w$]*\.)*(?:[A-Z][\w$]*)?(?:Exception|Error|Throwable))(?::|$)",
        ))
        .ok()
    });
    Some(CLASS.as_ref()?.captures(line)?.get(1)?.as_str())
}

/// Reads the class of `pkg.KeyError: 'sku'` and of a bare `StopIteration`.
fn python_class(line: &str) -> Option<&str> {
    static CLASS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?::|$)").ok());
    Some(CLASS.as_ref()?.captures(line)?.get(1)?.as_str())
}

#[cfg(test)]
mod tests;
