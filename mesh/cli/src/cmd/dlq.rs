//! `tapio dlq`: what could not be read or handled, why, and giving it back once it can be.

mod give_back;
mod page;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use tapio_model::{Clock as _, DeadReason, ShardId, Timestamp};
use tapio_nats::{Archive, ArchiveError, DeadLetterEntry, DeadLetterFilter};
use tapio_telemetry::SystemClock;

use self::{
    give_back::{Fate, GiveBack},
    page::{LetterLine, LetterPage},
};
use super::nats::NatsArgs;
use crate::{
    exit::{Unreachable, Usage},
    out::{Out, errln},
};

/// What the server's monitoring calls the connection.
const NAME: &str = "tapio dlq";

#[derive(Debug, clap::Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Lists dead letters, newest first.
    List(ListArgs),
    /// Shows one: why, its events, its bytes, and what of them cannot be read.
    Show(ShowArgs),
    /// Gives their events back to the mesh.
    ///
    /// Ids, times and traces of the events stay, and so do the letters. Giving one back twice within
    /// the duplicate window of the events stream (two minutes unless it is set up otherwise) does
    /// nothing the second time, and says so. What still cannot be read is not given back; the exit
    /// code is then 64.
    Replay(ReplayArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Only those of the last so much time, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = super::up::duration)]
    since: Option<Duration>,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    nats: Box<NatsArgs>,
}

/// Which dead letters.
#[derive(Debug, Clone, clap::Args)]
struct WhichArgs {
    /// Only those given up for this reason.
    #[arg(long, value_name = "REASON", value_parser = reasons())]
    reason: Option<DeadReason>,
    /// Only those of this shard.
    #[arg(long, value_name = "N")]
    shard: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Its sequence, as `tapio dlq list` shows it.
    #[arg(value_name = "SEQ")]
    sequence: u64,
    /// Prints its events alone, one JSON object a line, as `tapio replay -` reads them.
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    nats: Box<NatsArgs>,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("letters").required(true).args(["sequences", "all"])))]
struct ReplayArgs {
    /// Their sequences, as `tapio dlq list` shows them.
    #[arg(value_name = "SEQ")]
    sequences: Vec<u64>,
    /// All there are, oldest first; or all that the flags below let through.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: WhichArgs,
    /// Says what would be given back, and what would become of it; gives nothing back.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    nats: Box<NatsArgs>,
}

fn reasons() -> impl clap::builder::TypedValueParser<Value = DeadReason> {
    let names = PossibleValuesParser::new(DeadReason::ALL.map(DeadReason::name));
    names.try_map(|name| {
        let known = DeadReason::ALL.into_iter().find(|reason| reason.name() == name);
        known.ok_or_else(|| format!("no reason is called {name}"))
    })
}

impl WhichArgs {
    fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            reason: self.reason,
            shard: self.shard.map(ShardId::new),
            ..DeadLetterFilter::default()
        }
    }
}

pub(crate) fn run(args: &DlqArgs, out: Out) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    runtime.block_on(async {
        match &args.what {
            What::List(args) => list(args, out).await,
            What::Show(args) => show(args, out).await,
            What::Replay(args) => replay(args, out).await,
        }
    })
}

async fn list(args: &ListArgs, out: Out) -> anyhow::Result<()> {
    let archive = Archive::new(args.nats.connect(NAME).await?);
    let filter = DeadLetterFilter {
        since: args.since.map(|since| SystemClock.now().before(since)),
        limit: usize::try_from(args.limit)?,
        ..args.which.filter()
    };
    let found = archive.dead_letters(filter).await.map_err(|error| refused(&error))?;
    let lines: Vec<_> = found.entries.iter().map(LetterLine::from).collect();
    if !out.is_for_people() {
        lines.iter().try_for_each(|line| out.record(line))?;
    } else if lines.is_empty() {
        out.text("no dead letters\n")?;
    } else {
        out.text(page::render_list(&lines, out))?;
    }
    if found.omitted > 0 {
        errln(format_args!("tapio: {} older ones left out; --limit shows more", found.omitted));
    }
    if found.unreadable > 0 {
        errln(format_args!(
            "tapio: {} messages there are no dead letters that this build reads; a newer one may",
            found.unreadable
        ));
    }
    Ok(())
}

async fn show(args: &ShowArgs, out: Out) -> anyhow::Result<()> {
    let archive = Archive::new(args.nats.connect(NAME).await?);
    let entry = find(&archive, args.sequence).await?;
    let page = LetterPage::from(&entry);
    if args.events {
        let out = Out { shape: crate::out::Shape::Json, ..out };
        return page.events.iter().try_for_each(|event| out.record(event));
    }
    if out.is_for_people() {
        out.text(page::render(&page, &entry.letter.original, out))
    } else {
        out.record(&page)
    }
}

async fn replay(args: &ReplayArgs, out: Out) -> anyhow::Result<()> {
    if !args.all && (args.which.reason.is_some() || args.which.shard.is_some()) {
        bail!(Usage("--reason and --shard choose among --all, not among named letters".into()));
    }
    let connection = args.nats.connect(NAME).await?;
    let archive = Archive::new(connection.clone());
    let give_back = GiveBack::new(connection, &archive, args.nats.shards()).await?;
    let sequences = if args.all {
        archive.dead_letter_sequences(args.which.filter()).await.map_err(|error| refused(&error))?
    } else {
        args.sequences.clone()
    };
    let (mut failed, count) = (0_u64, sequences.len());
    for sequence in sequences {
        let entry = match archive.dead_letter(sequence).await.map_err(|error| refused(&error))? {
            Some(entry) => entry,
            // It aged out since it was listed.
            None if args.all => continue,
            None => bail!(unknown(sequence)),
        };
        let now = SystemClock.now();
        let fate = give_back.fate(&entry, now, args.dry_run).await?;
        failed += u64::from(fate.is_refusal());
        say(&fate, out)?;
    }
    if count == 0 && out.is_for_people() {
        out.text("no dead letters\n")?;
    }
    if failed > 0 {
        bail!(Usage(format!("{failed} of {count} dead letters cannot be given back")));
    }
    Ok(())
}

fn say(fate: &Fate, out: Out) -> anyhow::Result<()> {
    if out.is_for_people() { out.text(page::render_fate(fate, out)) } else { out.record(fate) }
}

async fn find(archive: &Archive, sequence: u64) -> anyhow::Result<DeadLetterEntry> {
    let found = archive.dead_letter(sequence).await.map_err(|error| refused(&error))?;
    found.ok_or_else(|| unknown(sequence).into())
}

fn unknown(sequence: u64) -> Unreachable {
    Unreachable(format!("there is no dead letter {sequence}; `tapio dlq list` lists them"))
}

/// Gives an error of the archive the exit code it deserves.
fn refused(error: &ArchiveError) -> anyhow::Error {
    match error {
        ArchiveError::Missing { .. } | ArchiveError::Failed { .. } => {
            Unreachable(error.to_string()).into()
        }
        ArchiveError::Unreadable { .. } => {
            Usage(format!("{error}; a newer build of tapio may read it")).into()
        }
    }
}

/// Returns a time as text, for people: UTC, to the millisecond.
fn clock(time: Timestamp) -> String {
    let text = tapio_wire::json::time_to_text(time);
    text.get(..23).unwrap_or(&text).replace('T', " ")
}
