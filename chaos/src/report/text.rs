//! A report for people.

use std::{collections::BTreeMap, fmt};

use super::{Report, Spread};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, nodes, servers, duration_s, took_s, .. } = self;
        let verdict = match (self.runs, self.ok) {
            (0, _) => "skipped",
            (_, true) => "ok",
            (_, false) => "NOT OK",
        };
        writeln!(f, "{scenario}, seed {seed}: {verdict}")?;
        if self.runs == 0 {
            return self.skipped.iter().try_for_each(|why| writeln!(f, "  {why}"));
        }
        let runs =
            if self.runs == 1 { "one run".to_owned() } else { format!("{} runs", self.runs) };
        writeln!(
            f,
            "  {runs} of {nodes} nodes and {servers} servers; load {duration_s:.1} s, in all {took_s:.1} s"
        )?;
        let Self { acked, lost, in_two_stories, told_twice, stories, incidents, .. } = self;
        writeln!(f, "  acknowledged   {acked} events, {incidents} incidents, {stories} stories")?;
        writeln!(f, "  lost           {lost}")?;
        writeln!(f, "  in two stories {in_two_stories}")?;
        let torn = self.continued;
        writeln!(f, "  told twice     {told_twice} ({torn} torn apart by a fault and continued)")?;
        write_spread(f, "takeover      ", &self.takeovers)?;
        write_spread(f, "first commit  ", &self.resumed)?;
        write_spread(f, "drain         ", &self.drains)?;
        write_spread(f, "recovery      ", &self.recoveries)?;
        let late = &self.late;
        let (p50, p99, max) = (late.p50_ms, late.p99_ms, late.max_ms);
        writeln!(f, "  taken in after p50 {p50} ms, p99 {p99} ms, max {max} ms")?;
        let queries = &self.queries;
        let refused: u64 = queries.refused.values().sum();
        writeln!(
            f,
            "  questions      {}: {} complete, {} partial, {refused} refused, {} unanswered; p50 {} us, p99 {} us",
            queries.asked,
            queries.complete,
            queries.partial,
            queries.unanswered,
            queries.p50_us,
            queries.p99_us,
        )?;
        writeln!(f, "  memory         at most {} MiB a node", self.memory_mib_max)?;
        let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
        for fault in &self.faults {
            *faults.entry(fault.kind).or_default() += 1;
        }
        let faults: Vec<_> = faults.iter().map(|(kind, times)| format!("{times} {kind}")).collect();
        writeln!(f, "  faults         {}", faults.join(", "))?;
        for why in &self.skipped {
            writeln!(f, "  left out       {why}")?;
        }
        if self.violations_total > 0 {
            let by = self.violations_by.iter();
            let by: Vec<_> = by.map(|(invariant, count)| format!("{count} {invariant}")).collect();
            writeln!(f, "  violations     {}: {}", self.violations_total, by.join(", "))?;
        }
        for seen in &self.violations {
            writeln!(f, "    {} (seed {}): {}", seen.invariant, seen.seed, seen.what)?;
        }
        Ok(())
    }
}

fn write_spread(f: &mut fmt::Formatter<'_>, name: &str, spread: &Spread) -> fmt::Result {
    let (Some(median), Some(max)) = (spread.median_ms, spread.max_ms) else { return Ok(()) };
    writeln!(f, "  {name} median {median} ms, max {max} ms ({} times)", spread.all_ms.len())
}
