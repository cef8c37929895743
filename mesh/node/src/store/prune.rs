//! Keeps the store within its limits.

use rusqlite::{Connection, params};

use super::{StoreLimits, StoreStats};

/// Removes what is beyond the limits, and counts it.
pub(super) fn prune(
    connection: &Connection,
    limits: &StoreLimits,
    stats: &mut StoreStats,
) -> rusqlite::Result<()> {
    let stories = count(connection, "SELECT COUNT(*) FROM stories")?;
    if stories > limits.stories_max {
        forget_stories(connection, stories - limits.stories_max, stats)?;
    }
    if stats.events > limits.events_max {
        forget_events(connection, limits, stats)?;
    }
    let dead = "DELETE FROM dead_letters WHERE seq <= (SELECT MAX(seq) FROM dead_letters) - ?1";
    stats.pruned_dead_letters += connection.execute(dead, [sql(limits.dead_letters_max)])? as u64;
    Ok(())
}

/// Counts rows.
pub(super) fn count(connection: &Connection, query: &str) -> rusqlite::Result<u64> {
    let rows: i64 = connection.query_row(query, [], |row| row.get(0))?;
    Ok(u64::try_from(rows).unwrap_or_default())
}

/// Brings a number to the range of a column.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Removes stories, the oldest resolved first, with the events that no other story cites.
fn forget_stories(
    connection: &Connection,
    stories: u64,
    stats: &mut StoreStats,
) -> rusqlite::Result<()> {
    let mut oldest = connection.prepare(
        "SELECT id FROM stories ORDER BY state IN ('opened', 'amended'), told_at, id LIMIT ?1",
    )?;
    let ids: Vec<String> =
        oldest.query_map([sql(stories)], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in ids {
        let events = connection.execute(
            "DELETE FROM events WHERE id IN (SELECT event FROM story_events WHERE story = ?1)
             AND NOT EXISTS (SELECT 1 FROM story_events WHERE event = events.id AND story <> ?1)",
            [&id],
        )? as u64;
        connection.execute("DELETE FROM story_events WHERE story = ?1", [&id])?;
        connection.execute("DELETE FROM stories WHERE id = ?1", [&id])?;
        stats.pruned_stories += 1;
        stats.pruned_events += events;
        stats.events = stats.events.saturating_sub(events);
    }
    Ok(())
}

/// Removes events: first those that no story cites, then the oldest.
fn forget_events(
    connection: &Connection,
    limits: &StoreLimits,
    stats: &mut StoreStats,
) -> rusqlite::Result<()> {
    // A tenth more than needed, so that the table is scanned once in a while and not each time.
    let tenth = limits.events_max / 10;
    let excess = stats.events.saturating_sub(limits.events_max - tenth);
    // Evidence comes before the story that cites it: the youngest tenth is given that time.
    let pruned = connection.execute(
        "DELETE FROM events WHERE seq IN (
             SELECT seq FROM events ORDER BY
                 seq > (SELECT MAX(seq) FROM events) - ?1
                     OR EXISTS (SELECT 1 FROM story_events WHERE event = events.id),
                 seq
             LIMIT ?2)",
        params![sql(tenth), sql(excess)],
    )? as u64;
    stats.pruned_events += pruned;
    stats.events = stats.events.saturating_sub(pruned);
    Ok(())
}
