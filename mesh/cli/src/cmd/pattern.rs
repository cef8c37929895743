//! `tapio pattern`: rules of users, listed and tested.

use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;
use tapio_patterns::{
    all,
    scene::{Answer, Truth},
};
use tapio_rules::{Library, Played, Report};

use super::rules::{RulesArgs, refused};
use crate::{
    exit::Lacking,
    out::{Out, Style},
};

#[derive(Debug, clap::Args)]
pub(crate) struct PatternArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Validates rules and plays their scenes, beside the built-in patterns.
    ///
    /// The exit code is 1 if a scene is told wrong, and 64 if a file is no rule.
    Test(TestArgs),
    /// Lists the built-in patterns, and rules with them.
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct TestArgs {
    /// Rules, or directories of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    rules: RulesArgs,
}

pub(crate) fn run(args: &PatternArgs, out: Out) -> anyhow::Result<()> {
    match &args.what {
        What::Test(args) => test(args, out),
        What::List(args) => list(args, out),
    }
}

/// A pattern of the list.
#[derive(Debug, Serialize)]
struct Line<'a> {
    pattern: &'a str,
    title: &'a str,
    /// Its file; none for a built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    scenes: usize,
}

fn list(args: &ListArgs, out: Out) -> anyhow::Result<()> {
    let library = args.rules.load()?;
    for entry in all() {
        let spec = entry.pattern.spec();
        let (pattern, title, scenes) = (spec.slug, spec.title, entry.scenes.len());
        line(&Line { pattern, title, file: None, scenes }, out)?;
    }
    for rule in library.rules() {
        let (pattern, title) = (rule.slug(), rule.title());
        let file = Some(rule.file().display().to_string());
        line(&Line { pattern, title, file, scenes: rule.scenes().len() }, out)?;
    }
    Ok(())
}

fn line(line: &Line<'_>, out: Out) -> anyhow::Result<()> {
    if !out.is_for_people() {
        return out.record(line);
    }
    let slug = out.paint(Style::Bold, format!("{:<24}", line.pattern));
    let file = line.file.as_ref().map(|file| out.paint(Style::Dim, format!("  {file}")));
    out.text(format_args!("{slug} {}{}\n", line.title, file.unwrap_or_default()))
}

/// A scene that was played.
#[derive(Debug, Serialize)]
struct Scene<'a> {
    pattern: &'a str,
    scene: &'a str,
    is_right: bool,
    /// `cause`, `unknown` or `healthy`.
    truth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth_pattern: Option<&'static str>,
    /// `silence`, `cause`, `unknown` or `several`.
    told: &'static str,
    told_patterns: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

fn test(args: &TestArgs, out: Out) -> anyhow::Result<()> {
    let library = Library::load_all(&args.paths).map_err(refused)?;
    let report = library.test();
    if out.is_for_people() {
        out.text(&report)?;
    } else {
        let played = report.rules.iter().flat_map(|rule| &rule.scenes);
        played.chain(&report.disturbed).try_for_each(|played| out.record(&scene(played)))?;
    }
    verdict(&report)
}

/// Says by the exit code whether every scene is told right.
fn verdict(report: &Report) -> anyhow::Result<()> {
    match report.wrong().count() {
        0 => Ok(()),
        1 => bail!(Lacking("1 scene is told wrong".to_owned())),
        wrong => bail!(Lacking(format!("{wrong} scenes are told wrong"))),
    }
}

fn scene(played: &Played) -> Scene<'_> {
    let (truth, truth_pattern) = match played.truth {
        Truth::Healthy => ("healthy", None),
        Truth::Cause(slug) => ("cause", Some(slug)),
        Truth::Unknown(slug) => ("unknown", Some(slug)),
    };
    let (told, told_patterns) = match &played.answer {
        Answer::Silence => ("silence", Vec::new()),
        Answer::Cause(slug) => ("cause", vec![slug.as_str()]),
        Answer::Unknown(slugs) => ("unknown", slugs.iter().map(String::as_str).collect()),
        Answer::Several(slugs) => ("several", slugs.iter().map(String::as_str).collect()),
    };
    let is_right = played.is_right();
    Scene {
        pattern: &played.pattern,
        scene: &played.name,
        is_right,
        truth,
        truth_pattern,
        told,
        told_patterns,
        hint: played.hint(),
    }
}
