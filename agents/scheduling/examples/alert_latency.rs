//! How fast the night answers an alert: `alert_latency INSTANCE`. An alert at mid-night takes the telescope for 40
//! minutes; the rest of the night is planned again with the old plan as promise. One JSON line, milliseconds of wall
//! time, least of five runs, and of processor time (`cpu`, Linux), which a busy machine does not stretch as much.
#![allow(clippy::disallowed_methods)] // A benchmark measures the wall clock.

use alidade_scheduling::constraints::Sky;
use alidade_scheduling::ephemeris::add_seconds;
use alidade_scheduling::instance::parse_instance;
use alidade_scheduling::{
    KeptBlock, KeptKind, ObservabilityRequest, PlanOptions, Problem, is_observable, plan, verify,
};
use std::time::{Duration, Instant};

/// Processor time of this thread so far, milliseconds (Linux; 0 elsewhere).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    ns.unwrap_or(0.0) / 1e6
}

/// Least wall time and least processor time of five runs, milliseconds, with the last result.
fn timed<T>(mut work: impl FnMut() -> T) -> ([f64; 2], T) {
    let mut best = [f64::MAX; 2];
    let mut last = None;
    for _ in 0..5 {
        let (began, spent) = (Instant::now(), cpu_ms());
        let result = work();
        best = [
            best[0].min(began.elapsed().as_secs_f64() * 1000.0),
            best[1].min(cpu_ms() - spent),
        ];
        last = Some(result);
    }
    (best, last.expect("five runs were made"))
}

fn options(iterations: u64) -> PlanOptions<'static> {
    PlanOptions {
        iterations,
        explain: false,
        ..PlanOptions::default()
    }
}

fn alerted(problem: &Problem) -> Result<Problem, Box<dyn std::error::Error>> {
    let first = plan(problem, options(400))?;
    let mut after = problem.clone();
    let now = add_seconds(problem.night.start, problem.night.length_s() / 2.0);
    let promised = |b: &alidade_scheduling::Planned| KeptBlock {
        id: b.id.clone(),
        kind: KeptKind::Promised,
        start: b.start,
        end: b.end,
        overhead_s: 60.0,
        charge: None,
        unit: None,
    };
    after.kept = first.planned.iter().filter(|b| b.start > now).map(promised).collect();
    let alert = KeptBlock {
        id: "alert".into(),
        kind: KeptKind::Fixed,
        start: now,
        end: add_seconds(now, 2400.0),
        overhead_s: 0.0,
        charge: None,
        unit: None,
    };
    after.kept.push(alert);
    let done: Vec<&str> = first
        .planned
        .iter()
        .filter(|b| b.start <= now)
        .map(|b| b.id.as_str())
        .collect();
    after.requests.retain(|r| !done.contains(&r.id.as_str()));
    after.now = Some(now);
    Ok(after)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: alert_latency INSTANCE")?;
    let problem = parse_instance(&file, &std::fs::read_to_string(&file)?)?.problem;
    let (visibility_ms, good) = timed(|| {
        let sky = Sky::new(&problem.site, problem.night, 60.0);
        let good = |r: &alidade_scheduling::Request| sky.good(&r.target, &r.constraints, &problem.horizon, -12.0).len();
        problem.requests.iter().map(good).sum::<usize>()
    });
    let after = alerted(&problem)?;
    let now = after.now.unwrap_or(problem.night.start);
    let r = &problem.requests[0];
    let alert = ObservabilityRequest {
        target: r.target,
        constraints: r.constraints,
        horizon: problem.horizon.clone(),
    };
    let (observable_ms, _) = timed(|| is_observable(&problem.site, &alert, now, 1800.0));
    let (first_ms, first) = timed(|| plan(&after, options(1)));
    let first = first?;
    let began = Instant::now();
    let mut stop = || began.elapsed() >= Duration::from_secs(1);
    let refined = plan(
        &after,
        PlanOptions {
            iterations: u64::MAX,
            stop: Some(&mut stop),
            explain: false,
            ..PlanOptions::default()
        },
    )?;
    println!(
        "{}",
        serde_json::json!({"requests": problem.requests.len(), "visibility_ms": visibility_ms[0],
            "cpu": {"visibility_ms": visibility_ms[1], "observable_now_ms": observable_ms[1], "first_plan_ms": first_ms[1]}, "good_stretches": good,
            "observable_now_ms": observable_ms[0], "first_plan_ms": first_ms[0], "first_plan_of_bound":
            first.objective / refined.upper_bound, "refined_1s_of_bound": refined.objective / refined.upper_bound,
            "iterations_1s": refined.iterations, "valid": verify(&after, &first).is_ok() && verify(&after, &refined).is_ok()})
    );
    Ok(())
}
