//! Replies that fit a message, and say what they leave out.

use tapio_model::{Answer, Item, Part, Refusal, RefusalReason, Reply, ShardAnswer};

use super::{Form, encode_reply};

/// Encodes a reply in at most `bytes_max` bytes; what does not fit is left out and counted.
#[must_use]
pub fn encode_reply_within(mut reply: Reply, form: Form, bytes_max: usize) -> Vec<u8> {
    loop {
        let bytes = encode_reply(&reply, form);
        if bytes.len() <= bytes_max {
            return bytes;
        }
        if !shrink(&mut reply) {
            let text = format!("the reply does not fit a message of {bytes_max} bytes");
            let refusal = Refusal::new(RefusalReason::TooLarge, text);
            return encode_reply(&Reply::Refused(refusal), form);
        }
    }
}

/// Leaves out about half of what a reply holds, the last first. Says whether there was any.
fn shrink(reply: &mut Reply) -> bool {
    match reply {
        Reply::Answer(Answer { results, omitted, .. }) => {
            let left_out = halve(results);
            *omitted += left_out;
            left_out > 0
        }
        Reply::Part(Part { shards, .. }) => {
            let mut is_smaller = false;
            for shard in shards {
                let ShardAnswer::Known { results, omitted, .. } = shard else { continue };
                let left_out = halve(results);
                *omitted += left_out;
                is_smaller |= left_out > 0;
            }
            is_smaller
        }
        Reply::Refused(_) => false,
    }
}

/// Keeps `items_max` results, and returns how many it left out.
pub fn trim_results(results: &mut Vec<Item>, items_max: usize) -> u64 {
    let left_out = results.len().saturating_sub(items_max);
    results.truncate(items_max);
    u64::try_from(left_out).unwrap_or(u64::MAX)
}

fn halve(results: &mut Vec<Item>) -> u64 {
    let events_of = |item: &mut Item| match item {
        Item::Trace(trace) => {
            let kept = trace.events.len() / 2;
            let left_out = trace.events.len() - kept;
            trace.events.truncate(kept);
            u64::try_from(left_out).unwrap_or(u64::MAX)
        }
        Item::Story(_)
        | Item::Incident { .. }
        | Item::Owner { .. }
        | Item::Accepted { .. }
        | Item::Released { .. } => 0,
    };
    let left_out = results.iter_mut().map(events_of).sum();
    if left_out > 0 { left_out } else { trim_results(results, results.len() / 2) }
}
