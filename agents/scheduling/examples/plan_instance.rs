//! Plans an instance and prints one JSON line of figures: `plan_instance FILE [--iterations N] [--deadline-ms N] [--cpu-ms N]
//! [--seed N] [--out FILE] [--units N] [--slew]`. `--units` plans for N equal telescopes, `--slew` with modelled changes of
//! target ([`SLEW`]) in place of the instance's constant. `--cpu-ms` is a deadline in processor time (Linux), fair on a busy machine. Used by the benchmarks; the full command is `alidade schedule`.
#![allow(clippy::disallowed_methods)] // A benchmark measures the wall clock.

use alidade_scheduling::instance::{parse_instance, schedule_document};
use alidade_scheduling::{Overheads, PlanOptions, Unit, plan, verify};
use std::time::{Duration, Instant};

/// Processor time of this thread so far, milliseconds (Linux; 0 elsewhere).
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse::<u64>().ok())
        .unwrap_or(0)
        / 1_000_000
}

/// A German equatorial metre-class mount under a dome: 0 to 70 s and a flip of a minute and a half.
const SLEW: Overheads = Overheads {
    axes: alidade_scheduling::Axes::Equatorial,
    axis1_deg_s: 3.0,
    axis2_deg_s: 3.0,
    axis1_deg_s2: 1.0,
    axis2_deg_s2: 1.0,
    settle_s: 3.0,
    flip_s: 60.0,
    dome_deg_s: 4.0,
    filter_s: 8.0,
    readout_s: 10.0,
    focus_s: 0.0,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|k| args.get(k + 1));
    let file = args.get(1).ok_or("usage: plan_instance FILE ...")?;
    let began = Instant::now();
    let mut instance = parse_instance(file, &std::fs::read_to_string(file)?)?;
    if let Some(units) = option("--units") {
        instance.problem.units = (0..units.parse::<usize>()?)
            .map(|k| Unit::new(format!("t{k}")))
            .collect();
    }
    if args.iter().any(|a| a == "--slew") {
        instance.problem.overheads = Some(SLEW);
        instance.problem.requests.iter_mut().for_each(|r| r.overhead_s = 0.0);
    }
    let read_s = began.elapsed().as_secs_f64();
    let deadline = option("--deadline-ms").map(|s| s.parse::<u64>()).transpose()?;
    let iterations = option("--iterations").map(|s| s.parse::<u64>()).transpose()?;
    let seed = option("--seed").map_or(Ok(1), |s| s.parse::<u64>())?;
    let until = deadline.map(|ms| began + Duration::from_millis(ms));
    let cpu = option("--cpu-ms").map(|s| s.parse::<u64>()).transpose()?;
    let mut stop = || until.is_some_and(|t| Instant::now() >= t) || cpu.is_some_and(|ms| cpu_ms() >= ms);
    let options = PlanOptions {
        iterations: iterations.unwrap_or(if deadline.is_some() || cpu.is_some() {
            u64::MAX
        } else {
            600
        }),
        seed,
        stop: Some(&mut stop),
        explain: option("--explain").is_some(),
        ..PlanOptions::default()
    };
    let made = plan(&instance.problem, options)?;
    let total_s = began.elapsed().as_secs_f64();
    let verified = verify(&instance.problem, &made);
    if let Some(out) = option("--out") {
        std::fs::write(out, schedule_document(&instance, &made).to_string())?;
    }
    println!(
        "{}",
        serde_json::json!({"instance": instance.name, "objective": made.objective, "upper_bound": made.upper_bound,
            "gap": made.gap, "iterations": made.iterations, "planned": made.planned.len(), "read_s": read_s,
            "total_s": total_s, "verified": format!("{verified:?}")})
    );
    Ok(())
}
