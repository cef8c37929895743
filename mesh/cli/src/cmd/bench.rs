//! `tapio bench`: figures that anyone can measure again.
//!
//! Every command prints what it did, how long it took and what it held; none of them passes or
//! fails by the clock. The ledger, on the other hand, must balance, or the command fails.

mod actors;
mod agent;
mod engine;
mod kernel;
mod load;
mod mesh;
mod poison;
mod report;
mod request;
mod ring;

use clap::Subcommand;

pub(crate) use report::{Outcomes, per_second, resident_bytes};

use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Nanoseconds an event, and bytes a live trace, at 1k, 100k and 1M traces.
    Engine(engine::EngineArgs),
    /// From producer to story in one process, without actors: throughput, or latency at a rate.
    Ring(ring::RingArgs),
    /// From producer over the bus through one actor a trace: throughput.
    Actors(actors::ActorsArgs),
    /// From the kernel's ring buffer through one actor a trace: throughput and drops, exactly counted.
    Kernel(kernel::KernelArgs),
    /// An agent under load, with a cluster in its watch cache: processor time and resident memory.
    Agent(agent::AgentArgs),
    /// From publisher over JetStream through one actor a trace: latency at a rate, loss, throughput.
    Mesh(mesh::MeshArgs),
    /// Requests to a mesh of several nodes, and to one of which a node stands still.
    Request(request::RequestArgs),
    /// A million live traces of which some are poisoned: no neighbour harmed, counts exact.
    Poison(poison::PoisonArgs),
}

pub(crate) fn run(args: &BenchArgs, out: Out) -> anyhow::Result<()> {
    match &args.what {
        What::Engine(args) => engine::run(args, out),
        What::Ring(args) => ring::run(args, out),
        What::Actors(args) => actors::run(args, out),
        What::Kernel(args) => kernel::run(args, out),
        What::Agent(args) => agent::run(args, out),
        What::Mesh(args) => mesh::run(args, out),
        What::Request(args) => request::run(args, out),
        What::Poison(args) => poison::run(args, out),
    }
}
