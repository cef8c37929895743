//! `tapio query`: asks the mesh, from any machine that reaches its NATS.
//!
//! The answer is printed even if it is not complete; the exit code is then 69, and standard error
//! says which shards are stale or missing. A complete answer is 0, also if it knows nothing.

mod page;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tapio_model::{
    Answer, Entity, Op, Owned, RefusalReason, Reply, Request, ShardId, StoryId, Text, TraceId,
};
use tapio_nats::{Requester, RequesterError};
use tapio_wire::{Form, encode_reply};

use super::nats::NatsArgs;
use crate::{
    exit::{Unreachable, Usage},
    out::Out,
};

/// How each kind of thing is named.
const KINDS: &str = "container ID, cgroup [NODE] PATH, pod UID, workload SCOPE KIND NAME, node \
                     NAME, service [NAMESPACE] NAME, edge FROM TO, process [NODE] PID, object NAMESPACE KIND NAME";

#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    nats: NatsArgs,
    #[command(subcommand)]
    what: What,
    /// Within what time to answer with whatever is known: 100 unless given, at most 10000.
    #[arg(long, global = true, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    deadline_ms: Option<u64>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What a trace holds and found, or how it ended.
    Trace {
        /// The trace: 32 hexadecimal digits.
        id: TraceId,
    },
    /// The open stories and live traces that touch a thing.
    Entity(EntityArgs),
    /// One story, open or just resolved.
    Story {
        /// The story: 26 letters and digits.
        id: StoryId,
    },
    /// The open incidents near a thing.
    Related(EntityArgs),
    /// Who owns a trace or a shard.
    Owner {
        /// A trace (32 hexadecimal digits) or a shard (a number).
        of: String,
    },
    /// The open stories, oldest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

#[derive(Debug, clap::Args)]
struct EntityArgs {
    #[arg(help = format!("What it is, with its names: {KINDS}"))]
    kind: String,
    /// The names that make it unique, the widest first.
    #[arg(required = true)]
    names: Vec<String>,
}

/// Connects and asks.
pub(crate) fn ask(args: &QueryArgs, out: Out) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = args.nats.connect("tapio query").await?;
        run(args, &Requester::new(&connection), out).await
    })
}

/// Asks, prints the answer, and says whether it was complete.
async fn run(args: &QueryArgs, requester: &Requester, out: Out) -> anyhow::Result<()> {
    let deadline = args.deadline_ms.map(Duration::from_millis);
    let request = Request { deadline, ..Request::new(op(&args.what)?) };
    let answer = match requester.request(&request).await {
        Ok(answer) => answer,
        Err(error) => return refused(error),
    };
    if out.is_for_people() {
        out.text(page::render(&answer, out))?;
    } else {
        let json = encode_reply(&Reply::Answer(answer.clone()), Form::Json);
        out.record(&serde_json::from_slice::<Value>(&json)?)?;
    }
    if answer.is_complete() { Ok(()) } else { bail!(Unreachable(gaps(&answer))) }
}

fn op(what: &What) -> Result<Op, Usage> {
    Ok(match what {
        What::Trace { id } => Op::Trace(*id),
        What::Entity(args) => Op::Entity(entity(args)?),
        What::Story { id } => Op::Story(*id),
        What::Related(args) => Op::Related { entities: vec![entity(args)?], at: None },
        What::Owner { of } => Op::WhoOwns(owned(of)?),
        What::List { limit } => Op::List { limit: *limit },
    })
}

fn owned(of: &str) -> Result<Owned, Usage> {
    if let Ok(shard) = of.parse() {
        return Ok(Owned::Shard(ShardId::new(shard)));
    }
    let unknown =
        |_| Usage(format!("{of} is neither a shard's number nor a trace's 32 hexadecimal digits"));
    of.parse().map(Owned::Trace).map_err(unknown)
}

fn entity(args: &EntityArgs) -> Result<Entity, Usage> {
    let names: Vec<Text> = args.names.iter().map(|name| name.as_str().into()).collect();
    Ok(match (args.kind.as_str(), names.as_slice()) {
        ("container", [id]) => Entity::Container { id: id.clone() },
        ("cgroup", [path]) => Entity::Cgroup { node: Text::default(), path: path.clone() },
        ("cgroup", [node, path]) => Entity::Cgroup { node: node.clone(), path: path.clone() },
        ("pod", [uid]) => Entity::Pod { uid: uid.clone() },
        ("workload", [scope, kind, name]) => {
            Entity::Workload { scope: scope.clone(), kind: kind.clone(), name: name.clone() }
        }
        ("node", [name]) => Entity::Node { name: name.clone() },
        ("service", [name]) => Entity::Service { namespace: Text::default(), name: name.clone() },
        ("service", [namespace, name]) => {
            Entity::Service { namespace: namespace.clone(), name: name.clone() }
        }
        ("edge", [from, to]) => Entity::Edge { from: from.clone(), to: to.clone() },
        ("process", [pid]) => Entity::Process { node: Text::default(), pid: pid.clone() },
        ("process", [node, pid]) => Entity::Process { node: node.clone(), pid: pid.clone() },
        ("object", [namespace, kind, name]) => {
            Entity::Object { namespace: namespace.clone(), kind: kind.clone(), name: name.clone() }
        }
        (kind, _) => {
            let names = args.names.join(" ");
            return Err(Usage(format!("{kind} {names} names nothing: write {KINDS}")));
        }
    })
}

fn refused(error: RequesterError) -> anyhow::Result<()> {
    match error {
        RequesterError::Refused(refusal) => match refusal.reason {
            RefusalReason::Malformed
            | RefusalReason::UnknownVersion
            | RefusalReason::UnknownOp
            | RefusalReason::TooLarge
            | RefusalReason::NotFound
            | RefusalReason::MixedShards => bail!(Usage(refusal.to_string())),
            RefusalReason::Busy | RefusalReason::Unavailable => {
                bail!(Unreachable(refusal.to_string()))
            }
            RefusalReason::Internal => Err(refusal.into()),
        },
        error @ (RequesterError::NoMesh
        | RequesterError::Timeout(_)
        | RequesterError::Unreachable(_)) => bail!(Unreachable(error.to_string())),
        error @ RequesterError::Unreadable(_) => Err(error.into()),
    }
}

/// Says what an answer lacks.
fn gaps(answer: &Answer) -> String {
    let list = |what: &str, shards: &[ShardId]| {
        let shards: Vec<_> = shards.iter().map(ToString::to_string).collect();
        (!shards.is_empty()).then(|| format!("{what} {}", shards.join(", ")))
    };
    let omitted = match answer.omitted {
        0 => None,
        omitted => Some(format!("{omitted} results or events left out")),
    };
    let gaps = [
        list("no answer for shards", &answer.shards.missing),
        list("only the last commit of shards", &answer.shards.stale),
        omitted,
    ];
    let gaps: Vec<_> = gaps.into_iter().flatten().collect();
    format!("the answer is not complete: {}", gaps.join("; "))
}
