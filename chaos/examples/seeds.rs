//! Runs simulated worlds by seed: `seeds FIRST END [SABOTAGE] [log]`.
#![expect(clippy::print_stdout, reason = "a tool that reports")]

use tapio_chaos::sim::{SweepOptions, sweep};
use tapio_owner::Sabotage;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let seeds = number(1).unwrap_or(0)..number(2).unwrap_or(10);
    if arguments.iter().any(|text| text == "log") {
        tapio_telemetry::init_log("debug", tapio_telemetry::LogFormat::Text);
    }
    let named = |it: &Sabotage| arguments.iter().any(|text| text == it.name());
    let sabotage = Sabotage::ALL.into_iter().find(named);
    let options = SweepOptions { sabotage, ..SweepOptions::default() };
    let report = sweep(seeds, options, &|_| ())?;
    for seen in &report.violations {
        println!("seed {}: {}: {}", seen.seed, seen.invariant, seen.what);
    }
    for (step, deaths) in &report.deaths {
        println!("{step:>12} {:>6} {:>6}", deaths.before, deaths.after);
    }
    println!(
        "{} of {} bad {:?}; {} acked, {} claims, {} lost commits, {} dead letters, {} s",
        report.bad_seeds.len(),
        report.runs,
        report.bad_seeds,
        report.acked,
        report.claims,
        report.lost_commits,
        report.dead_letters,
        report.took_s,
    );
    Ok(())
}
