//! Requests tied to each other: "after another", "at least n of a group".
//!
//! The kernel knows only limits from above. The first pass ignores the ties, and its bound stays valid. Then every
//! start range is cut to what its chain can still keep, from the first to the last and back, and passes follow: what
//! the plan gives to the head of a chain is held, and its followers' ranges shrink to what that leaves them, one link
//! deeper each time. What is left of the budget improves the plan around them; what is still broken is taken out.

use crate::ephemeris::seconds_between;
use crate::kernel::{self, Budget, Solution, Task};
use crate::plan::PlanOptions;
use crate::problem::{After, KeptKind, Problem};
use crate::reason::Reason;
use crate::units::Axis;
use std::collections::BTreeMap;

/// A solution that keeps every tie, and the requests left out for one.
pub(crate) struct Linked {
    pub solution: Solution,
    pub dropped: BTreeMap<usize, Reason>,
}

/// Passes at most: chains longer than this are kept as far as they were settled.
const MOST_PASSES: usize = 24;
/// Work of one pass at most, so that a deadline leaves time for the passes after it.
const PASS_ITERATIONS: u64 = 300;

struct Ties<'a> {
    problem: &'a Problem,
    /// The units' nights behind one another: ties hold between night times, also across units.
    axis: Axis,
    /// Seconds between the kernel's start (machine busy) and the exposure's.
    overhead_s: Vec<i64>,
    /// Position of each id among the requests.
    index: BTreeMap<&'a str, usize>,
    /// Ends of fixed blocks, seconds from the start of the night.
    fixed_end: BTreeMap<&'a str, f64>,
    /// Followers, each after the one it follows; those on a circle are left out.
    order: Vec<usize>,
    /// Links of the longest chain.
    depth: usize,
}

/// Solves the task with the problem's ties.
pub(crate) fn solve(
    problem: &Problem,
    task: &Task,
    overhead_s: Vec<i64>,
    axis: Axis,
    options: &mut PlanOptions,
) -> Linked {
    let mut never = || false;
    let stop: &mut dyn FnMut() -> bool = match options.stop.take() {
        Some(stop) => stop,
        None => &mut never,
    };
    let (total, seed, gap) = (options.iterations, options.seed, options.gap);
    let mut run = |task: &Task, iterations: u64, pass: u64| {
        let seed = seed.wrapping_add(pass);
        kernel::solve(
            task,
            &mut Budget {
                iterations: iterations.max(1),
                stop: &mut *stop,
                seed,
                gap,
            },
        )
    };
    let tied = problem.requests.iter().any(|r| r.after.is_some()) || problem.groups.values().any(|g| g.at_least > 0);
    if !tied {
        return Linked {
            solution: run(task, total, 0),
            dropped: BTreeMap::new(),
        };
    }
    let ties = Ties::new(problem, overhead_s, axis);
    let passes = (ties.order.len().min(ties.depth) + 3).min(MOST_PASSES);
    let each = (total / (passes as u64 + 1)).clamp(1, PASS_ITERATIONS);
    let mut solution = run(task, each, 0);
    let (bound, mut spent) = (solution.upper_bound, solution.iterations);
    let mut dropped = BTreeMap::new();
    if !ties.broken(task, &solution).is_empty() {
        let mut base = task.clone();
        ties.propagate(&mut base, &mut dropped);
        let mut narrowed = base.clone();
        for pass in 1..passes {
            solution = run(&narrowed, each, pass as u64);
            spent += solution.iterations;
            let broken = ties.broken(task, &solution);
            if broken.is_empty() {
                break;
            }
            ties.clear_groups(&broken, &mut base, &mut dropped);
            narrowed = ties.narrowed(&base, &solution, &mut dropped);
        }
        ties.take_out(task, &mut solution, &mut dropped);
        let mut polished = run(
            &ties.narrowed(&base, &solution, &mut dropped),
            total.saturating_sub(spent),
            passes as u64,
        );
        spent += polished.iterations;
        let mut lost = dropped.clone();
        ties.take_out(task, &mut polished, &mut lost);
        if polished.value > solution.value {
            (solution, dropped) = (polished, lost);
        }
    } else if total > spent {
        let mut polished = run(task, total - spent, 1);
        spent += polished.iterations;
        ties.take_out(task, &mut polished, &mut dropped);
        if polished.value > solution.value {
            solution = polished;
        }
    }
    solution.upper_bound = bound.max(solution.value);
    solution.iterations = spent;
    dropped.retain(|j, _| solution.placed.iter().all(|p| p.0 != *j));
    Linked { solution, dropped }
}

impl<'a> Ties<'a> {
    fn new(problem: &'a Problem, overhead_s: Vec<i64>, axis: Axis) -> Self {
        let index = problem
            .requests
            .iter()
            .enumerate()
            .map(|(k, r)| (r.id.as_str(), k))
            .collect();
        let fixed = problem.kept.iter().filter(|k| k.kind == KeptKind::Fixed);
        let fixed_end = fixed
            .map(|k| (k.id.as_str(), seconds_between(problem.night.start, k.end)))
            .collect();
        let mut ties = Self {
            problem,
            axis,
            overhead_s,
            index,
            fixed_end,
            order: Vec::new(),
            depth: 0,
        };
        let mut deep: Vec<(usize, usize)> = Vec::new();
        for (j, r) in problem.requests.iter().enumerate().filter(|(_, r)| r.after.is_some()) {
            let (mut links, mut here) = (0, r);
            while let Some(next) = here.after.as_ref().and_then(|a| ties.index.get(a.id.as_str())) {
                links += 1;
                here = &problem.requests[*next];
                if links > problem.requests.len() {
                    break;
                }
            }
            if links <= problem.requests.len() {
                deep.push((links, j));
            }
        }
        deep.sort_unstable();
        ties.depth = deep.last().map_or(0, |d| d.0);
        ties.order = deep.into_iter().map(|d| d.1).collect();
        ties
    }

    /// When the followed request's exposure ends, if it is in the plan or fixed; with its job when it is one.
    fn end_of(&self, task: &Task, solution: &Solution, id: &str) -> Option<(f64, Option<usize>)> {
        if let Some(end) = self.fixed_end.get(id) {
            return Some((*end, None));
        }
        let j = *self.index.get(id)?;
        let (_, s) = solution.placed.iter().find(|p| p.0 == j)?;
        Some(((self.axis.time(*s) + task.jobs[j].length_s) as f64, Some(j)))
    }

    /// First and last exposure start a tie allows after an end.
    fn allowed(after: &After, end: f64) -> (i64, i64) {
        let first = (end + after.min_gap_s).ceil() as i64;
        (
            first,
            after.max_gap_s.map_or(i64::MAX / 4, |gap| (end + gap).floor() as i64),
        )
    }

    /// Requests in the plan that break a tie.
    fn broken(&self, task: &Task, solution: &Solution) -> BTreeMap<usize, Reason> {
        let mut out = BTreeMap::new();
        for (j, s) in &solution.placed {
            let Some(after) = &self.problem.requests[*j].after else {
                continue;
            };
            let other = after.id.clone();
            let start = self.axis.time(*s) + self.overhead_s[*j];
            match self.end_of(task, solution, &after.id) {
                None => drop(out.insert(
                    *j,
                    Reason::AfterOther {
                        other,
                        other_planned: false,
                    },
                )),
                Some((end, _)) => {
                    let (first, last) = Self::allowed(after, end);
                    if !(first..=last).contains(&start) {
                        out.insert(
                            *j,
                            Reason::AfterOther {
                                other,
                                other_planned: true,
                            },
                        );
                    }
                }
            }
        }
        for (name, rule) in &self.problem.groups {
            let member = |j: &usize| self.problem.requests[*j].group.as_deref() == Some(name.as_str());
            let inside: Vec<usize> = solution.placed.iter().map(|p| p.0).filter(member).collect();
            if !inside.is_empty() && inside.len() < rule.at_least {
                let reason = |possible| Reason::GroupIncomplete {
                    group: name.clone(),
                    at_least: rule.at_least,
                    possible,
                };
                out.extend(inside.iter().map(|j| (*j, reason(inside.len()))));
            }
        }
        out
    }

    /// Takes out what breaks a tie. Taking one out can break another: repeats until the plan stands.
    fn take_out(&self, task: &Task, solution: &mut Solution, dropped: &mut BTreeMap<usize, Reason>) {
        loop {
            let broken = self.broken(task, solution);
            if broken.is_empty() {
                break;
            }
            solution.placed.retain(|(j, _)| !broken.contains_key(j));
            dropped.extend(broken);
        }
        let worth = |(j, s): &(usize, i64)| task.jobs[*j].worth(*s, task.loss_step_s);
        solution.value = solution.placed.iter().map(worth).sum();
    }

    /// The starts that the followed one's ranges leave a follower; None when that is not planned at all.
    fn left(&self, task: &Task, j: usize, after: &After) -> Option<Vec<(i64, i64)>> {
        let (low, high) = match self.fixed_end.get(after.id.as_str()) {
            Some(end) => (*end, *end),
            None => {
                let f = &task.jobs[*self.index.get(after.id.as_str())?];
                let (a, b) = self.axis.hull(&f.starts)?;
                ((a + f.length_s) as f64, (b + f.length_s) as f64)
            }
        };
        let o = self.overhead_s[j];
        let (first, last) = (Self::allowed(after, low).0, Self::allowed(after, high).1);
        Some(self.axis.cut(&task.jobs[j].starts, first - o, last - o))
    }

    /// Cuts a follower's starts to what is left, and says why when nothing is.
    fn follow(&self, task: &mut Task, j: usize, dropped: &mut BTreeMap<usize, Reason>) {
        let Some(after) = &self.problem.requests[j].after else {
            return;
        };
        let left = self.left(task, j, after);
        let other_planned = left.is_some();
        let starts = left.unwrap_or_default();
        if starts.is_empty() && !(dropped.contains_key(&j) && task.jobs[j].starts.is_empty()) {
            dropped.insert(
                j,
                Reason::AfterOther {
                    other: after.id.clone(),
                    other_planned,
                },
            );
        }
        task.jobs[j].starts = starts;
    }

    /// Cuts every range to what its chain can keep: followers to the one before, then that one to its followers, unless
    /// nothing of it would remain.
    fn propagate(&self, task: &mut Task, dropped: &mut BTreeMap<usize, Reason>) {
        for j in &self.order {
            self.follow(task, *j, dropped);
        }
        for j in self.order.iter().rev() {
            let Some(after) = &self.problem.requests[*j].after else {
                continue;
            };
            let (Some((a, b)), Some(f)) = (self.axis.hull(&task.jobs[*j].starts), self.index.get(after.id.as_str()))
            else {
                continue;
            };
            let (o, length) = (self.overhead_s[*j], task.jobs[*f].length_s);
            let last = ((b + o) as f64 - after.min_gap_s).floor() as i64 - length;
            let first = after
                .max_gap_s
                .map_or(i64::MIN / 4, |gap| ((a + o) as f64 - gap).ceil() as i64 - length);
            let kept = self.axis.cut(&task.jobs[*f].starts, first, last);
            if !kept.is_empty() {
                task.jobs[*f].starts = kept;
            }
        }
    }

    /// The task with the plan's heads of chains held, and their followers cut to what that leaves them. A follower
    /// that already keeps its tie is held as well.
    fn narrowed(&self, base: &Task, solution: &Solution, dropped: &mut BTreeMap<usize, Reason>) -> Task {
        let mut task = base.clone();
        let placed: BTreeMap<usize, i64> = solution.placed.iter().copied().collect();
        for j in &self.order {
            let head = self.problem.requests[*j]
                .after
                .as_ref()
                .and_then(|a| self.index.get(a.id.as_str()));
            if let Some(f) = head.filter(|f| self.problem.requests[**f].after.is_none()) {
                task.jobs[*f].starts = placed.get(f).map(|s| (*s, *s)).into_iter().collect();
            }
            self.follow(&mut task, *j, dropped);
            let single = |f: &usize| task.jobs[*f].starts.iter().all(|(a, b)| a == b);
            if let Some(s) = placed
                .get(j)
                .filter(|s| task.jobs[*j].starts.iter().any(|(a, b)| (a..=b).contains(s)))
                && head.is_none_or(single)
            {
                task.jobs[*j].starts = vec![(*s, *s)];
            }
        }
        task
    }

    /// Groups that came out too small are given up whole.
    fn clear_groups(&self, broken: &BTreeMap<usize, Reason>, base: &mut Task, dropped: &mut BTreeMap<usize, Reason>) {
        for reason in broken.values() {
            let Reason::GroupIncomplete { group, .. } = reason else {
                continue;
            };
            for (k, r) in self.problem.requests.iter().enumerate() {
                if r.group.as_ref() == Some(group) {
                    base.jobs[k].starts.clear();
                    dropped.insert(k, reason.clone());
                }
            }
        }
    }
}
