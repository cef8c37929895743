//! `tapio schema`: the JSON schemas.

use clap::ValueEnum;
use tapio_wire::json::{event_schema, story_schema};

use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// What to print the schema of.
    #[arg(value_enum, default_value_t)]
    of: Subject,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Subject {
    /// A story, as `-o json` prints it.
    #[default]
    Story,
    /// An event, as recordings hold it.
    Event,
}

pub(crate) fn run(args: &SchemaArgs, out: Out) -> anyhow::Result<()> {
    let schema = match args.of {
        Subject::Story => story_schema(),
        Subject::Event => event_schema(),
    };
    if out.is_for_people() {
        return out.text(format_args!("{}\n", serde_json::to_string_pretty(&schema)?));
    }
    out.record(&schema)
}
