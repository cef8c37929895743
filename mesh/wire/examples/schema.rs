//! Prints a JSON Schema: `cargo run -p tapio-wire --example schema -- story`, or `event`.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let schema = match std::env::args().nth(1).as_deref() {
        Some("story") => tapio_wire::story_schema(),
        Some("event") => tapio_wire::event_schema(),
        Some(_) | None => return Err(io::Error::other("say which: story or event")),
    };
    writeln!(io::stdout(), "{schema:#}")
}
