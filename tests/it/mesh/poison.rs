//! A message that nobody can read.

use async_nats::jetstream;
use data_encoding::BASE64;
use serde_json::Value;

use super::{
    demo::FLAGS,
    world::{Outcome, World, check, lines, said, told, until},
};

const GARBAGE: &[u8] = b"\xff\x00 no batch of ours \xfe";

pub(super) async fn one_letter() -> Outcome {
    let mut world = World::start(&["tapio-0"], &FLAGS).await?;
    let client = async_nats::connect(world.server.url()).await.map_err(said)?;
    let stream = jetstream::new(client);
    let published = stream.publish("tapio.events.1.app.normal.3", GARBAGE.into()).await;
    let entry = published.map_err(said)?.await.map_err(said)?.sequence;
    let letter = only_letter(&world, entry).await?;
    shown(&world, &letter)?;
    // Whoever owns the shard next does not give it up once more.
    let url = world.server.url();
    world.nodes[0].restart(&url, &FLAGS).await?;
    world.nodes[0].says(200).await?;
    stream.publish("tapio.events.1.app.normal.4", GARBAGE.into()).await.map_err(said)?;
    until(async || {
        let letters = letters(&world)?;
        check(letters.len() == 2, || format!("{letters:?}"))?;
        let of_first: Vec<_> = letters.iter().filter(|it| it["entry"] == entry).collect();
        check(of_first == [&letter], || format!("{letters:?}"))
    })
    .await
}

fn letters(world: &World) -> Outcome<Vec<Value>> {
    let output = world.tapio(&["dlq", "list", "-o", "json"])?;
    check(output.status.success(), || told(&output))?;
    Ok(lines(&output))
}

async fn only_letter(world: &World, entry: u64) -> Outcome<Value> {
    until(async || {
        let letters = letters(world)?;
        let [letter] = letters.as_slice() else { return Err(format!("{letters:?}")) };
        let is_so = letter["shard"] == 3
            && letter["entry"] == entry
            && letter["reason"] == "bad_batch"
            && letter["original_bytes"] == GARBAGE.len();
        check(is_so, || letter.to_string())?;
        let counted = world.nodes[0].metrics().await?.count("tapio_dead_letters_total");
        check(counted == 1, || format!("{counted} letters are counted"))?;
        Ok(letter.clone())
    })
    .await
}

/// All of it is shown, to programs and to people.
fn shown(world: &World, letter: &Value) -> Outcome {
    let sequence = letter["sequence"].to_string();
    let output = world.tapio(&["dlq", "show", &sequence, "-o", "json"])?;
    let page = lines(&output).pop().unwrap_or_default();
    check(page["original_base64"] == BASE64.encode(GARBAGE), || told(&output))?;
    let output = world.tapio(&["dlq", "show", &sequence])?;
    let text = String::from_utf8_lossy(&output.stdout);
    check(text.contains("bad_batch") && text.contains("no batch of"), || told(&output))
}
