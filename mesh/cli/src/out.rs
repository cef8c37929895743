//! Standard output: stories for people, or one JSON object a line for programs.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use serde::Serialize;

/// The shape of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Shape {
    /// For people.
    #[default]
    Table,
    /// For people with a wide terminal: ids too.
    Wide,
    /// One compact JSON object a line, flushed as it happens.
    Json,
    /// YAML documents.
    Yaml,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// If standard output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Standard output in one shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) shape: Shape,
    pub(crate) is_colored: bool,
}

impl Out {
    pub(crate) fn new(shape: Shape, color: Color, no_color: bool) -> Self {
        let is_colored = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !no_color && io::stdout().is_terminal(),
        };
        Self { shape, is_colored }
    }

    /// Prints text, as it is.
    pub(crate) fn text(self, text: impl fmt::Display) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        write!(stdout, "{text}")?;
        stdout.flush()?;
        Ok(())
    }

    /// Prints a record in JSON or YAML, one at a time.
    pub(crate) fn record(self, record: &impl Serialize) -> anyhow::Result<()> {
        match self.shape {
            Shape::Yaml => {
                let yaml = serde_saphyr::to_string(record)?;
                self.text(format_args!("---\n{yaml}"))
            }
            Shape::Table | Shape::Wide | Shape::Json => {
                let json = serde_json::to_string(record)?;
                self.text(format_args!("{json}\n"))
            }
        }
    }

    /// Says whether output is for people.
    pub(crate) const fn is_for_people(self) -> bool {
        matches!(self.shape, Shape::Table | Shape::Wide)
    }

    /// Dresses text in an ANSI style, if output is coloured.
    pub(crate) fn paint(self, style: Style, text: impl fmt::Display) -> String {
        if !self.is_colored {
            return text.to_string();
        }
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Red => 31,
            Style::Green => 32,
            Style::Yellow => 33,
            Style::Cyan => 36,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What text looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

/// Prints a line to standard error; a closed one is nobody's loss.
pub(crate) fn errln(text: impl fmt::Display) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}
