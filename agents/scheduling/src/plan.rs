//! From a night to a plan: start ranges from the sky, the kernel's choice, slacks, and a reason for every "no".

use crate::constraints::{Exclusion, ObservabilityRequest, Sky, verify_block};
use crate::ephemeris::{Span, add_seconds, seconds_between};
use crate::kernel::{self, Budget, Job, Task};
use crate::problem::{KeptKind, Problem, ProblemError, Request};
use crate::reason::Reason;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long to plan, and with which seed.
pub struct PlanOptions<'a> {
    /// Units of kernel work; plans with equal iterations, seed and input are equal.
    pub iterations: u64,
    pub seed: u64,
    /// Relative gap at which the planner is content.
    pub gap: f64,
    /// True ends the work with the best plan so far: a deadline, a cancel.
    pub stop: Option<&'a mut dyn FnMut() -> bool>,
    /// Keep the excluded intervals of every unplanned request.
    pub explain: bool,
}

impl Default for PlanOptions<'_> {
    fn default() -> Self {
        Self { iterations: 600, seed: 1, gap: 0.0, stop: None, explain: true }
    }
}

/// A planned request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub id: String,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// How much earlier it could start, and later it could end, its neighbours staying (seconds).
    pub delta_tl_s: f64,
    pub delta_tr_s: f64,
    /// Its part of the objective.
    pub value: f64,
}

/// A request left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unplanned {
    pub id: String,
    pub reason: Reason,
    pub sentence: String,
    /// Where and why the sky or the windows exclude it, interval by interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<Exclusion>,
}

/// A night's plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In time order.
    pub planned: Vec<Planned>,
    /// In the order of the requests.
    pub unplanned: Vec<Unplanned>,
    /// Sum of the values; see [`crate::problem::Weights`].
    pub objective: f64,
    /// No plan of this problem is worth more.
    pub upper_bound: f64,
    /// (bound - objective) / bound.
    pub gap: f64,
    /// Observing seconds planned by user, fixed blocks with a charge included.
    pub used_s: BTreeMap<String, f64>,
    pub iterations: u64,
}

/// A request with its seconds.
struct Prepared {
    duration_s: i64,
    overhead_s: i64,
    /// Good stretches (sky and windows), seconds from the start of the night.
    good: Vec<(f64, f64)>,
    /// Allowed starts of the exposure.
    starts: Vec<(i64, i64)>,
}

struct Planner<'a> {
    problem: &'a Problem,
    sky: Sky,
    prepared: Vec<Prepared>,
    /// Free stretches of the machine, seconds from the start of the night.
    free: Vec<(f64, f64)>,
}

/// Plans one night.
pub fn plan(problem: &Problem, mut options: PlanOptions) -> Result<Plan, ProblemError> {
    problem.check()?;
    let planner = Planner::new(problem);
    let task = planner.task();
    let mut never = || false;
    let stop: &mut dyn FnMut() -> bool = match options.stop.take() {
        Some(stop) => stop,
        None => &mut never,
    };
    let mut budget = Budget { iterations: options.iterations, stop, seed: options.seed, gap: options.gap };
    let solution = kernel::solve(&task, &mut budget);
    Ok(planner.report(&task, &solution, options.explain))
}

/// Slot of the loss tables, seconds.
const LOSS_STEP_S: i64 = 60;

impl<'a> Planner<'a> {
    fn new(problem: &'a Problem) -> Self {
        let sky = Sky::new(&problem.site, problem.night, 60.0);
        let free = free_stretches(problem);
        let mut planner = Self { problem, sky, prepared: Vec::new(), free };
        planner.prepared = problem.requests.iter().map(|r| planner.prepare(r)).collect();
        planner
    }

    fn offset(&self, t: DateTime<Utc>) -> f64 {
        seconds_between(self.problem.night.start, t)
    }

    fn at(&self, s: f64) -> DateTime<Utc> {
        add_seconds(self.problem.night.start, s)
    }

    fn windows(&self, r: &Request) -> Vec<(f64, f64)> {
        if r.windows.is_empty() {
            return vec![(0.0, self.sky.length_s())];
        }
        merged(r.windows.iter().map(|w| (self.offset(w.start), self.offset(w.end))).collect())
    }

    fn prepare(&self, r: &Request) -> Prepared {
        let (duration_s, overhead_s) = (r.duration_s.ceil() as i64, r.overhead_s.ceil() as i64);
        let night = [(0.0, self.sky.length_s())];
        let open = intersect(&self.windows(r), &night);
        let fixed = self.problem.kept.iter().any(|k| k.kind == KeptKind::Fixed && k.id == r.id);
        let mut good = Vec::new();
        if !fixed && longest(&open) >= r.duration_s {
            let p = self.problem;
            good = intersect(&self.sky.good(&r.target, &r.constraints, &p.horizon, p.sun_max_alt_deg), &open);
        }
        let mut starts = Vec::new();
        for (a, b) in &good {
            for (f0, f1) in &self.free {
                let from = a.max(f0 + overhead_s as f64).ceil() as i64;
                let to = (b.min(*f1) - duration_s as f64).floor() as i64;
                if from <= to {
                    starts.push((from, to));
                }
            }
        }
        Prepared { duration_s, overhead_s, good, starts }
    }

    /// The kernel's view: the machine is busy from the start of the overhead to the end of the exposure.
    fn task(&self) -> Task {
        let mut capacities = Vec::new();
        let mut accounts: BTreeMap<&str, usize> = BTreeMap::new();
        for (user, quota) in &self.problem.quotas_s {
            accounts.insert(user, capacities.len());
            let fixed = self.problem.kept.iter().filter(|k| {
                k.kind == KeptKind::Fixed && k.charge.as_deref() == Some(user.as_str())
            });
            let spent: f64 = fixed.map(|k| seconds_between(k.start, k.end)).sum();
            capacities.push((quota - spent).max(0.0).min(1e12).floor() as i64);
        }
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, rule) in &self.problem.groups {
            if let Some(most) = rule.at_most {
                groups.insert(name, capacities.len());
                capacities.push(i64::try_from(most).unwrap_or(i64::MAX / 2));
            }
        }
        let jobs = self.problem.requests.iter().zip(&self.prepared).map(|(r, p)| {
            let mut uses = Vec::new();
            if let Some(account) = accounts.get(r.user.as_str()).filter(|_| r.charged) {
                uses.push((*account, p.duration_s));
            }
            if let Some(group) = r.group.as_deref().and_then(|g| groups.get(g)) {
                uses.push((*group, 1));
            }
            let value = r.priority * r.duration_s;
            let starts = p.starts.iter().map(|(a, b)| (a - p.overhead_s, b - p.overhead_s)).collect();
            let (bonus, loss) = self.loss(r, p, value);
            Job { value: value + bonus, length_s: p.duration_s + p.overhead_s, starts, uses, loss }
        });
        Task { jobs: jobs.collect(), capacities, loss_step_s: LOSS_STEP_S }
    }

    /// Bonus on the value and the loss against it by slot of the machine start; None when every start is worth alike.
    fn loss(&self, r: &Request, p: &Prepared, value: f64) -> (f64, Option<Vec<f32>>) {
        let w = &self.problem.weights;
        let promised = self.problem.kept.iter().find(|k| k.kind == KeptKind::Promised && k.id == r.id);
        let promised = promised.filter(|_| w.promise > 0.0).map(|k| self.offset(k.start));
        let preferred = r.preferred.filter(|_| w.preferred > 0.0).map(|t| self.offset(t));
        if promised.is_none() && preferred.is_none() && w.airmass == 0.0 {
            return (0.0, None);
        }
        let bonus = if promised.is_some() { w.promise * value } else { 0.0 };
        let direction = self.sky.track.direction(&r.target);
        let best = self.sky.highest_deg(&r.target).to_radians().sin().max(1e-3);
        let end = p.starts.last().map_or(0, |s| s.1 - p.overhead_s).max(0);
        let table = (0..=end / LOSS_STEP_S).map(|k| {
            // The exposure starts this long after the night for a machine start in the middle of slot k.
            let s = ((k * LOSS_STEP_S + p.overhead_s) + LOSS_STEP_S / 2) as f64;
            let off = preferred.map_or(0.0, |t| ((s - t).abs() / w.preferred_scale_s).min(1.0));
            let low = if w.airmass > 0.0 {
                let alt = self.sky.alt_deg(&direction, s + r.duration_s / 2.0).to_radians().sin();
                (1.0 - alt / best).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let moved = promised.is_some_and(|t| (s - t).abs() > 90.0);
            let lost = value * (w.preferred * off + w.airmass * low) + if moved { bonus } else { 0.0 };
            lost.min((value + bonus) * 0.999) as f32
        });
        (bonus, Some(table.collect()))
    }

    fn report(&self, task: &Task, solution: &kernel::Solution, explain: bool) -> Plan {
        let starts: BTreeMap<usize, i64> =
            solution.placed.iter().map(|(j, s)| (*j, s + self.prepared[*j].overhead_s)).collect();
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        for (j, s) in &starts {
            let p = &self.prepared[*j];
            blocks.push(((*s - p.overhead_s) as f64, (*s + p.duration_s) as f64));
        }
        blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut planned: Vec<Planned> =
            starts.iter().map(|(j, s)| self.planned(task, *j, *s, &blocks)).collect();
        planned.sort_by_key(|p| p.start);
        let mut used_s: BTreeMap<String, f64> = BTreeMap::new();
        for k in self.problem.kept.iter().filter(|k| k.kind == KeptKind::Fixed) {
            if let Some(user) = &k.charge {
                *used_s.entry(user.clone()).or_default() += seconds_between(k.start, k.end);
            }
        }
        for j in starts.keys() {
            let r = &self.problem.requests[*j];
            if r.charged {
                *used_s.entry(r.user.clone()).or_default() += r.duration_s;
            }
        }
        let fixed = |r: &Request| self.problem.kept.iter().any(|k| k.kind == KeptKind::Fixed && k.id == r.id);
        let mut unplanned = Vec::new();
        for (j, r) in self.problem.requests.iter().enumerate() {
            if starts.contains_key(&j) || fixed(r) {
                continue;
            }
            let reason = self.reason(task, j, &starts, &used_s);
            let exclusions = if explain { self.exclusions(r) } else { Vec::new() };
            unplanned.push(Unplanned { id: r.id.clone(), sentence: reason.to_string(), reason, exclusions });
        }
        Plan {
            planned,
            unplanned,
            objective: solution.value,
            upper_bound: solution.upper_bound,
            gap: solution.gap(),
            used_s,
            iterations: solution.iterations,
        }
    }

    fn planned(&self, task: &Task, j: usize, s: i64, blocks: &[(f64, f64)]) -> Planned {
        let (r, p) = (&self.problem.requests[j], &self.prepared[j]);
        let (start, end) = (s as f64, (s + p.duration_s) as f64);
        let mine = start - p.overhead_s as f64;
        let holds = |(a, b): &&(f64, f64)| *a <= mine.max(*a) && *a <= start && end <= *b + 1e-6;
        let stretch = p.good.iter().find(holds).copied().unwrap_or((start, end));
        let free = self.free.iter().find(|(a, b)| *a <= mine && end <= *b).copied().unwrap_or((mine, end));
        let before = blocks.iter().filter(|b| b.1 <= mine).map(|b| b.1).fold(free.0, f64::max);
        let after = blocks.iter().filter(|b| b.0 >= end).map(|b| b.0).fold(free.1, f64::min);
        Planned {
            id: r.id.clone(),
            start: self.at(start),
            end: self.at(start + r.duration_s),
            delta_tl_s: (start - stretch.0.max(before + p.overhead_s as f64)).max(0.0),
            delta_tr_s: (stretch.1.min(after) - end).max(0.0),
            value: task.jobs[j].worth(s - p.overhead_s, LOSS_STEP_S),
        }
    }

    /// Excluded intervals: the sky's, and where no window is open.
    fn exclusions(&self, r: &Request) -> Vec<Exclusion> {
        let p = self.problem;
        let mut out = self.sky.exclusions(&r.target, &r.constraints, &p.horizon, p.sun_max_alt_deg);
        let cause = crate::constraints::Cause::WindowClosed;
        for (a, b) in complement(&self.windows(r), self.sky.length_s()) {
            let span = Span::new(self.at(a), self.at(b));
            out.push(Exclusion { cause, span, worst: None, limit: None });
        }
        out.sort_by_key(|e| (e.span.start, e.cause));
        out
    }

    fn reason(&self, task: &Task, j: usize, starts: &BTreeMap<usize, i64>, used: &BTreeMap<String, f64>) -> Reason {
        let (r, p) = (&self.problem.requests[j], &self.prepared[j]);
        if longest(&p.good) < r.duration_s {
            return self.sky_reason(r);
        }
        if p.starts.is_empty() {
            let last = p.good.iter().rev().find(|(a, b)| b - a >= r.duration_s).map(|(_, b)| self.at(b - r.duration_s));
            return Reason::NoTimeLeft { last_start: last };
        }
        if let Some(quota) = self.problem.quotas_s.get(&r.user).filter(|_| r.charged) {
            let used_s = used.get(&r.user).copied().unwrap_or(0.0);
            if used_s + r.duration_s > *quota {
                return Reason::QuotaExhausted {
                    user: r.user.clone(),
                    quota_s: *quota,
                    used_s,
                    needed_s: r.duration_s,
                };
            }
        }
        if let Some((name, most)) = self.group_limit(r) {
            let same = |k: &&usize| self.problem.requests[**k].group.as_deref() == Some(name);
            let by: Vec<String> = starts.keys().filter(same).map(|k| self.problem.requests[*k].id.clone()).collect();
            if by.len() >= most {
                return Reason::GroupFull { group: name.to_owned(), at_most: most, by };
            }
        }
        self.displaced(task, j, starts)
    }

    fn group_limit<'r>(&self, r: &'r Request) -> Option<(&'r str, usize)> {
        let name = r.group.as_deref()?;
        Some((name, self.problem.groups.get(name)?.at_most?))
    }

    /// Adds the constraints one after the other; the one after which nothing fits is the reason.
    fn sky_reason(&self, r: &Request) -> Reason {
        let needed_s = r.duration_s;
        let night_s = self.sky.length_s();
        if night_s < needed_s {
            return Reason::LongerThanNight { needed_s, night_s };
        }
        let mut left = intersect(&self.windows(r), &[(0.0, night_s)]);
        if longest(&left) < needed_s {
            let next_window = r.windows.iter().filter(|w| w.start >= self.problem.night.end).min().copied();
            return Reason::WindowClosed { needed_s, longest_s: longest(&left), next_window };
        }
        let highest_deg = self.sky.highest_deg(&r.target);
        let needed_deg = r.constraints.floor_deg();
        if highest_deg < needed_deg {
            return Reason::NeverRises { highest_deg, needed_deg };
        }
        let exclusions = self.exclusions(r);
        for cause in crate::constraints::SKY_CAUSES {
            let of: Vec<&Exclusion> = exclusions.iter().filter(|e| e.cause == cause).collect();
            let bad = merged(of.iter().map(|e| (self.offset(e.span.start), self.offset(e.span.end))).collect());
            left = intersect(&left, &complement(&bad, night_s));
            if longest(&left) < needed_s {
                let low = |a: f64, b: f64| if cause == crate::constraints::Cause::SunTooHigh { a.max(b) } else { a.min(b) };
                let worst = of.iter().filter_map(|e| e.worst).reduce(low);
                let limit = of.iter().find_map(|e| e.limit);
                return Reason::Constraint { cause, needed_s, longest_s: longest(&left), worst, limit };
            }
        }
        Reason::NoTimeLeft { last_start: None }
    }

    /// The cheapest place it could take, and who holds it.
    fn displaced(&self, task: &Task, j: usize, starts: &BTreeMap<usize, i64>) -> Reason {
        let p = &self.prepared[j];
        let busy: Vec<(usize, i64, i64)> = starts
            .iter()
            .map(|(k, s)| (*k, s - self.prepared[*k].overhead_s, s + self.prepared[*k].duration_s))
            .collect();
        // Conflicts change only where a block's edge meets the job's: try those starts and the ranges' ends.
        let mut candidates: Vec<i64> = Vec::new();
        for (a, b) in &p.starts {
            candidates.extend([*a, *b]);
            let edges = busy.iter().flat_map(|(_, from, to)| [to + p.overhead_s, from - p.duration_s]);
            candidates.extend(edges.filter(|s| (*a..=*b).contains(s)));
        }
        candidates.sort_unstable();
        candidates.dedup();
        let value_of = |k: usize, from: i64| task.jobs[k].worth(from, LOSS_STEP_S);
        let cost = |s: i64| -> (f64, Vec<usize>) {
            let (from, to) = (s - p.overhead_s, s + p.duration_s);
            let hit = busy.iter().filter(|(_, a, b)| *a < to && from < *b);
            let (mut sum, mut who) = (0.0, Vec::new());
            for (k, a, _) in hit {
                sum += value_of(*k, *a);
                who.push(*k);
            }
            (sum, who)
        };
        let best = candidates.iter().map(|s| (cost(*s), *s)).min_by(|a, b| a.0.0.total_cmp(&b.0.0));
        let Some(((their_value, who), s)) = best else {
            return Reason::NoTimeLeft { last_start: None };
        };
        Reason::Displaced {
            by: who.iter().map(|k| self.problem.requests[*k].id.clone()).collect(),
            at: self.at(s as f64),
            value: value_of(j, s - p.overhead_s),
            their_value,
        }
    }
}

/// Confirms every planned block with the full ephemeris chain; the first failure is returned with its instant.
pub fn verify(problem: &Problem, plan: &Plan) -> Result<(), (String, DateTime<Utc>, crate::constraints::Cause)> {
    for block in &plan.planned {
        let Some(r) = problem.requests.iter().find(|r| r.id == block.id) else { continue };
        let request = ObservabilityRequest {
            target: r.target,
            constraints: r.constraints,
            horizon: problem.horizon.clone(),
        };
        verify_block(&problem.site, &request, problem.sun_max_alt_deg, Span::new(block.start, block.end), 300.0)
            .map_err(|(t, cause)| (block.id.clone(), t, cause))?;
    }
    Ok(())
}

/// The machine's free stretches: after `now`, around the fixed blocks.
fn free_stretches(problem: &Problem) -> Vec<(f64, f64)> {
    let from = |t: DateTime<Utc>| seconds_between(problem.night.start, t);
    const FAR: f64 = 1e7;
    let begin = problem.now.map_or(-FAR, from);
    let fixed = problem.kept.iter().filter(|k| k.kind == KeptKind::Fixed);
    let busy = merged(fixed.map(|k| (from(k.start) - k.overhead_s, from(k.end))).collect());
    let mut out = Vec::new();
    let mut open = begin;
    for (a, b) in busy {
        if a > open {
            out.push((open, a));
        }
        open = open.max(b);
    }
    out.push((open, FAR));
    out
}

/// Sorted, overlapping stretches joined.
fn merged(mut spans: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    spans.retain(|(a, b)| b > a);
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut out: Vec<(f64, f64)> = Vec::new();
    for (a, b) in spans {
        match out.last_mut() {
            Some(last) if a <= last.1 => last.1 = last.1.max(b),
            _ => out.push((a, b)),
        }
    }
    out
}

fn intersect(x: &[(f64, f64)], y: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for (a, b) in x {
        for (c, d) in y {
            let (from, to) = (a.max(*c), b.min(*d));
            if to > from {
                out.push((from, to));
            }
        }
    }
    out
}

fn complement(spans: &[(f64, f64)], length: f64) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    let mut open = 0.0;
    for (a, b) in spans {
        if *a > open {
            out.push((open, a.min(length)));
        }
        open = b.max(open);
    }
    if open < length {
        out.push((open, length));
    }
    out.retain(|(a, b)| b > a);
    out
}

fn longest(spans: &[(f64, f64)]) -> f64 {
    spans.iter().map(|(a, b)| b - a).fold(0.0, f64::max)
}
