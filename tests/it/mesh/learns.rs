//! What comes in is learnt from.

use tapio_chaos::real::{NodeCommand, NodeProcess};
use tapio_tests::tapio_binary;

use super::{
    demo::Demo,
    world::{Outcome, World, check, said, until},
};

/// What a node says when it begins to learn.
const LEARNS: &str = "what is normal is learnt";

pub(super) async fn from_what_comes_in() -> Outcome {
    let world = World::empty().await?;
    let mut node = NodeProcess::prepare("tapio-0").map_err(said)?;
    let (url, data) = (world.server.url(), node.state_dir());
    let data = data.to_string_lossy();
    // As people start it, who say nothing of a baseline.
    let words = ["node", "--nats", &url, "--http", "127.0.0.1:0", "--data", &data];
    let command = NodeCommand {
        program: tapio_binary()?,
        args: words.iter().chain(&["--log-level", "info"]).map(Into::into).collect(),
        env: vec![("POD_NAME".into(), "tapio-0".into())],
    };
    node.start(&command).await.map_err(said)?;
    let says = async |words: &str| {
        let log = std::fs::read_to_string(node.stderr_path()).unwrap_or_default();
        check(log.contains(words), || log.clone())
    };
    until(async || says("joins the mesh").await).await?;
    let silent = says(LEARNS).await;
    check(silent.is_err(), || "it learns from nothing".to_owned())?;
    Demo::publish(&world, "4000", &[])?;
    until(async || says(LEARNS).await).await
}
