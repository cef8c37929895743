//! `tapio explain`: what a pattern looks for.

use std::fmt::Write as _;

use serde::Serialize;
use tapio_engine::{Pattern as _, Spec};
use tapio_patterns::{Entry, Header, all, confusion};

use super::rules::RulesArgs;
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
    /// Prints the page of what is told for what for the documentation.
    #[arg(long, hide = true, conflicts_with = "markdown")]
    confusion: bool,
    #[command(flatten)]
    rules: RulesArgs,
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
    if args.confusion {
        return out.text(confusion(&entries).markdown());
    }
    let library = args.rules.load()?;
    let rules = library.rules().iter().map(|rule| explanation(rule.spec(), rule.header()));
    let mut known = entries.iter().map(of_entry).chain(rules);
    let Some(slug) = &args.pattern else {
        return known.try_for_each(|it| brief(&it, out));
    };
    let unknown = || Usage(format!("no pattern is called {slug}; `tapio explain` lists them"));
    explain(&known.find(|it| it.pattern == slug).ok_or_else(unknown)?, out)
}

fn markdown(entries: &[Entry]) -> String {
    let mut page = String::from(
        "# Failure patterns\n\nWritten by `tapio explain --markdown` from the headers of \
         `actors/patterns/src/patterns/*.rs`; change those.\n",
    );
    for entry in entries {
        let it = of_entry(entry);
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

fn of_entry(entry: &Entry) -> Explanation<'_> {
    explanation(entry.pattern.spec(), &entry.header)
}

fn explanation<'a>(spec: &'a Spec, header: &'a Header) -> Explanation<'a> {
    Explanation {
        pattern: spec.slug,
        title: spec.title,
        what: &header.what,
        evidence: &header.evidence,
        root: &header.root,
        not_this: &header.not_this,
        first_look: &header.first_look,
        leads_to: spec.leads_to,
    }
}

fn brief(it: &Explanation<'_>, out: Out) -> anyhow::Result<()> {
    if !out.is_for_people() {
        return out.record(it);
    }
    let slug = format!("{:<24}", it.pattern);
    out.text(format_args!("{} {}\n", out.paint(Style::Bold, slug), it.title))
}

fn explain(it: &Explanation<'_>, out: Out) -> anyhow::Result<()> {
    if !out.is_for_people() {
        return out.record(it);
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
