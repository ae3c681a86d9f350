//! What the sky, the windows and the fixed blocks leave of the night, in the kernel's terms.

use super::{LOSS_STEP_S, Planner, Prepared};
use crate::constraints::{Cause, Sky};
use crate::ephemeris::{add_seconds, seconds_between};
use crate::kernel::{Job, Setup, Task};
use crate::pointing::{self, Setups};
use crate::problem::{Conditions, KeptBlock, KeptKind, Problem, Request};
use crate::stretches::{complement, intersect, longest, merged};
use crate::units::Axis;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// A stretch in which a unit may be busy, seconds from the start of the night.
#[derive(Debug, Clone, Copy)]
pub(super) struct Free {
    pub from_s: f64,
    pub until_s: f64,
    /// What is known of the unit when it begins.
    after: Before,
}

/// What a unit did before a free stretch.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Nothing that matters: there was time enough for any movement.
    Nothing,
    /// Something, pointing nobody knows where.
    Unknown,
    /// A request, exposed from .. to.
    Request(usize, f64, f64),
}

/// Times beyond every night.
const FAR_S: f64 = 1e7;

impl<'a> Planner<'a> {
    pub(super) fn new(problem: &'a Problem, sky: Arc<Sky>) -> Self {
        let overheads = pointing::modelled(problem);
        let before_s = pointing::longest_s(problem, overheads.as_deref());
        let axis = Axis::new(problem.units.len(), sky.length_s(), before_s);
        let setups = overheads.clone().map(|o| Rc::new(Setups::new(problem, &sky, axis, o)));
        let free = (0..axis.units).map(|unit| free_stretches(problem, unit)).collect();
        let mut planner = Self {
            problem,
            sky,
            axis,
            setups,
            prepared: Vec::new(),
            free,
        };
        planner.prepared = (0..problem.requests.len()).map(|j| planner.prepare(j)).collect();
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

    /// Stretches in which sky, windows and weather allow a request.
    fn good(&self, r: &Request) -> Vec<(f64, f64)> {
        let p = self.problem;
        let night_s = self.sky.length_s();
        let open = intersect(&self.windows(r), &[(0.0, night_s)]);
        let fixed = p.kept.iter().any(|k| k.kind == KeptKind::Fixed && k.id == r.id);
        if fixed || longest(&open) < r.duration_s {
            return Vec::new();
        }
        let sky = self.sky.good(&r.target, &r.constraints, &p.horizon, p.sun_max_alt_deg);
        let mut good = intersect(&sky, &open);
        for (cause, ..) in weather_limits(r) {
            let bad = self.weather(r, cause).into_iter().map(|(a, b, _)| (a, b)).collect();
            good = intersect(&good, &complement(&merged(bad), night_s));
        }
        good
    }

    fn prepare(&self, j: usize) -> Prepared {
        let r = &self.problem.requests[j];
        let constant = r.overhead_s.ceil() as i64;
        let overhead_s = self.setups.as_ref().map_or(constant, |setups| setups.lead_s(j));
        let duration_s = r.duration_s.ceil() as i64;
        let good = self.good(r);
        let mut starts = Vec::new();
        let units = if good.is_empty() {
            Vec::new()
        } else {
            self.problem.units_of(r.unit.as_deref())
        };
        for unit in units {
            for (a, b) in &good {
                for free in &self.free[unit] {
                    let to = (b.min(free.until_s) - duration_s as f64).floor() as i64;
                    let from = a.max(free.from_s + overhead_s as f64).ceil() as i64;
                    let from = self.after_setup(unit, free, j, from);
                    if from <= to {
                        starts.push((self.axis.on(unit, from), self.axis.on(unit, to)));
                    }
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

    /// The first start from `from` (night time) that leaves room for the setup after what stands before a free stretch.
    fn after_setup(&self, unit: usize, free: &Free, j: usize, from: i64) -> i64 {
        let Some(setups) = &self.setups else { return from };
        let unknown = (free.from_s + setups.unknown_s(unit, j)).ceil() as i64;
        match free.after {
            Before::Nothing => from,
            Before::Unknown => from.max(unknown),
            Before::Request(k, began, ended) => {
                let ready = |s: i64| (ended + setups.between_s(unit, k, (began, ended), j, s as f64)).ceil() as i64;
                let mut s = from;
                for _ in 0..4 {
                    let needed = ready(s);
                    if s >= needed {
                        return s;
                    }
                    s = needed;
                }
                s.max(unknown)
            }
        }
    }

    /// The kernel's view: the machine is busy from the start of the overhead to the end of the exposure.
    pub(super) fn task(&self) -> Task {
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
        let balances = self.problem.balances();
        let promised = promises(self.problem);
        let jobs = self.problem.requests.iter().zip(&self.prepared).map(|(r, p)| {
            let mut uses = Vec::new();
            for account in self.payers(r).filter_map(|account| accounts.get(account)) {
                uses.push((*account, p.duration_s));
            }
            if let Some(group) = r.group.as_deref().and_then(|g| groups.get(g)) {
                uses.push((*group, 1));
            }
            let value = self.value(r, &balances);
            let starts = p
                .starts
                .iter()
                .map(|(a, b)| (a - p.overhead_s, b - p.overhead_s))
                .collect();
            let (bonus, loss) = self.loss(r, p, promised.get(r.id.as_str()).copied(), value);
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
            setup: self.setups.clone().map(|s| s as Rc<dyn Setup>),
        }
    }

    /// What a request is worth at its best start, without a promise; see [`crate::problem::Weights`].
    fn value(&self, r: &Request, balances: &BTreeMap<&str, f64>) -> f64 {
        let w = &self.problem.weights;
        let balance = balances
            .get(r.user.as_str())
            .copied()
            .filter(|_| r.charged)
            .unwrap_or(0.0);
        r.priority * r.duration_s * (1.0 + w.urgency * r.urgency + w.balance * balance).max(1e-3)
    }

    /// The accounts that pay for a request: its user's, and the pool that the user shares.
    pub(crate) fn payers<'r>(&'r self, r: &'r Request) -> impl Iterator<Item = &'r str> {
        let pool = self.problem.pools.get(&r.user).map(String::as_str);
        [Some(r.user.as_str()), pool]
            .into_iter()
            .flatten()
            .filter(|_| r.charged)
    }

    /// Bonus on the value and the loss against it by slot of the machine start; None when every start is worth alike.
    fn loss(&self, r: &Request, p: &Prepared, promised: Option<&KeptBlock>, value: f64) -> (f64, Option<Vec<f32>>) {
        let w = &self.problem.weights;
        let promised = promised
            .filter(|_| w.promise > 0.0)
            .map(|k| (self.offset(k.start), k.unit.as_deref()));
        let preferred = r.preferred.filter(|_| w.preferred > 0.0).map(|t| self.offset(t));
        if promised.is_none() && preferred.is_none() && w.airmass == 0.0 {
            return (0.0, None);
        }
        let base = r.priority * r.duration_s;
        let bonus = if promised.is_some() { w.promise * base } else { 0.0 };
        let direction = self.sky.track.direction(&r.target);
        let best = self.sky.highest_deg(&r.target).to_radians().sin().max(1e-3);
        let end = p.starts.last().map_or(0, |s| s.1 - p.overhead_s).max(0);
        let table = (0..=end / LOSS_STEP_S).map(|k| {
            // The exposure starts this long after the night for a machine start in the middle of slot k.
            let on_axis = k * LOSS_STEP_S + p.overhead_s + LOSS_STEP_S / 2;
            let (unit, s) = (self.axis.unit(on_axis), self.axis.time(on_axis) as f64);
            let off = preferred.map_or(0.0, |t| ((s - t).abs() / w.preferred_scale_s).min(1.0));
            let low = if w.airmass > 0.0 {
                let alt = self.sky.alt_deg(&direction, s + r.duration_s / 2.0).to_radians().sin();
                (1.0 - alt / best).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let moved = promised.is_some_and(|(t, name)| (s - t).abs() > 90.0 || !self.is_unit(unit, name));
            let lost = base * (w.preferred * off + w.airmass * low) + if moved { bonus } else { 0.0 };
            lost.min(value + bonus - base * 1e-3) as f32
        });
        (bonus, Some(table.collect()))
    }

    /// Whether a unit has this name; without a name every unit will do.
    pub(super) fn is_unit(&self, unit: usize, name: Option<&str>) -> bool {
        name.is_none_or(|name| self.problem.units.get(unit).is_none_or(|u| u.name == name))
    }
}

/// The promised block of each request that has one.
pub(super) fn promises(problem: &Problem) -> BTreeMap<&str, &KeptBlock> {
    let mut out = BTreeMap::new();
    for k in problem.kept.iter().filter(|k| k.kind == KeptKind::Promised) {
        out.entry(k.id.as_str()).or_insert(k);
    }
    out
}

/// The weather classes a request asks for, with their limits.
pub(crate) fn weather_limits(r: &Request) -> impl Iterator<Item = (Cause, f64)> {
    let seeing = r.max_seeing_arcsec.map(|x| (Cause::SeeingTooPoor, x));
    seeing
        .into_iter()
        .chain(r.max_cloud_cover.map(|x| (Cause::CloudTooThick, x)))
}

/// A unit's free stretches: after `now`, around its fixed blocks.
fn free_stretches(problem: &Problem, unit: usize) -> Vec<Free> {
    let seconds = |t: DateTime<Utc>| seconds_between(problem.night.start, t);
    let name = problem.units.get(unit).map(|u| u.name.as_str());
    let here =
        |k: &&KeptBlock| k.kind == KeptKind::Fixed && (name.is_none() || k.unit.is_none() || k.unit.as_deref() == name);
    let mut busy: Vec<(f64, f64, Before)> = Vec::new();
    for k in problem.kept.iter().filter(here) {
        let (start, end) = (seconds(k.start), seconds(k.end));
        let request = problem.requests.iter().position(|r| r.id == k.id);
        let before = request.map_or(Before::Unknown, |j| Before::Request(j, start, end));
        busy.push((start - k.overhead_s, end, before));
    }
    busy.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut out = Vec::new();
    let mut open = (
        problem.now.map_or(-FAR_S, seconds),
        problem.now.map_or(Before::Nothing, |_| Before::Unknown),
    );
    for (from, until, before) in busy {
        if from > open.0 {
            out.push(Free {
                from_s: open.0,
                until_s: from,
                after: open.1,
            });
        }
        if until > open.0 {
            open = (until, before);
        }
    }
    out.push(Free {
        from_s: open.0,
        until_s: FAR_S,
        after: open.1,
    });
    out
}
