//! Runs simulated worlds by seed.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a tool that reports")]

use tapio_chaos::sim::{SimOptions, run};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (first, last) = (number(1).unwrap_or(0), number(2).unwrap_or(10));
    if arguments.iter().any(|text| text == "log") {
        tapio_telemetry::init_log("debug", tapio_telemetry::LogFormat::Text);
    }
    let patterns = tapio_patterns::patterns();
    let began = std::time::Instant::now();
    let (mut bad, mut acked, mut claims, mut lost) = (0, 0, 0, 0);
    for seed in first..last {
        let mut options = SimOptions::small(seed);
        options.has_faults = arguments.get(3).is_none_or(|text| text != "calm");
        options.is_fenced = arguments.get(3).is_none_or(|text| text != "unfenced");
        let outcome = run(&options, &patterns)?;
        (acked, claims, lost) =
            (acked + outcome.acked, claims + outcome.claims, lost + outcome.lost_commits);
        if !outcome.violations.is_empty() {
            bad += 1;
            if bad <= 8 {
                println!("seed {seed}: {} violations", outcome.violations.len());
                for violation in outcome.violations.iter().take(8) {
                    println!("    {violation}");
                }
            }
        }
    }
    println!(
        "{bad} of {} bad; {acked} acked, {claims} claims, {lost} lost commits, {:?}",
        last - first,
        began.elapsed()
    );
    Ok(())
}
