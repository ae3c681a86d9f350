//! A season of 30 nights under five ways of planning, same requests, same weather: `season [SEED]`.
//!
//! - `priority`: in order of priority, each request at its first free start on a grid of a minute: what astroplan's
//!   `PriorityScheduler` does under limits that hold or do not hold (written here; astroplan itself would take hours).
//! - `dispatch`: whenever the telescope is free, the best request that can start now (priority, then least time left).
//! - `insertion`: in order of priority, each request at the free start nearest to its culmination (the rule of the
//!   PYROS prototype, without its shifting of neighbours, and what astroplan does when it scores the air mass).
//! - `planner`: this crate, 400 iterations a night, re-planned when the weather closes or opens the roof.
//! - `urgency`: the same, told what each night is worth to each request ([`alidade_scheduling::outlook`]).
//!
//! What is observed is done; the rest waits for the next night; 100 new requests arrive every day, 30 % of them with a
//! window of 90 minutes that night only. Weather closes a third of the nights for some hours. Output: one JSON document
//! with hours and value by way of planning.

use alidade_scheduling::constraints::Sky;
use alidade_scheduling::ephemeris::{add_seconds, rise_transit_set, seconds_between};
use alidade_scheduling::outlook::{Climate, Need, Season, outlook};
use alidade_scheduling::{
    Constraints, HorizonMask, Icrs, PlanOptions, Problem, Request, Site, Span, night_phases, plan,
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use std::collections::{BTreeMap, BTreeSet};

const OVERHEAD_S: f64 = 60.0;

struct Draw(u64);

impl Draw {
    /// Uniform in [0, 1): a 64-bit linear congruence (Knuth's MMIX constants), its high bits.
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn arrivals(day: u32, n: u32, night: Span, draw: &mut Draw) -> Vec<Request> {
    let request = |k: u32, draw: &mut Draw| {
        let dec = (draw.unit() * 1.6 - 0.95).asin().to_degrees();
        let target = Icrs::new(draw.unit() * 360.0, if dec.is_nan() { -30.0 } else { dec });
        let minutes = (3.0 + 60.0 * draw.unit() * draw.unit()).round();
        let priority = (1.0 + 10.0 * draw.unit() * draw.unit()).floor();
        let mut r = Request::new(format!("d{day}-{k}"), "all", target, minutes * 60.0, priority);
        r.overhead_s = OVERHEAD_S;
        r.constraints = Constraints {
            min_alt_deg: 30.0,
            moon_sep_deg: 30.0 * draw.unit(),
            ..Constraints::default()
        };
        if draw.unit() < 0.3 {
            // A chance of an hour and a half, this night only.
            let open = add_seconds(night.start, draw.unit() * night.length_s());
            r.windows = vec![Span::new(open, add_seconds(open, 5400.0))];
        }
        r
    };
    (0..n).map(|k| request(k, draw)).collect()
}

/// Open stretches of a night, seconds.
fn weather(length_s: f64, draw: &mut Draw) -> Vec<(f64, f64)> {
    if draw.unit() > 0.33 {
        return vec![(0.0, length_s)];
    }
    let from = draw.unit() * length_s;
    let to = (from + 3600.0 + draw.unit() * 5.0 * 3600.0).min(length_s);
    [(0.0, from), (to, length_s)]
        .into_iter()
        .filter(|(a, b)| b - a > 600.0)
        .collect()
}

/// Starts of each request in an open stretch.
fn starts(problem: &Problem, (open, close): (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let sky = Sky::new(&problem.site, problem.night, 60.0);
    let of = |r: &Request| {
        let good = sky.good(
            &r.target,
            &r.constraints,
            &HorizonMask::default(),
            problem.sun_max_alt_deg,
        );
        let offset = |t| seconds_between(problem.night.start, t);
        let window = r
            .windows
            .first()
            .map_or((open, close), |w| (offset(w.start), offset(w.end)));
        let (open, close) = (open.max(window.0), close.min(window.1));
        let inside = good
            .iter()
            .map(move |(a, b)| (a.max(open), b.min(close) - r.duration_s));
        inside.filter(|(a, b)| a <= b).collect()
    };
    problem.requests.iter().map(of).collect()
}

fn dispatch(problem: &Problem, open: (f64, f64)) -> Vec<String> {
    let starts = starts(problem, open);
    let mut done = BTreeSet::new();
    let mut t = open.0;
    while t < open.1 {
        let can = |k: &usize| !done.contains(k) && starts[*k].iter().any(|(a, b)| *a <= t && t <= *b);
        let last = |k: usize| starts[k].last().map_or(0.0, |s| s.1);
        let better = |a: &usize, b: &usize| {
            let by_priority = problem.requests[*a].priority.total_cmp(&problem.requests[*b].priority);
            by_priority.then(last(*b).total_cmp(&last(*a)))
        };
        match (0..starts.len()).filter(can).max_by(better) {
            Some(k) => {
                done.insert(k);
                t += problem.requests[k].duration_s + OVERHEAD_S;
            }
            None => t += 60.0,
        }
    }
    done.into_iter().map(|k| problem.requests[k].id.clone()).collect()
}

fn insertion(problem: &Problem, open: (f64, f64)) -> Vec<String> {
    let starts = starts(problem, open);
    let mut order: Vec<usize> = (0..starts.len()).collect();
    order.sort_by(|a, b| {
        problem.requests[*b]
            .priority
            .total_cmp(&problem.requests[*a].priority)
            .then(a.cmp(b))
    });
    let mut busy: Vec<(f64, f64)> = Vec::new();
    let mut done = Vec::new();
    for k in order {
        let r = &problem.requests[k];
        if starts[k].is_empty() {
            continue;
        }
        let best = rise_transit_set(&problem.site, &r.target, problem.night, 0.0).max_alt_at;
        let wanted = seconds_between(problem.night.start, best) - r.duration_s / 2.0;
        let free = |s: f64| {
            busy.iter()
                .all(|(a, b)| s - OVERHEAD_S >= *b || s + r.duration_s + OVERHEAD_S <= *a)
        };
        let candidates = starts[k].iter().flat_map(|(a, b)| {
            let steps = ((b - a) / 60.0).floor() as usize;
            (0..=steps).map(move |n| a + 60.0 * n as f64)
        });
        let near = |x: &f64, y: &f64| (x - wanted).abs().total_cmp(&(y - wanted).abs());
        if let Some(s) = candidates.filter(|s| free(*s)).min_by(near) {
            busy.push((s, s + r.duration_s));
            done.push(r.id.clone());
        }
    }
    done
}

fn planner(problem: &Problem, open: (f64, f64)) -> Vec<String> {
    let mut p = problem.clone();
    let at = |s: f64| -> DateTime<Utc> { add_seconds(problem.night.start, s) };
    p.now = Some(at(open.0 - OVERHEAD_S));
    p.night = Span::new(p.night.start, at(open.1));
    let options = PlanOptions {
        iterations: 400,
        gap: 0.002,
        explain: false,
        ..PlanOptions::default()
    };
    plan(&p, options).map_or(Vec::new(), |made| made.planned.into_iter().map(|b| b.id).collect())
}

/// In order of priority, each at its first free start.
fn priority(problem: &Problem, open: (f64, f64)) -> Vec<String> {
    let starts = starts(problem, open);
    let mut order: Vec<usize> = (0..starts.len()).collect();
    let of = |k: usize| problem.requests[k].priority;
    order.sort_by(|a, b| of(*b).total_cmp(&of(*a)).then(a.cmp(b)));
    let mut busy: Vec<(f64, f64)> = Vec::new();
    let mut done = Vec::new();
    for k in order {
        let r = &problem.requests[k];
        let free = |s: &f64| {
            let apart = |(a, b): &(f64, f64)| s - OVERHEAD_S >= *b || s + r.duration_s + OVERHEAD_S <= *a;
            busy.iter().all(apart)
        };
        let mut candidates = starts[k].iter().flat_map(|(a, b)| {
            let first = (a / 60.0).ceil() as i64;
            (first..=(b / 60.0).floor() as i64).map(|n| 60.0 * n as f64)
        });
        if let Some(s) = candidates.find(free) {
            busy.push((s, s + r.duration_s));
            done.push(r.id.clone());
        }
    }
    done
}

/// Tells every request what tonight is worth to it: the nights left of the season, the share of clear nights, and the
/// time that requests at least as important ask for.
fn tell_urgency(pool: &mut [Request], season: &Season, life: Span, clear: f64) {
    const NIGHT_H: f64 = 9.5;
    let nights = (life.length_s() / 86_400.0).max(1.0);
    let mut by_priority: BTreeMap<u64, f64> = BTreeMap::new();
    for r in pool.iter() {
        *by_priority.entry(r.priority as u64).or_default() += (r.duration_s + OVERHEAD_S) / 3600.0;
    }
    for r in pool {
        let asked_h: f64 = by_priority.range(r.priority as u64..).map(|x| x.1).sum();
        let need = Need {
            load: asked_h / (nights * NIGHT_H * clear),
            clear_tonight: Some(true),
            ..Need::once()
        };
        let ahead = season.of(r, &HorizonMask::default(), -11.99, life);
        r.urgency = outlook(&ahead, &Climate::even(clear, 0.0), &need).urgency;
    }
}

type Way = fn(&Problem, (f64, f64)) -> Vec<String>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |s| s.parse::<u64>())?;
    let site = Site::new(-29.2567, -70.7346, 2375.0);
    let first = NaiveDate::from_ymd_opt(2027, 3, 1).ok_or("a date")?;
    let ways: [(&str, Way); 5] = [
        ("priority", priority),
        ("dispatch", dispatch),
        ("insertion", insertion),
        ("planner", planner),
        ("urgency", planner),
    ];
    // A third of the nights loses about a third of its hours.
    const CLEAR: f64 = 0.89;
    let ahead = Season::new(&site, first, 30);
    let mut report = BTreeMap::new();
    for (name, way) in ways {
        let mut draw = Draw(seed);
        let mut pool: Vec<Request> = Vec::new();
        let mut hours: BTreeMap<&str, f64> = BTreeMap::new();
        let mut value = 0.0;
        for day in 0..30u32 {
            let phases = night_phases(&site, first + Days::new(day.into()));
            let Some(night) = phases.nautical.span(phases.night) else {
                continue;
            };
            // What only last night could give is gone.
            pool.retain(|r| r.windows.is_empty());
            pool.extend(arrivals(day, if day == 0 { 300 } else { 100 }, night, &mut draw));
            if name == "urgency" {
                let end = night_phases(&site, first + Days::new(29)).night.end;
                tell_urgency(&mut pool, &ahead, Span::new(night.start, end), CLEAR);
            }
            for open in weather(night.length_s(), &mut draw) {
                let mut problem = Problem::new(site, night, -11.99);
                problem.requests.clone_from(&pool);
                let done: BTreeSet<String> = way(&problem, open).into_iter().collect();
                for r in pool.iter().filter(|r| done.contains(&r.id)) {
                    let class = if r.priority >= 7.0 {
                        "priority 7-10"
                    } else if r.priority >= 4.0 {
                        "priority 4-6"
                    } else {
                        "priority 1-3"
                    };
                    *hours.entry(class).or_default() += r.duration_s / 3600.0;
                    value += r.priority * r.duration_s / 3600.0;
                }
                pool.retain(|r| !done.contains(&r.id));
            }
        }
        let left: f64 = pool
            .iter()
            .filter(|r| r.priority >= 7.0)
            .map(|r| r.duration_s / 3600.0)
            .sum();
        report.insert(
            name,
            serde_json::json!({"hours": hours, "priority_hours": value, "waiting_hours_priority_7_10": left}),
        );
    }
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
