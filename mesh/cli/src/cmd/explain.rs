//! `tapio explain`: what a pattern looks for.

use std::fmt::Write as _;

use serde::Serialize;
use tapio_patterns::{Entry, all};

use crate::{
    exit::Usage,
    out::{Out, Style},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The pattern; all are listed without it.
    pattern: Option<String>,
    /// Prints the page of all patterns for the documentation.
    #[arg(long, hide = true)]
    markdown: bool,
}

/// A pattern's header.
#[derive(Debug, Serialize)]
struct Explanation<'a> {
    pattern: &'a str,
    title: &'a str,
    what: &'a str,
    evidence: &'a str,
    root: &'a str,
    not_this: &'a str,
    first_look: &'a str,
    leads_to: &'a [&'a str],
}

pub(crate) fn run(args: &ExplainArgs, out: Out) -> anyhow::Result<()> {
    let entries = all();
    if args.markdown {
        return out.text(markdown(&entries));
    }
    let Some(slug) = &args.pattern else {
        return entries.iter().try_for_each(|entry| brief(entry, out));
    };
    let unknown = || Usage(format!("no pattern is called {slug}; `tapio explain` lists them"));
    explain(entries.iter().find(|entry| entry.slug == slug).ok_or_else(unknown)?, out)
}

fn markdown(entries: &[Entry]) -> String {
    let mut page = String::from(
        "# Failure patterns\n\nWritten by `tapio explain --markdown` from the headers of \
         `actors/patterns/src/patterns/*.rs`; change those.\n",
    );
    for entry in entries {
        let it = explanation(entry);
        let sections = [
            ("Evidence", it.evidence),
            ("Root", it.root),
            ("Not this", it.not_this),
            ("First look", it.first_look),
        ];
        let sections = sections.map(|(title, text)| format!("- **{title}.** {text}\n")).concat();
        let leads_to = match it.leads_to {
            [] => String::new(),
            some => format!("- **Leads to.** {}\n", some.join(", ")),
        };
        let (slug, title, what) = (it.pattern, it.title, it.what);
        write!(page, "\n## {slug}\n\n**{title}.** {what}\n\n{sections}{leads_to}")
            .unwrap_or_default();
    }
    page
}

fn explanation(entry: &Entry) -> Explanation<'_> {
    let spec = entry.pattern.spec();
    Explanation {
        pattern: spec.slug,
        title: spec.title,
        what: &entry.header.what,
        evidence: &entry.header.evidence,
        root: &entry.header.root,
        not_this: &entry.header.not_this,
        first_look: &entry.header.first_look,
        leads_to: spec.leads_to,
    }
}

fn brief(entry: &Entry, out: Out) -> anyhow::Result<()> {
    if !out.is_for_people() {
        return out.record(&explanation(entry));
    }
    let spec = entry.pattern.spec();
    let slug = format!("{:<24}", spec.slug);
    out.text(format_args!("{} {}\n", out.paint(Style::Bold, slug), spec.title))
}

fn explain(entry: &Entry, out: Out) -> anyhow::Result<()> {
    let it = explanation(entry);
    if !out.is_for_people() {
        return out.record(&it);
    }
    out.text(format_args!(
        "{} ({})\n\n{}\n",
        out.paint(Style::Bold, it.title),
        it.pattern,
        it.what
    ))?;
    let sections = [
        ("Evidence", it.evidence),
        ("Root", it.root),
        ("Not this", it.not_this),
        ("First look", it.first_look),
    ];
    for (title, text) in sections {
        out.text(format_args!("\n{}\n{text}\n", out.paint(Style::Cyan, title)))?;
    }
    if !it.leads_to.is_empty() {
        let list = it.leads_to.join(", ");
        out.text(format_args!("\n{}\n{list}\n", out.paint(Style::Cyan, "Leads to")))?;
    }
    Ok(())
}
