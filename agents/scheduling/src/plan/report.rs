//! From the kernel's choice to a plan that people read: promises held, slacks, reasons.

use super::prepare::promises;
use super::{LOSS_STEP_S, Plan, Planned, Planner, Unplanned};
use crate::ephemeris::seconds_between;
use crate::kernel::{Solution, Task};
use crate::links::Linked;
use crate::problem::{KeptKind, Request};
use crate::stretches::longest;
use std::collections::BTreeMap;

impl Planner<'_> {
    /// Moves a block that lies within a few minutes of its promised start onto it, where its neighbours leave room.
    pub(super) fn hold_promises(&self, task: &Task, solution: &mut Solution) {
        const NEAR_S: i64 = 300;
        // A follower's gap was met at the start it has: ties are left alone.
        if self.problem.requests.iter().any(|r| r.after.is_some()) {
            return;
        }
        let promised = promises(self.problem);
        for n in 0..solution.placed.len() {
            let (j, s) = solution.placed[n];
            let Some(kept) = promised.get(self.problem.requests[j].id.as_str()) else {
                continue;
            };
            let unit = self.axis.unit(s);
            let start_s = self.offset(kept.start).round() as i64 - self.prepared[j].overhead_s;
            let wanted = self.axis.on(unit, start_s);
            let before = n.checked_sub(1).map(|k| solution.placed[k]);
            let after = solution.placed.get(n + 1).copied();
            let job = &task.jobs[j];
            let fits = self.is_unit(unit, kept.unit.as_deref()) && task.fits_between(before, (j, wanted), after);
            let allowed = job.starts.iter().any(|(a, b)| (*a..=*b).contains(&wanted));
            let gained = job.worth(wanted, LOSS_STEP_S) - job.worth(s, LOSS_STEP_S);
            if wanted != s && (wanted - s).abs() <= NEAR_S && fits && allowed && gained >= 0.0 {
                solution.placed[n].1 = wanted;
                solution.value += gained;
            }
        }
        solution.upper_bound = solution.upper_bound.max(solution.value);
    }

    /// Drops what its setup no longer fits: taking a block out makes neighbours of two that were none.
    pub(super) fn keep_setups(&self, task: &Task, solution: &mut Solution) {
        if task.setup.is_none() || task.is_valid(&solution.placed) {
            return;
        }
        let mut kept: Vec<(usize, i64)> = Vec::new();
        for block in &solution.placed {
            if task.fits_between(kept.last().copied(), *block, None) {
                kept.push(*block);
            }
        }
        solution.placed = kept;
        solution.value = solution
            .placed
            .iter()
            .map(|(j, s)| task.jobs[*j].worth(*s, LOSS_STEP_S))
            .sum();
    }

    pub(super) fn report(&self, task: &Task, linked: &Linked, explain: bool) -> Plan {
        let solution = &linked.solution;
        let placed = &solution.placed;
        // Starts of the exposures, axis time.
        let starts: BTreeMap<usize, i64> = placed
            .iter()
            .map(|(j, s)| (*j, s + self.prepared[*j].overhead_s))
            .collect();
        let mut planned: Vec<Planned> = (0..placed.len()).map(|n| self.planned(task, placed, n)).collect();
        planned.sort_by(|a, b| a.start.cmp(&b.start).then(a.unit.cmp(&b.unit)));
        let mut used_s: BTreeMap<String, f64> = BTreeMap::new();
        for k in self.problem.kept.iter().filter(|k| k.kind == KeptKind::Fixed) {
            if let Some(user) = &k.charge {
                *used_s.entry(user.clone()).or_default() += seconds_between(k.start, k.end);
            }
        }
        for j in starts.keys() {
            let r = &self.problem.requests[*j];
            for account in self.payers(r) {
                *used_s.entry(account.to_owned()).or_default() += r.duration_s;
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

    /// The `n`th block of the kernel's plan.
    fn planned(&self, task: &Task, placed: &[(usize, i64)], n: usize) -> Planned {
        let (j, s) = placed[n];
        let (r, p) = (&self.problem.requests[j], &self.prepared[j]);
        let unit = self.axis.unit(s);
        let on_unit = |b: &&(usize, i64)| self.axis.unit(b.1) == unit;
        let before = n.checked_sub(1).and_then(|k| placed.get(k)).filter(on_unit).copied();
        let after = placed.get(n + 1).filter(on_unit).copied();
        let (earliest, latest) = self.slack(task, before, (j, s), after);
        let begin = self.axis.time(s + p.overhead_s) as f64;
        let stretch = p
            .good
            .iter()
            .find(|(a, b)| *a <= begin && begin + r.duration_s <= *b + 1.0);
        Planned {
            id: r.id.clone(),
            start: self.at(begin),
            end: self.at(begin + r.duration_s),
            delta_tl_s: (s - earliest) as f64,
            delta_tr_s: (latest - s) as f64,
            earliest: self.at(stretch.map_or(begin, |x| x.0.min(begin))),
            value: task.jobs[j].worth(s, LOSS_STEP_S),
            unit: self.problem.units.get(unit).map(|u| u.name.clone()),
            setup_s: (p.overhead_s + before.map_or(0, |b| task.extra_s(b, j, s))) as f64,
        }
    }

    /// Earliest and latest machine start of a block in its range, its neighbours staying.
    fn slack(
        &self,
        task: &Task,
        before: Option<(usize, i64)>,
        (j, s): (usize, i64),
        after: Option<(usize, i64)>,
    ) -> (i64, i64) {
        let holds = |(a, b): &&(i64, i64)| (*a..=*b).contains(&s);
        let Some((a, b)) = task.jobs[j].starts.iter().find(holds).copied() else {
            return (s, s);
        };
        let free = before.map_or(a, |(k, at)| a.max(at + task.jobs[k].length_s));
        let earliest = task.earliest(before, free, j).unwrap_or(s).min(s);
        let latest = task.latest(j, after).min(b).max(s);
        // A setup may change along the way (a flip): what does not fit at the end of the slack is no slack.
        let fits = |x: i64| task.setup.is_none() || task.fits_between(before, (j, x), after);
        (
            if fits(earliest) { earliest } else { s },
            if fits(latest) { latest } else { s },
        )
    }
}
