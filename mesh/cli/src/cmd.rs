//! The commands, one file each.

mod agent;
mod bench;
mod chaos;
mod check;
mod completion;
mod demo;
mod dlq;
mod eval;
mod explain;
mod nats;
mod node;
mod observe;
mod paths;
mod pattern;
mod places;
mod publish;
mod query;
mod record;
mod replay;
mod rules;
mod schema;
mod senses;
mod stories;
mod tell;
mod up;

use clap::{Parser, Subcommand, builder::NonEmptyStringValueParser};
use tapio_telemetry::{LogFormat, init_log, init_node_log};

use crate::out::{Color, Out, Shape};

/// One story per incident: what broke, the chain of evidence, how sure we are, what to do.
#[derive(Debug, Parser)]
#[command(name = "tapio", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Shape of the output.
    #[arg(short, long, value_enum, global = true, default_value_t)]
    output: Shape,
    /// When to use colour.
    #[arg(long, value_enum, global = true, default_value_t)]
    color: Color,
    /// Any value turns colour off (<https://no-color.org>).
    #[arg(long, env = "NO_COLOR", hide = true, global = true,
          value_parser = NonEmptyStringValueParser::new())]
    no_color: Option<String>,
    /// What is logged to standard error: a level, or directives such as `info,tapio_node=debug`.
    #[arg(long, env = "LOG_LEVEL", hide_env_values = true, global = true, default_value = "warn")]
    log_level: String,
    /// Log lines as JSON objects.
    #[arg(long, env = "TAPIO_LOG_JSON", hide_env_values = true, global = true)]
    log_json: bool,
    #[command(flatten)]
    paths: paths::PathArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replays an incident that ships with Tapio and tells its story.
    Demo(demo::DemoArgs),
    /// Watches this machine: kernel log, journal, log files, cgroups, probes, Kubernetes, OTLP. Tells stories as they happen.
    Up(Box<up::UpArgs>),
    /// Replays a recording and tells its stories.
    Replay(replay::ReplayArgs),
    /// Judges the stories on recordings of which the truth is known.
    Eval(eval::EvalArgs),
    /// Runs one node of the mesh.
    Node(Box<node::NodeArgs>),
    /// Sends what this machine senses to the mesh: probes, Kubernetes, journal, logs, OTLP.
    Agent(Box<agent::AgentArgs>),
    /// Asks the mesh about a trace, a thing, a story, an owner.
    Query(Box<query::QueryArgs>),
    /// Publishes a recording into the mesh.
    Publish(Box<publish::PublishArgs>),
    /// Lists, shows and gives back what the mesh could not read or handle.
    Dlq(dlq::DlqArgs),
    /// Lists stories: of a running `tapio up`, else of the last runs.
    Stories(stories::StoriesArgs),
    /// Shows one story.
    Story(stories::StoryArgs),
    /// Shows what a running `tapio up` sees, holds and has lost.
    Status,
    /// Says what will work on this machine, what will not, why, and the cure.
    Check(Box<check::CheckArgs>),
    /// Explains a failure pattern: its evidence, its root, its look-alikes, where to look first.
    Explain(explain::ExplainArgs),
    /// Lists patterns, and tests rules of your own.
    Pattern(pattern::PatternArgs),
    /// Does to a real mesh on this machine what reality does, and judges the outcome.
    Chaos(chaos::ChaosArgs),
    /// Measures this machine: the engine, and everything from bus to story.
    Bench(bench::BenchArgs),
    /// Prints the JSON schema of what Tapio prints and reads.
    Schema(schema::SchemaArgs),
    /// Prints a completion script for a shell.
    Completion(completion::CompletionArgs),
}

/// Runs what was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, common } = cli;
    let out = Out::new(common.output, common.color, common.no_color.is_some());
    let format = if common.log_json { LogFormat::Json } else { LogFormat::Text };
    if let Command::Node(args) = &command {
        init_node_log(&common.log_level, format, &args.name());
    } else {
        init_log(&common.log_level, format);
    }
    match command {
        Command::Demo(args) => demo::run(&args, &common.paths, out),
        Command::Up(args) => up::run(*args, &common.paths, out),
        Command::Replay(args) => replay::run(&args, &common.paths, out),
        Command::Eval(args) => eval::run(&args, out),
        Command::Node(args) => node::run(&args),
        Command::Query(args) => query::ask(&args, out),
        Command::Publish(args) => publish::run(&args, out),
        Command::Dlq(args) => dlq::run(&args, out),
        Command::Stories(args) => stories::list(&args, &common.paths, out),
        Command::Story(args) => stories::show(&args, &common.paths, out),
        Command::Status => stories::status(&common.paths, out),
        Command::Agent(args) => agent::run(*args, out),
        Command::Check(args) => check::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Pattern(args) => pattern::run(&args, out),
        Command::Chaos(args) => chaos::run(&args, out),
        Command::Bench(args) => bench::run(&args, out),
        Command::Schema(args) => schema::run(&args, out),
        Command::Completion(args) => completion::run(&args, out),
    }
}
