//! Writes the recording that ships with Tapio:
//! `cargo run -p tapio-eval --example make_demo > mesh/cli/src/cmd/demo/checkout.jsonl`.
//!
//! Nobody's cluster was recorded: a script invents four minutes of a small shop in which the
//! container of `payments` outgrows its memory limit. Lines of kernel, kubelet and applications
//! are worded as real ones are; the numbers come from a fixed seed, so that every run writes the
//! same bytes.

mod cast;
mod incident;
mod noise;
mod script;
mod traffic;

use std::io::{self, Write};

use tapio_eval::RecordingHeader;

/// Returns the recording, in order of arrival.
///
/// # Errors
/// None that happen: everything written is text and numbers.
pub(crate) fn recording() -> io::Result<Vec<u8>> {
    let mut script = script::Script::new(script::SEED);
    traffic::play(&mut script);
    incident::play(&mut script);
    noise::play(&mut script);
    let header = RecordingHeader::new(
        "payments outgrows its memory limit at 02:48",
        "invented: mesh/eval/examples/make_demo, fixed seed",
    );
    let mut text = serde_json::to_vec(&header)?;
    text.push(b'\n');
    for event in script.by_arrival() {
        serde_json::to_writer(&mut text, &event)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn main() -> io::Result<()> {
    io::stdout().write_all(&recording()?)
}
