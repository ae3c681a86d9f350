//! From a night to a plan: start ranges from the sky, the kernel's choice, slacks, and a reason for every "no".

use crate::constraints::{Cause, Exclusion, ObservabilityRequest, Sky, verify_block};
use crate::ephemeris::{Span, add_seconds, seconds_between};
use crate::kernel::{Job, Solution, Task};
use crate::links::{self, Linked};
use crate::problem::{Conditions, KeptKind, Problem, ProblemError, Request};
use crate::reason::Reason;
use crate::stretches::{complement, intersect, longest, merged};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

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
        Self {
            iterations: 600,
            seed: 1,
            gap: 0.0,
            stop: None,
            explain: true,
        }
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
    /// Its own constraints and windows allow no start before this one.
    pub earliest: DateTime<Utc>,
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
pub(crate) struct Prepared {
    pub(crate) duration_s: i64,
    pub(crate) overhead_s: i64,
    /// Good stretches (sky and windows), seconds from the start of the night.
    pub(crate) good: Vec<(f64, f64)>,
    /// Allowed starts of the exposure.
    pub(crate) starts: Vec<(i64, i64)>,
}

pub(crate) struct Planner<'a> {
    pub(crate) problem: &'a Problem,
    pub(crate) sky: Arc<Sky>,
    pub(crate) prepared: Vec<Prepared>,
    /// Free stretches of the machine, seconds from the start of the night.
    free: Vec<(f64, f64)>,
}

/// Plans one night.
pub fn plan(problem: &Problem, options: PlanOptions) -> Result<Plan, ProblemError> {
    problem.check()?;
    let sky = Arc::new(sky_of(problem));
    plan_under(&sky, problem, options)
}

/// The tabulated sky of a problem's night: it depends on the site and the span only, and serves every plan of the night.
pub fn sky_of(problem: &Problem) -> Sky {
    Sky::new(&problem.site, problem.night, 60.0)
}

/// Plans one night under a sky made before by [`sky_of`]; a sky of another site or night is replaced.
pub fn plan_under(sky: &Arc<Sky>, problem: &Problem, mut options: PlanOptions) -> Result<Plan, ProblemError> {
    problem.check()?;
    let fits = *sky.site() == problem.site && sky.track.span() == problem.night;
    let sky = if fits {
        Arc::clone(sky)
    } else {
        Arc::new(sky_of(problem))
    };
    let planner = Planner::new(problem, sky);
    let task = planner.task();
    let overhead_s = planner.prepared.iter().map(|p| p.overhead_s).collect();
    let mut linked = links::solve(problem, &task, overhead_s, &mut options);
    planner.hold_promises(&task, &mut linked.solution);
    Ok(planner.report(&task, &linked, options.explain))
}

/// Slot of the loss tables, seconds.
pub(crate) const LOSS_STEP_S: i64 = 60;

impl<'a> Planner<'a> {
    fn new(problem: &'a Problem, sky: Arc<Sky>) -> Self {
        let free = free_stretches(problem);
        let mut planner = Self {
            problem,
            sky,
            prepared: Vec::new(),
            free,
        };
        planner.prepared = problem.requests.iter().map(|r| planner.prepare(r)).collect();
        planner
    }

    pub(crate) fn offset(&self, t: DateTime<Utc>) -> f64 {
        seconds_between(self.problem.night.start, t)
    }

    pub(crate) fn at(&self, s: f64) -> DateTime<Utc> {
        add_seconds(self.problem.night.start, s)
    }

    pub(crate) fn windows(&self, r: &Request) -> Vec<(f64, f64)> {
        if r.windows.is_empty() {
            return vec![(0.0, self.sky.length_s())];
        }
        merged(
            r.windows
                .iter()
                .map(|w| (self.offset(w.start), self.offset(w.end)))
                .collect(),
        )
    }

    /// Stretches whose seeing or cloud a request does not accept, with the value, within the night.
    pub(crate) fn weather(&self, r: &Request, cause: Cause) -> Vec<(f64, f64, f64)> {
        let limit = weather_limits(r).find(|(c, _)| *c == cause).map(|(_, limit)| limit);
        let value = |c: &Conditions| match cause {
            Cause::SeeingTooPoor => c.seeing_arcsec,
            _ => c.cloud_cover,
        };
        let stretch = |c: &Conditions| {
            let worst = value(c).filter(|v| limit.is_some_and(|most| *v > most))?;
            let (a, b) = (
                self.offset(c.span.start).max(0.0),
                self.offset(c.span.end).min(self.sky.length_s()),
            );
            (b > a).then_some((a, b, worst))
        };
        self.problem.conditions.iter().filter_map(stretch).collect()
    }

    fn prepare(&self, r: &Request) -> Prepared {
        let (duration_s, overhead_s) = (r.duration_s.ceil() as i64, r.overhead_s.ceil() as i64);
        let night = [(0.0, self.sky.length_s())];
        let open = intersect(&self.windows(r), &night);
        let fixed = self
            .problem
            .kept
            .iter()
            .any(|k| k.kind == KeptKind::Fixed && k.id == r.id);
        let mut good = Vec::new();
        if !fixed && longest(&open) >= r.duration_s {
            let p = self.problem;
            good = intersect(
                &self.sky.good(&r.target, &r.constraints, &p.horizon, p.sun_max_alt_deg),
                &open,
            );
            let night_s = self.sky.length_s();
            for (cause, ..) in weather_limits(r) {
                let bad = self.weather(r, cause).into_iter().map(|(a, b, _)| (a, b)).collect();
                good = intersect(&good, &complement(&merged(bad), night_s));
            }
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
        Prepared {
            duration_s,
            overhead_s,
            good,
            starts,
        }
    }

    /// The kernel's view: the machine is busy from the start of the overhead to the end of the exposure.
    fn task(&self) -> Task {
        let mut capacities = Vec::new();
        let mut accounts: BTreeMap<&str, usize> = BTreeMap::new();
        for (user, quota) in &self.problem.quotas_s {
            accounts.insert(user, capacities.len());
            let fixed = self
                .problem
                .kept
                .iter()
                .filter(|k| k.kind == KeptKind::Fixed && k.charge.as_deref() == Some(user.as_str()));
            let spent: f64 = fixed.map(|k| seconds_between(k.start, k.end)).sum();
            capacities.push((quota - spent).clamp(0.0, 1e12).floor() as i64);
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
            let starts = p
                .starts
                .iter()
                .map(|(a, b)| (a - p.overhead_s, b - p.overhead_s))
                .collect();
            let (bonus, loss) = self.loss(r, p, value);
            Job {
                value: value + bonus,
                length_s: p.duration_s + p.overhead_s,
                starts,
                uses,
                loss,
            }
        });
        Task {
            jobs: jobs.collect(),
            capacities,
            loss_step_s: LOSS_STEP_S,
            setup: None,
        }
    }

    /// Bonus on the value and the loss against it by slot of the machine start; None when every start is worth alike.
    fn loss(&self, r: &Request, p: &Prepared, value: f64) -> (f64, Option<Vec<f32>>) {
        let w = &self.problem.weights;
        let promised = self
            .problem
            .kept
            .iter()
            .find(|k| k.kind == KeptKind::Promised && k.id == r.id);
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

    /// Moves a block that lies within a few minutes of its promised start onto it, where its neighbours leave room.
    fn hold_promises(&self, task: &Task, solution: &mut Solution) {
        const NEAR_S: i64 = 300;
        // A follower's gap was met at the start it has: ties are left alone.
        if self.problem.requests.iter().any(|r| r.after.is_some()) {
            return;
        }
        for n in 0..solution.placed.len() {
            let (j, s) = solution.placed[n];
            let id = &self.problem.requests[j].id;
            let promised = self
                .problem
                .kept
                .iter()
                .find(|k| k.kind == KeptKind::Promised && k.id == *id);
            let Some(wanted) = promised.map(|k| self.offset(k.start).round() as i64 - self.prepared[j].overhead_s)
            else {
                continue;
            };
            let ends = |k: usize| solution.placed[k].1 + task.jobs[solution.placed[k].0].length_s;
            let from = n.checked_sub(1).map_or(i64::MIN, ends);
            let until = solution.placed.get(n + 1).map_or(i64::MAX, |p| p.1);
            let job = &task.jobs[j];
            let fits = from <= wanted && wanted + job.length_s <= until;
            let allowed = job.starts.iter().any(|(a, b)| (*a..=*b).contains(&wanted));
            let gained = job.worth(wanted, LOSS_STEP_S) - job.worth(s, LOSS_STEP_S);
            if wanted != s && (wanted - s).abs() <= NEAR_S && fits && allowed && gained >= 0.0 {
                solution.placed[n].1 = wanted;
                solution.value += gained;
            }
        }
        solution.upper_bound = solution.upper_bound.max(solution.value);
    }

    fn report(&self, task: &Task, linked: &Linked, explain: bool) -> Plan {
        let solution = &linked.solution;
        let starts: BTreeMap<usize, i64> = solution
            .placed
            .iter()
            .map(|(j, s)| (*j, s + self.prepared[*j].overhead_s))
            .collect();
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        for (j, s) in &starts {
            let p = &self.prepared[*j];
            blocks.push(((*s - p.overhead_s) as f64, (*s + p.duration_s) as f64));
        }
        blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut planned: Vec<Planned> = starts
            .iter()
            .map(|(j, s)| self.planned(task, *j, *s, &blocks))
            .collect();
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
        let fixed = |r: &Request| {
            self.problem
                .kept
                .iter()
                .any(|k| k.kind == KeptKind::Fixed && k.id == r.id)
        };
        let mut unplanned = Vec::new();
        for (j, r) in self.problem.requests.iter().enumerate() {
            if starts.contains_key(&j) || fixed(r) {
                continue;
            }
            let tied = linked
                .dropped
                .get(&j)
                .filter(|_| longest(&self.prepared[j].good) >= r.duration_s);
            let reason = tied.cloned().unwrap_or_else(|| self.reason(task, j, &starts, &used_s));
            let exclusions = if explain { self.exclusions(r) } else { Vec::new() };
            unplanned.push(Unplanned {
                id: r.id.clone(),
                sentence: reason.to_string(),
                reason,
                exclusions,
            });
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
        let free = self
            .free
            .iter()
            .find(|(a, b)| *a <= mine && end <= *b)
            .copied()
            .unwrap_or((mine, end));
        let before = blocks
            .iter()
            .filter(|b| b.1 <= mine)
            .map(|b| b.1)
            .fold(free.0, f64::max);
        let after = blocks.iter().filter(|b| b.0 >= end).map(|b| b.0).fold(free.1, f64::min);
        Planned {
            id: r.id.clone(),
            start: self.at(start),
            end: self.at(start + r.duration_s),
            delta_tl_s: (start - stretch.0.max(before + p.overhead_s as f64)).max(0.0),
            delta_tr_s: (stretch.1.min(after) - end).max(0.0),
            earliest: self.at(stretch.0.min(start)),
            value: task.jobs[j].worth(s - p.overhead_s, LOSS_STEP_S),
        }
    }
}

/// The weather classes a request asks for, with their limits.
pub(crate) fn weather_limits(r: &Request) -> impl Iterator<Item = (Cause, f64)> {
    let seeing = r.max_seeing_arcsec.map(|x| (Cause::SeeingTooPoor, x));
    seeing
        .into_iter()
        .chain(r.max_cloud_cover.map(|x| (Cause::CloudTooThick, x)))
}

/// Confirms every planned block with the full ephemeris chain; the first failure is returned with its instant.
pub fn verify(problem: &Problem, plan: &Plan) -> Result<(), (String, DateTime<Utc>, crate::constraints::Cause)> {
    for block in &plan.planned {
        let Some(r) = problem.requests.iter().find(|r| r.id == block.id) else {
            continue;
        };
        let request = ObservabilityRequest {
            target: r.target,
            constraints: r.constraints,
            horizon: problem.horizon.clone(),
        };
        verify_block(
            &problem.site,
            &request,
            problem.sun_max_alt_deg,
            Span::new(block.start, block.end),
            300.0,
        )
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
