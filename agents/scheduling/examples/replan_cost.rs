//! What one plan of a live night costs: `replan_cost INSTANCE [REQUESTS] [ITERATIONS]`, by default 56 requests and 60
//! iterations, as the daemon's configuration asks for. One JSON line, milliseconds of wall time, median of eleven runs.
#![allow(clippy::disallowed_methods)] // A benchmark measures the wall clock.

use alidade_scheduling::constraints::Sky;
use alidade_scheduling::ephemeris::add_seconds;
use alidade_scheduling::instance::parse_instance;
use alidade_scheduling::plan::plan_under;
use alidade_scheduling::{KeptBlock, KeptKind, Plan, PlanOptions, Problem, ProblemError, plan};
use std::time::Instant;

fn timed<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut runs: Vec<f64> = (0..11)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(work());
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[5]
}

fn planned(problem: &Problem, iterations: u64, explain: bool) -> Result<Plan, ProblemError> {
    plan(
        problem,
        PlanOptions {
            iterations,
            explain,
            ..PlanOptions::default()
        },
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let file = args
        .get(1)
        .ok_or("usage: replan_cost INSTANCE [REQUESTS] [ITERATIONS]")?;
    let requests = args.get(2).map_or(Ok(56), |s| s.parse::<usize>())?;
    let iterations = args.get(3).map_or(Ok(60), |s| s.parse::<u64>())?;
    let mut problem = parse_instance(file, &std::fs::read_to_string(file)?)?.problem;
    problem.requests.truncate(requests);
    let first = planned(&problem, iterations, false)?;
    let mut later = problem.clone();
    let now = add_seconds(problem.night.start, problem.night.length_s() / 3.0);
    later.now = Some(now);
    let promise = |b: &alidade_scheduling::Planned| KeptBlock {
        id: b.id.clone(),
        kind: KeptKind::Promised,
        start: b.start,
        end: b.end,
        overhead_s: 60.0,
        charge: None,
        unit: None,
    };
    later.kept = first.planned.iter().filter(|b| b.start > now).map(promise).collect();
    let sky_ms = timed(|| Sky::new(&problem.site, problem.night, 60.0));
    let sky = Sky::new(&problem.site, problem.night, 60.0);
    let visibility_ms = timed(|| {
        let good = |r: &alidade_scheduling::Request| sky.good(&r.target, &r.constraints, &problem.horizon, -12.0).len();
        problem.requests.iter().map(good).sum::<usize>()
    });
    let shared = std::sync::Arc::new(Sky::new(&problem.site, problem.night, 60.0));
    let under = || {
        let options = PlanOptions {
            iterations,
            explain: false,
            ..PlanOptions::default()
        };
        plan_under(&shared, &later, options)
    };
    println!(
        "{}",
        serde_json::json!({
            "requests": problem.requests.len(), "iterations": iterations, "sky_ms": sky_ms, "visibility_ms": visibility_ms,
            "first_plan_ms": timed(|| planned(&problem, iterations, false)),
            "first_plan_with_exclusions_ms": timed(|| planned(&problem, iterations, true)),
            "replan_under_known_sky_ms": timed(under),
            "replan_ms": timed(|| planned(&later, iterations, false)),
            "replan_with_exclusions_ms": timed(|| planned(&later, iterations, true)),
        })
    );
    Ok(())
}
